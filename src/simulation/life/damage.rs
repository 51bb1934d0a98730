//! What is true of a life after damage to its journal.

use std::collections::BTreeSet;

use super::{Life, Told};
use crate::protocol::OrderId;

impl Life {
    /// What was said of items used up may be lost with damage: then they are back.
    pub(in crate::simulation) fn used_up_may_be_back(&mut self) {
        self.told.used_before = 0;
        self.told.used.clear();
    }

    /// Of the orders that the server has not heard of, given in their order, damage took those that are not there any
    /// more. The server declines those that come after one of them. Says how many were lost, and how many are declined.
    pub(in crate::simulation) fn damage_took(&mut self, unsent: &[OrderId]) -> (u64, u64) {
        let is_lost = |order: &&OrderId| !self.orders.contains_key(order);
        let lost: BTreeSet<OrderId> = unsent.iter().filter(is_lost).copied().collect();
        let after = unsent.iter().skip_while(|order| !lost.contains(order)).filter(|order| !lost.contains(order));
        self.told.unfollowed = after.copied().collect();
        let Told { queued, unfollowed, .. } = &mut self.told;
        queued.retain(|order| !lost.contains(order) && !unfollowed.contains(order));
        (lost.len() as u64, unfollowed.len() as u64)
    }

    /// Buys something after damage, before anything is heard of the server. Where damage has taken what it is to follow, the
    /// server may decline it.
    pub(in crate::simulation) fn buy_after_damage(&mut self, may_be_declined: bool) {
        let before = self.told.queued.clone();
        self.buy(1);
        let new = |order: &&OrderId| may_be_declined && !before.contains(*order);
        self.told.doubtful = self.told.queued.iter().filter(new).copied().collect();
        let Told { queued, doubtful, .. } = &mut self.told;
        queued.retain(|order| !doubtful.contains(order));
    }
}
