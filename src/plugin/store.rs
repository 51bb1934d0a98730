//! The store: what the game asks and tells, answered at once from memory.

mod account;
mod errors;
mod news;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bevy::ecs::resource::Resource;

pub use account::AccountError;
pub use errors::{ConsumeError, PurchaseError};

use super::IapPlugin;
use crate::client::machine::{Input, ServerClock, Terms};
use crate::client::worker::NotTaken;
use crate::client::{
    Access, AccountView, Client, Clock, Connection, Holdings, OfflineAllowance, Persistence, PlacedOrder, SignedReceipt,
};
use crate::protocol::sync::Balance;
use crate::protocol::{
    AccountId, Catalog, ConsumptionId, Currency, Grant, ItemId, KeyId, Money, OrderId, Product, ProductId, ProductKind,
};

/// What can be bought, what is owned, and what is on its way.
///
/// Every method answers from memory at once: none waits for the disk, the network or a lock.
#[derive(Resource, Debug)]
pub struct Store {
    client: Option<Client>,
    state: State,
    clock: Arc<dyn Clock>,
    currency: Currency,
    double_tap: Duration,
    catalog: Option<Arc<Catalog>>,
    catalog_trouble: Option<String>,
    orders: BTreeMap<OrderId, PlacedOrder>,
    /// The orders' ids, oldest first.
    history: Vec<OrderId>,
    /// Orders that are open or granted, by product.
    standing: BTreeMap<ProductId, BTreeSet<OrderId>>,
    receipts: Vec<SignedReceipt>,
    holdings: Holdings,
    /// Items asked to be used up and not yet reported as such.
    consuming: BTreeMap<ItemId, u64>,
    wallet: Vec<Balance>,
    server_clock: Option<ServerClock>,
    clock_untrusted: bool,
    allowance: Option<OfflineAllowance>,
    connection: Connection,
    persistence: Option<Persistence>,
    offline: bool,
    last_tap: Option<(ProductId, Duration)>,
    has_server: bool,
    membership: Option<AccountView>,
    /// Whether something is being asked about the account.
    asking: bool,
}

#[derive(Debug)]
enum State {
    Opening,
    Open { device: KeyId, account: AccountId, access: Access },
    Failed(String),
}

impl Store {
    pub(super) fn new(client: Result<Client, String>, plugin: &IapPlugin) -> Self {
        let (client, state) = match client {
            Ok(client) => (Some(client), State::Opening),
            Err(trouble) => (None, State::Failed(trouble)),
        };
        Self {
            client,
            state,
            clock: plugin.clock.clone(),
            currency: plugin.currency,
            double_tap: plugin.double_tap,
            catalog: None,
            catalog_trouble: None,
            orders: BTreeMap::new(),
            history: Vec::new(),
            standing: BTreeMap::new(),
            receipts: Vec::new(),
            holdings: Holdings::default(),
            consuming: BTreeMap::new(),
            wallet: Vec::new(),
            server_clock: None,
            clock_untrusted: false,
            allowance: None,
            connection: Connection::NoServer,
            persistence: None,
            offline: plugin.offline,
            last_tap: None,
            has_server: plugin.server.is_some(),
            membership: None,
            asking: false,
        }
    }

    /// Buys one of `product`.
    ///
    /// Returns at once. The order is *queued*, and survives a crash, when [`PurchaseUpdated`](super::PurchaseUpdated)
    /// says so, usually in the next frame.
    ///
    /// # Errors
    /// Why nothing was ordered; nothing is charged.
    pub fn purchase(&mut self, product: &str) -> Result<OrderId, PurchaseError> {
        self.purchase_many(product, 1)
    }

    /// Buys `quantity` of `product` in one order, all or none.
    ///
    /// # Errors
    /// Why nothing was ordered; nothing is charged.
    pub fn purchase_many(&mut self, product: &str, quantity: u32) -> Result<OrderId, PurchaseError> {
        let client = self.client_for_writing()?;
        self.check_not_revoked()?;
        let catalog = self.loaded_catalog()?;
        let (name, product) =
            catalog.product(product).ok_or_else(|| PurchaseError::UnknownProduct { product: product.to_owned() })?;
        let most = product.max_quantity();
        let price = product.price(self.currency).ok_or(PurchaseError::NotSoldIn { currency: self.currency })?;
        let total = price.checked_mul(quantity).filter(|_| (1..=most).contains(&quantity));
        let total = total.ok_or(PurchaseError::QuantityOutOfRange { quantity, most })?;
        self.check_not_owned(name, product)?;
        let tick = self.clock.tick();
        if self.is_double_tap(name, tick.elapsed) {
            return Err(PurchaseError::DoubleTap);
        }
        if tick.random == [0; 16] {
            return Err(PurchaseError::NoRandomness);
        }
        let terms = Terms {
            id: OrderId(tick.random),
            product: name.clone(),
            quantity,
            price,
            total,
            catalog: catalog.digest(),
            grants: product.grants(quantity, 0),
        };
        let order = PlacedOrder::new(&terms, tick.unix);
        let tap = (name.clone(), tick.elapsed);
        client.command(Input::Purchase(terms)).map_err(not_taken)?;
        self.last_tap = Some(tap);
        let id = order.id;
        self.put_order(order);
        Ok(id)
    }

    /// Uses up `quantity` of an item at once; the journal follows within a frame or so, and the server when it can be
    /// reached. If that had fewer left by then, the items are back, and a
    /// [`ConsumeRefused`](super::ConsumeRefused) says so.
    ///
    /// # Errors
    /// There are not as many, or nothing can be written; nothing is used up.
    pub fn consume(&mut self, item: &str, quantity: u64) -> Result<(), ConsumeError> {
        let client = self.client_for_writing().map_err(ConsumeError::Store)?;
        let left = self.quantity(item);
        let name = self.holdings.items.get_key_value(item).map(|(name, _)| name.clone());
        let (Some(name), true) = (name, (1..=left).contains(&quantity)) else {
            return Err(ConsumeError::NotEnough { item: item.to_owned(), quantity, left });
        };
        let id = ConsumptionId(self.clock.tick().random);
        if id == ConsumptionId([0; 16]) {
            return Err(ConsumeError::Store(PurchaseError::NoRandomness));
        }
        let command = Input::Consume { id, item: name.clone(), quantity };
        client.command(command).map_err(|error| ConsumeError::Store(not_taken(error)))?;
        *self.consuming.entry(name).or_default() += quantity;
        Ok(())
    }

    /// Whether the right called `entitlement` is owned now; also while it is provisional.
    pub fn owns(&self, entitlement: &str) -> bool {
        self.holdings.entitlements.contains_key(entitlement)
    }

    /// How much longer a right that ends is owned; none if it is not owned or does not end.
    pub fn time_left(&self, entitlement: &str) -> Option<Duration> {
        let until = self.holdings.entitlements.get(entitlement)?.until?;
        let tick = self.clock.tick();
        let now = self.server_clock.map_or(tick.unix, |clock| clock.now(tick));
        let seconds = until.saturating_sub(now).max(0);
        Some(Duration::from_secs(seconds.unsigned_abs()))
    }

    /// How many of an item are left to use.
    pub fn quantity(&self, item: &str) -> u64 {
        let left = self.holdings.items.get(item).map_or(0, |quantity| quantity.left);
        left.saturating_sub(self.consuming.get(item).copied().unwrap_or_default())
    }

    /// What is owned, with what is provisional and when it ends.
    pub fn holdings(&self) -> &Holdings {
        &self.holdings
    }

    /// An order of this account, and what became of it.
    pub fn order(&self, id: OrderId) -> Option<&PlacedOrder> {
        self.orders.get(&id)
    }

    /// The orders that are open, and at least the latest [`RECENT`](crate::client::RECENT) others; oldest first.
    pub fn orders(&self) -> impl DoubleEndedIterator<Item = &PlacedOrder> {
        self.history.iter().filter_map(|id| self.orders.get(id))
    }

    /// At least the latest [`RECENT`](crate::client::RECENT) receipts, verified, in the order in which they came; what
    /// each says, and the signed text to show to others. Older ones are in the journal.
    pub fn receipts(&self) -> &[SignedReceipt] {
        &self.receipts
    }

    /// What the wallet holds, as last heard, one entry per currency.
    pub fn wallet(&self) -> &[Balance] {
        &self.wallet
    }

    /// How this client and its server stand.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// How long what is kept on this device stays there, once the journal is open. Where a browser may throw it away, a
    /// game does well to offer a link code or a sign-in, and not to sell much offline.
    pub fn persistence(&self) -> Option<Persistence> {
        self.persistence
    }

    /// The catalogue, once it is loaded.
    pub fn catalog(&self) -> Option<&Catalog> {
        self.catalog.as_deref()
    }

    /// Why the last catalogue was refused, if it was: what is wrong, where, and what to write.
    pub fn catalog_trouble(&self) -> Option<&str> {
        self.catalog_trouble.as_deref()
    }

    /// The price of one of `product` in the currency that this store buys in.
    pub fn price(&self, product: &str) -> Option<Money> {
        self.catalog.as_ref()?.product(product)?.1.price(self.currency)
    }

    /// The currency that this store buys in.
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// The account that this device belongs to, once the journal is open. It names no person.
    pub fn account(&self) -> Option<&AccountId> {
        match &self.state {
            State::Open { account, .. } => Some(account),
            State::Opening | State::Failed(_) => None,
        }
    }

    /// This device's id, once the journal is open.
    pub fn device(&self) -> Option<KeyId> {
        match &self.state {
            State::Open { device, .. } => Some(*device),
            State::Opening | State::Failed(_) => None,
        }
    }

    /// Whether things can be bought: the journal is open for writing and the catalogue is loaded.
    pub fn is_ready(&self) -> bool {
        self.availability().is_ok()
    }

    /// Whether things can be bought, and if not, why.
    ///
    /// # Errors
    /// What [`Store::purchase`] would say of any product.
    pub fn availability(&self) -> Result<(), PurchaseError> {
        self.client_for_writing()?;
        self.check_not_revoked()?;
        self.loaded_catalog().map(|_| ())
    }

    /// What this device may spend offline and be given at once, if the server has set anything aside for it. It may
    /// have ended: `until` says when.
    pub fn offline_allowance(&self) -> Option<OfflineAllowance> {
        self.allowance
    }

    /// Whether the device's clock can be right. It cannot if it shows a time that was over when the server last signed
    /// one, and the server was not heard since the start: then what is owned for a time rests, and all else goes on.
    pub fn is_clock_trusted(&self) -> bool {
        !self.clock_untrusted
    }

    /// Asks the server for news now, also in the middle of a wait. Does nothing while offline or without a server.
    pub fn sync_now(&self) {
        if let Some(client) = &self.client {
            // A full queue means that the worker is about to sync as it is.
            let _ = client.command(Input::SyncNow);
        }
    }

    /// Stops asking the server, or starts again. Orders are queued either way.
    ///
    /// # Errors
    /// The worker is too busy to hear it; try again in the next frame.
    pub fn set_offline(&mut self, offline: bool) -> Result<(), PurchaseError> {
        let Some(client) = &self.client else { return Ok(()) };
        client.command(Input::SetOffline(offline)).map_err(not_taken)?;
        self.offline = offline;
        Ok(())
    }

    /// Whether a server is set.
    #[cfg(feature = "ui")]
    pub(crate) fn has_server(&self) -> bool {
        self.has_server
    }

    /// Whether the game set it offline.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    fn client_for_writing(&self) -> Result<&Client, PurchaseError> {
        match &self.state {
            State::Opening => Err(PurchaseError::NotOpen),
            State::Failed(reason) => Err(PurchaseError::Failed { reason: reason.clone() }),
            State::Open { access: Access::ReadOnly(reason), .. } => {
                Err(PurchaseError::ReadOnly { reason: reason.clone() })
            }
            State::Open { access: Access::ReadWrite, .. } => self.client.as_ref().ok_or(PurchaseError::NotOpen),
        }
    }

    fn loaded_catalog(&self) -> Result<&Arc<Catalog>, PurchaseError> {
        self.catalog.as_ref().ok_or_else(|| match &self.catalog_trouble {
            Some(reason) => PurchaseError::CatalogFailed { reason: reason.clone() },
            None => PurchaseError::CatalogNotLoaded,
        })
    }

    fn check_not_owned(&self, name: &ProductId, product: &Product) -> Result<(), PurchaseError> {
        if product.kind == ProductKind::Consumable {
            return Ok(());
        }
        let standing = self.standing.get(name).into_iter().flatten().filter_map(|id| self.orders.get(id));
        for order in standing {
            match (order.state.is_open(), product.kind) {
                (true, _) => return Err(PurchaseError::AlreadyOrdered { order: order.id }),
                (false, ProductKind::Unlock) => return Err(PurchaseError::AlreadyOwned),
                (false, _) => {}
            }
        }
        let owned = |grant: &Grant| match grant {
            Grant::Entitlement { entitlement, .. } => self.owns(entitlement.as_str()),
            // A bundle with items is worth buying for them; a pass can only be bought again when it has ended.
            Grant::Item { .. } => product.kind != ProductKind::Unlock,
        };
        match product.grants(1, 0).iter().all(owned) {
            true => Err(PurchaseError::AlreadyOwned),
            false => Ok(()),
        }
    }

    fn is_double_tap(&self, product: &ProductId, now: Duration) -> bool {
        let last = self.last_tap.as_ref().filter(|(last, _)| last == product);
        last.is_some_and(|(_, at)| now.saturating_sub(*at) < self.double_tap)
    }
}

fn not_taken(error: NotTaken) -> PurchaseError {
    match error {
        NotTaken::Full => PurchaseError::Busy,
        NotTaken::Ended => PurchaseError::Failed { reason: "the purchasing thread has ended".to_owned() },
    }
}
