//! How long anybody waits for a database that does not answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bevy_iap::server::ledger::{
    AccountRow, BookReader, DeviceRow, HoldRow, Ledger, LedgerError, OperationRow, OrderRow, PostgresLedger,
    ReceiptRow, TransferRow,
};

use super::troubles::Cutter;
use super::{Till, is_new, orders, receipts};
use crate::cluster;
use crate::support::game;

const PATIENCE: Duration = Duration::from_secs(4);

#[test]
fn silence_after_a_commit_leaves_the_time_to_find_it_done() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, schema) = cluster.fresh_books();
    let cutter = Cutter::before(cluster, &schema);
    let mut till = Till::at(&url);
    let mut devices = till.devices(3);
    let ledger = PostgresLedger::open(&cutter.url, &game()).expect("opens").with_patience(PATIENCE);
    let mut silent = Till::of(ledger);
    let batch = orders(&mut devices, "shield", 2);
    cutter.silent.store(true, Ordering::SeqCst);
    cutter.armed.store(true, Ordering::SeqCst);
    let started = Instant::now();
    let outcomes = silent.settle(&batch).expect("settles");
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    assert!(!outcomes.iter().any(is_new), "they were settled by the commit that was not answered");
    assert_eq!(receipts(&batch, &outcomes), receipts(&batch, &till.settle(&batch).expect("settles")));
    till.assert_right();
}

#[test]
fn silence_without_end_is_told_when_the_patience_ends() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, schema) = cluster.fresh_books();
    let cutter = Cutter::before(cluster, &schema);
    let mut devices = Till::at(&url).devices(1);
    let ledger = PostgresLedger::open(&cutter.url, &game()).expect("opens").with_patience(PATIENCE);
    let mut silent = Till::of(ledger);
    let batch = orders(&mut devices, "shield", 1);
    cutter.silent.store(true, Ordering::SeqCst);
    cutter.stays_shut.store(true, Ordering::SeqCst);
    cutter.armed.store(true, Ordering::SeqCst);
    let started = Instant::now();
    let error = silent.settle(&batch).expect_err("nobody answers");
    assert!(matches!(error, LedgerError::Unavailable(_)), "{error}");
    assert!(started.elapsed() < PATIENCE + Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn commit_that_the_stand_by_has_not_confirmed_is_not_answered() {
    let Some(cluster) = cluster::own("max_connections=20") else { return };
    let (url, schema) = cluster.fresh_books();
    let ledger = PostgresLedger::open(&url, &game()).expect("opens").with_patience(3 * PATIENCE);
    let mut till = Till::of(ledger);
    let mut devices = till.devices(1);
    let batch = orders(&mut devices, "shield", 1);
    let set_stand_by = |name: &str| {
        cluster.admin(&format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"));
        cluster.admin("SELECT pg_reload_conf()");
        while cluster.admin("SHOW synchronous_standby_names") != [name] {
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    set_stand_by("nobody");
    let is_waited_for = AtomicBool::new(false);
    let settled = std::thread::scope(|scope| {
        // Commits wait for a stand-by a moment after its name is shown: once one of these does.
        scope.spawn(|| {
            while !is_waited_for.load(Ordering::SeqCst) {
                cluster.admin("SELECT pg_logical_emit_message(true, 'test', 'a commit that waits')");
            }
        });
        while cluster.admin("SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'") != ["t"] {
            std::thread::sleep(Duration::from_millis(10));
        }
        is_waited_for.store(true, Ordering::SeqCst);
        let settled = till.settle(&batch);
        set_stand_by("");
        settled
    });
    let error = settled.expect_err("nobody confirms");
    assert!(matches!(error, LedgerError::Unavailable(_)), "{error}");
    cluster.disconnect(&schema);
    let outcomes = till.settle(&batch).expect("settles");
    assert_eq!(outcomes.len(), 1);
    till.assert_right();
    assert_eq!(till.euros(&devices[0]), 995_000);
}

/// A reader that is slow over the first row of each table that it looks at.
#[derive(Default)]
struct Slow {
    accounts: usize,
    devices: usize,
}

impl BookReader for Slow {
    fn account(&mut self, _: AccountRow) {
        if self.accounts == 0 {
            // Longer than a transaction of a server may be quiet.
            std::thread::sleep(Duration::from_secs(6));
        }
        self.accounts += 1;
    }

    fn device(&mut self, _: DeviceRow) {
        self.devices += 1;
    }

    fn transfer(&mut self, _: TransferRow) {}
    fn order(&mut self, _: OrderRow) {}
    fn receipt(&mut self, _: ReceiptRow) {}
    fn hold(&mut self, _: HoldRow) {}
    fn operation(&mut self, _: OperationRow) {}
}

#[test]
fn reader_that_takes_its_time_over_a_row_is_shown_the_rest() {
    let Some(cluster) = cluster::shared() else { return };
    let mut till = Till::at(&cluster.fresh_books().0);
    till.devices(3);
    let mut slow = Slow::default();
    till.ledger.read(&mut slow).expect("reads");
    assert_eq!((slow.accounts, slow.devices), (4, 3));
}
