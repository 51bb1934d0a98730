//! One damaged row is trouble for its own account alone.

use bevy_iap::protocol::Status;
use bevy_iap::server::ledger::Outcome;
use rusqlite::Connection;

use super::{Desk, Engine, verified};
use crate::support::Device;

#[test]
fn damaged_account_fails_its_own_orders_and_nobody_elses() {
    let mut desk = Desk::of(Engine::Sqlite);
    let (mut damaged, mut healthy) = (Device::new(), Device::new());
    desk.enrol(&damaged);
    desk.enrol(&healthy);
    let file = Connection::open(desk.folder.path().join("store.sqlite")).expect("opens");
    let account = damaged.account();
    let set_source = |source: &str| {
        let statement = "UPDATE accounts SET source = ?1 WHERE owner = ?2";
        assert_eq!(file.execute(statement, [source, account.as_str()]).expect("changes"), 1);
    };
    set_source("no source at all");
    let mut orders = Vec::new();
    for _ in 0..2 {
        let token = damaged.order("shield", 1);
        orders.push(verified(&damaged, &token));
        let token = healthy.order("shield", 1);
        orders.push(verified(&healthy, &token));
    }
    let outcomes = desk.settle(&orders);
    let granted = |outcome: &Outcome| matches!(outcome, Outcome::Settled { status: Status::Granted, .. });
    assert!(
        matches!(&outcomes[..], [Outcome::Failed, first, Outcome::Failed, second] if granted(first) && granted(second))
    );
    // Nothing was decided: mended, both are settled, in their chain.
    set_source("welcome");
    let outcomes = desk.settle(&orders);
    assert!(
        matches!(&outcomes[..], [first, Outcome::Replayed(_), second, Outcome::Replayed(_)] if granted(first) && granted(second))
    );
    desk.assert_right();
}
