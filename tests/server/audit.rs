//! The audit sees whatever was done to the books behind the server's back.

use bevy_iap::protocol::Micros;
use bevy_iap::server::audit::{AuditReport, audit};
use bevy_iap::server::ledger::operation::{Hold, Payout, Post, RefundCredit, RefundOrder, Void};
use bevy_iap::server::ledger::{Action, Credit, Operation, OperationId, SqliteLedger, TransferId};
use rusqlite::Connection;

use crate::support::{Shop, game};

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
    does(8, Hold { expires_at: i64::MAX - 1, ..hold() }.into());
    does(9, Void { hold: OperationId([8; 16]) }.into());
    shop
}

/// What an audit says of a copy of a shop's books after a change to it.
pub fn audit_after(shop: &Shop, change: &str) -> AuditReport {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let copy = folder.path().join("store.sqlite");
    let books = Connection::open(shop.folder.path().join("store.sqlite")).expect("opens");
    books.execute("VACUUM INTO ?1", [copy.to_str().expect("UTF-8")]).expect("copies");
    let books = Connection::open(&copy).expect("opens");
    books.pragma_update(None, "ignore_check_constraints", "on").expect("set");
    let before = books.total_changes();
    books.execute_batch(change).expect(change);
    assert!(books.total_changes() > before, "{change} changed nothing");
    let mut ledger = SqliteLedger::open_existing(&copy).expect("opens");
    audit(&mut ledger, &[shop.server.public_key()], &game()).expect("audits")
}

/// Checks that each change is found, and told in these words.
fn assert_found(changes: &[(&str, &str)]) {
    let shop = busy_shop();
    for (change, told) in changes {
        let report = audit_after(&shop, change);
        assert!(!report.is_clean(), "{change} was not found");
        assert!(report.to_string().contains(told), "{change}: {report}");
    }
}

#[test]
fn books_that_nobody_touched_have_no_differences() {
    let report = busy_shop().server.audit().expect("audits");
    assert_eq!(report.differences, [""; 0]);
    let AuditReport { accounts, transfers, devices, orders, receipts, holds, operations, .. } = report;
    assert_eq!((accounts, transfers, devices, orders, receipts), (9, 16, 1, 5, 7));
    assert_eq!((holds, operations), (3, 10));
}

#[test]
fn change_to_one_table_is_found_by_what_the_others_say() {
    assert_found(&[
        ("UPDATE accounts SET credits_posted = credits_posted + 1 WHERE kind = 'wallet'", "its credits are"),
        ("UPDATE accounts SET debits_posted = 9000000 WHERE kind = 'wallet'", "below zero"),
        ("UPDATE accounts SET debits_pending = 5 WHERE kind = 'wallet'", "its pending debits are 5"),
        ("UPDATE accounts SET credits_pending = 5 WHERE kind = 'revenue'", "and all credits are"),
        ("UPDATE accounts SET owner = 'other' WHERE kind = 'revenue'", "its number or its kind is not its own"),
        ("UPDATE accounts SET owner = 'other' WHERE kind = 'wallet'", "its transfers are not what the order says"),
        ("UPDATE accounts SET currency = 'USD' WHERE kind = 'wallet'", "it moves USD into EUR"),
        ("UPDATE accounts SET refunded = 6 WHERE source = 'operator'", "its refunds are 6"),
        ("UPDATE accounts SET opened_with = 7 WHERE source = 'operator'", "its opening credits are 7"),
        ("UPDATE accounts SET source = 'other' WHERE source = 'operator'", "has another source or origin"),
        ("DELETE FROM accounts WHERE kind = 'payable'", "an account that it names is missing"),
        ("UPDATE orders SET feed = feed + 1 WHERE status = 'declined'", "is not at the place that it names"),
        ("DELETE FROM transfers WHERE kind = 'purchase'", "its purchase transfers add up to 0"),
        ("DELETE FROM transfers WHERE kind = 'refund'", "its refund transfers add up to 0"),
        ("DELETE FROM transfers WHERE kind = 'credit'", "its transfers add up to"),
        ("DELETE FROM transfers WHERE kind = 'credit'", "and its transfers move 0"),
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
        ("DELETE FROM operations WHERE action = 'credit'", "no operation accounts for this credit"),
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
    ]);
}

#[test]
fn money_that_was_given_away_is_not_taken_for_paid() {
    assert_found(&[
        ("UPDATE accounts SET origin = 'promotional' WHERE origin = 'paid'", "has another source or origin"),
        ("UPDATE accounts SET origin = 'paid' WHERE origin = 'promotional'", "has another source or origin"),
    ]);
}

/// A lot of 5.00 EUR for somebody, with everything that a welcome writes.
fn forged_welcome(owner: &str, id: &str) -> String {
    format!(
        "INSERT INTO accounts (id, kind, owner, currency, credits_posted, origin, source, opened_at, opened_with, refunded)
             VALUES (x'{id}', 'wallet', '{owner}', 'EUR', 5000000, 'promotional', 'welcome', 7, 5000000, 0);
         INSERT INTO transfers SELECT x'{id}', id, x'{id}', 5000000, 'welcome', NULL, NULL, 7 FROM accounts
             WHERE kind = 'promotion';
         UPDATE accounts SET debits_posted = debits_posted + 5000000 WHERE kind = 'promotion';
         INSERT INTO wallets VALUES ('{owner}', 'EUR') ON CONFLICT DO NOTHING;"
    )
}

#[test]
fn account_is_welcomed_once_and_by_a_device() {
    let shop = busy_shop();
    let devices = Connection::open(shop.folder.path().join("store.sqlite")).expect("opens");
    let owner: String = devices.query_row("SELECT account FROM devices", [], |row| row.get(0)).expect("reads");
    let again = audit_after(&shop, &forged_welcome(&owner, &"9".repeat(32)));
    assert_eq!(again.differences.len(), 1, "{again}");
    assert!(again.to_string().contains("it is not the welcome of the account"), "{again}");
    let id = TransferId::of_welcome(&"nobody".parse().expect("an account")).to_string();
    let nobody = audit_after(&shop, &forged_welcome("nobody", &id));
    assert_eq!(nobody.differences.len(), 1, "{nobody}");
    assert!(nobody.to_string().contains("no device has opened the account nobody"), "{nobody}");
}

#[test]
fn operation_has_moved_what_it_says_and_nothing_else() {
    let missing = "and its transfers move 0";
    let another = "is not what it was asked";
    assert_found(&[
        ("UPDATE operations SET id = randomblob(16) WHERE action = 'payout'", missing),
        ("UPDATE operations SET id = randomblob(16) WHERE action = 'post'", missing),
        ("UPDATE operations SET id = randomblob(16) WHERE action = 'refund_credit'", missing),
        ("UPDATE operations SET id = randomblob(16) WHERE action = 'refund_order'", missing),
        ("UPDATE operations SET id = randomblob(16) WHERE action = 'hold'", missing),
        ("DELETE FROM operations WHERE action = 'payout'", "no operation accounts for this payout"),
        ("DELETE FROM operations WHERE action = 'post'", "no operation accounts for this post"),
        ("DELETE FROM operations WHERE action = 'refund_credit'", "no operation accounts for this credit_refund"),
        ("DELETE FROM operations WHERE action = 'refund_order'", "no operation accounts for this refund"),
        ("DELETE FROM operations WHERE action = 'void'", "no operation has resolved it"),
        (
            "UPDATE operations SET answer = replace(answer, ':2000000,', ':1999999,') WHERE action = 'credit'",
            "its transfers move 2000000",
        ),
        (
            "UPDATE operations SET answer = replace(answer, ':10000,', ':9999,') WHERE action = 'payout'",
            "its transfers move 10000",
        ),
        (
            "UPDATE operations SET answer = replace(answer, 'ann', 'zoe') WHERE action = 'payout'",
            "its answer is of another account",
        ),
        (
            "UPDATE operations SET answer = replace(answer, '\"account\":\"', '\"account\":\"x') WHERE action = 'credit'",
            "its answer is of another account",
        ),
        (
            "UPDATE operations SET answer = replace(answer, '\"account\":\"', '\"account\":\"x') WHERE action = 'void'",
            "its answer is of another account",
        ),
        (
            "UPDATE operations SET answer = replace(answer, '\"feed\":', '\"feed\":1') WHERE action = 'refund_order'",
            "the receipt in its answer is not in the feed",
        ),
        ("UPDATE operations SET sha256 = zeroblob(32) WHERE action = 'credit'", another),
        ("UPDATE operations SET sha256 = zeroblob(32) WHERE action = 'refund_order'", another),
        ("UPDATE operations SET sha256 = zeroblob(32) WHERE action = 'refund_credit'", another),
        ("UPDATE operations SET sha256 = zeroblob(32) WHERE action = 'hold'", another),
        ("UPDATE operations SET sha256 = zeroblob(32) WHERE action = 'post'", another),
        ("UPDATE operations SET sha256 = zeroblob(32) WHERE action = 'void'", another),
        ("UPDATE operations SET sha256 = zeroblob(32) WHERE action = 'payout'", another),
        ("UPDATE operations SET action = 'payout' WHERE action = 'credit'", "it is no payout"),
        ("UPDATE accounts SET refundable_until = 5 WHERE origin = 'paid'", another),
        ("UPDATE holds SET expires_at = expires_at - 2 WHERE status = 'pending'", another),
        ("DELETE FROM transfers WHERE kind = 'fee'", another),
    ]);
}

#[test]
fn everything_that_was_written_at_once_says_the_same_time() {
    let settled = "was settled";
    let done = "its transfers were written at another time";
    assert_found(&[
        ("UPDATE transfers SET created_at = created_at + 1 WHERE kind = 'purchase'", settled),
        ("UPDATE orders SET settled_at = settled_at + 1 WHERE status = 'declined'", "the first one another time"),
        ("UPDATE orders SET settled_at = settled_at + 1 WHERE status = 'granted'", "the first one another time"),
        ("UPDATE transfers SET created_at = created_at + 1 WHERE kind = 'credit'", done),
        ("UPDATE transfers SET created_at = created_at + 1 WHERE kind = 'fee'", done),
        ("UPDATE transfers SET created_at = created_at + 1 WHERE kind = 'refund'", done),
        ("UPDATE transfers SET created_at = created_at + 1 WHERE kind = 'credit_refund'", done),
        ("UPDATE transfers SET created_at = created_at + 1 WHERE kind = 'hold'", done),
        ("UPDATE transfers SET created_at = created_at + 1 WHERE kind = 'post'", done),
        ("UPDATE transfers SET created_at = created_at + 1 WHERE kind = 'payout'", done),
        ("UPDATE transfers SET created_at = created_at + 1 WHERE kind = 'welcome'", "it was opened at"),
        ("UPDATE accounts SET opened_at = opened_at + 1 WHERE origin = 'paid'", "it was opened at"),
        (
            "UPDATE operations SET created_at = created_at + 1 WHERE action = 'refund_order'",
            "the receipt in its answer",
        ),
        ("UPDATE operations SET created_at = created_at + 1 WHERE action = 'void'", "it was resolved at"),
        ("UPDATE holds SET resolved_at = resolved_at - 1 WHERE status = 'posted'", "it was resolved at"),
    ]);
}

#[test]
fn wallets_are_those_of_the_lots() {
    assert_found(&[
        ("DELETE FROM wallets", "there are lots in it, and it is not listed"),
        ("INSERT INTO wallets VALUES ('nobody', 'EUR')", "it is listed, and there are no lots in it"),
    ]);
}
