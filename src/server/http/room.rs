//! The open connections: how many there are, whose they are, and which one has to go when there is no room.
//!
//! A connection waits for its client, or works on a request that has arrived whole. When there is no room for a new
//! one, the connection that has waited the longest is told to leave, and the new one takes its seat at once: silent and
//! slow clients cannot keep the others out, nor keep them waiting, however many they are.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::caller::{Caller, Callers};
use crate::server::Limits;
use crate::server::metrics::{Closed, Metrics};

/// How many connections may be on their way out while others have their seats already. Each has a file open until it is
/// gone, so there are few of them.
const LEAVING: usize = 32;

/// All open connections.
#[derive(Debug)]
pub(super) struct Room {
    limits: Limits,
    callers: Callers,
    metrics: Arc<Metrics>,
    inner: Mutex<Inner>,
    /// Somebody left, or could be told to.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    open: usize,
    /// How many of these were told to leave.
    leaving: usize,
    next_turn: u64,
    /// Connections that wait for their clients, the one that has waited the longest first.
    waiting: BTreeMap<u64, Arc<Notify>>,
    addresses: HashMap<IpAddr, usize>,
}

impl Room {
    pub(super) fn new(limits: Limits, callers: Callers, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { limits, callers, metrics, inner: Mutex::default(), changed: Notify::new() })
    }

    /// A seat for a new connection from `peer`, as soon as there is one; none if the address has too many already.
    pub(super) async fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Seat> {
        loop {
            let changed = self.changed.notified();
            if let Some(entered) = self.try_enter(peer) {
                return entered;
            }
            changed.await;
        }
    }

    fn try_enter(self: &Arc<Self>, peer: IpAddr) -> Option<Option<Seat>> {
        let mut inner = self.inner();
        let address = match self.callers.of_connection(peer) {
            Caller::At(address) => Some(address),
            Caller::Unlimited => None,
        };
        let of_address = address.and_then(|address| inner.addresses.get(&address)).copied().unwrap_or_default();
        if of_address >= self.limits.connections_per_address {
            self.metrics.count_closed(Closed::TooManyOfAddress);
            return Some(None);
        }
        if inner.open - inner.leaving >= self.limits.connections {
            if inner.leaving >= LEAVING {
                return None;
            }
            let (_, leave) = inner.waiting.pop_first()?;
            self.metrics.count_closed(Closed::NoRoom);
            inner.leaving += 1;
            leave.notify_one();
        }
        inner.open += 1;
        if let Some(address) = address {
            *inner.addresses.entry(address).or_default() += 1;
        }
        drop(inner);
        self.metrics.connections.inc();
        let seat = Seat { room: Arc::clone(self), address, leave: Arc::default(), turn: Mutex::default() };
        seat.waits();
        Some(Some(seat))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing that is done under the lock panics half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place.
#[derive(Debug)]
pub(super) struct Seat {
    room: Arc<Room>,
    address: Option<IpAddr>,
    leave: Arc<Notify>,
    /// Its place among those that wait.
    turn: Mutex<Option<u64>>,
}

impl Seat {
    /// The client has done something, and is waited for again.
    pub(super) fn waits(&self) {
        self.move_to(true);
    }

    /// A request has arrived whole: the connection stays open until it is answered.
    pub(super) fn works(&self) {
        self.move_to(false);
    }

    fn move_to(&self, waiting: bool) {
        // Always in this order: first the seat, then the room.
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut inner = self.room.inner();
        if let Some(turn) = *turn
            && inner.waiting.remove(&turn).is_none()
        {
            // It was told to leave, and does at its next step.
            return;
        }
        *turn = None;
        if waiting {
            let next = inner.next_turn;
            inner.next_turn += 1;
            inner.waiting.insert(next, Arc::clone(&self.leave));
            *turn = Some(next);
            self.room.changed.notify_one();
        }
    }

    /// How long a client may keep the server waiting.
    pub(super) fn time(&self) -> Duration {
        self.room.limits.time
    }

    /// Waits until the room is needed for others.
    pub(super) async fn is_needed(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let turn = self.turn.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let mut inner = self.room.inner();
        inner.open -= 1;
        if let Some(turn) = turn
            && inner.waiting.remove(&turn).is_none()
        {
            inner.leaving -= 1;
        }
        if let Some(address) = self.address
            && let Some(count) = inner.addresses.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                inner.addresses.remove(&address);
            }
        }
        drop(inner);
        self.room.metrics.connections.dec();
        self.room.changed.notify_one();
    }
}
