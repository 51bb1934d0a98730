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
    /// Oldest first. Answers come in this order too, so that it is mostly the first one that goes. In pieces, none of them
    /// empty, so that those that are there are never moved to make room.
    history: VecDeque<VecDeque<OpenOrder>>,
    /// Only ever asked for one, so that its own order means nothing.
    places: FxHashMap<OrderId, u64>,
}

/// How many orders a piece of the history has room for.
const PIECE: usize = 64;

impl OpenOrders {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn contains(&self, id: OrderId) -> bool {
        self.places.contains_key(&id)
    }

    pub(super) fn get(&self, id: OrderId) -> Option<&OpenOrder> {
        let (piece, place) = self.position(id)?;
        self.history.get(piece)?.get(place)
    }

    pub(super) fn get_mut(&mut self, id: OrderId) -> Option<&mut OpenOrder> {
        let (piece, place) = self.position(id)?;
        self.history.get_mut(piece)?.get_mut(place)
    }

    /// Adds an order, whose place is after all others, if there is none of its id.
    pub(super) fn add(&mut self, open: OpenOrder) {
        let Entry::Vacant(entry) = self.places.entry(open.order.id) else { return };
        entry.insert(open.place);
        match self.history.back_mut().filter(|piece| piece.len() < PIECE) {
            Some(piece) => piece.push_back(open),
            None => {
                let mut piece = VecDeque::with_capacity(PIECE);
                piece.push_back(open);
                self.history.push_back(piece);
            }
        }
    }

    pub(super) fn remove(&mut self, id: OrderId) -> Option<OpenOrder> {
        let (number, place) = self.position(id)?;
        self.places.remove(&id);
        let piece = self.history.get_mut(number)?;
        let removed = piece.remove(place);
        if piece.is_empty() {
            self.history.remove(number);
        }
        removed
    }

    /// The number of the piece that an order is in, and where it is in that.
    fn position(&self, id: OrderId) -> Option<(usize, usize)> {
        let place = *self.places.get(&id)?;
        let after = self.history.partition_point(|piece| piece.front().is_some_and(|first| first.place <= place));
        let number = after.checked_sub(1)?;
        Some((number, self.history.get(number)?.binary_search_by_key(&place, |open| open.place).ok()?))
    }

    /// All of them, oldest first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &OpenOrder> {
        self.history.iter().flatten()
    }

    /// Those that are to be sent, oldest first.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = (OrderId, &Signed)> {
        self.in_order().filter_map(|open| Some((open.order.id, open.unanswered.as_ref()?)))
    }

    /// The allowances that orders which are to be sent were made within.
    pub(super) fn allowances(&self) -> impl Iterator<Item = AllowanceId> {
        self.in_order().filter(|open| open.unanswered.is_some()).filter_map(|open| open.allowance)
    }

    /// Forgets that any is to be sent: for a deliberate bug.
    pub(super) fn forget_unanswered(&mut self) {
        self.history.iter_mut().flatten().for_each(|open| open.unanswered = None);
    }
}
