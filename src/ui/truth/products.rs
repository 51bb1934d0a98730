//! What is said of products: what they are, whose they are, and whether they can be bought.

use super::{Said, Truth, toned};
use crate::client::PlacedOrder;
use crate::protocol::catalog::CatalogGrant;
use crate::protocol::{Product, ProductKind};
use crate::ui::skin::Tone;
use crate::ui::words::arguments;

impl<'a> Truth<'a> {
    pub(super) fn product(self, product: &str) -> Option<&'a Product> {
        self.store.catalog()?.product(product).map(|(_, product)| product)
    }

    /// A product's name, also after it left the catalogue.
    pub(in crate::ui) fn title(self, product: &str) -> String {
        let found = self.product(product).map(|product| product.title_in(self.words.language()));
        found.unwrap_or(product).to_owned()
    }

    /// The last order of a product.
    pub(super) fn last_order(self, product: &str) -> Option<&'a PlacedOrder> {
        self.store.orders().rev().find(|order| order.product.as_str() == product)
    }

    pub(super) fn owned(self, product: &str) -> String {
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

    /// What the button that buys a product says, with or without the price.
    pub(super) fn buy(self, product: &str, with_price: bool) -> Said {
        let Self { store, words, waits } = self;
        let Some(price) = store.price(product) else { return Said::default() };
        let price = words.money(price);
        if waits.is_confirming(product) {
            let asked = words.say_with("buy-again", &arguments([("price", price.into())]));
            return toned(asked, Tone::Plain);
        }
        let hold = words.say("buy-hold");
        let hold = if with_price { format!("{hold} · {price}") } else { hold };
        let owned = self.owned(product);
        match self.can_be_bought(product) {
            true => toned(hold, Tone::Plain),
            false if self.is_bought_once(product) && !owned.is_empty() => toned(owned, Tone::Quiet),
            false => toned(hold, Tone::Quiet),
        }
    }

    fn is_bought_once(self, product: &str) -> bool {
        self.product(product).is_some_and(|product| product.kind != ProductKind::Consumable)
    }

    /// What a screen reader calls the button that buys a product.
    pub(in crate::ui) fn buy_label(self, product: &str) -> String {
        if self.waits.is_confirming(product) {
            return self.buy(product, true).text;
        }
        let Some(price) = self.store.price(product) else { return self.title(product) };
        let (title, price) = (self.title(product), self.words.money(price));
        self.words.say_with("buy-label", &arguments([("title", title.into()), ("price", price.into())]))
    }

    /// Whether the product can be ordered now, as far as its owner is concerned.
    pub(in crate::ui) fn can_be_bought(self, product: &str) -> bool {
        let Some(found) = self.product(product) else { return false };
        let is_open = self.last_order(product).is_some_and(|order| order.state.is_open());
        let may = self.store.availability().is_ok() && found.price(self.store.currency()).is_some();
        may && !(self.is_bought_once(product) && (is_open || !self.owned(product).is_empty()))
    }
}
