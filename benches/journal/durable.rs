//! To make purchases durable: one at a time, beside a bare write and two databases, and a burst.

use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};

use bevy_iap::client::journal::FrameWriter;
use bevy_iap::client::machine::{Input, Output};
use bevy_iap::client::storage::Opened;
use bevy_iap::client::storage::file::FileStorage;
use bevy_iap::client::{Access, Machine, Record, Session, Storage};
use bevy_iap::protocol::{Order, Sha256};
use redb::{Database, Durability, TableDefinition};
use rusqlite::Connection;

use crate::journals;
use crate::table::{Goal, measured, microseconds, not_measured};
use crate::timing::{BareFile, Rounds, time};

/// How many orders each turn makes durable.
const TURN: usize = 40;
/// How many orders come at once in a burst, and how many bursts are in a turn.
const BURST: usize = 64;
const BURSTS: usize = 10;
const ROUNDS: Rounds = Rounds { wanted: 10, limit: Duration::from_secs(90) };

const SINGLE: &str = "one signed order, appended and durable; floor: the same bytes, bare";
const WHOLE: &str = "the same from the purchase on: signed, sealed, appended, told";
const SQLITE: &str = "SQLite (WAL, FULL), one insert a commit; beside our append";
const REDB: &str = "redb (Immediate), one insert a commit; beside our append";
const BURST_OF_64: &str = "64 purchases at once, without their signing; floor: their bytes, bare, after it";
const WITH_SIGNING: &str = "the same with their signing; floor: signing them, and then their bytes, bare";

pub fn run() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mut probe = BareFile::create(&folder.path().join("probe"));
    single(folder.path(), &mut probe);
    burst(folder.path(), &mut probe);
}

fn single(folder: &Path, probe: &mut BareFile) {
    let (record, bytes) = signed_order();
    let mut payload = Vec::new();
    record.write_payload(&mut payload);
    let mut bare = BareFile::create(&folder.join("bare"));
    let mut storage = FileStorage::new(folder.join("appended"));
    storage.open(&mut |_, _| {}).expect("opens");
    let (mut session, mut numbers) = (session(&folder.join("whole")), 0..);
    let sqlite = sqlite(&folder.join("sqlite"));
    let mut insert = sqlite.prepare("INSERT INTO journal (record) VALUES (?1)").expect("prepares");
    let (redb, mut keys) = (Database::create(folder.join("redb")).expect("opens"), 0..);

    let medians = ROUNDS.medians(
        &mut [
            &mut || (0..TURN).map(|_| bare.write(&bytes)).collect(),
            &mut || turn(|| storage.append(std::slice::from_ref(&record)).expect("durable")),
            &mut || turn(|| drop(session.step(purchases(&mut numbers, 1), journals::tick))),
            &mut || turn(|| assert_eq!(insert.execute([&payload]), Ok(1))),
            &mut || turn(|| insert_into_redb(&redb, keys.next().expect("endless"), &payload)),
        ],
        || probe.is_quiet(),
    );
    match medians.as_deref() {
        Ok(&[bare, appended, whole, sqlite, redb]) => {
            let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
            let show = microseconds;
            measured(SINGLE, show(appended), show(bare), ratio(appended, bare), Goal::AtMost(1.10));
            measured(WHOLE, show(whole), show(bare), ratio(whole, bare), Goal::None);
            measured(SQLITE, show(sqlite), show(appended), ratio(sqlite, appended), Goal::AtLeast(1.5));
            measured(REDB, show(redb), show(appended), ratio(redb, appended), Goal::AtLeast(1.5));
        }
        Ok(_) => {}
        Err(trouble) => [SINGLE, WHOLE, SQLITE, REDB].iter().for_each(|what| not_measured(what, trouble)),
    }
}

fn burst(folder: &Path, probe: &mut BareFile) {
    let (record, _) = signed_order();
    let mut bytes = Vec::new();
    FrameWriter::default().append(&vec![record; BURST], &mut bytes);
    let bare = BareFile::create(&folder.join("bare-burst"));
    let (mut session, mut numbers) = (session(&folder.join("burst")), 0..);
    let (order, device) = (order(), journals::device());
    // The digest is part of it: the next order names it.
    let sign = |order: &mut Order| {
        let token = order.sign(&device).expect("signs");
        order.previous = Some(token.sha256());
    };
    // A disk is slower when it had nothing to do for a millisecond, and a processor when it has waited for the disk. So
    // the floor signs as well, and writes as well, and one of them is timed.
    let (order, bare) = (&RefCell::new(order), &RefCell::new(bare));
    let signing = || time(|| (0..BURST).for_each(|_| sign(&mut order.borrow_mut()))).0;
    let writing = || bare.borrow_mut().write(&bytes);
    let medians = ROUNDS.medians(
        &mut [
            &mut || {
                let burst = |_| {
                    signing();
                    writing()
                };
                (0..BURSTS).map(burst).collect()
            },
            &mut || {
                let burst = |inputs| time(|| session.step(inputs, journals::tick)).0;
                (0..BURSTS).map(|_| purchases(&mut numbers, BURST)).map(burst).collect()
            },
            &mut || {
                let burst = |_| {
                    let elapsed = signing();
                    writing();
                    elapsed
                };
                (0..BURSTS).map(burst).collect()
            },
        ],
        || probe.is_quiet(),
    );
    match medians.as_deref() {
        Ok(&[bare, burst, signing]) => {
            let beyond = burst.saturating_sub(signing);
            let show = microseconds;
            let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
            let both = signing + bare;
            measured(BURST_OF_64, show(beyond), show(bare), ratio(beyond, bare), Goal::AtMost(1.3));
            measured(WITH_SIGNING, show(burst), show(both), ratio(burst, both), Goal::None);
        }
        Ok(_) => {}
        Err(trouble) => [BURST_OF_64, WITH_SIGNING].iter().for_each(|what| not_measured(what, trouble)),
    }
}

fn turn(mut work: impl FnMut()) -> Vec<Duration> {
    let once = |_| {
        let started = Instant::now();
        work();
        started.elapsed()
    };
    (0..TURN).map(once).collect()
}

fn purchases(numbers: &mut impl Iterator<Item = u64>, count: usize) -> Vec<Input> {
    numbers.take(count).map(|number| Input::Purchase(journals::terms(number))).collect()
}

fn session(folder: &Path) -> Session {
    journals::open(folder).0
}

/// An order as the machine signs and seals it, and its bytes in the journal.
fn signed_order() -> (Record, Vec<u8>) {
    let opened = Opened { key: journals::device(), access: Access::ReadWrite, troubles: Vec::new(), is_damaged: false };
    let opening = Machine::opening(journals::settings(), journals::device());
    let (mut machine, ..) = opening.finish(opened, journals::tick()).expect("opens");
    // The second one: the first names none before it.
    let [_, outputs] = [1, 2].map(|number| {
        let outputs = machine.handle(Input::Purchase(journals::terms(number)), journals::tick());
        machine.handle(Input::Appended, journals::tick());
        outputs
    });
    let record = outputs.into_iter().find_map(|output| match output {
        Output::Append(records) => records.first().cloned(),
        _ => None,
    });
    let record = record.expect("an order");
    let mut bytes = Vec::new();
    FrameWriter::default().append(std::slice::from_ref(&record), &mut bytes);
    (record, bytes)
}

/// The claims of such an order.
fn order() -> Order {
    let (device, terms) = (journals::device(), journals::terms(1));
    Order {
        id: terms.id,
        device: device.id(),
        account: device.id().guest_account(),
        game: journals::game(),
        issued_at: journals::tick().unix,
        sequence: 2,
        previous: Some(Sha256::of("another order")),
        product: terms.product,
        quantity: terms.quantity,
        price: terms.price,
        catalog: terms.catalog,
        allowance: None,
    }
}

/// The least that a journal needs: records, numbered by the database.
fn sqlite(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("opens");
    connection.pragma_update(None, "journal_mode", "WAL").expect("set");
    connection.pragma_update(None, "synchronous", "FULL").expect("set");
    let table = "CREATE TABLE journal (number INTEGER PRIMARY KEY, record BLOB NOT NULL)";
    connection.execute(table, ()).expect("made");
    connection
}

fn insert_into_redb(database: &Database, number: u64, record: &[u8]) {
    const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");
    let mut transaction = database.begin_write().expect("begins");
    transaction.set_durability(Durability::Immediate).expect("set");
    transaction.open_table(TABLE).expect("opens").insert(number, record).expect("inserted");
    transaction.commit().expect("durable");
}
