//! How much room purchases and accounts take up.

use std::fs;

use bevy_iap::server::ledger::{Context, Ledger, SqliteLedger};
use bevy_iap::server::signing::Signer;
use rayon::prelude::*;

use crate::shop;
use crate::table;

const DEVICES: usize = 1_000;
const BATCHES: usize = 20;
const ACCOUNTS: usize = 100_000;

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

    let before = resident();
    let keys: Vec<_> = shop::devices(6, ACCOUNTS).par_iter().map(|device| device.key.public()).collect();
    let with_keys = resident();
    for keys in keys.chunks(1_000) {
        ledger.enrol(keys, shop::welcome(), shop::NOW).expect("enrols");
    }
    let grown = resident().saturating_sub(with_keys.max(before));
    table::told("more memory of the process after 100,000 accounts were made", &format!("{} KiB", grown / 1024));
}

fn length(path: &std::path::Path) -> u64 {
    // What is in the log comes into the file when the log is checked in.
    let connection = rusqlite::Connection::open(path).expect("opens");
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).expect("checked in");
    assert_eq!(busy, 0, "somebody else uses the database");
    fs::metadata(path).expect("it is there").len()
}

/// Bytes of memory that the process has, where the system says.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * 4096
}
