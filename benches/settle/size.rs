//! How much room purchases and accounts take up.

use std::fs;

use bevy_iap::server::ledger::{Context, Ledger, SqliteLedger};
use bevy_iap::server::signing::Signer;
use rayon::prelude::*;

#[cfg(all(unix, feature = "postgres"))]
use crate::database;
use crate::{memory, shop, table};

const DEVICES: usize = 1_000;
const BATCHES: usize = 20;

pub fn run() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("store.sqlite");
    let mut ledger = SqliteLedger::open(&path, &shop::game()).expect("opens");
    let mut devices = shop::devices(5, DEVICES);
    let keys: Vec<_> = devices.par_iter().map(|device| device.key.public()).collect();
    ledger.enrol(&keys, shop::welcome(), shop::NOW).expect("enrols");
    let catalog = shop::catalog();
    let key = bevy_iap::protocol::SecretKey::from_seed(&[2; 32]);
    let mut signer = Signer::new(key.into(), shop::game());
    let mut sizes = Vec::new();
    for batch in shop::batches(&mut devices, BATCHES, |_| "shield".to_owned()) {
        let mut context = Context { catalog: &catalog, signer: &mut signer, now: shop::NOW };
        ledger.settle(&batch, &mut context).expect("settles");
        sizes.push(length(&path));
    }
    let grown = sizes[BATCHES - 1] - sizes[BATCHES / 2 - 1];
    let each = grown / (DEVICES * BATCHES / 2) as u64;
    table::told("bytes of the database for each purchase, without its log", &each.to_string());

    let what = "more memory of the server's process after 100,000 accounts were made, on";
    table::told(&format!("{what} SQLite"), &mebibytes(memory::grown("", || 0).0));
    #[cfg(all(unix, feature = "postgres"))]
    if let Some(database) = database::start() {
        database.make("ours");
        let (server, theirs) = memory::grown(&database.url("ours"), || database.memory());
        table::told(&format!("{what} PostgreSQL"), &mebibytes(server));
        table::told("more memory of PostgreSQL's processes meanwhile", &mebibytes(theirs));
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn length(path: &std::path::Path) -> u64 {
    // What is in the log comes into the file when the log is checked in.
    let connection = rusqlite::Connection::open(path).expect("opens");
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).expect("checked in");
    assert_eq!(busy, 0, "somebody else uses the database");
    fs::metadata(path).expect("it is there").len()
}
