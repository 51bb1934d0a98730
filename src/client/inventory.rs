//! What an account owns: rights and countable things, each traced to the order that gave it.

use std::collections::BTreeMap;
use std::sync::Arc;

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

/// What was given and used: rights with the orders that they rest on, and sums of items.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inventory {
    entitlements: BTreeMap<EntitlementId, BTreeMap<OrderId, Ownership>>,
    items: BTreeMap<ItemId, Counts>,
    /// Every list of items that an order ever gave, once: a million orders of one product share one.
    bundles: Vec<Arc<[(ItemId, u64)]>>,
    numbers: BTreeMap<Arc<[(ItemId, u64)]>, Bundle>,
}

/// The items that an order gave, as a number to remember them by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bundle(u32);

/// An item's running sums.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Given by the latest receipts.
    given: u64,
    /// Given by orders without a receipt.
    provisional: u64,
    /// Used up without anybody but this device knowing.
    used: u64,
    /// Given by the feed up to the cursor.
    counted: u64,
    /// Used up by the feed up to the cursor.
    consumed: u64,
    /// To be used up, as this device has signed, and not answered yet.
    pending: u64,
}

impl Counts {
    fn sum(&mut self, provisional: bool) -> &mut u64 {
        if provisional { &mut self.provisional } else { &mut self.given }
    }
}

impl Inventory {
    /// Gives what `order` grants, and says how to remember its items.
    pub(crate) fn grant(&mut self, order: OrderId, grants: &[Grant], provisional: bool) -> Bundle {
        let mut items = Vec::new();
        for grant in grants {
            match grant {
                Grant::Entitlement { entitlement, until } => {
                    let sources = self.entitlements.entry(entitlement.clone()).or_default();
                    sources.insert(order, Ownership { until: *until, provisional });
                }
                Grant::Item { item, quantity } => items.push((item.clone(), *quantity)),
            }
        }
        for (item, quantity) in &items {
            let sum = self.counts(item).sum(provisional);
            *sum = sum.saturating_add(*quantity);
        }
        self.bundle(items)
    }

    /// How to remember the items of grants, without giving them.
    pub(crate) fn bundle_of(&mut self, grants: &[Grant]) -> Bundle {
        let item = |grant: &Grant| match grant {
            Grant::Item { item, quantity } => Some((item.clone(), *quantity)),
            Grant::Entitlement { .. } => None,
        };
        self.bundle(grants.iter().filter_map(item).collect())
    }

    fn counts(&mut self, item: &ItemId) -> &mut Counts {
        self.items.entry(item.clone()).or_default()
    }

    fn bundle(&mut self, items: Vec<(ItemId, u64)>) -> Bundle {
        if items.is_empty() {
            return Bundle::default();
        }
        if let Some(&bundle) = self.numbers.get(&items[..]) {
            return bundle;
        }
        let items: Arc<[_]> = items.into();
        self.bundles.push(items.clone());
        // A list for each of four thousand million orders does not fit into memory either.
        let bundle = Bundle(u32::try_from(self.bundles.len()).unwrap_or(u32::MAX));
        self.numbers.insert(items, bundle);
        bundle
    }

    fn items_of(&self, Bundle(number): Bundle) -> Arc<[(ItemId, u64)]> {
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        place.and_then(|place| self.bundles.get(place)).cloned().unwrap_or_default()
    }

    /// Takes out what `order` gave, for something else to take its place.
    pub(crate) fn remove(&mut self, order: OrderId, bundle: Bundle, provisional: bool) {
        for sources in self.entitlements.values_mut() {
            sources.remove(&order);
        }
        for (item, quantity) in self.items_of(bundle).iter() {
            let sum = self.counts(item).sum(provisional);
            *sum = sum.saturating_sub(*quantity);
        }
    }

    /// Takes back what `order` gave. What was used of it is gone with it, and is no debt on what is bought next.
    pub(crate) fn take_back(&mut self, order: OrderId, bundle: Bundle, provisional: bool) {
        self.remove(order, bundle, provisional);
        self.forgive(bundle);
    }

    /// Forgets what was used of these items beyond what there is of them: it is no debt on what is bought next.
    pub(crate) fn forgive(&mut self, bundle: Bundle) {
        for (item, _) in self.items_of(bundle).iter() {
            let counts = self.counts(item);
            let consumed = counts.consumed.min(counts.given);
            counts.used = counts.used.min(counts.given.saturating_add(counts.provisional).saturating_sub(consumed));
        }
    }

    /// Forgets rights that ended for good: `now` is a time that the server signed, so it never goes back.
    pub(crate) fn forget_ended(&mut self, now: UnixSeconds) {
        for sources in self.entitlements.values_mut() {
            sources.retain(|_, source| source.until.is_none_or(|until| until > now));
        }
    }

    /// How many of an item are left to use.
    pub(crate) fn left(&self, item: &ItemId) -> u64 {
        self.items.get(item).map_or(0, |counts| counts.quantity().left)
    }

    /// The items of which more is pending than there is.
    pub(crate) fn overdrawn(&self) -> Vec<ItemId> {
        let overdrawn = self.items.iter().filter(|(_, counts)| counts.is_overdrawn());
        overdrawn.map(|(item, _)| item.clone()).collect()
    }

    /// Whether more of an item is pending than there is.
    pub(crate) fn is_overdrawn(&self, item: &ItemId) -> bool {
        self.items.get(item).is_some_and(|counts| counts.is_overdrawn())
    }

    /// What was used up of each item without the server's knowing, where anything was.
    pub(crate) fn used(&self) -> impl Iterator<Item = (&ItemId, u64)> {
        self.items.iter().filter(|(_, counts)| counts.used > 0).map(|(item, counts)| (item, counts.used))
    }

    /// Uses up `quantity` of an item, or what there is of it: using what was just taken back is no debt on what is
    /// bought next. Says whether there was enough.
    pub(crate) fn consume(&mut self, item: &ItemId, quantity: u64) -> bool {
        let counts = self.counts(item);
        let enough = counts.quantity().left >= quantity;
        let most = counts.given.saturating_add(counts.provisional);
        let most = most.saturating_sub(counts.consumed).saturating_sub(counts.pending);
        counts.used = counts.used.saturating_add(quantity).min(most);
        enough
    }

    /// What is owned at `now`; where nobody knows what time it is, without what is owned for a time only.
    pub(crate) fn holdings(&self, now: Option<UnixSeconds>) -> Holdings {
        let entitlements = self.entitlements.iter().filter_map(|(name, sources)| {
            let runs = |until| now.is_some_and(|now| until > now);
            let running = sources.values().filter(|source| source.until.is_none_or(runs));
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

/// What is counted in the order of the feed, up to the cursor.
impl Inventory {
    /// Counts what an order gives from now on, in the place of what it gave before. What was used of what is taken back is
    /// no debt on what is bought next.
    pub(crate) fn count(&mut self, before: Bundle, now: Bundle) {
        if before == now {
            return;
        }
        for (item, quantity) in self.items_of(now).iter() {
            let counts = self.counts(item);
            counts.counted = counts.counted.saturating_add(*quantity);
        }
        for (item, quantity) in self.items_of(before).iter() {
            let counts = self.counts(item);
            counts.counted = counts.counted.saturating_sub(*quantity);
            counts.consumed = counts.consumed.min(counts.counted);
        }
    }

    /// Counts everything that receipts have given.
    pub(crate) fn count_all_given(&mut self) {
        self.items.values_mut().for_each(|counts| counts.counted = counts.given);
    }

    /// Counts items that were used up.
    pub(crate) fn count_consumed(&mut self, item: &ItemId, quantity: u64) {
        let counts = self.counts(item);
        counts.consumed = counts.consumed.saturating_add(quantity).min(counts.counted);
    }

    /// What is used up of each item by the feed, where anything is.
    pub(crate) fn consumed(&self) -> impl Iterator<Item = (&ItemId, u64)> {
        self.items.iter().filter(|(_, counts)| counts.consumed > 0).map(|(item, counts)| (item, counts.consumed))
    }

    /// Sets what is used up by the feed.
    pub(crate) fn set_consumed(&mut self, consumed: BTreeMap<ItemId, u64>) {
        self.items.values_mut().for_each(|counts| counts.consumed = 0);
        for (item, quantity) in consumed {
            self.counts(&item).consumed = quantity;
        }
    }

    /// Forgets what is counted: the feed begins again.
    pub(crate) fn begin_counting_again(&mut self) {
        self.items.values_mut().for_each(|counts| (counts.counted, counts.consumed) = (0, 0));
    }

    /// Changes how many of an item are to be used up by consumptions without an answer.
    pub(crate) fn set_pending(&mut self, item: &ItemId, change: impl FnOnce(u64) -> u64) {
        let counts = self.counts(item);
        counts.pending = change(counts.pending);
    }
}

impl Counts {
    fn is_overdrawn(self) -> bool {
        let gone = self.used.saturating_add(self.consumed).saturating_add(self.pending);
        self.pending > 0 && gone > self.given.saturating_add(self.provisional)
    }

    fn quantity(self) -> Quantity {
        let gone = self.used.saturating_add(self.consumed).saturating_add(self.pending);
        let left = self.given.saturating_add(self.provisional).saturating_sub(gone);
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
        let bundle = inventory.grant(OrderId([1; 16]), &[item("shield", 2), right("skin", None)], true);
        assert_eq!(inventory.holdings(Some(0)).items["shield"], Quantity { left: 2, provisional: 2 });
        inventory.take_back(OrderId([1; 16]), bundle, true);
        assert_eq!(inventory.holdings(Some(0)), Holdings::default());
    }

    #[test]
    fn what_was_used_stays_used_when_the_receipt_comes() {
        let mut inventory = Inventory::default();
        let shield = "shield".parse().expect("a name");
        let bundle = inventory.grant(OrderId([1; 16]), &[item("shield", 2)], true);
        inventory.consume(&shield, 1);
        inventory.remove(OrderId([1; 16]), bundle, true);
        inventory.grant(OrderId([1; 16]), &[item("shield", 2)], false);
        assert_eq!(inventory.holdings(Some(0)).items["shield"], Quantity { left: 1, provisional: 0 });
    }

    #[test]
    fn what_was_used_of_a_declined_grant_is_no_debt_on_the_next() {
        let mut inventory = Inventory::default();
        let shield = "shield".parse().expect("a name");
        let bundle = inventory.grant(OrderId([1; 16]), &[item("shield", 1)], true);
        inventory.consume(&shield, 1);
        inventory.take_back(OrderId([1; 16]), bundle, true);
        inventory.grant(OrderId([2; 16]), &[item("shield", 1)], false);
        assert_eq!(inventory.holdings(Some(0)).items["shield"], Quantity { left: 1, provisional: 0 });
    }

    #[test]
    fn a_pass_ends_when_its_time_is_over() {
        let mut inventory = Inventory::default();
        inventory.grant(OrderId([1; 16]), &[right("pass", Some(100))], false);
        assert_eq!(inventory.next_end(50), Some(100));
        assert!(inventory.holdings(Some(99)).entitlements.contains_key("pass"));
        assert!(!inventory.holdings(Some(100)).entitlements.contains_key("pass"));
        assert_eq!(inventory.next_end(100), None);
    }
}
