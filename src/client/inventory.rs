//! What an account owns: rights and countable things, each traced to the order that gave it.

use std::collections::BTreeMap;

use crate::protocol::{EntitlementId, Grant, ItemId, OrderId, UnixSeconds};

/// A right that is owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// When it ends; never, if there is none.
    pub until: Option<UnixSeconds>,
    /// Whether it rests on an order that no receipt has answered yet.
    pub provisional: bool,
}

/// How many of an item there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantity {
    /// How many are left to use.
    pub left: u64,
    /// How many of them, at most, rest on orders that no receipt has answered yet.
    pub provisional: u64,
}

/// What is owned at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// The rights.
    pub entitlements: BTreeMap<EntitlementId, Ownership>,
    /// The countable things.
    pub items: BTreeMap<ItemId, Quantity>,
}

/// The grants of every order, and what was used of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inventory {
    orders: BTreeMap<OrderId, (Vec<Grant>, bool)>,
    entitlements: BTreeMap<EntitlementId, BTreeMap<OrderId, Ownership>>,
    items: BTreeMap<ItemId, Counts>,
}

/// An item's running sums.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    given: u64,
    provisional: u64,
    used: u64,
}

impl Inventory {
    /// Gives what `order` grants, in place of what it gave before.
    pub(crate) fn grant(&mut self, order: OrderId, grants: Vec<Grant>, provisional: bool) {
        self.remove(order);
        for grant in &grants {
            match grant {
                Grant::Entitlement { entitlement, until } => {
                    let sources = self.entitlements.entry(entitlement.clone()).or_default();
                    sources.insert(order, Ownership { until: *until, provisional });
                }
                Grant::Item { item, quantity } => {
                    let counts = self.items.entry(item.clone()).or_default();
                    let sum = if provisional { &mut counts.provisional } else { &mut counts.given };
                    *sum = sum.saturating_add(*quantity);
                }
            }
        }
        self.orders.insert(order, (grants, provisional));
    }

    /// Takes back whatever `order` gave. What was used of it is gone with it, and is no debt on what is bought next.
    pub(crate) fn take_back(&mut self, order: OrderId) {
        for grant in self.remove(order) {
            if let Grant::Item { item, .. } = grant
                && let Some(counts) = self.items.get_mut(&item)
            {
                counts.used = counts.used.min(counts.given.saturating_add(counts.provisional));
            }
        }
    }

    fn remove(&mut self, order: OrderId) -> Vec<Grant> {
        let Some((grants, provisional)) = self.orders.remove(&order) else { return Vec::new() };
        for grant in &grants {
            match grant {
                Grant::Entitlement { entitlement, .. } => {
                    if let Some(sources) = self.entitlements.get_mut(entitlement) {
                        sources.remove(&order);
                    }
                }
                Grant::Item { item, quantity } => {
                    if let Some(counts) = self.items.get_mut(item) {
                        let sum = if provisional { &mut counts.provisional } else { &mut counts.given };
                        *sum = sum.saturating_sub(*quantity);
                    }
                }
            }
        }
        grants
    }

    /// Whether `order` gives something provisionally.
    pub(crate) fn is_provisional(&self, order: OrderId) -> bool {
        self.orders.get(&order).is_some_and(|(_, provisional)| *provisional)
    }

    /// Uses up `quantity` of an item.
    pub(crate) fn consume(&mut self, item: &ItemId, quantity: u64) {
        let counts = self.items.entry(item.clone()).or_default();
        counts.used = counts.used.saturating_add(quantity);
    }

    /// What is owned at `now`.
    pub(crate) fn holdings(&self, now: UnixSeconds) -> Holdings {
        let entitlements = self.entitlements.iter().filter_map(|(name, sources)| {
            let running = sources.values().filter(|source| source.until.is_none_or(|until| until > now));
            // The best claim: a final one before a provisional one, then the one that lasts longest.
            let best = running.max_by_key(|source| (!source.provisional, source.until.unwrap_or(UnixSeconds::MAX)))?;
            Some((name.clone(), *best))
        });
        let items = self.items.iter().map(|(name, counts)| (name.clone(), counts.quantity()));
        Holdings { entitlements: entitlements.collect(), items: items.filter(|(_, it)| it.left > 0).collect() }
    }

    /// When the next right ends after `now`.
    pub(crate) fn next_end(&self, now: UnixSeconds) -> Option<UnixSeconds> {
        let sources = self.entitlements.values().flat_map(BTreeMap::values);
        sources.filter_map(|source| source.until).filter(|&until| until > now).min()
    }
}

impl Counts {
    fn quantity(self) -> Quantity {
        let left = self.given.saturating_add(self.provisional).saturating_sub(self.used);
        Quantity { left, provisional: self.provisional.min(left) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, quantity: u64) -> Grant {
        Grant::Item { item: name.parse().expect("a name"), quantity }
    }

    fn right(name: &str, until: Option<UnixSeconds>) -> Grant {
        Grant::Entitlement { entitlement: name.parse().expect("a name"), until }
    }

    #[test]
    fn a_provisional_grant_that_is_undone_leaves_nothing() {
        let mut inventory = Inventory::default();
        inventory.grant(OrderId([1; 16]), vec![item("shield", 2), right("skin", None)], true);
        assert_eq!(inventory.holdings(0).items["shield"], Quantity { left: 2, provisional: 2 });
        inventory.take_back(OrderId([1; 16]));
        assert_eq!(inventory.holdings(0), Holdings::default());
    }

    #[test]
    fn what_was_used_stays_used_when_the_receipt_comes() {
        let mut inventory = Inventory::default();
        let shield = "shield".parse().expect("a name");
        inventory.grant(OrderId([1; 16]), vec![item("shield", 2)], true);
        inventory.consume(&shield, 1);
        inventory.grant(OrderId([1; 16]), vec![item("shield", 2)], false);
        assert_eq!(inventory.holdings(0).items["shield"], Quantity { left: 1, provisional: 0 });
    }

    #[test]
    fn what_was_used_of_a_declined_grant_is_no_debt_on_the_next() {
        let mut inventory = Inventory::default();
        let shield = "shield".parse().expect("a name");
        inventory.grant(OrderId([1; 16]), vec![item("shield", 1)], true);
        inventory.consume(&shield, 1);
        inventory.take_back(OrderId([1; 16]));
        inventory.grant(OrderId([2; 16]), vec![item("shield", 1)], false);
        assert_eq!(inventory.holdings(0).items["shield"], Quantity { left: 1, provisional: 0 });
    }

    #[test]
    fn a_pass_ends_when_its_time_is_over() {
        let mut inventory = Inventory::default();
        inventory.grant(OrderId([1; 16]), vec![right("pass", Some(100))], false);
        assert_eq!(inventory.next_end(50), Some(100));
        assert!(inventory.holdings(99).entitlements.contains_key("pass"));
        assert!(!inventory.holdings(100).entitlements.contains_key("pass"));
        assert_eq!(inventory.next_end(100), None);
    }
}
