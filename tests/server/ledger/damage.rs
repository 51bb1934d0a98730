//! One damaged row is trouble for its own account alone.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bevy_iap::protocol::Status;
use bevy_iap::server::ledger::operation::Hold;
use bevy_iap::server::ledger::{ModelLedger, Outcome};
use rusqlite::Connection;

use super::{Desk, Engine, verified};
use crate::support::{Device, game};

/// Runs promises on every engine that can be damaged from outside.
macro_rules! damaged {
    ($($promise:ident),* $(,)?) => {
        damaged!(@engine sqlite, Sqlite, $($promise)*);
        #[cfg(all(unix, feature = "postgres"))]
        damaged!(@engine postgres, Postgres, $($promise)*);
    };
    (@engine $module:ident, $engine:ident, $($promise:ident)*) => {
        mod $module {
            $(#[test]
            fn $promise() {
                if $crate::ledger::Engine::$engine.is_here() {
                    super::$promise(&mut $crate::ledger::Desk::of($crate::ledger::Engine::$engine));
                }
            })*
        }
    };
}

damaged!(
    hold_whose_lot_is_missing_fails_its_own_account_and_nobody_elses,
    hold_that_cannot_be_read_stays_and_the_sweep_ends_without_it,
);

/// Changes the books behind the engine's back.
fn spoil(desk: &Desk, statement: &str) {
    match desk.engine {
        Engine::Model => panic!("the model is in memory"),
        Engine::Sqlite => {
            let file = Connection::open(desk.folder.path().join("store.sqlite")).expect("opens");
            file.execute_batch(&format!("PRAGMA foreign_keys = off; {statement}")).expect("changes");
        }
        #[cfg(all(unix, feature = "postgres"))]
        Engine::Postgres => {
            let cluster = crate::cluster::shared().expect("is here");
            cluster.admin_at(&super::place(desk.folder.path()), statement);
        }
    }
}

/// New devices, with half a euro of each set aside for ten seconds.
fn holders<const COUNT: usize>(desk: &mut Desk) -> [Device; COUNT] {
    let expires_at = desk.now + 10;
    let devices = [(); COUNT].map(|()| Device::new());
    for (device, id) in devices.iter().zip(1..) {
        desk.enrol(device);
        let hold = Hold { account: device.account(), money: "0.5EUR".parse().expect("money"), expires_at };
        assert_eq!(desk.done(id, hold), (500_000, 500_000));
    }
    devices
}

/// Gives free what is due, and says how many holds there were; not for ever.
fn swept(desk: &mut Desk) -> u64 {
    let mut ledger = std::mem::replace(&mut desk.ledger, Box::new(ModelLedger::new(game())));
    let (now, (done, result)) = (desk.now, mpsc::channel());
    thread::spawn(move || {
        let swept = ledger.expire(now);
        let _ = done.send((swept, ledger));
    });
    let (swept, ledger) = result.recv_timeout(Duration::from_secs(30)).expect("the sweep ends");
    desk.ledger = ledger;
    swept.expect("sweeps")
}

fn held(desk: &mut Desk, device: &Device) -> i64 {
    desk.standing(device, 0).wallet[0].held.value()
}

fn hold_whose_lot_is_missing_fails_its_own_account_and_nobody_elses(desk: &mut Desk) {
    let [mut damaged, mut buyer, sleeper] = holders(desk);
    spoil(desk, &format!("DELETE FROM accounts WHERE owner = '{}'", damaged.account()));
    desk.now += 10;
    let tokens = [damaged.order("gift", 1), buyer.order("shield", 1)];
    let orders = [verified(&damaged, &tokens[0]), verified(&buyer, &tokens[1])];
    let outcomes = desk.settle(&orders);
    assert!(
        matches!(&outcomes[..], [Outcome::Failed, Outcome::Settled { status: Status::Granted, .. }]),
        "{outcomes:?}"
    );
    assert_eq!((held(desk, &buyer), held(desk, &sleeper)), (0, 500_000));
    assert_eq!(swept(desk), 1, "that of the one who did not buy");
    assert_eq!(held(desk, &sleeper), 0);
    assert_eq!(swept(desk), 0);
}

fn hold_that_cannot_be_read_stays_and_the_sweep_ends_without_it(desk: &mut Desk) {
    let [damaged, other] = holders(desk);
    let set_currency = |desk: &Desk, currency: &str| {
        spoil(desk, &format!("UPDATE holds SET currency = '{currency}' WHERE account = '{}'", damaged.account()));
    };
    set_currency(desk, "none");
    desk.now += 10;
    assert_eq!(swept(desk), 1);
    assert_eq!((held(desk, &damaged), held(desk, &other)), (500_000, 0));
    // Mended, it ends like any other.
    set_currency(desk, "EUR");
    assert_eq!(swept(desk), 1);
    assert_eq!(held(desk, &damaged), 0);
    desk.assert_right();
}

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
