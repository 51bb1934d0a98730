//! The game's thread waits for nothing: a disk that hangs and a server that never answers do not hold it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bevy_iap::client::machine::{Input, Terms};
use bevy_iap::client::storage::Opened;
use bevy_iap::client::storage::memory::MemoryStorage;
use bevy_iap::client::storage::{Keep, Replay};
use bevy_iap::client::transport::{Pending, Request, Transport};
use bevy_iap::client::{
    Client, OrderState, Record, ServerAddress, Settings, Storage, StorageError, SystemClock, Update,
};
use bevy_iap::plugin::IapPlugin;
use bevy_iap::protocol::{Money, OrderId, SecretKey, Sha256};

use crate::shop::Shop;

/// A disk on which every write hangs until the test lets it go on.
#[derive(Debug)]
struct HangingDisk {
    memory: MemoryStorage,
    go_on: Receiver<()>,
    hangs: Sender<()>,
}

impl Storage for HangingDisk {
    fn open(&mut self, replay: &mut Replay<'_>) -> Result<Opened, StorageError> {
        self.memory.open(replay)
    }

    fn compact(&mut self, keep: &mut Keep<'_>, then: &[Record]) -> Result<(), StorageError> {
        self.memory.compact(keep, then)
    }

    fn append(&mut self, records: &[Record]) -> Result<(), StorageError> {
        self.hangs.send(()).expect("the test listens");
        self.go_on.recv().expect("the test goes on");
        self.memory.append(records)
    }
}

fn order(number: u8) -> Input {
    let price: Money = "0.005 EUR".parse().expect("an amount");
    Input::Purchase(Terms {
        id: OrderId([number; 16]),
        product: "shield".parse().expect("a name"),
        quantity: 1,
        price,
        total: price,
        catalog: Sha256::of("catalogue"),
        grants: Vec::new(),
    })
}

/// If the game's thread waited for the disk, this test would never end.
#[test]
fn the_games_thread_never_waits_for_the_disk() {
    let (go_on, let_go) = channel();
    let (hangs, hanging) = channel();
    let memory = MemoryStorage::default();
    let disk = HangingDisk { memory: memory.clone(), go_on: let_go, hangs };
    let settings = Settings::new("test_game".parse().expect("a name"), Vec::new());
    let mut client = Client::start(settings, Box::new(disk), None, Arc::new(SystemClock::default())).expect("starts");
    hanging.recv().expect("the first record hangs");
    go_on.send(()).expect("heard");

    client.command(order(1)).expect("taken");
    hanging.recv().expect("the first order hangs");
    for number in 2..100 {
        client.command(order(number)).expect("taken while the disk hangs");
        while let Some(news) = client.news() {
            let orders = news.iter().any(|update| matches!(update, Update::Order(_)));
            assert!(!orders, "nothing counts as queued while the disk hangs: {news:?}");
        }
    }
    go_on.send(()).expect("heard");
    // Everything that came meanwhile shares one append.
    hanging.recv().expect("the others hang together");
    go_on.send(()).expect("heard");
    let (started, mut queued) = (Instant::now(), 0);
    while queued < 99 {
        assert!(started.elapsed() < Duration::from_secs(30), "{queued} orders are queued");
        for update in client.news().unwrap_or_default() {
            let Update::Order(order) = update else { continue };
            assert_eq!(order.state, OrderState::Queued);
            queued += 1;
        }
    }
    assert_eq!(memory.records().len(), 100);
}

/// A server that takes every request and never answers.
#[derive(Debug)]
struct Silence;

impl Transport for Silence {
    fn send(&self, _: Request) -> Pending {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_server_that_never_answers_holds_nothing_up() {
    let shop = Shop::open("1.00EUR");
    let server = ServerAddress { url: String::new(), keys: vec![SecretKey::from_seed(&[1; 32]).public()] };
    let mut game =
        shop.play_with(IapPlugin { server: Some(server), transport: Some(Arc::new(Silence)), ..shop.plugin("save") });
    for _ in 0..20 {
        game.buy_until("shield", OrderState::Queued);
    }
    game.store_mut().set_offline(true).expect("heard");
    drop(game);
    let mut game = shop.play("save");
    game.until("everything is answered", |store| store.orders().all(|order| order.state == OrderState::Granted));
    assert_eq!(game.available(), "0.9");
}
