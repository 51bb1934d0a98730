//! Whether what the game was told is true, on the device and in the server's books.

use super::{Life, Told, price_of};
use crate::client::{OrderState, PlacedOrder};
use crate::protocol::{AccountId, OrderId};

impl Life {
    /// Whether everything that the game was told is still true, now that the client was started again.
    pub(in crate::simulation) fn check(&self) -> Result<(), String> {
        if let Some(wrong) = &self.wrong {
            return Err(wrong.clone());
        }
        if !self.may_write() {
            return Err(format!("the journal did not open for writing: {:?}", self.troubles));
        }
        if let Some(trouble) = self.troubles.iter().find(|trouble| trouble.contains("was damaged")) {
            return Err(format!("a crash was taken for damage: {trouble}"));
        }
        if let Some(trouble) = self.troubles.iter().find(|trouble| trouble.contains("believed")) {
            return Err(format!("something was altered: {trouble}"));
        }
        let Told { asked, queued, granted, not_saved, unfollowed, doubtful, use_asked, .. } = &self.told;
        for order in queued.iter().chain(unfollowed).chain(doubtful).filter(|order| !self.is_of_before(**order)) {
            let Some(state) = self.state_of(*order) else {
                return Err(format!("the order {order} was queued, and is lost"));
            };
            if !state.is_open() && state != OrderState::Granted && queued.contains(order) {
                return Err(format!("the order {order} was queued, and is {state:?}"));
            }
        }
        for (id, order) in &self.orders {
            let PlacedOrder { product, quantity, total, state, .. } = order;
            match asked.get(id) {
                None => return Err(format!("the order {id} was never asked for")),
                Some(asked) if (product.as_str(), *quantity, *total) == ("shield", *asked, price_of(*asked)) => {}
                Some(asked) => return Err(format!("the order {id} of {asked} shields was altered: {order:?}")),
            }
            // What is put aside is told to be so again, until the journal is written anew.
            let is_put_aside = self.is_of_before(*id) && state.is_open();
            if not_saved.contains(id) && *state != OrderState::NotSaved && !is_put_aside {
                return Err(format!("the order {id} was said not to be saved, and is"));
            }
        }
        for order in granted.iter().filter(|order| !self.is_of_before(**order)) {
            if self.state_of(*order) != Some(OrderState::Granted) {
                return Err(format!("the order {order} was granted, and its receipt is lost"));
            }
        }
        let all_granted = self.orders.values().filter(|order| order.state == OrderState::Granted);
        let given = all_granted.map(|order| u64::from(order.quantity)).sum::<u64>();
        let (least, most) = (given.saturating_sub(*use_asked), given.saturating_sub(self.used_for_sure()));
        if !(least..=most).contains(&self.left()) {
            return Err(format!("{} shields are left, of {least} to {most}", self.left()));
        }
        Ok(())
    }

    /// Whether an order was for another account than the one that the device knows to be its own now.
    fn is_of_before(&self, order: OrderId) -> bool {
        self.told.made_for.get(&order).zip(self.account()).is_some_and(|(account, now)| account != now)
    }

    /// How many shields were used up for sure of what the device shows. What moved along with those of a former account comes
    /// after them in the feed.
    fn used_for_sure(&self) -> u64 {
        let is_here = |account: &&AccountId| Some(*account) == self.account();
        self.told.used_before + self.told.used.values().filter(is_here).count() as u64
    }

    /// How many orders were queued for an account that the device has left before the server heard of them.
    pub(in crate::simulation) fn left_behind(&self) -> u64 {
        let left = |order: &&OrderId| self.is_of_before(**order) && !self.shop.answered(**order);
        self.told.queued.iter().filter(left).count() as u64
    }

    /// Whether what was queued for an account that the device has left before the server heard of it is told, and charged to
    /// nobody.
    fn check_left_behind(&self, order: OrderId) -> Result<(), String> {
        if self.shop.charged(order) != 0 {
            return Err(format!("the order {order} is for an account that was left, and was charged"));
        }
        match self.told.not_saved.contains(&order) {
            true => Ok(()),
            false => Err(format!("the order {order} is for an account that was left, and its end was never told")),
        }
    }

    /// Syncs, and checks that the client and the server's books say the same.
    pub(in crate::simulation) fn converge(&mut self) -> Result<(), String> {
        for _ in 0..4 {
            self.exchange();
            self.wait();
        }
        self.check()?;
        if self.account() != Some(&self.shop.account()) {
            return Err(format!("the account is {:?}, and should be {}", self.account(), self.shop.account()));
        }
        for order in &self.told.queued {
            if self.is_of_before(*order) && !self.shop.answered(*order) {
                self.check_left_behind(*order)?;
            } else if self.shop.charged(*order) != 1 {
                let (state, times) = (self.state_of(*order), self.shop.charged(*order));
                return Err(format!("the order {order} was queued, is {state:?}, and was charged {times} times"));
            }
        }
        for order in &self.told.unfollowed {
            if self.shop.charged(*order) != 0 || self.state_of(*order) != Some(OrderState::Declined) {
                return Err(format!("the order {order} follows one that is lost, and is not declined"));
            }
        }
        for order in &self.told.doubtful {
            if ![(Some(OrderState::Granted), 1), (Some(OrderState::Declined), 0)]
                .contains(&(self.state_of(*order), self.shop.charged(*order)))
            {
                return Err(format!("the order {order} came after damage, and is {:?}", self.state_of(*order)));
            }
        }
        if self.left() != self.shop.left() {
            return Err(format!("{} shields are left, and the server has {}", self.left(), self.shop.left()));
        }
        for order in self.shop.granted() {
            if self.shop.charged(order) != 1 {
                return Err(format!("the order {order} was charged {} times", self.shop.charged(order)));
            }
            if self.state_of(order) != Some(OrderState::Granted) {
                return Err(format!("the order {order} was charged, and not given"));
            }
        }
        if let Some(order) = self.told.not_saved.iter().find(|order| self.shop.answered(**order)) {
            return Err(format!("the order {order} was said not to be saved, and reached the server"));
        }
        Ok(())
    }

    /// Buys once more: life goes on.
    pub(in crate::simulation) fn go_on(&mut self) -> Result<(), String> {
        let queued = self.told.queued.len();
        self.buy(1);
        if self.told.queued.len() != queued + 1 {
            return Err(format!("nothing can be bought any more: {:?}", self.troubles));
        }
        self.converge()?;
        self.reopen();
        self.check()
    }
}
