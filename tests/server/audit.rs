//! The audit sees whatever was done to the books behind the server's back.

use bevy_iap::server::audit::AuditReport;
use rusqlite::Connection;

use crate::support::Shop;

/// A shop in which things were bought, declined and refunded.
fn busy_shop() -> Shop {
    let shop = Shop::open();
    let mut device = shop.device();
    let refunded = device.claims("double_jump", 1);
    let orders =
        [device.sign(&refunded), device.order("shield", 2), device.order("palace", 1), device.order("gift", 1)];
    device.sync(&shop, 0, &orders);
    shop.server.refund(refunded.id).expect("refunds");
    shop.server.credit(&device.account(), "2EUR".parse().expect("money")).expect("credits");
    shop
}

fn audit_after(change: &str) -> AuditReport {
    let shop = busy_shop();
    let connection = Connection::open(shop.folder.path().join("store.sqlite")).expect("opens");
    connection.pragma_update(None, "foreign_keys", "off").expect("set");
    connection.pragma_update(None, "ignore_check_constraints", "on").expect("set");
    assert!(connection.execute(change, []).expect(change) > 0, "{change} changed nothing");
    shop.server.audit().expect("audits")
}

#[test]
fn books_that_nobody_touched_have_no_differences() {
    let report = busy_shop().server.audit().expect("audits");
    assert_eq!(report.differences, [""; 0]);
    let AuditReport { accounts, transfers, devices, orders, receipts, .. } = report;
    assert_eq!((accounts, transfers, devices, orders, receipts), (4, 5, 1, 4, 5));
}

#[test]
fn every_change_behind_the_servers_back_is_found() {
    for (change, told) in [
        ("UPDATE accounts SET credits_posted = credits_posted + 1 WHERE kind = 'wallet'", "its credits are"),
        ("UPDATE accounts SET debits_posted = 9000000 WHERE kind = 'wallet'", "below zero"),
        ("UPDATE accounts SET debits_pending = 5 WHERE kind = 'wallet'", "pending"),
        ("UPDATE accounts SET owner = 'other' WHERE kind = 'revenue'", "not what the order says"),
        ("DELETE FROM transfers WHERE kind = 'purchase'", "its purchase transfer is missing"),
        ("DELETE FROM transfers WHERE kind = 'refund'", "its refund transfer is missing"),
        ("DELETE FROM transfers WHERE kind = 'credit'", "its transfers add up to"),
        ("UPDATE transfers SET amount = amount + 1 WHERE kind = 'purchase'", "not what the order says"),
        ("UPDATE transfers SET amount = -1 WHERE kind = 'welcome'", "its amount is -1"),
        (
            "INSERT INTO transfers SELECT zeroblob(16), debit_account, credit_account, 5, 'purchase', zeroblob(16), 0
             FROM transfers WHERE kind = 'purchase' LIMIT 1",
            "no order accounts for this purchase",
        ),
        (
            "UPDATE receipts SET token = (SELECT token FROM receipts WHERE feed = 2) WHERE feed = 1",
            "not the one that was signed",
        ),
        ("UPDATE receipts SET token = replace(token, '.', '.A') WHERE feed = 3", "receipt 3"),
        ("UPDATE receipts SET feed = 9 WHERE feed = 5", "it follows 4 in the feed"),
        ("DELETE FROM receipts WHERE feed = 4", "its receipts say []"),
        ("UPDATE receipts SET account = 'other' WHERE feed = 5", "other"),
        ("UPDATE orders SET status = 'granted' WHERE status = 'declined'", "is not what it costs"),
        ("UPDATE orders SET status = 'granted' WHERE status = 'refunded'", "its receipts say"),
        ("UPDATE orders SET product = 'other' WHERE sequence = 2", "is not the one that was signed"),
        ("UPDATE orders SET quantity = 7 WHERE sequence = 2", "is not the one that was signed"),
        ("UPDATE orders SET amount = 1 WHERE sequence = 2", "is not what it costs"),
        ("UPDATE orders SET token = (SELECT token FROM orders WHERE sequence = 2) WHERE sequence = 3", "its digest"),
        ("UPDATE orders SET sequence = 7 WHERE sequence = 4", "does not follow its device's chain"),
        ("DELETE FROM orders WHERE sequence = 4", "its order is missing"),
        ("UPDATE devices SET sequence = 3", "the head of its chain"),
        ("UPDATE devices SET public_key = zeroblob(32)", "its key"),
        ("DELETE FROM devices", "its device is missing"),
    ] {
        let report = audit_after(change);
        assert!(!report.is_clean(), "{change} was not found");
        assert!(report.to_string().contains(told), "{change}: {report}");
    }
}
