//! Backups of a running server, and what its players feel when one is restored.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bevy_iap::client::machine::Terms;
use bevy_iap::client::storage::file::FileStorage;
use bevy_iap::client::transport::http::HttpTransport;
use bevy_iap::client::{Client, Clock as _, Input, OrderState, PlacedOrder, Settings, SystemClock, Update};
use bevy_iap::protocol::{AccountId, Currency, OrderId, PublicKey, Reason};
use bevy_iap::server::{DataFolder, cli};
use rusqlite::Connection;

use crate::process::Process;
use crate::support::{CATALOG, Shop, catalog, game};

/// What a command exited with, and what it printed.
fn run(arguments: &[&str]) -> (u8, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = cli::run(["iap-server"].iter().chain(arguments), &mut out, &mut err);
    (code, String::from_utf8([out, err].concat()).expect("text"))
}

fn works(arguments: &[&str]) -> String {
    let (code, printed) = run(arguments);
    assert_eq!(code, cli::SUCCESS, "{arguments:?}: {printed}");
    printed
}

fn fails(arguments: &[&str]) -> String {
    let (code, printed) = run(arguments);
    assert_eq!(code, cli::FAILURE, "{arguments:?}: {printed}");
    printed
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn backup_under_load_is_whole_and_of_one_moment() {
    let shop = Shop::with(|config| config.limits.orders_per_device = None);
    let ending = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut device = shop.device();
                let mut cursor = 0;
                while !ending.load(Ordering::Relaxed) {
                    let orders: Vec<_> = (0..20).map(|_| device.order("gift", 1)).collect();
                    cursor = device.sync(&shop, cursor, &orders).cursor;
                }
            });
        }
        thread::sleep(Duration::from_millis(300));
        for number in 0..5 {
            let copy = tempfile::tempdir().expect("a temporary folder");
            let file = shop.folder.path().join(format!("copy-{number}"));
            works(&["backup", text(&file), "--data", text(shop.folder.path())]);
            assert!(!shop.folder.path().join(format!("copy-{number}-wal")).exists(), "all of it is in one file");
            let data = copy.path().join("data");
            let printed = works(&["restore", text(&file), "--data", text(&data)]);
            assert!(printed.contains("put the server's key back"), "{printed}");
            fs::copy(shop.folder.path().join("server.key"), data.join("server.key")).expect("copies");
            let report = works(&["audit", "--data", text(&data)]);
            assert!(!report.contains(" 0 orders"), "{report}");
        }
        ending.store(true, Ordering::Relaxed);
    });
}

#[test]
fn nothing_is_overwritten_by_a_backup_or_a_restore() {
    let shop = Shop::open();
    let data = text(shop.folder.path());
    let file = shop.folder.path().join("copy");
    fs::write(&file, "precious").expect("writes");
    assert!(fails(&["backup", text(&file), "--data", data]).contains("exists already"));
    assert_eq!(fs::read_to_string(&file).expect("reads"), "precious");
    assert!(fails(&["backup", "/nowhere/copy", "--data", data]).contains("`/nowhere/copy.partial` cannot be written"));
    let good = shop.folder.path().join("good");
    works(&["backup", text(&good), "--data", data]);
    assert!(fails(&["restore", text(&good), "--data", data]).contains("is served by another"));

    let other = tempfile::tempdir().expect("a temporary folder");
    fs::write(other.path().join("store.sqlite-wal"), "left over").expect("writes");
    assert!(fails(&["restore", text(&good), "--data", text(other.path())]).contains("all three"));
    assert!(!other.path().join("store.sqlite").exists());
}

#[test]
fn damaged_backup_is_not_restored() {
    let shop = Shop::open();
    let mut device = shop.device();
    let orders: Vec<_> = (0..100).map(|_| device.order("gift", 1)).collect();
    device.sync(&shop, 0, &orders);
    let file = shop.folder.path().join("copy");
    works(&["backup", text(&file), "--data", text(shop.folder.path())]);
    let good = fs::read(&file).expect("reads");
    let other = tempfile::tempdir().expect("a temporary folder");
    for (from, to) in [(0, 100), (good.len() / 2, good.len() / 2 + 4096), (good.len() - 8192, good.len())] {
        let mut bad = good.clone();
        bad[from..to].fill(0xff);
        fs::write(&file, &bad).expect("writes");
        fails(&["restore", text(&file), "--data", text(other.path())]);
        let left: Vec<_> = fs::read_dir(other.path()).expect("lists").map(|entry| entry.expect("an entry")).collect();
        assert!(left.iter().all(|entry| entry.file_name() == "server.lock"), "{left:?}");
    }
    let empty = other.path().join("empty");
    Connection::open(&empty).and_then(|it| it.execute_batch("CREATE TABLE other (id INTEGER)")).expect("makes");
    fails(&["restore", text(&empty), "--data", text(other.path())]);
}

/// A player with the real client and a save folder.
struct Player {
    client: Client,
    clock: Arc<SystemClock>,
    account: AccountId,
    orders: Vec<PlacedOrder>,
    shields: u64,
}

impl Player {
    fn start(folder: &Path, url: &str, key: PublicKey) -> Self {
        let settings = Settings {
            first_retry: Duration::from_millis(5),
            longest_retry: Duration::from_millis(50),
            offline_grants: bevy_iap::client::OfflineGrants::Wait,
            ..Settings::new(game(), vec![key])
        };
        let clock = Arc::new(SystemClock::default());
        let transport = Arc::new(HttpTransport::new(url).expect("a transport"));
        let storage = Box::new(FileStorage::new(folder.to_owned()));
        let mut client = Client::start(settings, storage, Some(transport), clock.clone()).expect("starts");
        let started = Instant::now();
        loop {
            for update in client.news().into_iter().flatten() {
                if let Update::Opened(snapshot) = update {
                    let shields = snapshot.holdings.items.get("shield").map_or(0, |it| it.left);
                    return Self { client, clock, account: snapshot.account, orders: snapshot.orders, shields };
                }
            }
            assert!(started.elapsed() < Duration::from_secs(30), "the store does not open");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Buys a shield, and waits until it is known what became of it.
    fn buy(&mut self) -> PlacedOrder {
        let (catalog, id) = (catalog(), OrderId(self.clock.tick().random));
        let (name, product) = catalog.product("shield").expect("sold");
        let price = product.price(Currency::EUR).expect("a price");
        let terms = Terms {
            id,
            product: name.clone(),
            quantity: 1,
            price,
            total: price,
            catalog: catalog.digest(),
            grants: product.grants(1, 0),
        };
        self.client.command(Input::Purchase(terms)).expect("taken");
        let started = Instant::now();
        loop {
            self.hear();
            if let Some(order) = self.orders.iter().find(|it| it.id == id && !it.state.is_open()) {
                return order.clone();
            }
            assert!(started.elapsed() < Duration::from_secs(30), "the order is not answered: {:?}", self.orders);
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn hear(&mut self) {
        for update in self.client.news().into_iter().flatten() {
            match update {
                Update::Order(order) => {
                    self.orders.retain(|known| known.id != order.id);
                    self.orders.push(order);
                }
                Update::Holdings(holdings) => self.shields = holdings.items.get("shield").map_or(0, |it| it.left),
                _ => {}
            }
        }
    }
}

/// What the books say that an account holds and has bought.
fn booked(data: &Path, account: &AccountId) -> (i64, u64) {
    let mut books = DataFolder::open(data).and_then(|folder| folder.books()).expect("the books open");
    let summary = books.show(account).expect("reads").expect("is there");
    (summary.wallet[0].available.value(), summary.orders.get("granted").copied().unwrap_or_default())
}

#[test]
fn players_with_newer_receipts_than_the_restored_books_keep_them_are_told_and_can_buy_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = |name: &str| -> PathBuf { folder.path().join(name) };
    let (catalog, data, copy) = (place("catalog.ron"), place("store"), place("copy.sqlite"));
    fs::write(&catalog, CATALOG).expect("writes");
    let process = Process::serve(&catalog, &data, &[]);
    let (listen, url) = (process.address.to_string(), format!("http://{}", process.address));
    let key = DataFolder::open(&data).and_then(|folder| folder.key()).expect("a key").public();
    let mut player = Player::start(&place("player"), &url, key);
    for _ in 0..3 {
        assert_eq!(player.buy().state, OrderState::Granted);
    }
    works(&["backup", text(&copy), "--data", text(&data)]);
    for _ in 0..2 {
        assert_eq!(player.buy().state, OrderState::Granted);
    }
    // One that joined after the backup.
    let mut newcomer = Player::start(&place("newcomer"), &url, key);
    assert_eq!(newcomer.buy().state, OrderState::Granted);

    process.signal("-KILL");
    drop(process);
    for name in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
        // The last two are there only if the server was killed.
        let _ = fs::rename(data.join(name), place(name));
    }
    works(&["restore", text(&copy), "--data", text(&data)]);
    let _process = Process::serve(&catalog, &data, &["--listen", &listen]);
    assert_eq!(booked(&data, &player.account), (985_000, 3));

    // The player's next order is on top of one that the books do not know: it is declined, and not charged.
    let told = player.buy();
    assert_eq!((told.state, told.reason), (OrderState::Declined, Some(Reason::ChainBroken)));
    assert_eq!(booked(&data, &player.account), (985_000, 3));
    assert_eq!(player.shields, 5, "what was bought and proved stays");
    assert_eq!(player.buy().state, OrderState::Granted);
    assert_eq!((booked(&data, &player.account), player.shields), ((980_000, 4), 6));

    // The newcomer is enrolled again, with a new welcome, and told the same.
    let told = newcomer.buy();
    assert_eq!((told.state, told.reason), (OrderState::Declined, Some(Reason::ChainBroken)));
    assert_eq!(newcomer.buy().state, OrderState::Granted);
    assert_eq!((booked(&data, &newcomer.account), newcomer.shields), ((995_000, 1), 2));

    // Another start of the game finds the same.
    let save = place("player");
    drop(player);
    let again = Player::start(&save, &url, key);
    assert_eq!(again.shields, 6);
    assert!(works(&["audit", "--data", text(&data)]).ends_with("no differences\n"));
}
