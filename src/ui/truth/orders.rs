//! What is said of orders: how far they are on their way, what became of them, and why none was made.

use super::{Said, Truth, toned};
use crate::calendar;
use crate::client::{Connection, OrderState, Persistence, PlacedOrder};
use crate::plugin::PurchaseError;
use crate::protocol::{Reason, UnixSeconds};
use crate::ui::parts::{Lamp, Step};
use crate::ui::skin::Tone;
use crate::ui::words::arguments;

impl Truth<'_> {
    pub(super) fn outcome(self, product: &str) -> Said {
        if let Some(refused) = self.waits.refused(product) {
            return toned(self.refusal(refused), Tone::Warning);
        }
        let Some(order) = self.last_order(product).filter(|order| self.waits.concerns(order)) else {
            return Said::default();
        };
        self.progress(order)
    }

    /// Where an order is, in a sentence, with what to do next.
    pub(in crate::ui) fn progress(self, order: &PlacedOrder) -> Said {
        let words = self.words;
        let why = || words.say(reason(order.reason));
        let because = |message| words.say_with(message, &arguments([("reason", why().into())]));
        if order.state.is_open() && order.state != OrderState::Pending {
            if order.provisional {
                let kept =
                    if self.waits_in_a_browser() { "progress-provisional-browser" } else { "progress-provisional" };
                return toned(words.say(kept), Tone::Good);
            }
            if self.waits.is_slow(order.id) {
                return toned(words.say("progress-slow"), Tone::Warning);
            }
        }
        match order.state {
            OrderState::Placed => toned(words.say("progress-placed"), Tone::Plain),
            OrderState::Queued => toned(words.say(self.queued()), Tone::Plain),
            OrderState::Sent => toned(words.say("progress-sent"), Tone::Plain),
            OrderState::Pending => toned(words.say("progress-pending"), Tone::Warning),
            OrderState::Granted => toned(words.say("progress-granted"), Tone::Good),
            OrderState::Declined => toned(because("progress-declined"), Tone::Bad),
            OrderState::Refunded => toned(words.say("progress-refunded"), Tone::Plain),
            OrderState::Revoked => toned(because("progress-revoked"), Tone::Bad),
            OrderState::Unverified => toned(words.say("progress-unverified"), Tone::Bad),
            OrderState::NotSaved => toned(words.say("progress-not-saved"), Tone::Bad),
        }
    }

    /// What is said of an order that is queued, by what it waits for and how long it can wait.
    fn queued(self) -> &'static str {
        let in_memory = self.store.persistence() == Some(Persistence::InMemory);
        match self.store.connection() {
            _ if self.waits_in_a_browser() => "progress-queued-browser",
            Connection::Offline | Connection::NoServer | Connection::Retrying { .. } if in_memory => {
                "progress-queued-memory"
            }
            Connection::Offline | Connection::NoServer => "progress-queued-offline",
            _ => "progress-queued",
        }
    }

    /// Whether orders wait for a connection where a browser may throw them away.
    fn waits_in_a_browser(self) -> bool {
        let waits = !matches!(self.store.connection(), Connection::Connecting | Connection::Online);
        waits && self.store.persistence() == Some(Persistence::BestEffort)
    }

    /// How a step's lamp is lit.
    pub(in crate::ui) fn lamp(self, lamp: &Lamp) -> Tone {
        let Some(order) = self.last_order(&lamp.product).filter(|order| self.waits.concerns(order)) else {
            return Tone::Quiet;
        };
        let reached = match order.state {
            OrderState::Placed | OrderState::NotSaved => 0,
            OrderState::Queued => 1,
            OrderState::Sent | OrderState::Pending => 2,
            _ => 3,
        };
        let place = match lamp.step {
            Step::Queued => 1,
            Step::Sent => 2,
            Step::Receipt => 3,
        };
        match (place <= reached, place, order.state) {
            (false, ..) => Tone::Quiet,
            (true, 3, OrderState::Granted) => Tone::Good,
            (true, 3, _) => Tone::Bad,
            (true, ..) => Tone::Accent,
        }
    }

    /// Whether the last order of a product waits for something that should come soon.
    pub(in crate::ui) fn is_waiting(self, product: &str) -> bool {
        let order = self.last_order(product).filter(|order| self.waits.concerns(order));
        order.is_some_and(|order| {
            let soon = match order.state {
                OrderState::Placed | OrderState::Sent => true,
                OrderState::Queued => matches!(self.store.connection(), Connection::Online | Connection::Connecting),
                _ => false,
            };
            soon && !self.waits.is_slow(order.id)
        })
    }

    /// Why the last try to buy something was refused.
    pub(in crate::ui) fn refusal_of_now(self) -> Option<String> {
        self.waits.last_refusal().map(|error| self.refusal(error))
    }

    fn refusal(self, error: &PurchaseError) -> String {
        let words = self.words;
        let with = |message, name, value: String| words.say_with(message, &arguments([(name, value.into())]));
        match error {
            PurchaseError::AlreadyOwned => words.say("refused-already-owned"),
            PurchaseError::AlreadyOrdered { .. } => words.say("refused-already-ordered"),
            PurchaseError::DoubleTap => words.say("refused-double-tap"),
            PurchaseError::DeviceRevoked => words.say("refused-device-revoked"),
            PurchaseError::NotSoldIn { currency } => with("refused-not-sold", "currency", currency.to_string()),
            PurchaseError::NotOpen | PurchaseError::CatalogNotLoaded => words.say("refused-not-ready"),
            PurchaseError::ReadOnly { reason } => with("refused-read-only", "reason", reason.clone()),
            PurchaseError::Failed { reason } => with("refused-failed", "reason", reason.clone()),
            PurchaseError::Busy => words.say("refused-busy"),
            other => with("refused-other", "reason", other.to_string()),
        }
    }

    pub(super) fn ordered(self, order: &PlacedOrder) -> String {
        let title = self.title(order.product.as_str());
        let total = self.words.money(order.total);
        match order.quantity {
            1 => format!("{title} · {total}"),
            many => format!("{title} ×{many} · {total}"),
        }
    }

    pub(super) fn receipt(self, order: &PlacedOrder) -> String {
        let receipt = self.store.receipts().iter().rev().find(|receipt| receipt.claims.order == order.id);
        let id = receipt.map(|receipt| receipt.claims.id.to_string());
        let id = match id {
            Some(receipt) => self.words.say_with("history-receipt", &arguments([("receipt", receipt.into())])),
            None => self.words.say("history-no-receipt"),
        };
        format!("{} · {id}", utc(order.placed_at))
    }

    pub(super) fn state(self, order: &PlacedOrder) -> Said {
        let (message, tone) = match order.state {
            OrderState::Placed => ("state-placed", Tone::Quiet),
            OrderState::Queued => ("state-queued", Tone::Warning),
            OrderState::Sent => ("state-sent", Tone::Warning),
            OrderState::Pending => ("state-pending", Tone::Warning),
            OrderState::Granted => ("state-granted", Tone::Good),
            OrderState::Declined => ("state-declined", Tone::Bad),
            OrderState::Refunded => ("state-refunded", Tone::Accent),
            OrderState::Revoked => ("state-revoked", Tone::Bad),
            OrderState::Unverified => ("state-unverified", Tone::Bad),
            OrderState::NotSaved => ("state-not-saved", Tone::Bad),
        };
        let said = self.words.say(message);
        let text = match order.reason {
            Some(why) => format!("{said}: {}", self.words.say(reason(Some(why)))),
            None => said,
        };
        toned(text, tone)
    }
}

/// The message that says why.
fn reason(reason: Option<Reason>) -> &'static str {
    match reason {
        Some(Reason::InsufficientFunds) => "reason-insufficient-funds",
        Some(Reason::UnknownProduct) => "reason-unknown-product",
        Some(Reason::PriceMismatch) => "reason-price-mismatch",
        Some(Reason::StaleCatalog) => "reason-stale-catalog",
        Some(Reason::AlreadyOwned) => "reason-already-owned",
        Some(Reason::QuantityOutOfRange) => "reason-quantity-out-of-range",
        Some(Reason::ChainBroken) => "reason-chain-broken",
        Some(Reason::DeviceFrozen) => "reason-device-frozen",
        Some(Reason::Operator) => "reason-operator",
        Some(Reason::RefundedInPart) => "reason-refunded-in-part",
        Some(Reason::Moved) => "reason-moved",
        Some(Reason::Other) | None => "reason-other",
    }
}

/// A moment as a date and a time of day, in UTC.
fn utc(time: UnixSeconds) -> String {
    let ((year, month, day), (hour, minute, _)) = (calendar::date(time), calendar::time_of_day(time));
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_as_a_date_and_a_time() {
        for (seconds, shown) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_700_000_000, "2023-11-14 22:13 UTC"),
            (4_107_542_399, "2100-02-28 23:59 UTC"),
            (-1, "1969-12-31 23:59 UTC"),
        ] {
            assert_eq!(utc(seconds), shown);
        }
    }
}
