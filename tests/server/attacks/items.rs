//! What an account has of countable things, counted from its feed as the protocol says.

use std::collections::BTreeMap;

use bevy_iap::protocol::{ConsumptionStatus, FeedReceipt, Grant, ItemId, OrderId, Status};

/// What is left of each item after a feed. Fails if more was used up at any place than was there.
pub fn left(feed: &[FeedReceipt]) -> BTreeMap<ItemId, u64> {
    let mut given: BTreeMap<OrderId, BTreeMap<ItemId, u64>> = BTreeMap::new();
    let mut used: BTreeMap<ItemId, u64> = BTreeMap::new();
    let all = |given: &BTreeMap<OrderId, BTreeMap<ItemId, u64>>, item: &ItemId| -> u64 {
        given.values().filter_map(|items| items.get(item)).sum()
    };
    for receipt in feed {
        match receipt {
            FeedReceipt::Order(receipt) => {
                let granted = receipt.grants.iter().filter(|_| receipt.status == Status::Granted);
                let items = granted.filter_map(|grant| match grant {
                    Grant::Item { item, quantity } => Some((item.clone(), *quantity)),
                    Grant::Entitlement { .. } => None,
                });
                given.insert(receipt.order, items.collect());
                for (item, used) in &mut used {
                    *used = all(&given, item).min(*used);
                }
            }
            FeedReceipt::Consumption(receipt) if receipt.status == ConsumptionStatus::Consumed => {
                let used = used.entry(receipt.item.clone()).or_default();
                *used += receipt.quantity;
                assert!(*used <= all(&given, &receipt.item), "more is used up than there is: {receipt:?}");
            }
            FeedReceipt::Consumption(_) => {}
        }
    }
    let items = given.values().flat_map(|items| items.keys().cloned()).collect::<std::collections::BTreeSet<_>>();
    let left = items.into_iter().map(|item| {
        let left = all(&given, &item) - used.get(&item).copied().unwrap_or_default();
        (item, left)
    });
    left.filter(|(_, left)| *left > 0).collect()
}
