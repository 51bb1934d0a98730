//! The orders that no final receipt has answered: each is found by its id, and all come in the order of their history.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use rustc_hash::FxHashMap;

use crate::client::inventory::Bundle;
use crate::client::record::Signed;
use crate::client::view::PlacedOrder;
use crate::protocol::{AllowanceId, OrderId, Sha256};

/// An order that no final receipt has answered, and what the machine has to remember of it.
#[derive(Clone, Debug)]
pub(super) struct OpenOrder {
    pub(super) order: PlacedOrder,
    /// Its place in the history: after a save was copied, two can have the same number in the chain.
    pub(super) place: u64,
    /// The digest of its text.
    pub(super) sha256: Sha256,
    /// Its text, where this device signed it and no receipt has answered it: it is to be sent.
    pub(super) unanswered: Option<Signed>,
    /// The items that it gives before its receipt, where it gives anything.
    pub(super) provisional: Option<Bundle>,
    /// The allowance that it was made within.
    pub(super) allowance: Option<AllowanceId>,
    /// The feed's place of the receipt that decided its state, so that a late one changes nothing.
    pub(super) decided_at: u64,
}

/// The open orders.
#[derive(Debug, Default)]
pub(super) struct OpenOrders {
    /// Oldest first. Answers come in this order too, so that it is mostly the first one that goes.
    history: VecDeque<OpenOrder>,
    /// Only ever asked for one, so that its own order means nothing.
    places: FxHashMap<OrderId, u64>,
}

impl OpenOrders {
    pub(super) fn len(&self) -> usize {
        self.history.len()
    }

    pub(super) fn contains(&self, id: OrderId) -> bool {
        self.places.contains_key(&id)
    }

    pub(super) fn get(&self, id: OrderId) -> Option<&OpenOrder> {
        self.history.get(self.position(id)?)
    }

    pub(super) fn get_mut(&mut self, id: OrderId) -> Option<&mut OpenOrder> {
        let position = self.position(id)?;
        self.history.get_mut(position)
    }

    /// Adds an order, whose place is after all others, if there is none of its id.
    pub(super) fn add(&mut self, open: OpenOrder) {
        if let Entry::Vacant(entry) = self.places.entry(open.order.id) {
            entry.insert(open.place);
            self.history.push_back(open);
        }
    }

    pub(super) fn remove(&mut self, id: OrderId) -> Option<OpenOrder> {
        let position = self.position(id)?;
        self.places.remove(&id);
        self.history.remove(position)
    }

    fn position(&self, id: OrderId) -> Option<usize> {
        let place = self.places.get(&id)?;
        self.history.binary_search_by_key(place, |open| open.place).ok()
    }

    /// All of them, oldest first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &OpenOrder> {
        self.history.iter()
    }

    /// Those that are to be sent, oldest first.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = (OrderId, &Signed)> {
        self.history.iter().filter_map(|open| Some((open.order.id, open.unanswered.as_ref()?)))
    }

    /// The allowances that orders which are to be sent were made within.
    pub(super) fn allowances(&self) -> impl Iterator<Item = AllowanceId> {
        self.history.iter().filter(|open| open.unanswered.is_some()).filter_map(|open| open.allowance)
    }

    /// Forgets that any is to be sent: for a deliberate bug.
    pub(super) fn forget_unanswered(&mut self) {
        self.history.iter_mut().for_each(|open| open.unanswered = None);
    }
}
