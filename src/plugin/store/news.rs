//! What the systems put into the store, as the worker tells it.

use std::sync::Arc;

use super::{State, Store};
use crate::client::machine::ServerClock;
use crate::client::{
    Client, Connection, Holdings, OfflineAllowance, OrderState, Persistence, PlacedOrder, RECENT, SignedReceipt,
    Snapshot, Update,
};
use crate::protocol::sync::Balance;
use crate::protocol::{AccountId, Catalog, ItemId, KeyId};

impl Store {
    pub(in crate::plugin) fn has_news(&self) -> bool {
        self.client.as_ref().is_some_and(Client::has_news)
    }

    pub(in crate::plugin) fn news(&mut self) -> Option<Vec<Update>> {
        self.client.as_mut()?.news()
    }

    pub(in crate::plugin) fn open(&mut self, snapshot: Snapshot) {
        // What is in no journal is known here alone.
        let is_unsaved = |order: &PlacedOrder| matches!(order.state, OrderState::Placed | OrderState::NotSaved);
        let mut unsaved: Vec<_> = self.orders().filter(|order| is_unsaved(order)).cloned().collect();
        self.orders.clear();
        self.history.clear();
        self.standing.clear();
        self.consuming.clear();
        if snapshot.access.may_write() && self.connection == Connection::ReadOnly {
            self.connection = Connection::NoServer;
        }
        for order in snapshot.orders {
            self.put_order(order);
        }
        unsaved.retain(|order| !self.orders.contains_key(&order.id));
        unsaved.into_iter().for_each(|order| self.put_order(order));
        self.receipts = snapshot.receipts;
        self.holdings = snapshot.holdings;
        self.wallet = snapshot.wallet;
        self.allowance = snapshot.allowance;
        let Snapshot { device, account, access, membership, .. } = snapshot;
        self.open_account(membership);
        self.state = State::Open { device, account, access };
    }

    pub(super) fn belong_to(&mut self, now_device: KeyId, now_account: AccountId) {
        if let State::Open { device, account, .. } = &mut self.state {
            (*device, *account) = (now_device, now_account);
        }
    }

    pub(in crate::plugin) fn fail(&mut self, reason: String) {
        self.state = State::Failed(reason);
    }

    pub(in crate::plugin) fn put_order(&mut self, order: PlacedOrder) {
        let standing = self.standing.entry(order.product.clone()).or_default();
        if order.state.is_open() || order.state == OrderState::Granted {
            standing.insert(order.id);
        } else {
            standing.remove(&order.id);
        }
        let id = order.id;
        if self.orders.insert(id, order).is_none() {
            self.history.push(id);
        }
        if self.history.len() > 2 * RECENT {
            self.forget_old_orders();
        }
    }

    /// Forgets the oldest orders that are not open, so that a store that sells for years does not grow with them.
    fn forget_old_orders(&mut self) {
        let mut too_many = self.history.len() - RECENT;
        let Self { history, orders, standing, .. } = self;
        history.retain(|id| {
            let Some(order) = orders.get(id).filter(|order| too_many > 0 && !order.state.is_open()) else {
                return true;
            };
            too_many -= 1;
            if let Some(standing) = standing.get_mut(&order.product) {
                standing.remove(id);
            }
            orders.remove(id);
            false
        });
    }

    pub(in crate::plugin) fn put_receipt(&mut self, receipt: SignedReceipt) {
        self.receipts.push(receipt);
        if self.receipts.len() > 2 * RECENT {
            self.receipts.drain(..RECENT);
        }
    }

    /// Puts in what is owned now, and returns what was.
    pub(in crate::plugin) fn take_holdings(&mut self, holdings: Holdings) -> Holdings {
        std::mem::replace(&mut self.holdings, holdings)
    }

    /// Items asked to be used up are, or could not be: what is owned says which.
    pub(in crate::plugin) fn consumed(&mut self, item: &ItemId, quantity: u64) {
        if let Some(waiting) = self.consuming.get_mut(item) {
            *waiting = waiting.saturating_sub(quantity);
        }
    }

    pub(in crate::plugin) fn take_wallet(&mut self, wallet: Vec<Balance>) {
        self.wallet = wallet;
    }

    pub(in crate::plugin) fn take_server_clock(&mut self, clock: ServerClock) {
        self.server_clock = Some(clock);
    }

    pub(in crate::plugin) fn take_clock_untrusted(&mut self, untrusted: bool) {
        self.clock_untrusted = untrusted;
    }

    pub(in crate::plugin) fn take_allowance(&mut self, allowance: Option<OfflineAllowance>) {
        self.allowance = allowance;
    }

    pub(in crate::plugin) fn take_connection(&mut self, connection: Connection) {
        self.connection = connection;
    }

    pub(in crate::plugin) fn take_persistence(&mut self, persistence: Persistence) {
        self.persistence = Some(persistence);
    }

    pub(in crate::plugin) fn take_catalog(&mut self, catalog: Arc<Catalog>) {
        self.catalog = Some(catalog);
        self.catalog_trouble = None;
    }

    pub(in crate::plugin) fn refuse_catalog(&mut self, reason: String) {
        self.catalog_trouble = Some(reason);
    }
}
