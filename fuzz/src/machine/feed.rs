//! How many of each item are left, counted by the rules of the document from what is durable, as long as the server's
//! feed is one that an honest server could send.

use std::collections::{BTreeMap, BTreeSet};

use bevy_iap::client::Record;
use bevy_iap::protocol::{
    Consumption, ConsumptionId, ConsumptionReceipt, ConsumptionStatus, Grant, ItemId, OrderId, Receipt, Status, Token,
};

use crate::model::payload;

/// More than any honest server gives.
const MANY: u64 = 1 << 60;

type Items = BTreeMap<ItemId, u64>;

/// The account's feed, as far as the device has it.
#[derive(Default)]
pub(super) struct Feed {
    places: BTreeMap<u64, Entry>,
    cursor: u64,
    /// What was used up here, of which the feed up to the cursor says nothing.
    pending: BTreeMap<ConsumptionId, ItemId>,
    /// Whether no honest server would send it.
    is_odd: bool,
}

#[derive(PartialEq)]
enum Entry {
    /// What an order gives from then on; nothing, where that is not decided.
    Order(OrderId, Option<Items>),
    Used {
        id: ConsumptionId,
        item: ItemId,
        quantity: u64,
        is_consumed: bool,
    },
}

impl Feed {
    /// A record is durable.
    pub(super) fn note(&mut self, record: &Record) {
        match record {
            Record::Receipt(signed) => {
                let receipt: Receipt = read(&signed.token());
                self.put(receipt.feed, Entry::Order(receipt.order, given(&receipt)));
            }
            Record::ConsumptionReceipt(token) => {
                let ConsumptionReceipt { feed, consumption: id, item, quantity, status, .. } = read(token);
                let is_consumed = status == ConsumptionStatus::Consumed;
                self.put(feed, Entry::Used { id, item, quantity, is_consumed });
            }
            Record::Consumption(token) => {
                let consumption: Consumption = read(token);
                // Its id is random: nobody answers it before.
                let is_it = |entry: &Entry| matches!(entry, Entry::Used { id, .. } if *id == consumption.id);
                self.is_odd |= self.places.values().any(is_it);
                self.pending.insert(consumption.id, consumption.item);
            }
            Record::Synced(synced) => {
                self.is_odd |= synced.cursor < self.cursor;
                self.cursor = synced.cursor;
                let known = self.places.range(..=synced.cursor).count();
                self.is_odd |= u64::try_from(known) != Ok(synced.cursor);
            }
            _ => {}
        }
    }

    /// The device belongs elsewhere now.
    pub(super) fn leave(&mut self) {
        self.is_odd = true;
    }

    fn put(&mut self, place: u64, entry: Entry) {
        let most = match &entry {
            Entry::Order(_, items) => items.iter().flatten().map(|(_, quantity)| *quantity).max().unwrap_or_default(),
            Entry::Used { quantity, .. } => *quantity,
        };
        let is_other = self.places.get(&place).is_some_and(|known| *known != entry);
        self.is_odd |= is_other || most > MANY;
        self.places.insert(place, entry);
    }

    /// The client has given up what was used of something that was taken back, or that the server refused.
    pub(super) fn give_up(&mut self, item: &ItemId) {
        let answered = self.answered();
        let used = || self.pending.iter().rev().filter(|(_, used)| *used == item).map(|(id, _)| *id);
        let refused = used().find(|id| answered.get(id) == Some(&false));
        let given_up = refused.or_else(|| used().find(|id| !answered.contains_key(id)));
        given_up.map(|id| self.pending.remove(&id));
    }

    /// Whether something that was used up here surely waits for its answer.
    pub(super) fn waits_for(&self, id: ConsumptionId) -> bool {
        !self.is_odd && self.pending.contains_key(&id) && !self.answered().contains_key(&id)
    }

    /// What the document has a client show; nothing, where the feed is none that it speaks of. `before` is what orders
    /// give before their receipts.
    pub(super) fn left(&self, before: &BTreeMap<OrderId, Grant>) -> Option<Items> {
        if self.is_odd {
            return None;
        }
        let mut latest: BTreeMap<OrderId, &Items> = BTreeMap::new();
        let (mut used, mut undecided) = (Items::new(), BTreeSet::new());
        let mut counted: BTreeMap<OrderId, &Items> = BTreeMap::new();
        for (place, entry) in &self.places {
            match entry {
                Entry::Order(id, None) => drop(undecided.insert((id, latest.contains_key(id)))),
                Entry::Order(id, Some(items)) => {
                    latest.insert(*id, items);
                    if *place <= self.cursor {
                        let before = counted.insert(*id, items).into_iter().flat_map(|items| items.keys());
                        for item in before {
                            let most = sum(&counted, item);
                            used.entry(item.clone()).and_modify(|used| *used = (*used).min(most));
                        }
                    }
                }
                Entry::Used { item, quantity, is_consumed: true, .. } if *place <= self.cursor => {
                    let sum_used = used.entry(item.clone()).or_default();
                    *sum_used = sum_used.checked_add(*quantity).filter(|used| *used <= sum(&counted, item))?;
                }
                Entry::Used { .. } => {}
            }
        }
        // What is decided stays so.
        if undecided.iter().any(|(_, was_decided)| *was_decided) {
            return None;
        }
        let mut left = Items::new();
        let before = before.iter().filter(|(id, _)| !latest.contains_key(id));
        for (item, quantity) in before.filter_map(|(_, grant)| item(grant)).chain(latest.values().copied().flatten()) {
            *left.entry(item.clone()).or_default() += quantity;
        }
        for (item, used) in &used {
            left.entry(item.clone()).and_modify(|left| *left = left.saturating_sub(*used));
        }
        let answered = self.answered();
        for (_, item) in self.pending.iter().filter(|(id, _)| !answered.contains_key(id)) {
            left.entry(item.clone()).and_modify(|left| *left = left.saturating_sub(1));
        }
        left.retain(|_, left| *left > 0);
        Some(left)
    }

    /// What the feed up to the cursor says of what was used up: whether it was.
    fn answered(&self) -> BTreeMap<ConsumptionId, bool> {
        let entries = self.places.range(..=self.cursor).filter_map(|(_, entry)| match entry {
            Entry::Used { id, is_consumed, .. } => Some((*id, *is_consumed)),
            Entry::Order(..) => None,
        });
        entries.collect()
    }
}

/// The item that a record says was used up here.
pub(super) fn used(record: &Record) -> Option<ItemId> {
    match record {
        Record::Consumption(token) => Some(read::<Consumption>(token).item),
        _ => None,
    }
}

fn sum(orders: &BTreeMap<OrderId, &Items>, item: &ItemId) -> u64 {
    orders.values().filter_map(|items| items.get(item)).sum()
}

fn item(grant: &Grant) -> Option<(&ItemId, &u64)> {
    match grant {
        Grant::Item { item, quantity } => Some((item, quantity)),
        Grant::Entitlement { .. } => None,
    }
}

/// What a receipt gives of items; nothing, if it decides nothing.
fn given(receipt: &Receipt) -> Option<Items> {
    let mut items = Items::new();
    let granted = receipt.grants.iter().filter(|_| receipt.status == Status::Granted).filter_map(item);
    for (item, quantity) in granted {
        let sum = items.entry(item.clone()).or_default();
        *sum = sum.saturating_add(*quantity);
    }
    receipt.status.is_final().then_some(items)
}

fn read<T: serde::de::DeserializeOwned>(token: &Token) -> T {
    let claims = payload(token.as_str()).expect("a token");
    serde_json::from_slice(&claims).expect("claims that were believed")
}
