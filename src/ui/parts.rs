//! The parts of a shop that say something: each is bound to a product, an order or the store, and keeps itself true.
//!
//! A part says what [`said`] makes of the [`Store`], which is a function without memory: whoever is spawned late, or
//! missed every message, says the same. A part that has nothing to say takes no room.

use bevy::prelude::*;
use bevy::ui::InteractionDisabled;

use super::skin::{Ink, Size, Skin, Tone};
use super::waits::Waits;
use super::words::{Words, arguments};
use crate::client::{Connection, OrderState, PlacedOrder};
use crate::plugin::{PurchaseError, Store};
use crate::protocol::catalog::CatalogGrant;
use crate::protocol::{Money, OrderId, Product, ProductId, ProductKind, Reason};

/// What a text says. It is kept true by the shop.
#[derive(Component, Clone, Debug, PartialEq, Eq)]
#[require(
    TextLayout = TextLayout::linebreak(LineBreak::WordOrCharacter),
    Text,
    Node,
    Ink = Ink::new(Size::Body, Tone::Plain)
)]
pub enum Part {
    /// One of the shop's own texts, by its name in the translations.
    Phrase(&'static str),
    /// The name of a product.
    Title(String),
    /// What a product is.
    Description(String),
    /// What a product costs.
    Price(String),
    /// How much of a product is owned, if any.
    Owned(String),
    /// What the button that buys a product says.
    Buy(String),
    /// What became of the last try to buy a product, and what to do next.
    Outcome(String),
    /// A lamp's name: the step of an order.
    Step(Step),
    /// What the wallet holds.
    Balance,
    /// What is to be known of the connection and of this copy of the game, if anything.
    Standing,
    /// What a group of products is called; the products without one where there is no such group.
    Group(Option<String>),
    /// Which account this is.
    Account,
    /// What was ordered, how many and for how much.
    Ordered(OrderId),
    /// When, and the receipt's id.
    Receipt(OrderId),
    /// What became of an order.
    State(OrderId),
    /// Why there is nothing to see on the shelf.
    Nothing,
}

/// A step of an order's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Signed, and safe on the disk.
    Queued,
    /// Sent to the server.
    Sent,
    /// Answered by a receipt that verified.
    Receipt,
}

/// The lamp of a step of the last order of a product.
#[derive(Component, Clone, Debug, PartialEq, Eq)]
#[require(Node, Skin = Skin::Lamp(Tone::Quiet))]
pub struct Lamp {
    /// The product.
    pub product: String,
    /// The step.
    pub step: Step,
}

/// Turns while the last order of a product waits for something that should come soon, and no longer.
#[derive(Component, Clone, Debug, PartialEq, Eq)]
#[require(Node, Skin = Skin::Spinner, UiTransform)]
pub struct Spinner(
    /// The product.
    pub String,
);

/// What the wallet holds, as a text that stays true.
pub fn balance_label() -> impl Bundle {
    (Part::Balance, Ink::new(Size::Large, Tone::Accent))
}

/// Whether or how many of a product are owned, as a text that stays true and is empty where nothing is.
pub fn owned_badge(product: &str) -> impl Bundle {
    (Part::Owned(product.to_owned()), Ink::new(Size::Small, Tone::Good))
}

/// The price of a product, in the store's currency.
pub fn price_label(product: &str) -> impl Bundle {
    (Part::Price(product.to_owned()), Ink::new(Size::Large, Tone::Accent))
}

/// The name of a product, in the player's language.
pub fn title_label(product: &str) -> impl Bundle {
    (Part::Title(product.to_owned()), Ink::new(Size::Large, Tone::Plain))
}

/// What a product is, in the player's language.
pub fn description_label(product: &str) -> impl Bundle {
    (Part::Description(product.to_owned()), Ink::new(Size::Body, Tone::Quiet))
}

/// What became of the last try to buy a product: a sentence, with what to do next.
pub fn outcome_label(product: &str) -> impl Bundle {
    (Part::Outcome(product.to_owned()), Ink::new(Size::Body, Tone::Plain))
}

/// What is to be known of the connection: offline with so many orders queued, read-only, revoked. Empty while all is well.
pub fn standing_label() -> impl Bundle {
    (Part::Standing, Ink::new(Size::Body, Tone::Warning))
}

/// What the parts are told from.
#[derive(Clone, Copy)]
pub(super) struct Truth<'a> {
    pub(super) store: &'a Store,
    pub(super) words: &'a Words,
    pub(super) waits: &'a Waits,
}

/// A text, and how it is meant where that depends on what it says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) tone: Option<Tone>,
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self { text, tone: None }
    }
}

fn toned(text: String, tone: Tone) -> Said {
    Said { text, tone: Some(tone) }
}

impl<'a> Truth<'a> {
    /// What a part says now.
    pub(super) fn said(self, part: &Part) -> Said {
        let Self { store, words, .. } = self;
        match part {
            Part::Phrase(message) => words.say(message).into(),
            Part::Title(product) => self.title(product).into(),
            Part::Description(product) => self
                .product(product)
                .map_or_else(String::new, |product| product.description_in(words.language()).to_owned())
                .into(),
            Part::Price(product) => store.price(product).map_or_else(String::new, |price| words.money(price)).into(),
            Part::Owned(product) => self.owned(product).into(),
            Part::Buy(product) => self.buy(product),
            Part::Outcome(product) => self.outcome(product),
            Part::Step(step) => words
                .say(match step {
                    Step::Queued => "step-queued",
                    Step::Sent => "step-sent",
                    Step::Receipt => "step-receipt",
                })
                .into(),
            Part::Balance => self.balance().into(),
            Part::Standing => self.standing().unwrap_or_default().into(),
            Part::Group(group) => self.group(group.as_deref()).into(),
            Part::Account => store
                .account()
                .map_or_else(String::new, |account| {
                    words.say_with("history-account", &arguments([("account", account.to_string().into())]))
                })
                .into(),
            Part::Ordered(order) => store.order(*order).map_or_else(String::new, |order| self.ordered(order)).into(),
            Part::Receipt(order) => store.order(*order).map_or_else(String::new, |order| self.receipt(order)).into(),
            Part::State(order) => store.order(*order).map_or_else(Said::default, |order| self.state(order)),
            Part::Nothing => self.nothing().into(),
        }
    }

    fn product(self, product: &str) -> Option<&'a Product> {
        self.store.catalog()?.product(product).map(|(_, product)| product)
    }

    /// A product's name, also after it left the catalogue.
    pub(super) fn title(self, product: &str) -> String {
        let found = self.product(product).map(|product| product.title_in(self.words.language()));
        found.unwrap_or(product).to_owned()
    }

    /// The last order of a product.
    pub(super) fn last_order(self, product: &str) -> Option<&'a PlacedOrder> {
        self.store.orders().rev().find(|order| order.product.as_str() == product)
    }

    fn owned(self, product: &str) -> String {
        let Self { store, words, .. } = self;
        let Some(found) = self.product(product) else { return String::new() };
        let rights: Vec<_> = found
            .grants
            .iter()
            .filter_map(|grant| match grant {
                CatalogGrant::Entitlement(right) => Some(right.as_str()),
                CatalogGrant::Item(..) => None,
            })
            .collect();
        if rights.is_empty() {
            let items = found.grants.iter().filter_map(|grant| match grant {
                CatalogGrant::Item(item, _) => Some(store.quantity(item.as_str())),
                CatalogGrant::Entitlement(_) => None,
            });
            let count = i64::try_from(items.min().unwrap_or_default()).unwrap_or(i64::MAX);
            return match count {
                0 => String::new(),
                count => words.say_with("owned-quantity", &arguments([("count", count.into())])),
            };
        }
        if !rights.iter().all(|right| store.owns(right)) {
            return String::new();
        }
        let ends = rights.iter().filter_map(|right| store.time_left(right)).min();
        if let Some(left) = ends {
            let minutes = i64::try_from(left.as_secs() / 60).unwrap_or(i64::MAX);
            let (message, count) = match minutes {
                0..60 => ("time-minutes", minutes),
                60..2880 => ("time-hours", minutes / 60),
                _ => ("time-days", minutes / 1440),
            };
            let time = words.say_with(message, &arguments([("count", count.into())]));
            return words.say_with("owned-for", &arguments([("time", time.into())]));
        }
        let is_provisional = self.last_order(product).is_some_and(|order| order.provisional);
        words.say(if is_provisional { "owned-provisional" } else { "owned" })
    }

    fn buy(self, product: &str) -> Said {
        let Self { store, words, waits } = self;
        let Some(price) = store.price(product) else { return Said::default() };
        let price = words.money(price);
        if waits.is_confirming(product) {
            let asked = words.say_with("buy-again", &arguments([("price", price.into())]));
            return toned(asked, Tone::Plain);
        }
        let owned = self.owned(product);
        match self.can_be_bought(product) {
            true => toned(format!("{} · {price}", words.say("buy-hold")), Tone::Plain),
            false if self.is_bought_once(product) && !owned.is_empty() => toned(owned, Tone::Quiet),
            false => toned(format!("{} · {price}", words.say("buy-hold")), Tone::Quiet),
        }
    }

    fn is_bought_once(self, product: &str) -> bool {
        self.product(product).is_some_and(|product| product.kind != ProductKind::Consumable)
    }

    /// What a screen reader calls the button that buys a product.
    pub(super) fn buy_label(self, product: &str) -> String {
        if self.waits.is_confirming(product) {
            return self.buy(product).text;
        }
        let Some(price) = self.store.price(product) else { return self.title(product) };
        let (title, price) = (self.title(product), self.words.money(price));
        self.words.say_with("buy-label", &arguments([("title", title.into()), ("price", price.into())]))
    }

    /// Whether the product can be ordered now, as far as its owner is concerned.
    pub(super) fn can_be_bought(self, product: &str) -> bool {
        let Some(found) = self.product(product) else { return false };
        let is_open = self.last_order(product).is_some_and(|order| order.state.is_open());
        let may = self.store.availability().is_ok() && found.price(self.store.currency()).is_some();
        may && !(self.is_bought_once(product) && (is_open || !self.owned(product).is_empty()))
    }

    fn outcome(self, product: &str) -> Said {
        if let Some(refused) = self.waits.refused(product) {
            return toned(self.refusal(refused), Tone::Warning);
        }
        let Some(order) = self.last_order(product).filter(|order| self.waits.concerns(order)) else {
            return Said::default();
        };
        self.progress(order)
    }

    /// Where an order is, in a sentence, with what to do next.
    pub(super) fn progress(self, order: &PlacedOrder) -> Said {
        let words = self.words;
        let why = || words.say(reason(order.reason));
        let because = |message| words.say_with(message, &arguments([("reason", why().into())]));
        if order.state.is_open() && order.state != OrderState::Pending {
            if order.provisional {
                return toned(words.say("progress-provisional"), Tone::Good);
            }
            if self.waits.is_slow(order.id) {
                return toned(words.say("progress-slow"), Tone::Warning);
            }
        }
        match order.state {
            OrderState::Placed => toned(words.say("progress-placed"), Tone::Plain),
            OrderState::Queued if matches!(self.store.connection(), Connection::Offline | Connection::NoServer) => {
                toned(words.say("progress-queued-offline"), Tone::Plain)
            }
            OrderState::Queued => toned(words.say("progress-queued"), Tone::Plain),
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

    /// How a step's lamp is lit.
    pub(super) fn lamp(self, lamp: &Lamp) -> Tone {
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
    pub(super) fn is_waiting(self, product: &str) -> bool {
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
    pub(super) fn refusal_of_now(self) -> Option<String> {
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

    fn balance(self) -> String {
        let Self { store, words, .. } = self;
        let balance = store.wallet().iter().find(|balance| balance.currency == store.currency());
        let Some(balance) = balance else { return words.say("balance-unknown") };
        let money = |micros| words.money(Money::new(micros, balance.currency));
        if balance.available.is_negative() {
            let owed = money(balance.available).replacen('-', "", 1);
            return words.say_with("balance-owed", &arguments([("owed", owed.into())]));
        }
        let available = money(balance.available);
        match balance.held.value() {
            0 => words.say_with("balance", &arguments([("available", available.into())])),
            _ => {
                let held = money(balance.held);
                words.say_with("balance-held", &arguments([("available", available.into()), ("held", held.into())]))
            }
        }
    }

    fn standing(self) -> Option<String> {
        let Self { store, words, .. } = self;
        let with = |message, reason: &str| words.say_with(message, &arguments([("reason", reason.to_owned().into())]));
        match store.availability() {
            Err(PurchaseError::ReadOnly { reason }) => return Some(with("banner-read-only", &reason)),
            Err(PurchaseError::Failed { reason }) => return Some(with("banner-failed", &reason)),
            Err(PurchaseError::DeviceRevoked) => return Some(words.say("banner-revoked")),
            _ => {}
        }
        if let (Some(_), Some(reason)) = (store.catalog(), store.catalog_trouble()) {
            return Some(with("banner-stale", reason));
        }
        let queued = store.orders().filter(|order| order.state.is_open() && order.state != OrderState::Pending).count();
        let counted = |message| {
            let count = i64::try_from(queued).unwrap_or(i64::MAX);
            Some(words.say_with(message, &arguments([("count", count.into())])))
        };
        match store.connection() {
            Connection::Offline => counted("banner-offline"),
            Connection::Retrying { .. } => counted("banner-retrying"),
            Connection::NoServer if store.is_ready() && store.is_offline() => counted("banner-offline"),
            Connection::NoServer if store.is_ready() && !store.has_server() => Some(words.say("banner-no-server")),
            _ => None,
        }
    }

    fn group(self, group: Option<&str>) -> String {
        let found = group.and_then(|group| self.store.catalog()?.group(group));
        found.map_or_else(|| self.words.say("shop-other"), |group| group.title_in(self.words.language()).to_owned())
    }

    fn ordered(self, order: &PlacedOrder) -> String {
        let title = self.title(order.product.as_str());
        let total = self.words.money(order.total);
        match order.quantity {
            1 => format!("{title} · {total}"),
            many => format!("{title} ×{many} · {total}"),
        }
    }

    fn receipt(self, order: &PlacedOrder) -> String {
        let receipt = self.store.receipts().iter().rev().find(|receipt| receipt.claims.order == order.id);
        let id = receipt.map(|receipt| receipt.claims.id.to_string());
        let id = match id {
            Some(receipt) => self.words.say_with("history-receipt", &arguments([("receipt", receipt.into())])),
            None => self.words.say("history-no-receipt"),
        };
        format!("{} · {id}", utc(order.placed_at))
    }

    fn state(self, order: &PlacedOrder) -> Said {
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

    fn nothing(self) -> String {
        let Self { store, words, waits } = self;
        if store.catalog().is_none() {
            return match store.catalog_trouble() {
                Some(trouble) => format!("{}\n{}\n\n{trouble}", words.say("failed-title"), words.say("failed-next")),
                None if waits.is_opening_slow() => words.say("loading-slow"),
                None => words.say("loading-title"),
            };
        }
        if shelf(store).next().is_none() {
            let currency = store.currency().to_string();
            let next = words.say_with("empty-next", &arguments([("currency", currency.into())]));
            return format!("{}\n{next}", words.say("empty-title"));
        }
        String::new()
    }
}

/// The products that are sold here, in the order of the catalogue.
pub(super) fn shelf(store: &Store) -> impl Iterator<Item = (&ProductId, &Product)> {
    let products = store.catalog().into_iter().flat_map(|catalog| catalog.products());
    products.filter(|(_, product)| product.price(store.currency()).is_some())
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

/// A moment as a date and a time of day, in UTC: the algorithm is Howard Hinnant's `civil_from_days`.
fn utc(seconds: i64) -> String {
    let (days, within) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", within / 3_600, within / 60 % 60)
}

/// Keeps parts true, when what they are told from has changed, or when they are new.
pub(super) fn tell(
    store: Res<Store>,
    words: Res<Words>,
    waits: Res<Waits>,
    mut parts: Query<(Ref<Part>, &mut Text, &mut Ink, &mut Node)>,
) {
    let truth = Truth { store: &store, words: &words, waits: &waits };
    let all = store.is_changed() || words.is_changed() || waits.is_changed();
    for (part, mut text, mut ink, mut node) in parts.iter_mut().filter(|(part, ..)| all || part.is_changed()) {
        let Said { text: now, tone } = truth.said(&part);
        let display = if now.is_empty() { Display::None } else { Display::Flex };
        if node.display != display {
            node.display = display;
        }
        if text.0 != now {
            text.0 = now;
        }
        if let Some(tone) = tone.filter(|tone| *tone != ink.tone) {
            ink.tone = tone;
        }
    }
}

/// Keeps lamps, spinners and buttons true.
pub(super) fn light(
    mut commands: Commands,
    store: Res<Store>,
    words: Res<Words>,
    waits: Res<Waits>,
    mut lamps: Query<(&Lamp, &mut Skin)>,
    mut spinners: Query<(&Spinner, &mut Node)>,
    buttons: Query<(Entity, &super::hold::BuyButton, Has<InteractionDisabled>)>,
) {
    let truth = Truth { store: &store, words: &words, waits: &waits };
    for (lamp, mut skin) in &mut lamps {
        skin.set_if_neq(Skin::Lamp(truth.lamp(lamp)));
    }
    for (Spinner(product), mut node) in &mut spinners {
        let display = if truth.is_waiting(product) { Display::Flex } else { Display::None };
        if node.display != display {
            node.display = display;
        }
    }
    for (entity, button, is_disabled) in &buttons {
        match (truth.can_be_bought(&button.0), is_disabled) {
            (true, true) => {
                commands.entity(entity).remove::<InteractionDisabled>();
            }
            (false, false) => {
                commands.entity(entity).insert(InteractionDisabled);
            }
            _ => {}
        }
    }
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
