//! Journals of other versions, and a second copy of the game that waits for the first.

use std::fs;

use bevy_iap::client::Record;
use bevy_iap::client::storage::file::FileStorage;
use bevy_iap::client::storage::{Storage, StorageError};
use bevy_iap::plugin::Store;
use tempfile::TempDir;

use crate::shop::Shop;

/// A folder with the key of the protocol's worked example and a journal.
fn folder(journal: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("device.key"), "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE\n").expect("written");
    fs::write(folder.path().join("journal.iap"), journal).expect("written");
    folder
}

fn records(folder: &TempDir) -> Result<Vec<Record>, StorageError> {
    let mut records = Vec::new();
    FileStorage::new(folder.path()).open(&mut |_, record| records.push(record))?;
    Ok(records)
}

#[test]
fn a_journal_of_format_1_is_upgraded_in_place_with_everything_in_it() {
    let old = include_bytes!("../journals/format-1.iap");
    let folder = folder(old);
    let first = records(&folder).expect("opens");
    let kinds: Vec<_> = first.iter().map(Record::kind).collect();
    assert_eq!(kinds, [1, 2, 6, 3, 5, 4]);
    let journal = fs::read(folder.path().join("journal.iap")).expect("read");
    assert_eq!(journal[8..12], 2u32.to_le_bytes(), "it is written anew in format 2");
    assert_eq!(records(&folder).expect("opens"), first);
}

#[test]
fn a_journal_of_format_1_that_a_crash_cut_short_is_upgraded_at_every_byte() {
    let old = include_bytes!("../journals/format-1.iap");
    for cut in (16..1_832).step_by(7) {
        let folder = folder(&old[..cut]);
        let first = records(&folder).expect("opens");
        assert!(first.len() < 6 && records(&folder).expect("opens") == first, "cut at {cut}");
    }
}

#[test]
fn a_journal_of_a_newer_format_is_refused_and_left_as_it_is() {
    let mut newer = include_bytes!("../journals/format-1.iap").to_vec();
    newer[8] = 3;
    let sum = crc32c::crc32c(&newer[..12]).to_le_bytes();
    newer[12..16].copy_from_slice(&sum);
    let folder = folder(&newer);
    let error = records(&folder).expect_err("refused").to_string();
    assert!(error.contains("format 3") && error.contains("update the game"), "{error}");
    assert_eq!(fs::read(folder.path().join("journal.iap")).expect("read"), newer);
}

#[test]
fn a_second_copy_of_the_game_can_buy_when_the_first_has_ended() {
    let shop = Shop::open("1.00EUR");
    let mut first = shop.play("save");
    first.buy_until("shield", bevy_iap::client::OrderState::Granted);
    let mut second = shop.play("save");
    assert!(second.store_mut().purchase("shield").is_err(), "it only looks");
    assert_eq!(second.store().quantity("shield"), 1);
    drop(first);
    second.until("it may write", |store: &Store| store.availability().is_ok());
    second.buy_until("shield", bevy_iap::client::OrderState::Granted);
    assert_eq!(second.store().quantity("shield"), 2);
    shop.audit();
}
