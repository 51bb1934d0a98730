//! What is said of the store, and how it is meant: a function of the store without memory.
//!
//! What is said of products and of orders is in files of its own; this one has the whole and what is said of the store.

mod orders;
mod products;

use super::parts::{Part, Step};
use super::skin::Tone;
use super::waits::Waits;
use super::words::{Words, arguments};
use crate::client::{Connection, OrderState};
use crate::plugin::{PurchaseError, Store};
use crate::protocol::{Micros, Money, Product, ProductId};

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

impl Truth<'_> {
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
            Part::Buy(product) => self.buy(product, true),
            Part::BuyWithoutPrice(product) => self.buy(product, false),
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

    fn balance(self) -> String {
        let Self { store, words, .. } = self;
        let balance = store.wallet().iter().find(|balance| balance.currency == store.currency());
        let Some(balance) = balance else { return words.say("balance-unknown") };
        let money = |micros| words.money(Money::new(micros, balance.currency));
        if balance.available.is_negative() {
            let owed = money(balance.available).replacen('-', "", 1);
            return words.say_with("balance-owed", &arguments([("owed", owed.into())]));
        }
        let (available, held) = (money(balance.available), money(balance.held));
        let places = [("available", available.into()), ("held", held.into())];
        let allowance = store.offline_allowance().map(|allowance| allowance.left);
        let offline = allowance.filter(|left| left.currency == balance.currency && left.micros > Micros::ZERO);
        match offline {
            _ if balance.held == Micros::ZERO => words.say_with("balance", &arguments(places)),
            None => words.say_with("balance-held", &arguments(places)),
            Some(left) if left.micros >= balance.held => words.say_with("balance-held-offline", &arguments(places)),
            Some(left) => {
                let [available, held] = places;
                let places = [available, held, ("offline", words.money(left).into())];
                words.say_with("balance-held-partly", &arguments(places))
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
