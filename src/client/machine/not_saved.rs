//! What could not be made durable, or may be: what becomes of it, and what is said of it.

use std::mem;
use std::time::Duration;

use super::appending::Waiting;
use super::syncing::jitter;
use super::{Machine, OrderState, Output, PlacedOrder, Terms};
use crate::client::clock::Tick;
use crate::client::seeded::{Bug, seeded};
use crate::client::view::Update;

/// The longest wait before it is tried again to save what may or may not be saved.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

impl Machine {
    /// The append under way failed and left nothing behind. Orders are gone, and say so; receipts will come again.
    pub(super) fn append_failed(&mut self, trouble: &str, tick: Tick, outputs: &mut Vec<Output>) {
        let meaning = self.appending.take().map_or_else(Vec::new, |appending| appending.meaning);
        for failed in meaning {
            let Some(again) = not_saved_at_all(failed, trouble, tick, outputs) else { continue };
            if let Waiting::Receipts(answered) = again
                && seeded(Bug::CursorWithoutReceipts)
            {
                self.orders.forget_unanswered();
                self.cursor = answered.synced.cursor;
            }
            self.account_not_saved(trouble);
            self.failed(trouble, None, tick);
        }
        outputs.push(Output::Tell(Update::Trouble(trouble.to_owned())));
    }

    /// It is not known whether the append under way is durable. It is tried again until the disk says one or the
    /// other; its orders say so, and nothing else is ordered or used up until then.
    pub(super) fn append_uncertain(&mut self, trouble: &str, tick: Tick, outputs: &mut Vec<Output>) {
        if let Some(appending) = &mut self.appending {
            let longest = LONGEST_RETRY.min(Duration::from_secs(1) * 2u32.pow(appending.failures.min(6)));
            appending.failures = appending.failures.saturating_add(1);
            appending.trouble = Some(trouble.to_owned());
            // At least half of it, so that a disk that is failing is left alone for a while.
            appending.retry_at = Some(tick.elapsed + longest / 2 + jitter(longest / 2, tick.random));
            for waiting in &appending.meaning {
                if let Waiting::SignedOrder { terms, .. } = waiting {
                    let mut order = PlacedOrder::new(terms, tick.unix);
                    order.trouble = Some(trouble.to_owned());
                    outputs.push(Output::Tell(Update::Order(order)));
                }
            }
        }
        self.refuse_waiting(trouble, tick, outputs);
        outputs.push(Output::Tell(Update::Trouble(trouble.to_owned())));
    }

    /// Nothing is ordered or used up after something of which nobody knows whether it is saved; receipts wait.
    pub(super) fn refuse_waiting(&mut self, trouble: &str, tick: Tick, outputs: &mut Vec<Output>) {
        for waiting in mem::take(&mut self.waiting) {
            self.waiting.extend(not_saved_at_all(waiting, trouble, tick, outputs));
        }
    }

    /// When to try an append again of which it is not known whether it is durable.
    pub(super) fn next_append(&self) -> Option<Duration> {
        self.appending.as_ref().and_then(|appending| appending.retry_at)
    }

    /// The orders of which it is not known whether they are saved, as they are to be told of if they are not.
    pub(crate) fn orders_in_doubt(&self, tick: Tick) -> Vec<PlacedOrder> {
        let Some(appending) = &self.appending else { return Vec::new() };
        let Some(trouble) = &appending.trouble else { return Vec::new() };
        let signed = appending.meaning.iter().filter_map(|waiting| match waiting {
            Waiting::SignedOrder { terms, .. } => Some(not_saved(terms, trouble, tick)),
            _ => None,
        });
        signed.collect()
    }
}

/// Says of what could not be saved that it is gone, and gives back what nobody asked for and will come again.
fn not_saved_at_all(waiting: Waiting, trouble: &str, tick: Tick, outputs: &mut Vec<Output>) -> Option<Waiting> {
    match waiting {
        Waiting::Purchase(terms) | Waiting::SignedOrder { terms, .. } => {
            outputs.push(Output::Tell(Update::Order(not_saved(&terms, trouble, tick))));
        }
        Waiting::Consume { item, quantity, .. } => {
            outputs.push(Output::Tell(Update::Consumed { item, quantity, saved: false }));
        }
        Waiting::SignedConsumption(pending) => outputs.push(Output::Tell(pending.not_saved())),
        again @ (Waiting::Receipts(_) | Waiting::Account(_)) => return Some(again),
    }
    None
}

/// An order that is not saved, and why.
pub(super) fn not_saved(terms: &Terms, trouble: &str, tick: Tick) -> PlacedOrder {
    let mut order = PlacedOrder::new(terms, tick.unix);
    order.state = OrderState::NotSaved;
    order.trouble = Some(trouble.to_owned());
    order
}
