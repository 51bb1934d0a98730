//! How long things take: every wait of the shop has a limit, and an outcome in words when it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bevy::prelude::*;
use bevy::time::Real;

use crate::client::PlacedOrder;
use crate::plugin::{PurchaseError, Store};
use crate::protocol::OrderId;

/// How long an order may be on its way before the shop says that it goes on by itself.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(12);
/// How long a second press is waited for, where one confirms.
pub(super) const CONFIRMING: Duration = Duration::from_secs(5);

/// What waits, and what was tried last.
#[derive(Resource, Debug, Default)]
pub(super) struct Waits {
    /// When each open order was first seen.
    since: BTreeMap<OrderId, Duration>,
    slow: BTreeSet<OrderId>,
    /// Orders that were made while the shop was watching.
    watched: BTreeSet<OrderId>,
    opening_since: Option<Duration>,
    opening_slow: bool,
    refused: Option<(String, PurchaseError)>,
    confirming: Option<(String, Duration)>,
}

impl Waits {
    /// Whether an order has taken longer than players should have to watch.
    pub(super) fn is_slow(&self, order: OrderId) -> bool {
        self.slow.contains(&order)
    }

    /// Whether the shop has taken long to open.
    pub(super) fn is_opening_slow(&self) -> bool {
        self.opening_slow
    }

    /// Whether what becomes of an order is news: it is open, or was made here.
    pub(super) fn concerns(&self, order: &PlacedOrder) -> bool {
        order.state.is_open() || self.watched.contains(&order.id)
    }

    /// Why the last try to buy a product was refused.
    pub(super) fn refused(&self, product: &str) -> Option<&PurchaseError> {
        self.refused.as_ref().filter(|(refused, _)| refused == product).map(|(_, error)| error)
    }

    /// Why the last try was refused, whatever it was about.
    pub(super) fn last_refusal(&self) -> Option<&PurchaseError> {
        self.refused.as_ref().map(|(_, error)| error)
    }

    /// Something was tried.
    pub(super) fn tried(&mut self, product: &str, outcome: Result<OrderId, PurchaseError>) {
        self.confirming = None;
        match outcome {
            Ok(order) => {
                self.refused = None;
                self.watched.insert(order);
            }
            Err(error) => self.refused = Some((product.to_owned(), error)),
        }
    }

    /// Whether one more press buys the product.
    pub(super) fn is_confirming(&self, product: &str) -> bool {
        self.confirming.as_ref().is_some_and(|(confirming, _)| confirming == product)
    }

    /// The first of two presses that buy.
    pub(super) fn confirm(&mut self, product: &str, now: Duration) {
        self.confirming = Some((product.to_owned(), now + CONFIRMING));
    }

    /// Forgets what was refused, for instance since another page is open.
    pub(super) fn forget_refusal(&mut self) {
        self.refused = None;
    }

    /// Whether time makes a difference to anything.
    fn is_waiting(&self) -> bool {
        self.opening_since.is_some() || self.confirming.is_some() || self.since.len() > self.slow.len()
    }
}

/// Notes since when orders wait.
pub(super) fn note(store: Res<Store>, time: Res<Time<Real>>, mut waits: ResMut<Waits>) {
    let now = time.elapsed();
    let open: BTreeSet<_> = store.orders().filter(|order| order.state.is_open()).map(|order| order.id).collect();
    let is_opening = store.catalog().is_none() && store.catalog_trouble().is_none();
    let known = waits.since.len() == open.len() && open.iter().all(|order| waits.since.contains_key(order));
    if known && is_opening == waits.opening_since.is_some() {
        return;
    }
    let waits = &mut *waits;
    waits.since.retain(|order, _| open.contains(order));
    waits.slow.retain(|order| open.contains(order));
    for order in open {
        waits.since.entry(order).or_insert(now);
    }
    waits.opening_since = is_opening.then(|| waits.opening_since.unwrap_or(now));
    waits.opening_slow &= is_opening;
}

/// Ends what has waited long enough.
pub(super) fn end(time: Res<Time<Real>>, mut waits: ResMut<Waits>) {
    let now = time.elapsed();
    let over = |since: Duration| now.saturating_sub(since) >= LONGEST_WAIT;
    let slow: BTreeSet<_> = waits.since.iter().filter(|(_, since)| over(**since)).map(|(order, _)| *order).collect();
    if slow.len() > waits.slow.len() {
        waits.slow = slow;
    }
    if !waits.opening_slow && waits.opening_since.is_some_and(over) {
        waits.opening_slow = true;
    }
    if waits.confirming.as_ref().is_some_and(|(_, until)| *until <= now) {
        waits.confirming = None;
    }
}

/// Runs while something waits.
pub(super) fn is_waiting(waits: Res<Waits>) -> bool {
    waits.is_waiting()
}
