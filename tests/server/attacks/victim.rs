//! A real client whose way to the real server leads past somebody who lies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bevy_iap::client::machine::Terms;
use bevy_iap::client::storage::file::FileStorage;
use bevy_iap::client::transport::http::HttpTransport;
use bevy_iap::client::transport::{Pending, TransportError};
use bevy_iap::client::{
    Client, Clock as _, Connection, Holdings, Input, OfflineGrants, OrderState, PlacedOrder, Request, Response,
    Settings, SystemClock, Transport, Update,
};
use bevy_iap::protocol::{
    Catalog, ConsumptionId, Currency, FeedReceipt, Grant, KeyId, OrderId, Receipt, SecretKey, Status, Token,
};
use tempfile::TempDir;

use super::forgery::encode;
use super::items::left;
use super::scene::{Scene, WELCOME, whole_feed};
use crate::support::{Device, catalog, fresh_id, game};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is made of an answer.
pub type Lie = Box<dyn Fn(&Request, Response) -> Response + Send>;

/// Real HTTP, past somebody who may change what comes back.
#[derive(Clone)]
struct Way {
    http: HttpTransport,
    lie: Arc<Mutex<Option<Lie>>>,
    held_back: Arc<AtomicBool>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Way")
    }
}

impl Transport for Way {
    fn send(&self, request: Request) -> Pending {
        if self.held_back.load(Ordering::SeqCst) {
            return Box::pin(async { Err(TransportError::TimedOut) });
        }
        let (answer, way) = (self.http.send(request.clone()), self.clone());
        Box::pin(async move {
            let answer = answer.await?;
            let lie = way.lie.lock().expect("not poisoned");
            Ok(match (lie.as_ref(), request.path) {
                (Some(lie), "/v1/sync") => lie(&request, answer),
                _ => answer,
            })
        })
    }
}

/// A player with an honest client.
pub struct Victim {
    client: Option<Client>,
    clock: Arc<SystemClock>,
    folder: TempDir,
    /// The player's device, for looking at the books as they do.
    pub device: Device,
    way: Way,
    pub orders: BTreeMap<OrderId, PlacedOrder>,
    pub holdings: Holdings,
    receipts: Vec<(Receipt, Token)>,
    connection: Connection,
    pub troubles: Vec<String>,
}

impl Victim {
    /// Somebody new, who is online.
    pub fn new(scene: &mut Scene) -> Self {
        let mut victim = Self::somewhere(scene, &scene.shop.server.url());
        victim.start(scene);
        victim.until("it is online", Self::is_online);
        scene.joins(&victim.device, WELCOME);
        victim
    }

    /// Somebody whose client is not started, and whose requests go to `url`.
    pub fn somewhere(_: &Scene, url: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut seed = [0x5a; 32];
        seed[..16].copy_from_slice(&fresh_id());
        std::fs::write(folder.path().join("device.key"), format!("{}\n", encode(&seed))).expect("writes");
        let http = HttpTransport::new(url).expect("a transport");
        Self {
            client: None,
            clock: Arc::new(SystemClock::default()),
            folder,
            device: Device { key: SecretKey::from_seed(&seed), chain: None },
            way: Way { http, lie: Arc::default(), held_back: Arc::default() },
            orders: BTreeMap::new(),
            holdings: Holdings::default(),
            receipts: Vec::new(),
            connection: Connection::NoServer,
            troubles: Vec::new(),
        }
    }

    /// Holds back whatever is sent, or no longer.
    pub fn hold_back(&self, held: bool) {
        self.way.held_back.store(held, Ordering::SeqCst);
    }

    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("journal.iap")
    }

    pub fn stop(&mut self) {
        self.client = None;
        self.orders.clear();
        self.receipts.clear();
        self.holdings = Holdings::default();
        self.connection = Connection::NoServer;
    }

    pub fn start(&mut self, scene: &Scene) {
        self.start_with(scene, false);
    }

    pub fn start_with(&mut self, scene: &Scene, offline: bool) {
        let settings = Settings {
            offline_grants: OfflineGrants::Wait,
            first_retry: Duration::from_millis(5),
            longest_retry: Duration::from_millis(50),
            offline,
            ..Settings::new(game(), scene.roots.clone())
        };
        let storage = Box::new(FileStorage::new(self.folder.path()));
        let way = Arc::new(self.way.clone());
        self.client = Some(Client::start(settings, storage, Some(way), self.clock.clone()).expect("starts"));
        let mut opened = false;
        let started = Instant::now();
        while !opened {
            assert!(started.elapsed() < PATIENCE, "it does not open");
            opened = self.hear();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// From now on, what comes back is what `lie` makes of it.
    pub fn lie(&self, lie: impl Fn(&Request, Response) -> Response + Send + 'static) {
        *self.way.lie.lock().expect("not poisoned") = Some(Box::new(lie));
    }

    pub fn let_through(&self) {
        *self.way.lie.lock().expect("not poisoned") = None;
    }

    fn command(&self, input: Input) {
        self.client.as_ref().expect("it runs").command(input).expect("taken");
    }

    /// Takes the news; says whether it was opened.
    fn hear(&mut self) -> bool {
        let mut opened = false;
        while let Some(news) = self.client.as_mut().and_then(Client::news) {
            for update in news {
                match update {
                    Update::Opened(snapshot) => {
                        opened = true;
                        self.orders.extend(snapshot.orders.into_iter().map(|order| (order.id, order)));
                        self.holdings = snapshot.holdings;
                        self.troubles.extend(snapshot.troubles);
                        let receipts = snapshot.receipts.into_iter().map(|receipt| (receipt.claims, receipt.token));
                        self.receipts.extend(receipts);
                    }
                    Update::OpenFailed(trouble) => panic!("{trouble}"),
                    Update::Order(order) => drop(self.orders.insert(order.id, order)),
                    Update::Receipt(receipt) => self.receipts.push((receipt.claims, receipt.token)),
                    Update::Holdings(holdings) => self.holdings = holdings,
                    Update::Connection(connection) => self.connection = connection,
                    Update::Trouble(trouble) => self.troubles.push(trouble),
                    _ => {}
                }
            }
        }
        opened
    }

    pub fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !done(self) {
            let connection = &self.connection;
            assert!(started.elapsed() < PATIENCE, "{what} did not happen; {connection:?}, {:?}", self.orders);
            self.hear();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Orders something; it is sent as soon as it is saved.
    pub fn order(&mut self, product: &str) -> OrderId {
        self.order_from(&catalog(), product)
    }

    /// The same from a catalogue that may be another than the server's.
    pub fn order_from(&mut self, catalog: &Catalog, product: &str) -> OrderId {
        let (name, product) = catalog.product(product).expect("sold");
        let price = product.price(Currency::EUR).expect("a price");
        let id = OrderId(self.clock.tick().random);
        self.command(Input::Purchase(Terms {
            id,
            product: name.clone(),
            quantity: 1,
            price,
            total: price,
            catalog: catalog.digest(),
            grants: product.grants(1, 0),
        }));
        id
    }

    pub fn buy(&mut self, product: &str) -> OrderId {
        let id = self.order(product);
        self.wait_for(id, OrderState::Granted);
        id
    }

    pub fn wait_for(&mut self, id: OrderId, state: OrderState) {
        self.until(&format!("{state:?}"), |victim| victim.orders.get(&id).is_some_and(|order| order.state == state));
    }

    /// Waits until an answer was not believed, for a reason in which these words are.
    pub fn disbelieves(&mut self, told: &str) {
        self.until(
            told,
            |victim| matches!(&victim.connection, Connection::Retrying { trouble } if trouble.contains(told)),
        );
    }

    /// Whether the last answer was not believed.
    pub fn is_retrying(&self) -> bool {
        matches!(self.connection, Connection::Retrying { .. })
    }

    /// Whether the last answer was believed.
    pub fn is_online(&self) -> bool {
        self.connection == Connection::Online
    }

    /// Whether the last receipt is signed by `key`.
    pub fn signed_by(&self, key: KeyId) -> bool {
        self.receipts.last().is_some_and(|(receipt, _)| receipt.server == key)
    }

    /// Lets some time pass.
    pub fn pass(&mut self, time: Duration) {
        std::thread::sleep(time);
        self.hear();
    }

    pub fn sync_now(&self) {
        self.command(Input::SyncNow);
    }

    /// How many of an item there are.
    pub fn left(&self, item: &str) -> u64 {
        self.holdings.items.get(item).map_or(0, |quantity| quantity.left)
    }

    /// Uses items up, and waits until the server has heard of it.
    pub fn uses(&mut self, scene: &Scene, item: &str, quantity: u64) {
        self.until("they are there", |victim| victim.left(item) >= quantity);
        let rest = self.left(item) - quantity;
        let id = ConsumptionId(fresh_id());
        self.command(Input::Consume { id, item: item.parse().expect("a name"), quantity });
        self.until("they are used", |victim| victim.left(item) == rest);
        self.sync_now();
        self.until("the server has heard of it", |victim| {
            left(&whole_feed(scene, &victim.device).1).get(item).copied().unwrap_or_default() == rest
        });
    }

    /// Whether nothing at all is owned.
    pub fn owns_nothing(&self) -> bool {
        let items = self.holdings.items.values().map(|quantity| quantity.left).sum::<u64>();
        self.holdings.entitlements.is_empty() && items == 0
    }

    /// What has to hold at the end, when nobody lies any more: what the client shows is what the server's books give
    /// to this account, and every receipt it has applied is in this account's feed, as it was signed.
    pub fn check(mut self, scene: &Scene) {
        self.let_through();
        self.sync_now();
        let (tokens, receipts) = whole_feed(scene, &self.device);
        let items = left(&receipts);
        let mut latest = BTreeMap::new();
        for receipt in receipts {
            if let FeedReceipt::Order(receipt) = receipt {
                latest.insert(receipt.order, receipt);
            }
        }
        let granted = latest.values().filter(|receipt| receipt.status == Status::Granted).flat_map(|it| &it.grants);
        let rights = granted.filter_map(|grant| match grant {
            Grant::Entitlement { entitlement, .. } => Some(entitlement.clone()),
            Grant::Item { .. } => None,
        });
        let rights: BTreeSet<_> = rights.collect();
        self.until("what the books say", |victim| {
            let owned: BTreeSet<_> = victim.holdings.entitlements.keys().cloned().collect();
            let left = victim.holdings.items.iter().filter(|(_, quantity)| quantity.left > 0);
            let left: BTreeMap<_, _> = left.map(|(item, quantity)| (item.clone(), quantity.left)).collect();
            victim.connection == Connection::Online && owned == rights && left == items
        });
        for (receipt, token) in &self.receipts {
            assert_eq!(receipt.account, self.device.account(), "a foreign receipt was applied");
            assert!(tokens.contains(token), "a receipt was applied that is not in the feed: {receipt:?}");
        }
    }
}
