//! The process that is killed: a client without an engine, which buys and uses up as fast as it can.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bevy_iap::client::storage::file::FileStorage;
use bevy_iap::client::transport::http::HttpTransport;
use bevy_iap::client::{
    Client, Clock, Connection, Holdings, Input, OfflineGrants, OrderState, PlacedOrder, Settings, Snapshot,
    SystemClock, Update, machine::Terms,
};
use bevy_iap::protocol::sync::Balance;
use bevy_iap::protocol::{Catalog, ConsumptionId, Currency, OrderId};
use serde::{Deserialize, Serialize};

use crate::child::say;

pub const CATALOG: &str = r#"Catalog(
    game: "test_game",
    products: { "shield": Consumable(title: "Shield", prices: { "EUR": "0.005" }) },
)"#;

pub fn catalog() -> Catalog {
    Catalog::parse("test.catalog.ron", CATALOG).expect("a good catalogue")
}

/// A client's process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Buyer {
    /// The save folder.
    pub folder: PathBuf,
    /// Where the server is, or is not.
    pub url: String,
    /// The server's key.
    pub key: String,
    /// Whether what is ordered is given before its receipt.
    pub provisional: bool,
    /// What to do.
    pub errand: Errand,
}

/// What a client's process is to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Errand {
    /// Buy `most` orders, of which `at_once` wait for the disk at a time, and use up what they give.
    Buy { most: usize, at_once: usize },
    /// Wait until everything is answered, say how things stand, and end.
    Settle,
}

impl Buyer {
    pub fn run(self) {
        let key = self.key.parse().expect("a key");
        let settings = Settings {
            offline_grants: if self.provisional { OfflineGrants::Provisional } else { OfflineGrants::Wait },
            first_retry: Duration::from_millis(5),
            longest_retry: Duration::from_millis(50),
            ..Settings::new("test_game".parse().expect("a name"), vec![key])
        };
        let transport = HttpTransport::new(&self.url).expect("a transport");
        let clock = Arc::new(SystemClock::default());
        let storage = Box::new(FileStorage::new(self.folder));
        let client = Client::start(settings, storage, Some(Arc::new(transport)), clock.clone()).expect("starts");
        Game { client, clock, catalog: catalog(), errand: self.errand, state: State::default() }.play();
    }
}

struct Game {
    client: Client,
    clock: Arc<SystemClock>,
    catalog: Catalog,
    errand: Errand,
    state: State,
}

#[derive(Default)]
struct State {
    snapshot: Option<Snapshot>,
    orders: std::collections::BTreeMap<OrderId, PlacedOrder>,
    bought: usize,
    /// Orders that wait for the disk.
    placing: usize,
    left: u64,
    /// Shields that are asked to be used up, and the journal does not say so yet.
    using: u64,
    /// What the wallet holds, in micros, once it was heard.
    available: Option<i64>,
    online: bool,
}

impl Game {
    fn play(mut self) {
        loop {
            let Some(news) = self.client.news() else {
                std::thread::sleep(Duration::from_micros(200));
                continue;
            };
            for update in news {
                self.hear(update);
            }
            let Some(snapshot) = &self.state.snapshot else { continue };
            match self.errand {
                Errand::Buy { most, at_once } => {
                    while self.state.placing < at_once && self.state.bought < most {
                        self.buy();
                    }
                    self.use_up();
                }
                Errand::Settle => {
                    let open = self.state.orders.values().any(|order| order.state.is_open());
                    if let (true, false, Some(available)) = (self.state.online, open, self.state.available) {
                        return self.state.tell(snapshot, available);
                    }
                }
            }
        }
    }

    fn buy(&mut self) {
        let (name, product) = self.catalog.product("shield").expect("sold");
        let price = product.price(Currency::EUR).expect("a price");
        let random = self.clock.tick().random;
        let quantity = 1 + u32::from(random[0] % 3);
        let terms = Terms {
            id: OrderId(random),
            product: name.clone(),
            quantity,
            price,
            total: price.checked_mul(quantity).expect("a small amount"),
            catalog: self.catalog.digest(),
            grants: product.grants(quantity, 0),
        };
        say(&format!("asked {} {quantity}", terms.id));
        self.client.command(Input::Purchase(terms)).expect("taken");
        self.state.bought += 1;
        self.state.placing += 1;
    }

    fn use_up(&mut self) {
        if self.state.using == 0 && self.state.left > 0 {
            say("using 1");
            let item = "shield".parse().expect("a name");
            let id = ConsumptionId(self.clock.tick().random);
            self.client.command(Input::Consume { id, item, quantity: 1 }).expect("taken");
            self.state.using = 1;
        }
    }

    fn hear(&mut self, update: Update) {
        let state = &mut self.state;
        match update {
            Update::Opened(snapshot) => {
                say(if snapshot.access.may_write() { "opened" } else { "read-only" });
                snapshot.troubles.iter().for_each(|trouble| say(&format!("trouble {trouble}")));
                // Who is shown an order as queued is told so, unless this copy can only look.
                let is_queued = |order: &&PlacedOrder| snapshot.access.may_write() && order.state == OrderState::Queued;
                snapshot.orders.iter().filter(is_queued).for_each(|order| say(&format!("queued {}", order.id)));
                state.orders.extend(snapshot.orders.iter().map(|order| (order.id, order.clone())));
                state.take(&snapshot.holdings);
                state.available = available(&snapshot.wallet);
                state.snapshot = Some(*snapshot);
            }
            // It is about to make the key, and this one opens in a moment.
            Update::OpenFailed(trouble) if trouble.contains("another copy of the game is running") => {}
            Update::OpenFailed(trouble) => panic!("{trouble}"),
            Update::Order(order) => {
                match order.state {
                    OrderState::Queued => say(&format!("queued {}", order.id)),
                    OrderState::NotSaved => say(&format!("refused {}", order.id)),
                    OrderState::Granted => say(&format!("granted {}", order.id)),
                    OrderState::Sent => {}
                    other => say(&format!("trouble the order {} is {other:?}: {:?}", order.id, order.reason)),
                }
                if matches!(order.state, OrderState::Queued | OrderState::NotSaved) {
                    state.placing = state.placing.saturating_sub(1);
                }
                state.orders.insert(order.id, order);
            }
            Update::Holdings(holdings) => state.take(&holdings),
            Update::Consumed { quantity, saved, .. } => {
                if saved {
                    say(&format!("used {quantity}"));
                }
                state.using = 0;
            }
            Update::Wallet(wallet) => state.available = available(&wallet),
            Update::Connection(connection) => state.online = connection == Connection::Online,
            Update::Trouble(trouble) if state.snapshot.as_ref().is_some_and(|it| it.access.may_write()) => {
                say(&format!("trouble {trouble}"));
            }
            _ => {}
        }
    }
}

impl State {
    fn take(&mut self, holdings: &Holdings) {
        self.left = holdings.items.get("shield").map_or(0, |quantity| quantity.left);
    }

    /// Says how things stand.
    fn tell(&self, snapshot: &Snapshot, available: i64) {
        for order in self.orders.values().filter(|order| order.state == OrderState::Granted) {
            say(&format!("owned {}", order.id));
        }
        say(&format!("left {}", self.left));
        say(&format!("wallet {available}"));
        say(&format!("account {}", snapshot.account));
    }
}

fn available(wallet: &[Balance]) -> Option<i64> {
    wallet.first().map(|balance| balance.available.value())
}
