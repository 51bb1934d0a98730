//! The audit sees whatever was done to the books behind the server's back.

use bevy_iap::protocol::Micros;
use bevy_iap::server::audit::AuditReport;
use bevy_iap::server::ledger::operation::{Hold, Payout, Post, RefundCredit, RefundOrder};
use bevy_iap::server::ledger::{Action, Credit, Operation, OperationId};
use rusqlite::Connection;

use crate::support::Shop;

/// A shop in which things were bought, declined and refunded, credited and charged back, held, posted and paid out.
fn busy_shop() -> Shop {
    let shop = Shop::open();
    let mut device = shop.device();
    let (account, refunded, shields) = (device.account(), device.claims("double_jump", 1), device.claims("shield", 4));
    let first = device.sign(&refunded);
    let mut shields = shields;
    (shields.sequence, shields.previous) = (2, device.chain.map(|chain| chain.order_sha256));
    let second = device.sign(&shields);
    let orders = [first, second, device.order("palace", 1), device.order("gift", 1), device.order("skin", 1)];
    device.sync(&shop, 0, &orders);
    let money = |text: &str| text.parse().expect("money");
    let does = |id: u8, action: Action| {
        shop.server.operate(Operation::new(OperationId([id; 16]), action)).expect("is done");
    };
    shop.server.refund(refunded.id).expect("refunds");
    does(1, RefundOrder { order: shields.id, quantity: Some(1) }.into());
    does(
        2,
        Credit { fee: Micros::new(300_000).ok(), ..Credit::paid(account.clone(), money("2EUR")).expect("good") }.into(),
    );
    let credit = OperationId([2; 16]);
    does(3, RefundCredit { credit, amount: Micros::new(5).ok(), only_unspent: true, forced: false }.into());
    let hold = || Hold { account: account.clone(), money: money("0.1EUR"), expires_at: i64::MAX };
    does(4, hold().into());
    does(5, hold().into());
    does(6, Post { hold: OperationId([5; 16]), amount: Micros::new(70_000).ok() }.into());
    let (creator, source) = ("ann".parse().expect("a name"), "bank".parse().expect("a name"));
    does(7, Payout { creator, money: money("0.01EUR"), source }.into());
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
    let AuditReport { accounts, transfers, devices, orders, receipts, holds, operations, .. } = report;
    assert_eq!((accounts, transfers, devices, orders, receipts), (9, 15, 1, 5, 7));
    assert_eq!((holds, operations), (2, 8));
}

#[test]
fn every_change_behind_the_servers_back_is_found() {
    for (change, told) in [
        ("UPDATE accounts SET credits_posted = credits_posted + 1 WHERE kind = 'wallet'", "its credits are"),
        ("UPDATE accounts SET debits_posted = 9000000 WHERE kind = 'wallet'", "below zero"),
        ("UPDATE accounts SET debits_pending = 5 WHERE kind = 'wallet'", "its pending debits are 5"),
        ("UPDATE accounts SET credits_pending = 5 WHERE kind = 'revenue'", "and all credits are"),
        ("UPDATE accounts SET owner = 'other' WHERE kind = 'revenue'", "its number or its kind is not its own"),
        ("UPDATE accounts SET owner = 'other' WHERE kind = 'wallet'", "its transfers are not what the order says"),
        ("UPDATE accounts SET currency = 'USD' WHERE kind = 'wallet'", "it moves USD into EUR"),
        ("UPDATE accounts SET refunded = 6 WHERE source = 'operator'", "its refunds are 6"),
        ("UPDATE accounts SET opened_with = 7 WHERE source = 'operator'", "its opening credits are 7"),
        ("UPDATE accounts SET source = 'other' WHERE source = 'operator'", "has another source"),
        ("DELETE FROM accounts WHERE kind = 'payable'", "an account that it names is missing"),
        ("UPDATE orders SET feed = feed + 1 WHERE status = 'declined'", "is not at the place that it names"),
        ("DELETE FROM transfers WHERE kind = 'purchase'", "its purchase transfers add up to 0"),
        ("DELETE FROM transfers WHERE kind = 'refund'", "its refund transfers add up to 0"),
        ("DELETE FROM transfers WHERE kind = 'credit'", "its transfers add up to"),
        ("DELETE FROM transfers WHERE kind = 'credit'", "there is a transfer without an operation"),
        ("DELETE FROM transfers WHERE kind = 'fee'", "its transfers add up to"),
        ("DELETE FROM transfers WHERE kind = 'payout'", "its transfers add up to"),
        ("UPDATE transfers SET amount = amount + 1 WHERE kind = 'purchase'", "its purchase transfers add up to"),
        ("UPDATE transfers SET amount = 90000 WHERE kind = 'refund'", "its refund transfers add up to"),
        ("UPDATE transfers SET amount = -1 WHERE kind = 'welcome'", "its amount is -1"),
        ("UPDATE transfers SET kind = 'payout' WHERE kind = 'welcome'", "a payout moves from promotion to wallet"),
        ("UPDATE transfers SET kind = 'gift' WHERE kind = 'welcome'", "no transfers of the kind gift"),
        ("UPDATE transfers SET order_id = zeroblob(16) WHERE kind = 'credit'", "no order accounts for this credit"),
        ("UPDATE transfers SET order_id = NULL WHERE kind = 'purchase'", "no order accounts for this purchase"),
        (
            "INSERT INTO transfers SELECT zeroblob(16), debit_account, credit_account, 5, 'purchase', zeroblob(16), NULL, 0
             FROM transfers WHERE kind = 'purchase' LIMIT 1",
            "no order accounts for this purchase",
        ),
        ("DELETE FROM transfers WHERE kind = 'hold'", "and its transfers add up to 0"),
        ("UPDATE transfers SET amount = 200000 WHERE kind = 'post'", "more was taken from a lot than it has set aside"),
        ("UPDATE transfers SET hold_id = NULL WHERE kind = 'hold'", "its transfers are there, and it is missing"),
        ("UPDATE holds SET posted = 5 WHERE status = 'posted'", "5 of it was taken, and its transfers take 70000"),
        ("UPDATE holds SET status = 'voided' WHERE status = 'posted'", "that is not how it was resolved"),
        ("UPDATE holds SET status = 'expired', resolved_at = 5 WHERE status = 'pending'", "not how it was resolved"),
        ("UPDATE holds SET status = 'voided', resolved_at = 5 WHERE status = 'pending'", "its pending debits are"),
        ("UPDATE holds SET status = 'pending', resolved_at = NULL", "not how it was resolved"),
        ("UPDATE holds SET account = 'other'", "it holds what is another account's"),
        ("DELETE FROM holds WHERE status = 'pending'", "its transfers are there, and it is missing"),
        ("DELETE FROM operations WHERE action = 'hold'", "it is there without an operation"),
        ("DELETE FROM operations WHERE action = 'credit'", "a transfer without an operation"),
        ("UPDATE operations SET answer = '{}' WHERE action = 'payout'", "its answer cannot be read"),
        (
            "UPDATE receipts SET token = (SELECT token FROM receipts WHERE feed = 2) WHERE feed = 1",
            "not the one that was signed",
        ),
        ("UPDATE receipts SET token = replace(token, '.', '.A') WHERE feed = 3", "receipt 3"),
        ("UPDATE receipts SET feed = 9 WHERE feed = 7", "it follows 6 in the feed"),
        ("DELETE FROM receipts WHERE feed = 7", "another quantity than is left"),
        ("DELETE FROM receipts WHERE feed = 4", "its receipts say []"),
        ("UPDATE receipts SET account = 'other' WHERE feed = 7", "other"),
        ("UPDATE orders SET status = 'granted' WHERE status = 'declined'", "is not what it costs"),
        ("UPDATE orders SET status = 'granted' WHERE status = 'refunded'", "its receipts say"),
        ("UPDATE orders SET refunded_quantity = 2 WHERE sequence = 2", "another quantity than is left"),
        ("UPDATE orders SET refunded_quantity = 0 WHERE status = 'refunded'", "not all of it was refunded"),
        ("UPDATE orders SET refunded_amount = 4000 WHERE sequence = 2", "4000 of it was refunded"),
        ("UPDATE orders SET until = 5 WHERE sequence = 2", "the pass ends at another time"),
        ("UPDATE orders SET owned = 0", "the right that it gives is not owned"),
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
