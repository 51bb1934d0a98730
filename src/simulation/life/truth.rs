//! Whether what the game was told is true, on the device and in the server's books.

use super::{Life, Told, price_of};
use crate::client::{OrderState, PlacedOrder};

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
        let Told { asked, queued, granted, not_saved, unfollowed, doubtful, use_asked, use_saved, .. } = &self.told;
        for order in queued.iter().chain(unfollowed).chain(doubtful) {
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
            if not_saved.contains(id) && *state != OrderState::NotSaved {
                return Err(format!("the order {id} was said not to be saved, and is"));
            }
        }
        for order in granted {
            if self.state_of(*order) != Some(OrderState::Granted) {
                return Err(format!("the order {order} was granted, and its receipt is lost"));
            }
        }
        let all_granted = self.orders.values().filter(|order| order.state == OrderState::Granted);
        let given = all_granted.map(|order| u64::from(order.quantity)).sum::<u64>();
        let (least, most) = (given.saturating_sub(*use_asked), given.saturating_sub(*use_saved));
        if !(least..=most).contains(&self.left()) {
            return Err(format!("{} shields are left, of {least} to {most}", self.left()));
        }
        Ok(())
    }

    /// Syncs, and checks that the client and the server's books say the same.
    pub(in crate::simulation) fn converge(&mut self) -> Result<(), String> {
        for _ in 0..4 {
            self.exchange();
            self.wait();
        }
        self.check()?;
        for order in &self.told.queued {
            if self.shop.charged(*order) != 1 {
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
