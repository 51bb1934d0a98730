//! What the panel's lines say, and which of its buttons are on.

use std::time::Duration;

use bevy::a11y::AccessibilityNode;
use bevy::prelude::*;
use bevy::time::Real;

use super::journal::JournalSize;
use super::troubles::Noted;
use super::{DevAction, DevButton, DevLine};
use crate::client::{Connection, OrderState, PlacedOrder};
use crate::dev::control::{SandboxControl, off_by};
use crate::plugin::{PurchaseError, Store};
use crate::protocol::{Money, UnixSeconds};
use crate::server::clock::{Clock, SystemClock};
use crate::ui::{Ink, Skin, Tone};

/// How often ages are told anew.
const PAUSE: Duration = Duration::from_millis(500);

/// Everything that the panel is told from.
#[derive(bevy::ecs::system::SystemParam)]
pub(super) struct Truth<'w> {
    store: Res<'w, Store>,
    control: Option<Res<'w, SandboxControl>>,
    journal: Res<'w, JournalSize>,
    noted: Res<'w, Noted>,
    time: Res<'w, Time<Real>>,
}

/// Whether there may be something new to say.
pub(super) fn is_due(
    store: Res<Store>,
    noted: Res<Noted>,
    time: Res<Time<Real>>,
    added: Query<(), Added<DevLine>>,
    mut next: Local<Duration>,
) -> bool {
    let is_due = store.is_changed() || noted.is_changed() || !added.is_empty() || time.elapsed() >= *next;
    if is_due {
        *next = time.elapsed() + PAUSE;
    }
    is_due
}

/// Makes the lines say what is true, and marks the buttons that are on.
pub(super) fn tell(
    truth: Truth<'_>,
    mut lines: Query<(&DevLine, &mut Text, &mut Ink, &mut Node)>,
    mut buttons: Query<(&DevButton, &mut Skin, &mut AccessibilityNode)>,
) {
    for (line, mut text, mut ink, mut node) in &mut lines {
        let (said, tone) = truth.said(*line);
        ink.set_if_neq(Ink { tone, ..*ink });
        let display = if said.is_empty() { Display::None } else { Display::Flex };
        if node.display != display {
            node.display = display;
        }
        text.set_if_neq(Text(said));
    }
    for (DevButton(action), mut skin, mut node) in &mut buttons {
        let Some(is_on) = truth.is_on(*action) else { continue };
        let chosen = if is_on { Skin::Chosen } else { Skin::Button };
        if *skin != chosen {
            *skin = chosen;
            node.set_toggled(if is_on { accesskit::Toggled::True } else { accesskit::Toggled::False });
        }
    }
}

impl Truth<'_> {
    /// Whether a button is on; none for one that is only pressed.
    fn is_on(&self, action: DevAction) -> Option<bool> {
        let control = self.control.as_ref();
        match action {
            DevAction::Offline => Some(self.store.is_offline()),
            DevAction::Network(network) => control.map(|control| control.network() == network),
            DevAction::Decline => control.map(|control| control.declines_orders()),
            DevAction::Hold => control.map(|control| control.holds_wallet()),
            _ => None,
        }
    }

    fn said(&self, line: DevLine) -> (String, Tone) {
        let Self { store, control, journal, noted, time } = self;
        match line {
            DevLine::Outcome => match &noted.outcome {
                Some(outcome) if outcome.is_done => (outcome.words.clone(), Tone::Good),
                Some(outcome) => (outcome.words.clone(), Tone::Bad),
                None => (String::new(), Tone::Plain),
            },
            DevLine::Connection => self.connection(),
            DevLine::Account => {
                let account = store.account().map_or_else(|| "not open yet".to_owned(), ToString::to_string);
                (format!("Account: {account}"), Tone::Plain)
            }
            DevLine::Device => {
                let device = store.device().map_or_else(|| "not open yet".to_owned(), |device| device.to_string());
                (format!("Device: {device}"), Tone::Plain)
            }
            DevLine::Wallet => {
                let wallet = store.wallet().iter().map(|balance| {
                    let money = |micros| Money::new(micros, balance.currency);
                    match balance.held.value() {
                        0 => money(balance.available).to_string(),
                        _ => format!("{}, and {} set aside", money(balance.available), money(balance.held)),
                    }
                });
                let wallet: Vec<_> = wallet.collect();
                let wallet = if wallet.is_empty() { "not heard yet".to_owned() } else { wallet.join("; ") };
                (format!("Wallet: {wallet}"), Tone::Plain)
            }
            DevLine::Journal => (format!("Journal: {}", journal.words()), Tone::Plain),
            DevLine::Network => match control {
                Some(control) => (format!("It is {}.", control.network()), Tone::Plain),
                None => (String::new(), Tone::Plain),
            },
            DevLine::Clock => self.clock(),
            DevLine::Order(place) => match store.orders().rev().nth(place) {
                Some(order) => self.order(order),
                None if place == 0 => ("None.".to_owned(), Tone::Quiet),
                None => (String::new(), Tone::Plain),
            },
            DevLine::Trouble(place) => match noted.troubles.get(place) {
                Some((at, words)) => {
                    let ago = i64::try_from(time.elapsed().saturating_sub(*at).as_secs()).unwrap_or(i64::MAX);
                    (format!("{}: {words}", age(ago)), Tone::Warning)
                }
                None if place == 0 => ("None.".to_owned(), Tone::Quiet),
                None => (String::new(), Tone::Plain),
            },
        }
    }

    fn connection(&self) -> (String, Tone) {
        let (words, tone) = match self.store.connection() {
            Connection::NoServer => ("no server is set, or the journal is not open yet".to_owned(), Tone::Quiet),
            Connection::ReadOnly => ("this copy of the game may not write, and asks nothing".to_owned(), Tone::Bad),
            Connection::Offline => ("the game set it offline".to_owned(), Tone::Warning),
            Connection::Connecting => ("the first request is on its way".to_owned(), Tone::Quiet),
            Connection::Online => ("the last request was answered".to_owned(), Tone::Good),
            Connection::Revoked => ("this device was revoked".to_owned(), Tone::Bad),
            Connection::Retrying { trouble } => (format!("trying again: {trouble}"), Tone::Warning),
        };
        match self.store.availability() {
            Err(error) if error != PurchaseError::DeviceRevoked => {
                (format!("Connection: {words}. Nothing can be bought: {error}"), Tone::Bad)
            }
            _ => (format!("Connection: {words}"), tone),
        }
    }

    fn clock(&self) -> (String, Tone) {
        let Some(control) = &self.control else { return (String::new(), Tone::Plain) };
        let words = format!("It is {}.", off_by(control.clock_offset()));
        match self.store.is_clock_trusted() {
            true if control.clock_offset() == 0 => (words, Tone::Plain),
            true => (format!("{words} The server's time counts, as far as it was heard."), Tone::Plain),
            false => (format!("{words} It is not trusted: what is owned for a time rests."), Tone::Warning),
        }
    }

    fn order(&self, order: &PlacedOrder) -> (String, Tone) {
        let now = SystemClock.now().saturating_add(self.control.as_ref().map_or(0, |it| it.clock_offset()));
        let tone = match order.state {
            OrderState::Placed | OrderState::Queued | OrderState::Sent | OrderState::Pending => Tone::Warning,
            OrderState::Granted => Tone::Good,
            OrderState::Refunded => Tone::Plain,
            OrderState::Declined | OrderState::Revoked | OrderState::Unverified | OrderState::NotSaved => Tone::Bad,
        };
        let provisional = if order.provisional { ", given already" } else { "" };
        let mut words = format!(
            "{} x{} · {} · {:?}{provisional} · {} · {}",
            order.product,
            order.quantity,
            order.total,
            order.state,
            age(now.saturating_sub(order.placed_at)),
            order.id,
        );
        let why = order.reason.map(|reason| reason.to_string());
        for why in why.iter().chain(&order.trouble) {
            words.push_str(": ");
            words.push_str(why);
        }
        (words, tone)
    }
}

/// How long ago something was.
fn age(seconds: UnixSeconds) -> String {
    match seconds {
        ..0 => format!("{} s ahead of this clock", seconds.unsigned_abs()),
        0..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_said_in_the_unit_that_fits_and_a_wrong_clock_breaks_nothing() {
        let said = [-5, 0, 59, 60, 3_600, 172_800, i64::MAX].map(age);
        assert_eq!(said[..6], ["5 s ahead of this clock", "0 s ago", "59 s ago", "1 min ago", "1 h ago", "2 days ago"]);
        assert!(said[6].ends_with("days ago") && age(i64::MIN).ends_with("ahead of this clock"));
    }
}
