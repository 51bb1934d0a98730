//! To start with many receipts or orders: time, instructions and memory.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bevy_iap::client::{self, Record, journal};
use bevy_iap::protocol::{Receipt, Token};

use crate::table::{Goal, limited, measured, milliseconds, not_measured};
use crate::timing::{BareFile, Leg, Rounds, time};
use crate::{journals, measure};

const MANY: u64 = 100_000;
const MOST: u64 = 1_000_000;
const ORDERS: u64 = 10_000;
/// How many receipts are verified, to know what all of them would take.
const SAMPLE: u64 = 2_000;
/// The receipts that are shown to the game are read whole, so they are left out of what is counted for each.
const RECENT: u64 = client::RECENT as u64;
const ROUNDS: Rounds = Rounds { wanted: 7, limit: Duration::from_secs(120) };

const RECEIPTS: &str = "start with 100,000 receipts; floor: read and CRC-32C";
const VERIFYING: &str = "the same; floor: verifying every signature";
const AS_WRITTEN: &str = "start with 100,000 receipts as written; floor: read and CRC-32C";
const NOT_SYNCED: &str = "start with 10,000 orders not synced; floor: read and CRC-32C";
const COUNTED: &str = "instructions to start, a receipt; floor: verifying its signature";

pub fn run() {
    let probes = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mut probe = BareFile::create(&probes.path().join("probe"));
    let folder = journals::compacted(MANY);
    let tokens = sample(&folder);
    let verifying = &mut || vec![time(|| tokens.iter().for_each(verify)).0];
    let legs: &mut [Leg<'_>] = &mut [&mut || apart(READ, &folder), &mut || apart(OPEN, &folder), verifying];
    match ROUNDS.medians(legs, || probe.is_quiet()).as_deref() {
        Ok(&[bare, open, sample]) => {
            started(RECEIPTS, open, bare, 4.0);
            let all = sample.mul_f64(MANY as f64 / SAMPLE as f64);
            started(VERIFYING, open, all, 1.0 / 20.0);
        }
        Ok(_) => {}
        Err(trouble) => [RECEIPTS, VERIFYING].iter().for_each(|what| not_measured(what, trouble)),
    }
    start(AS_WRITTEN, &journals::as_written(MANY), 4.0, &mut probe);
    start(NOT_SYNCED, &journals::not_synced(ORDERS), 3.0, &mut probe);
    instructions();
}

fn start(what: &str, folder: &Path, goal: f64, probe: &mut BareFile) {
    let legs: &mut [Leg<'_>] = &mut [&mut || apart(READ, folder), &mut || apart(OPEN, folder)];
    match ROUNDS.medians(legs, || probe.is_quiet()).as_deref() {
        Ok(&[bare, open]) => started(what, open, bare, goal),
        Ok(_) => {}
        Err(trouble) => not_measured(what, trouble),
    }
}

fn started(what: &str, open: Duration, floor: Duration, goal: f64) {
    let ratio = open.as_secs_f64() / floor.as_secs_f64();
    measured(what, milliseconds(open), milliseconds(floor), ratio, Goal::AtMost(goal));
}

/// What is timed apart: reading the file whole with the sum of its bytes, and opening the journal.
const READ: &str = "--read";
const OPEN: &str = "--open";

/// Runs one of them in a process of its own, as a game starts once in a process: in memory that nothing has used before.
fn apart(what: &str, folder: &Path) -> Vec<Duration> {
    let myself = std::env::current_exe().expect("it runs");
    let output = Command::new(myself).arg(what).arg(folder).output().expect("it runs again");
    let nanoseconds = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a time");
    vec![Duration::from_nanos(nanoseconds)]
}

/// Does what another process asks to have timed, if this one was started for that, and says how long it took.
pub fn timed() -> Option<Duration> {
    let mut arguments = std::env::args_os().skip(1);
    let what = arguments.next()?;
    let folder = PathBuf::from(arguments.next()?);
    match what.to_str()? {
        READ => Some(read_bare(&folder)),
        OPEN => Some(open(&folder)),
        _ => None,
    }
}

fn read_bare(folder: &Path) -> Duration {
    let path = journals::file(folder);
    let (elapsed, _) = time(|| {
        let bytes = std::fs::read(&path).expect("it is there");
        black_box(crc32c::crc32c(&bytes));
        bytes
    });
    elapsed
}

fn open(folder: &Path) -> Duration {
    let mut opened = None;
    // The allocations are counted in another part.
    allocation_counter::opt_out(|| opened = Some(time(|| journals::open(folder))));
    opened.expect("it was opened").0
}

/// The first receipts of a journal.
fn sample(folder: &Path) -> Vec<Token> {
    let bytes = std::fs::read(journals::file(folder)).expect("it is there");
    let (records, _) = journal::recover(&bytes).expect("a journal");
    let tokens = records.into_iter().filter_map(|record| match record {
        Record::Receipt(signed) => Some(signed.token()),
        _ => None,
    });
    tokens.take(usize::try_from(SAMPLE).expect("it fits")).collect()
}

fn verify(token: &Token) {
    let account = journals::device().id().guest_account();
    let keys = [journals::server().public()];
    black_box(Receipt::verify_for(token, &keys, &journals::game(), &account)).expect("verifies");
}

fn instructions() {
    for receipts in [measure::FEW, measure::MANY] {
        journals::compacted(RECENT + receipts);
    }
    match (measure::instructions("start"), measure::instructions("verify")) {
        (Ok(start), Ok(verify)) => {
            let ratio = start as f64 / verify as f64;
            measured(COUNTED, start, verify, ratio, Goal::AtMost(1.0 / 20.0));
        }
        (Err(trouble), _) | (_, Err(trouble)) => not_measured(COUNTED, &trouble),
    }
}

/// What is counted: a start with so many receipts more than are shown to the game, or as many verified.
pub fn counted(job: &str, receipts: u64) {
    match job {
        "start" => drop(journals::open(&journals::folder_of_compacted(RECENT + receipts))),
        _ => {
            let tokens = sample(&journals::folder_of_compacted(RECENT + measure::FEW));
            tokens.iter().cycle().take(usize::try_from(receipts).expect("it fits")).for_each(verify);
        }
    }
}

pub fn memory() {
    for receipts in [MANY, MOST] {
        let folder = journals::compacted(receipts);
        let mut opened = None;
        let allocated = allocation_counter::measure(|| opened = Some(journals::open(&folder)));
        let each = |bytes: f64| bytes / receipts as f64;
        let what = format!("bytes of memory a receipt, after a start with {receipts}");
        limited(&what, each(allocated.bytes_current as f64), each(allocated.bytes_max as f64), 96.0);
    }
}
