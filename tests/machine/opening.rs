//! Opening a journal that has to be read more than once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bevy_iap::client::record::Identity;
use bevy_iap::client::storage::memory::MemoryStorage;
use bevy_iap::client::storage::{Keep, Opened, Replay};
use bevy_iap::client::{Client, Record, Session, Settings, Storage, StorageError, SystemClock, Tick, Update};
use bevy_iap::protocol::{AccountResponse, DeviceEntry, SecretKey, Sha256};

use crate::world::{SERVER_TIME, game};

/// A storage that mends something when it is first opened.
#[derive(Debug)]
struct Mended {
    memory: MemoryStorage,
    troubles: Vec<String>,
    is_reported: Arc<AtomicBool>,
}

impl Storage for Mended {
    fn open(&mut self, replay: &mut Replay<'_>) -> Result<Opened, StorageError> {
        let opened = self.memory.open(replay)?;
        let is_damaged = !self.troubles.is_empty();
        Ok(Opened { troubles: std::mem::take(&mut self.troubles), is_damaged, ..opened })
    }

    fn reported(&mut self) {
        self.is_reported.store(true, Ordering::Relaxed);
    }

    fn append(&mut self, records: &[Record]) -> Result<(), StorageError> {
        self.memory.append(records)
    }

    fn compact(&mut self, keep: &mut Keep<'_>, closing: &[Record]) -> Result<(), StorageError> {
        self.memory.compact(keep, closing)
    }

    fn next_key(&mut self) -> Result<Option<SecretKey>, StorageError> {
        self.memory.next_key()
    }

    fn make_next_key(&mut self) -> Result<SecretKey, StorageError> {
        self.memory.make_next_key()
    }

    fn take_next_key(&mut self) -> Result<(), StorageError> {
        self.memory.take_next_key()
    }
}

/// The game ended between the answer about the next key and its taking the place of the first.
#[test]
fn what_was_mended_is_told_also_where_the_journal_is_read_again_with_the_next_key() {
    let (server, key) = (SecretKey::from_seed(&[2; 32]), SecretKey::from_seed(&[1; 32]));
    let mut memory = MemoryStorage::with_key(key.clone());
    let device = memory.make_next_key().expect("a key").id();
    let account = key.id().guest_account();
    let answer = AccountResponse {
        server: server.id(),
        account: account.clone(),
        game: game(),
        issued_at: SERVER_TIME,
        request_sha256: Sha256::of("a question"),
        device,
        signed_in: false,
        devices: vec![DeviceEntry { id: device, name: None, enrolled_at: 0, revoked: false, frozen: false }],
        chain: None,
        link_code: None,
    };
    let identity = Record::Identity(Identity { game: game(), device: key.id(), account });
    memory.append(&[identity, Record::Account(answer.sign(&server).expect("signs"))]).expect("in memory");
    let troubles = vec!["the journal was damaged".to_owned()];
    let storage = Mended { memory, troubles: troubles.clone(), is_reported: Arc::default() };
    let tick = Tick { elapsed: Duration::ZERO, unix: SERVER_TIME, random: [1; 16] };
    let settings = Settings::new(game(), vec![server.public()]);
    let (session, snapshot) = Session::open(settings, Box::new(storage), tick).expect("opens");
    assert_eq!((session.machine().device(), snapshot.troubles), (device, troubles));
}

#[test]
fn what_was_damaged_counts_as_told_once_the_game_has_heard_it() {
    let (server, is_reported) = (SecretKey::from_seed(&[2; 32]), Arc::<AtomicBool>::default());
    let storage = || {
        let troubles = vec!["the journal was damaged".to_owned()];
        Box::new(Mended { memory: MemoryStorage::default(), troubles, is_reported: Arc::clone(&is_reported) })
    };
    let settings = Settings::new(game(), vec![server.public()]);
    let tick = Tick { elapsed: Duration::ZERO, unix: SERVER_TIME, random: [1; 16] };
    let (mut session, snapshot) = Session::open(settings.clone(), storage(), tick).expect("opens");
    assert_eq!((snapshot.troubles.len(), is_reported.load(Ordering::Relaxed)), (1, false));
    session.told();
    assert!(is_reported.swap(false, Ordering::Relaxed));

    let mut client = Client::start(settings, storage(), None, Arc::new(SystemClock::default())).expect("starts");
    let news = loop {
        assert!(!is_reported.load(Ordering::Relaxed), "the game may end before it hears it");
        if let Some(news) = client.news() {
            break news;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let [Update::Opened(opened), ..] = &news[..] else { panic!("it was not told first") };
    assert_eq!(opened.troubles, snapshot.troubles);
    while !is_reported.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_was_damaged_is_told_again_where_the_game_ended_before_it_heard_it() {
    let is_reported = Arc::<AtomicBool>::default();
    let troubles = vec!["the journal was damaged".to_owned()];
    let storage = Mended { memory: MemoryStorage::default(), troubles, is_reported: Arc::clone(&is_reported) };
    let settings = Settings::new(game(), Vec::new());
    let client = Client::start(settings, Box::new(storage), None, Arc::new(SystemClock::default())).expect("starts");
    while !client.has_news() {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(client);
    assert!(!is_reported.load(Ordering::Relaxed));
}
