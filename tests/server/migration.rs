//! Books of an older version are brought up to this one, once, whoever opens them.

use std::path::Path;
use std::thread;

use bevy_iap::protocol::{AllowanceRequest, ConsumptionStatus, Currency, Receipt, Sha256, Status};
use bevy_iap::server::audit::audit;
use bevy_iap::server::ledger::operation::RefundOrder;
use bevy_iap::server::ledger::{
    AccountChange, AccountRules, AccountWish, AllowanceRules, AllowanceWish, ConsumptionOutcome, Context, Credit,
    Ledger, LedgerError, OperateError, Operation, OperationId, SqliteLedger, VerifiedConsumption, VerifiedOrder,
};
use bevy_iap::server::signing::Signer;
use rusqlite::{Connection, params};

use crate::support::{Device, catalog, game};

/// The tables of version 1, as its server made them.
const VERSION_1: &str = include_str!("version_1.sql");

/// Books of version 1: a welcome, two credits, a purchase of 1.01 EUR that all three pay, one that was refunded, and
/// one that was declined. They are written with today's books, whose orders and receipts were the same.
fn version_1(path: &Path) -> (Device, Vec<VerifiedOrder>, Signer) {
    let mut device = Device::new();
    let account = device.account();
    let mut signer = Signer::new(std::sync::Arc::new(bevy_iap::protocol::SecretKey::from_seed(&[42; 32])), game());
    let today = tempfile::tempdir().expect("a temporary folder");
    let mut ledger = SqliteLedger::open(&today.path().join("store.sqlite"), &game()).expect("opens");
    ledger.enrol(&[device.key.public()], Some("1EUR".parse().expect("money")), 10).expect("enrols");
    let credit = Credit::paid(account.clone(), "0.5EUR".parse().expect("money")).expect("a good source");
    ledger.operate(&Operation::new(OperationId([1; 16]), credit), &mut signer, 20).expect("credits");
    let orders: Vec<VerifiedOrder> = [("shield", 210), ("double_jump", 1), ("palace", 1)]
        .into_iter()
        .map(|(product, quantity)| {
            let token = device.order(product, quantity);
            VerifiedOrder::verify(token, device.key.public(), &account, &game()).expect("verifies")
        })
        .collect();
    let mut context = Context { catalog: &catalog(), signer: &mut signer, now: 30 };
    ledger.settle(&orders, &mut context).expect("settles");
    let refund = RefundOrder { order: orders[1].order().id, quantity: None };
    ledger.operate(&Operation::new(OperationId([2; 16]), refund), &mut signer, 40).expect("refunds");
    drop(ledger);

    let old = Connection::open(path).expect("opens");
    old.execute_batch(VERSION_1).expect("makes the tables");
    let from = today.path().join("store.sqlite");
    old.execute("ATTACH ?1 AS today", [from.to_str().expect("UTF-8")]).expect("attaches");
    old.execute_batch(
        "INSERT INTO meta SELECT * FROM today.meta;
         INSERT INTO devices SELECT id, account, public_key, created_at, sequence, chain_head FROM today.devices;
         INSERT INTO orders SELECT id, account, device, sequence, product, quantity, token, sha256, status, until,
             amount, currency, settled_at FROM today.orders;
         INSERT INTO receipts SELECT * FROM today.receipts;",
    )
    .expect("copies");
    let insert = |kind: &str, owner: &str, debits: i64, credits: i64| {
        let statement = "INSERT INTO accounts (kind, owner, currency, debits_posted, credits_posted)
                         VALUES (?1, ?2, 'EUR', ?3, ?4)";
        old.execute(statement, params![kind, owner, debits, credits]).expect("inserts");
        old.last_insert_rowid()
    };
    let wallet = insert("wallet", account.as_str(), 1_100_000, 1_550_000);
    let welcome = insert("funding", "welcome", 1_000_000, 0);
    let operator = insert("funding", "operator", 500_000, 0);
    let revenue = insert("revenue", "arcade", 50_000, 1_100_000);
    let ids: Vec<_> = orders.iter().map(|order| order.order().id.0).collect();
    for (id, debit, credit, amount, kind, order, at) in [
        (7_u8, welcome, wallet, 1_000_000, "welcome", None, 10),
        (1, operator, wallet, 500_000, "credit", None, 20),
        (8, wallet, revenue, 1_050_000, "purchase", Some(ids[0]), 30),
        (9, wallet, revenue, 50_000, "purchase", Some(ids[1]), 30),
        (6, revenue, wallet, 50_000, "refund", Some(ids[1]), 40),
    ] {
        let statement = "INSERT INTO transfers (id, debit_account, credit_account, amount, kind, order_id, created_at)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        old.execute(statement, params![[id; 16], debit, credit, amount, kind, order, at]).expect("inserts");
    }
    old.pragma_update(None, "user_version", 1).expect("sets");
    (device, orders, signer)
}

fn assert_right(ledger: &mut SqliteLedger, signer: &Signer) {
    let report = audit(ledger, &[signer.public_key()], &game()).expect("audits");
    assert!(report.is_clean(), "{report}");
}

fn euros(ledger: &mut SqliteLedger, device: &Device) -> i64 {
    ledger.show(&device.account()).expect("reads").expect("is there").wallet[0].available.value()
}

#[test]
fn books_of_version_1_keep_their_balances_and_go_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.sqlite");
    let (mut device, orders, mut signer) = version_1(&path);
    let mut ledger = SqliteLedger::open(&path, &game()).expect("opens");
    assert_right(&mut ledger, &signer);
    assert_eq!(euros(&mut ledger, &device), 450_000);
    // The same order is the same order, and the same credit the same credit.
    let mut context = Context { catalog: &catalog(), signer: &mut signer, now: 50 };
    ledger.settle(&orders, &mut context).expect("settles");
    let credit = Credit::paid(device.account(), "0.5EUR".parse().expect("money")).expect("a good source");
    ledger.operate(&Operation::new(OperationId([1; 16]), credit.clone()), &mut signer, 50).expect("the same answer");
    let other = Credit { fee: bevy_iap::protocol::Micros::new(1).ok(), ..credit };
    let other = ledger.operate(&Operation::new(OperationId([1; 16]), other), &mut signer, 50);
    assert!(matches!(other, Err(OperateError::IdUsed(_))), "{other:?}");
    assert_eq!(euros(&mut ledger, &device), 450_000);
    // What was bought then can be refunded now, to the lots that would have paid.
    let refund = RefundOrder { order: orders[0].order().id, quantity: Some(10) };
    ledger.operate(&Operation::new(OperationId([3; 16]), refund), &mut signer, 60).expect("refunds");
    assert_eq!(euros(&mut ledger, &device), 500_000);
    let token = device.order("shield", 100);
    let order = VerifiedOrder::verify(token, device.key.public(), &device.account(), &game()).expect("verifies");
    let mut context = Context { catalog: &catalog(), signer: &mut signer, now: 70 };
    let outcome = ledger.settle(&[order], &mut context).expect("settles").remove(0);
    let bevy_iap::server::ledger::Outcome::Settled { entry, status } = outcome else { panic!("{outcome:?}") };
    assert_eq!(status, Status::Granted);
    assert!(Receipt::verify(&entry.token, &[signer.public_key()], &game()).is_ok());
    assert_right(&mut ledger, &signer);
}

#[test]
fn books_that_two_servers_open_at_once_are_brought_up_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for round in 0..8 {
        let path = folder.path().join(format!("{round}.sqlite"));
        let made = (round % 2 == 0).then(|| version_1(&path));
        thread::scope(|scope| {
            let open = || SqliteLedger::open(&path, &game()).map(drop);
            let opened: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            for thread in opened {
                thread.join().expect("ends").expect("opens");
            }
        });
        let mut ledger = SqliteLedger::open(&path, &game()).expect("opens");
        if let Some((device, _, signer)) = made {
            assert_eq!(euros(&mut ledger, &device), 450_000);
            assert_right(&mut ledger, &signer);
        }
    }
}

#[test]
fn books_that_cannot_be_brought_up_are_left_as_they_were() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (change, told) in [
        ("UPDATE transfers SET amount = 9000000 WHERE kind = 'purchase'", "it takes more than the wallet held"),
        ("UPDATE transfers SET amount = 9000000 WHERE kind = 'refund'", "it gives back more than was paid"),
        ("PRAGMA user_version = 99", "the books are of version 99"),
        ("UPDATE meta SET value = 'chess'", "the books are of the game chess"),
    ] {
        let path = folder.path().join(format!("{}.sqlite", told.len()));
        drop(version_1(&path));
        let connection = Connection::open(&path).expect("opens");
        connection.execute_batch(change).expect("changes");
        let dump = |connection: &Connection| -> (i64, i64, i64) {
            let query = "SELECT (SELECT user_version FROM pragma_user_version), (SELECT COUNT(*) FROM sqlite_schema),
                             (SELECT SUM(amount) FROM transfers)";
            connection.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("reads")
        };
        let before = dump(&connection);
        let error: LedgerError = SqliteLedger::open(&path, &game()).expect_err("it is refused");
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(dump(&connection), before);
    }
}

/// Takes back what these steps have done.
fn older(path: &Path, undo: &[&str]) {
    Connection::open(path).expect("opens").execute_batch(&undo.concat()).expect("undoes");
}

/// What questions that are remembered have changed, undone.
const VERSION_6: &str = "
    DROP TABLE questions;
    PRAGMA user_version = 6;
";

/// What accounts of several devices have changed, undone.
const VERSION_5: &str = "
    DROP TABLE logins;
    DROP TABLE link_codes;
    DROP TABLE moves;
    ALTER TABLE devices DROP COLUMN place;
    ALTER TABLE devices DROP COLUMN name;
    ALTER TABLE devices DROP COLUMN revoked_at;
    ALTER TABLE devices DROP COLUMN replaced_by;
    PRAGMA user_version = 5;
";

/// What consumptions have changed, undone.
const VERSION_4: &str = "
    DROP TABLE consumptions;
    DROP TABLE inventories;
    ALTER TABLE devices DROP COLUMN consumed_sequence;
    ALTER TABLE devices DROP COLUMN consumed_repeated;
    ALTER TABLE devices DROP COLUMN consumed_missing;
    PRAGMA user_version = 4;
";

/// What version 4 has changed, undone.
const VERSION_3: &str = "
    DROP TABLE allowances;
    DROP TABLE forks;
    ALTER TABLE devices DROP COLUMN frozen_at;
    PRAGMA user_version = 3;
";

#[test]
fn books_of_version_3_give_allowances_from_then_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.sqlite");
    let (device, _, mut signer) = version_1(&path);
    drop(SqliteLedger::open(&path, &game()).expect("opens"));
    older(&path, &[VERSION_6, VERSION_5, VERSION_4, VERSION_3]);
    let mut ledger = SqliteLedger::open(&path, &game()).expect("opens");
    assert_right(&mut ledger, &signer);
    assert_eq!(euros(&mut ledger, &device), 450_000);
    let request = AllowanceRequest { current: None, currency: Currency::EUR };
    let wish = AllowanceWish { device: device.id(), account: device.account(), request };
    let mut context = Context { catalog: &catalog(), signer: &mut signer, now: 50 };
    let given = ledger.allow(&[wish], &AllowanceRules::default(), &mut context).expect("allows").remove(0);
    assert!(given.is_some());
    assert_eq!(euros(&mut ledger, &device), 360_000);
    assert_right(&mut ledger, &signer);
}

#[test]
fn books_of_version_4_use_up_what_was_bought_before() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.sqlite");
    let (device, _, mut signer) = version_1(&path);
    drop(SqliteLedger::open(&path, &game()).expect("opens"));
    older(&path, &[VERSION_6, VERSION_5, VERSION_4]);
    let mut ledger = SqliteLedger::open(&path, &game()).expect("opens");
    assert_right(&mut ledger, &signer);
    // 210 were bought, and nothing that was refunded counts.
    let consume = |sequence, quantity| {
        let token = device.consumption(sequence, "shield", quantity).sign(&device.key).expect("signs");
        VerifiedConsumption::verify(token, device.key.public(), &device.account(), &game()).expect("verifies")
    };
    let batch = [consume(1, 211), consume(2, 210), consume(3, 1)];
    let outcomes = ledger.consume(&batch, &mut signer, 50).expect("decides");
    let status = |status| ConsumptionOutcome::Settled { status, repeated: false };
    let expected = [ConsumptionStatus::Refused, ConsumptionStatus::Consumed, ConsumptionStatus::Refused];
    assert_eq!(outcomes, expected.map(status));
    assert_right(&mut ledger, &signer);
}

#[test]
fn books_of_version_5_let_devices_join_from_then_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.sqlite");
    let (device, _, mut signer) = version_1(&path);
    drop(SqliteLedger::open(&path, &game()).expect("opens"));
    older(&path, &[VERSION_6, VERSION_5]);
    let mut ledger = SqliteLedger::open(&path, &game()).expect("opens");
    let other = Device::new();
    ledger.enrol(&[other.key.public()], None, 50).expect("enrols");
    let mut ask = |device: &Device, change| {
        let question = Sha256::of(crate::support::fresh_id());
        let wish = AccountWish { device: device.id(), question, change };
        ledger.manage(&wish, &AccountRules::default(), &mut signer, 50).expect("is done")
    };
    let code = ask(&other, AccountChange::LinkCode).link_code.expect("is made").code;
    assert_eq!(ask(&device, AccountChange::JoinByCode(code)).account, other.account());
    assert_right(&mut ledger, &signer);
}

#[test]
fn books_of_version_6_do_nothing_twice_from_then_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.sqlite");
    let (device, _, mut signer) = version_1(&path);
    drop(SqliteLedger::open(&path, &game()).expect("opens"));
    older(&path, &[VERSION_6]);
    let mut ledger = SqliteLedger::open(&path, &game()).expect("opens");
    let wish = AccountWish { device: device.id(), question: Sha256::of("a"), change: AccountChange::LinkCode };
    let rules = AccountRules::default();
    assert!(ledger.manage(&wish, &rules, &mut signer, 50).expect("is done").link_code.is_some());
    assert!(ledger.manage(&wish, &rules, &mut signer, 50).is_err());
    assert_right(&mut ledger, &signer);
}
