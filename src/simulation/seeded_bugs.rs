//! Deliberate bugs: each is switched on alone, and the tests must see it.

use super::crashes::{Extent, exhaust};
use super::disk::{FaultKind, Thoroughness};
use super::failures::fail_every_call;
use super::life::{Act, Life};
use super::mending::crash_and_fail;
use super::rot::rot;
use super::{joining, pages, replacing};
use crate::client::journal::{FrameWriter, header, recover};
use crate::client::record::{Record, Signed};
use crate::client::seeded::{Bug, with};

/// Everything that looks for bugs, as small as it can be and still find them all. Says what was found, if anything.
/// What most likely finds it comes first: failing calls, or crashes.
fn search(failures_first: bool) -> Option<String> {
    let extent = Extent {
        longest: 2,
        thoroughness: Thoroughness { tear_every: 211, at_random: 1 },
        second_every: 100,
        third_every: 64,
        converge_every: 5,
        upgrade_thoroughness: Thoroughness { tear_every: 4_096, at_random: 0 },
        upgrade_second_every: 100,
        random: 0,
        acts: 0,
    };
    let crashes = || exhaust(extent, 1).err().map(|wrong| format!("crashes: {wrong}"));
    let rot = || rot(60, 2).and_then(|_| crash_and_fail(7, 4).map(drop)).err().map(|wrong| format!("rot: {wrong}"));
    let failures =
        |kinds: &[FaultKind], every| fail_every_call(kinds, every, 3).err().map(|wrong| format!("failures: {wrong}"));
    let others = || two_processes().or_else(forged_seal).or_else(replacing::search);
    let some = || failures(&[FaultKind::Broken, FaultKind::Short], 7);
    let lost = || failures(&[FaultKind::SyncLost, FaultKind::Unheard], 2);
    let failures = || some().or_else(lost);
    let found = others().or_else(rot);
    match failures_first {
        true => found.or_else(failures).or_else(crashes),
        false => found.or_else(crashes).or_else(failures),
    }
}

/// Whether a bug is one of those that only failing calls bring to light, so that crashes are tried in vain.
fn needs_failures(bug: Bug) -> bool {
    use Bug::*;
    matches!(
        bug,
        RetrySync
            | NoCutBack
            | UncertainIsFailure
            | ForgetShortWrite
            | CompactConsumed
            | CompactChain
            | QueuedBeforeDurable
            | SentBeforeDurable
            | AppliedBeforeDurable
            | CursorWithoutReceipts
            | ForgetConsumed
            | TrustForgottenNames
            | KeepReplaced
    )
}

/// Whether a bug is one of those that only show where an account is joined.
fn needs_joining(bug: Bug) -> bool {
    use Bug::*;
    matches!(bug, ForgetLeft | ForgetLeftUntold | FollowLeft | CompactAccount)
}

/// A second process on the folder of a first one.
fn two_processes() -> Option<String> {
    let mut first = Life::new(1);
    first.reopen();
    let mut second = first.second_process(2);
    second.open_beside();
    second.may_write().then(|| "two processes write at once".to_owned())
}

/// A seal that says more than the receipt that it is on.
fn forged_seal() -> Option<String> {
    let mut life = Life::new(1);
    life.reopen();
    [Act::Buy, Act::Exchange].iter().for_each(|act| life.act(*act));
    let (left, mut content) = (life.left(), life.disk.content());
    content.rot("journal.iap", forge_a_seal);
    let mut life = Life::after(content, &life.told, &life.shop, 1);
    life.reopen();
    (life.left() != left).then(|| format!("a forged seal gave {} shields", life.left()))
}

/// Writes a seal into a journal that says that the receipt gives ninety-nine shields, and makes the sum right.
fn forge_a_seal(journal: &mut Vec<u8>) {
    let (records, _) = recover(journal).expect("a journal");
    let forged = records.into_iter().map(|record| match record {
        Record::Receipt(signed) => {
            // The last byte of a summary is the number of its last item.
            let mut seal = signed.seal().to_vec();
            seal.iter_mut().last().into_iter().for_each(|quantity| *quantity = 99);
            Record::Receipt(Signed::new(&seal, signed.token().as_str()))
        }
        other => other,
    });
    let mut bytes = header().to_vec();
    FrameWriter::default().append(&forged.collect::<Vec<_>>(), &mut bytes);
    *journal = bytes;
}

#[test]
fn without_a_bug_nothing_is_found() {
    assert_eq!(search(false).or_else(joining::search), None);
}

#[test]
fn without_a_bug_nothing_is_found_in_what_pages_keep() {
    assert_eq!(pages::search(), None);
}

#[test]
fn every_seeded_bug_is_caught() {
    let find = |bug| match needs_joining(bug) {
        true => joining::search(),
        false => search(needs_failures(bug)),
    };
    assert_caught(Bug::ALL.iter().map(|&bug| (bug, with(bug, || find(bug)))));
}

#[test]
fn every_seeded_bug_in_what_pages_keep_is_caught() {
    assert_caught(Bug::OF_PAGES.iter().map(|&bug| (bug, with(bug, pages::search))));
}

fn assert_caught(searched: impl Iterator<Item = (Bug, Option<String>)>) {
    let mut missed = Vec::new();
    for (bug, found) in searched {
        match found {
            Some(found) => println!("{bug:?}: {}", found.lines().next().unwrap_or_default()),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not seen: {missed:?}");
}
