//! A real server on loopback, real files, and games without a window.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bevy::app::ScheduleRunnerPlugin;
use bevy::asset::AssetPlugin;
use bevy::prelude::*;
use bevy_iap::client::transport::http::HttpTransport;
use bevy_iap::client::transport::{Pending, Request, Transport, TransportError};
use bevy_iap::client::{OfflineGrants, OrderState, PlacedOrder};
use bevy_iap::plugin::{IapPlugin, Save, Store};
use bevy_iap::prelude::ServerAddress;
use bevy_iap::protocol::{AccountId, Catalog, KeyId, Micros, Money, OrderId};
use bevy_iap::server::ledger::operation::Hold;
use bevy_iap::server::ledger::{Operation, OperationId};
use bevy_iap::server::{LocalServer, ServerConfig};
use tempfile::TempDir;

pub const CATALOG: &str = r#"Catalog(
    game: "test_game",
    products: {
        "double_jump": Unlock(title: "Double jump", prices: { "EUR": "0.05" }),
        "shield": Consumable(title: "Shield", prices: { "EUR": "0.005" }),
        "day_pass": Pass(title: "Day pass", hours: 24, prices: { "EUR": "0.01" }),
        "mansion": Unlock(title: "Mansion", prices: { "EUR": "1000" }),
    },
)"#;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server and the folders of everybody in a test.
pub struct Shop {
    pub folder: TempDir,
    pub server: Option<LocalServer>,
    pub address: ServerAddress,
}

impl Shop {
    /// A server with an account's worth of welcome credit.
    pub fn open(welcome: &str) -> Self {
        Self::open_with(welcome, |_| {})
    }

    /// The same, with whatever else `configure` says.
    pub fn open_with(welcome: &str, configure: impl FnOnce(&mut ServerConfig)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("assets")).expect("a folder");
        std::fs::write(folder.path().join("assets/test.catalog.ron"), CATALOG).expect("a file");
        let mut config = ServerConfig::new(folder.path().join("server"), catalog(CATALOG));
        config.welcome = Some(welcome.parse().expect("an amount"));
        configure(&mut config);
        let server = LocalServer::start(config).expect("the server starts");
        let address = ServerAddress { url: server.url(), keys: vec![server.public_key()] };
        Self { folder, server: Some(server), address }
    }

    pub fn server(&self) -> &LocalServer {
        self.server.as_ref().expect("the server runs")
    }

    /// Stops the server, lets something happen to its data folder, and starts it again where it was.
    pub fn restart_server_after(&mut self, happen: impl FnOnce(&Path)) {
        let address = self.server().address();
        self.server.take().expect("runs").stop();
        happen(&self.save("server"));
        let mut config = ServerConfig::new(self.save("server"), catalog(CATALOG));
        config.listen = address;
        config.welcome = Some("1.00EUR".parse().expect("an amount"));
        self.server = Some(LocalServer::start(config).expect("starts again"));
    }

    pub fn save(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes the save folder `to` what `from` is.
    pub fn copy(&self, from: &str, to: &str) {
        let (from, to) = (self.save(from), self.save(to));
        if to.exists() {
            std::fs::remove_dir_all(&to).expect("removed");
        }
        std::fs::create_dir(&to).expect("a folder");
        for file in std::fs::read_dir(from).expect("a folder") {
            let file = file.expect("a file");
            std::fs::copy(file.path(), to.join(file.file_name())).expect("copied");
        }
    }

    /// Removes everything from a save folder but the device's key.
    pub fn keep_only_the_key(&self, save: &str) {
        for file in std::fs::read_dir(self.save(save)).expect("a folder") {
            let file = file.expect("a file");
            if file.file_name() != "device.key" {
                std::fs::remove_file(file.path()).expect("removed");
            }
        }
    }

    pub fn plugin(&self, save: &str) -> IapPlugin {
        IapPlugin {
            server: Some(self.address.clone()),
            save: Save::Folder(self.save(save)),
            double_tap: Duration::ZERO,
            offline_grants: OfflineGrants::Wait,
            ..IapPlugin::new("test_game", "test.catalog.ron")
        }
    }

    /// A game on the save folder `save`, with the store open.
    pub fn play(&self, save: &str) -> Game {
        self.play_with(self.plugin(save))
    }

    pub fn play_provisional(&self, save: &str) -> Game {
        self.play_with(IapPlugin { offline_grants: OfflineGrants::Provisional, ..self.plugin(save) })
    }

    pub fn play_with(&self, plugin: IapPlugin) -> Game {
        let mut game = Game::start(&self.folder.path().join("assets"), plugin);
        game.until("the store is open", |store| store.account().is_some() && store.catalog().is_some());
        game
    }

    /// Sets aside all that an account can spend, for something that has nothing to do with its orders.
    pub fn hold_everything(&self, account: &AccountId) {
        let wallet = self.server().show(account).expect("shown").wallet;
        let Some(balance) = wallet.first().filter(|balance| balance.available > Micros::ZERO) else { return };
        let money = Money::new(balance.available, balance.currency);
        let hold = Hold { account: account.clone(), money, expires_at: i64::MAX };
        self.server().operate(Operation::new(OperationId([77; 16]), hold)).expect("is set aside");
    }

    /// The books are right.
    pub fn audit(&self) {
        let report = self.server().audit().expect("the audit runs");
        assert!(report.is_clean(), "{report}");
    }
}

pub fn catalog(text: &str) -> Catalog {
    Catalog::parse("test.catalog.ron", text).expect("a good catalogue")
}

/// A game without a window.
pub struct Game {
    pub app: App,
}

impl Game {
    pub fn start(assets: &Path, plugin: IapPlugin) -> Self {
        let mut app = App::new();
        app.add_plugins(MinimalPlugins.build().disable::<ScheduleRunnerPlugin>())
            .add_plugins(AssetPlugin { file_path: assets.display().to_string(), ..AssetPlugin::default() })
            .add_plugins(plugin);
        app.finish();
        app.cleanup();
        Self { app }
    }

    pub fn store(&self) -> &Store {
        self.app.world().resource::<Store>()
    }

    pub fn store_mut(&mut self) -> Mut<'_, Store> {
        self.app.world_mut().resource_mut::<Store>()
    }

    /// Runs frames until `done`, or fails saying what was waited for.
    pub fn until(&mut self, what: &str, done: impl Fn(&Store) -> bool) {
        let started = Instant::now();
        while !done(self.store()) {
            assert!(started.elapsed() < PATIENCE, "{what} did not happen; {:#?}", self.store());
            self.app.update();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Buys and waits until the order is in `state`.
    pub fn buy_until(&mut self, product: &str, state: OrderState) -> OrderId {
        let order = self.store_mut().purchase(product).expect("ordered");
        self.wait_for(order, state);
        order
    }

    pub fn wait_for(&mut self, order: OrderId, state: OrderState) {
        self.until(&format!("{state:?}"), |store| store.order(order).is_some_and(|order| order.state == state));
    }

    /// Buys shields until a receipt is signed by `key`.
    pub fn until_signed_by(&mut self, key: KeyId) {
        let started = Instant::now();
        while self.store().receipts().last().is_none_or(|receipt| receipt.claims.server != key) {
            assert!(started.elapsed() < PATIENCE, "{key} does not sign; {:#?}", self.store());
            self.buy_until("shield", OrderState::Granted);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn order(&self, id: OrderId) -> PlacedOrder {
        self.store().order(id).expect("the order is known").clone()
    }

    pub fn available(&self) -> String {
        self.store().wallet().first().map_or("nothing".to_owned(), |balance| balance.available.to_string())
    }

    pub fn offline(&mut self, offline: bool) {
        self.store_mut().set_offline(offline).expect("heard");
        self.until("the connection changes", |store| {
            (*store.connection() == bevy_iap::client::Connection::Offline) == offline
        });
    }
}

/// Real HTTP on which the responses to some requests, by their number from 0, are lost.
#[derive(Debug)]
pub struct LossyTransport {
    pub http: HttpTransport,
    pub lost: Range<usize>,
    pub sent: Arc<std::sync::atomic::AtomicUsize>,
    pub bodies: Arc<std::sync::Mutex<Vec<Vec<u8>>>>,
}

impl LossyTransport {
    pub fn new(address: &ServerAddress, lost: Range<usize>) -> Self {
        let http = HttpTransport::new(&address.url).expect("a transport");
        Self { http, lost, sent: Arc::default(), bodies: Arc::default() }
    }
}

impl Transport for LossyTransport {
    fn send(&self, request: Request) -> Pending {
        let number = self.sent.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.bodies.lock().expect("not poisoned").push(request.body.to_vec());
        let lost = self.lost.contains(&number);
        let answer = self.http.send(request);
        Box::pin(async move {
            // The server has settled it by the time that the response is lost.
            let answer = answer.await?;
            if lost { Err(TransportError::TimedOut) } else { Ok(answer) }
        })
    }
}
