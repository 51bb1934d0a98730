//! Journals as a game leaves them: a device that buys and syncs, and a server that signs whatever it asks for.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use bevy_iap::client::journal::{self, FrameWriter};
use bevy_iap::client::machine::{Input, Terms};
use bevy_iap::client::record::{Identity, Synced};
use bevy_iap::client::storage::file::FileStorage;
use bevy_iap::client::storage::{Keep, Opened, Replay};
use bevy_iap::client::{
    Access, Machine, Record, Request, Response, Session, Settings, Snapshot, Storage, StorageError, Tick,
};
use bevy_iap::protocol::sync::{Balance, ChainHead, SyncRequest, SyncResponse};
use bevy_iap::protocol::{
    Currency, GameId, Grant, Micros, Money, OrderId, Receipt, ReceiptId, SecretKey, Sha256, Status, Token,
};

/// What `device.key` holds for the seed of 32 ones.
const DEVICE_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE\n";
/// When the first receipt is signed; the next ones follow minute by minute.
const START: i64 = 1_767_225_600;
/// How many receipts a thread signs before it hands them on.
const PIECE: u64 = 10_000;

pub fn game() -> GameId {
    "bench".parse().expect("a name")
}

pub fn device() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

pub fn server() -> SecretKey {
    SecretKey::from_seed(&[2; 32])
}

/// A game that knows a server, and does not ask it anything.
pub fn settings() -> Settings {
    Settings { offline: true, ..Settings::new(game(), vec![server().public()]) }
}

pub fn tick() -> Tick {
    Tick { elapsed: Duration::ZERO, unix: START, random: [7; 16] }
}

/// The `number`th purchase: one in a hundred a pass for an hour, the others an item each, of twenty kinds.
pub fn terms(number: u64) -> Terms {
    let price = Money::new(Micros::new(5_000).expect("in range"), Currency::EUR);
    let (product, grant) = match number % 100 {
        0 => {
            ("pass".to_owned(), Grant::Entitlement { entitlement: "pass".parse().expect("a name"), until: Some(3_600) })
        }
        kind => {
            let product = format!("power_up_{}", kind % 20);
            let item = product.parse().expect("a name");
            (product, Grant::Item { item, quantity: 1 })
        }
    };
    Terms {
        id: OrderId(random_bits("order", number)),
        product: product.parse().expect("a name"),
        quantity: 1,
        price,
        total: price,
        catalog: Sha256::of("catalog"),
        grants: vec![grant],
    }
}

/// Bits in no order, and the same every time.
fn random_bits(what: &str, number: u64) -> [u8; 16] {
    *Sha256::of(format!("{what} {number}")).0.first_chunk().expect("it has 32 bytes")
}

/// The receipt that grants the `number`th purchase.
fn receipt(number: u64, order_sha256: Sha256, server: &SecretKey) -> Token {
    let terms = terms(number);
    let issued_at = START + i64::try_from(number).expect("small") * 60;
    let from_now = |grant| match grant {
        Grant::Entitlement { entitlement, until } => {
            Grant::Entitlement { entitlement, until: until.map(|until| issued_at + until) }
        }
        item => item,
    };
    let receipt = Receipt {
        id: ReceiptId(random_bits("receipt", number)),
        server: server.id(),
        game: game(),
        account: device().id().guest_account(),
        issued_at,
        feed: number + 1,
        order: terms.id,
        order_sha256,
        status: Status::Granted,
        reason: None,
        product: terms.product,
        quantity: terms.quantity,
        amount: terms.total,
        grants: terms.grants.into_iter().map(from_now).collect(),
    };
    receipt.sign(server).expect("signs")
}

fn wallet() -> Vec<Balance> {
    let available = Micros::new(990_000).expect("in range");
    vec![Balance { currency: Currency::EUR, available, held: Micros::ZERO }]
}

/// Opens the journal in a folder.
pub fn open(folder: &Path) -> (Session, Snapshot) {
    Session::open(settings(), Box::new(FileStorage::new(folder)), tick()).expect("opens")
}

/// The journal's file in a folder.
pub fn file(folder: &Path) -> PathBuf {
    folder.join("journal.iap")
}

/// The folder of a journal that is made once: with `receipts` receipts and nothing else that it need not have.
pub fn compacted(receipts: u64) -> PathBuf {
    made_once(folder_of_compacted(receipts), |path| write_compacted(path, receipts))
}

/// Where that is, whether it is made or not.
pub fn folder_of_compacted(receipts: u64) -> PathBuf {
    folder(&format!("compacted-{receipts}"))
}

/// The same with every order, and every word of every sync, one for each order.
pub fn as_written(receipts: u64) -> PathBuf {
    made_once(folder(&format!("as-written-{receipts}")), |path| play(path, receipts, true))
}

/// The folder of a journal with `orders` orders that were never synced.
pub fn not_synced(orders: u64) -> PathBuf {
    made_once(folder(&format!("not-synced-{orders}")), |path| play(path, orders, false))
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("journals").join(name)
}

fn made_once(folder: PathBuf, make: impl FnOnce(&Path)) -> PathBuf {
    // One that another version of this code made has seals that count no longer, and says so.
    if folder.is_dir() && open(&folder).1.troubles.is_empty() {
        return folder;
    }
    // It is not there, or of no use.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    let new = folder.join("being-made");
    make(&new);
    fs::write(folder.join("device.key"), DEVICE_KEY).expect("room on the disk");
    fs::rename(new, file(&folder)).expect("renamed");
    assert!(open(&folder).1.troubles.is_empty(), "{} is not sound", folder.display());
    folder
}

/// What a compaction leaves, with receipts that are signed and sealed on every core.
fn write_compacted(path: &Path, receipts: u64) {
    let opened = Opened { key: device(), access: Access::ReadWrite, troubles: Vec::new(), is_damaged: false };
    let (machine, ..) = Machine::opening(settings(), device()).finish(opened, tick()).expect("opens");
    let (machine, server) = (&machine, &server());
    let sealed = |number| {
        let token = receipt(number, Sha256::of(number.to_string()), server);
        machine.keeping()(Record::Receipt(token.into())).expect("it is kept")
    };
    let mut file = UnsyncedFile::create(path);
    let (device, account) = (machine.device(), machine.account().clone());
    file.write(&[Record::Identity(Identity { game: game(), device, account })]);
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    for start in (0..receipts).step_by(usize::try_from(PIECE * threads).expect("it fits")) {
        let pieces: Vec<Vec<Record>> = thread::scope(|scope| {
            let pieces: Vec<_> = (0..threads)
                .map(|piece| (start + piece * PIECE).min(receipts)..(start + (piece + 1) * PIECE).min(receipts))
                .map(|piece| scope.spawn(move || piece.map(sealed).collect()))
                .collect();
            pieces.into_iter().map(|piece| piece.join().expect("no panic")).collect()
        });
        pieces.iter().flatten().for_each(|record| file.write(std::slice::from_ref(record)));
    }
    let server_time = START + i64::try_from(receipts).expect("small") * 60;
    file.write(&[Record::Synced(Synced {
        cursor: receipts,
        wallet: wallet(),
        server_time,
        follow: None,
        consumed_sequence: None,
    })]);
}

/// A game that buys one thing after the other, and syncs each, or none.
fn play(path: &Path, purchases: u64, with_syncs: bool) {
    let settings = Settings { offline: !with_syncs, ..settings() };
    let storage = Box::new(UnsyncedFile::create(path));
    let (mut session, _) = Session::open(settings, storage, tick()).expect("opens");
    let mut step = |input| session.step(vec![input], tick).request;
    let server = server();
    if with_syncs {
        step(Input::TimePassed).expect("the device enrols");
        let request = step(Input::Answered(Response { status: 201, ..Response::default() }));
        step(answer(&request.expect("a first sync"), None, &server));
    }
    for number in 0..purchases {
        let request = step(Input::Purchase(terms(number)));
        if with_syncs {
            step(answer(&request.expect("a sync"), Some(number), &server));
        }
    }
}

/// What the server answers, with the receipt for the order sent.
fn answer(request: &Request, number: Option<u64>, server: &SecretKey) -> Input {
    let account = device().id().guest_account();
    let request = Token::from_text(std::str::from_utf8(&request.body).expect("text"));
    let asked = SyncRequest::verify(&request, device().public(), &account, &game()).expect("verifies");
    let order = asked.orders.first().map(Token::sha256);
    let sequence = number.map_or(0, |number| number + 1);
    let receipts = number.zip(order).map(|(number, order)| receipt(number, order, server));
    let response = SyncResponse {
        server: server.id(),
        account,
        game: game(),
        issued_at: START + i64::try_from(sequence).expect("small") * 60,
        request_sha256: request.sha256(),
        receipts: receipts.into_iter().collect(),
        cursor: sequence,
        more: false,
        wallet: wallet(),
        chain: order.map(|order_sha256| ChainHead { sequence, order_sha256 }),
        catalog: Sha256::of("catalog"),
        allowances: Vec::new(),
        consumed_sequence: 0,
    };
    let body = response.sign(server).expect("signs").as_str().as_bytes().to_vec();
    Input::Answered(Response { status: 200, retry_after: None, body })
}

/// A journal that is written as the client writes it, but is not durable and never written anew.
#[derive(Debug)]
struct UnsyncedFile {
    file: BufWriter<File>,
    frames: FrameWriter,
}

impl UnsyncedFile {
    fn create(path: &Path) -> Self {
        let mut file = BufWriter::new(File::create(path).expect("a file"));
        file.write_all(&journal::header()).expect("room on the disk");
        Self { file, frames: FrameWriter::default() }
    }

    fn write(&mut self, records: &[Record]) {
        let mut bytes = Vec::new();
        self.frames.append(records, &mut bytes);
        self.file.write_all(&bytes).expect("room on the disk");
    }
}

impl Storage for UnsyncedFile {
    fn open(&mut self, _: &mut Replay<'_>) -> Result<Opened, StorageError> {
        Ok(Opened { key: device(), access: Access::ReadWrite, troubles: Vec::new(), is_damaged: false })
    }

    fn append(&mut self, records: &[Record]) -> Result<(), StorageError> {
        self.write(records);
        Ok(())
    }

    fn compact(&mut self, _: &mut Keep<'_>, _: &[Record]) -> Result<(), StorageError> {
        Err(StorageError::ReadOnly("it is to stay as it was written".to_owned()))
    }
}
