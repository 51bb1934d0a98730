//! What this device may spend offline: the allowance that the server gave it, and what is left of it.

use super::{Machine, OfflineGrants, Terms, Tick};
use crate::client::record::SavedAllowance;
use crate::client::seeded::{Bug, seeded};
use crate::client::view::OfflineAllowance;
use crate::protocol::allowance::{AllowanceRequest, AllowanceUse};
use crate::protocol::{Allowance, AllowanceId, Micros, Money, Token, UnixSeconds};

/// An allowance, and how much of it is spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spending {
    claims: Allowance,
    token: Token,
    spent: Micros,
    orders: u64,
}

impl Spending {
    pub(super) fn id(&self) -> AllowanceId {
        self.claims.id
    }

    /// What an order for `terms` says that is made within it at `now`; none if it does not fit.
    fn cover(&self, terms: &Terms, now: UnixSeconds) -> Option<AllowanceUse> {
        let claims = &self.claims;
        let spent = Micros::new(self.spent.value().checked_add(terms.total.micros.value())?).ok()?;
        let orders = self.orders.checked_add(1)?;
        let fits = terms.total.currency == claims.total.currency
            && terms.catalog == claims.catalog
            && terms.total.micros <= claims.per_order
            && (spent <= claims.total.micros || seeded(Bug::SpendMore))
            && orders <= claims.orders
            && (now < claims.expires_at || seeded(Bug::SpendAfterTheEnd));
        fits.then_some(AllowanceUse { id: claims.id, spent, orders })
    }

    /// An order was made within it.
    pub(super) fn spend(&mut self, order: AllowanceUse) {
        if order.id == self.claims.id {
            self.spent = self.spent.max(order.spent);
            self.orders = self.orders.max(order.orders);
        }
    }

    pub(super) fn saved(&self) -> SavedAllowance {
        SavedAllowance { token: self.token.clone(), spent: self.spent, orders: self.orders }
    }

    fn left(&self) -> OfflineAllowance {
        let Allowance { total, per_order, orders, expires_at, .. } = &self.claims;
        let left = total.micros.value().saturating_sub(self.spent.value()).max(0);
        let left = Micros::new(left).unwrap_or(Micros::ZERO);
        OfflineAllowance {
            left: Money::new(left, total.currency),
            per_order: Money::new(left.min(*per_order), total.currency),
            orders: orders.saturating_sub(self.orders),
            until: *expires_at,
        }
    }
}

impl Machine {
    /// Reads an allowance of the server's, for this device, of which nothing is spent yet.
    ///
    /// # Errors
    /// It does not verify, or is not this device's; in words.
    pub(super) fn read_allowance(&self, token: &Token) -> Result<Spending, String> {
        let game = &self.settings.game;
        let claims = Allowance::verify(token, &self.keys.vouched(), game, &self.account, self.device)
            .map_err(|error| format!("an allowance is not believed: {error}"))?;
        Ok(Spending { claims, token: token.clone(), spent: Micros::ZERO, orders: 0 })
    }

    /// An allowance as it was saved.
    ///
    /// # Errors
    /// As [`read_allowance`](Self::read_allowance).
    pub(super) fn read_saved_allowance(&self, saved: &SavedAllowance) -> Result<Spending, String> {
        let spending = self.read_allowance(&saved.token)?;
        Ok(Spending { spent: saved.spent, orders: saved.orders, ..spending })
    }

    /// What an order says about the allowance `spending`, if the game is set to spend offline and it fits.
    pub(super) fn covered(&self, spending: Option<&Spending>, terms: &Terms, tick: Tick) -> Option<AllowanceUse> {
        let wanted = self.settings.offline_grants == OfflineGrants::Allowance;
        spending.filter(|_| wanted)?.cover(terms, self.now(tick))
    }

    /// What to ask the server for.
    pub(super) fn wanted_allowance(&self) -> Option<AllowanceRequest> {
        let wanted = self.settings.offline_grants == OfflineGrants::Allowance;
        let current = self.allowance.as_ref().map(Spending::id);
        // The server closes all others: not while an order that was made within one of them is not answered.
        let of_another = |id: AllowanceId| Some(id) != current;
        let current = current.filter(|_| !self.orders.allowances().any(of_another));
        wanted.then_some(AllowanceRequest { current, currency: self.settings.currency })
    }

    /// The allowance of an answer that is new to this device, if there is one.
    ///
    /// # Errors
    /// One does not verify, or is not this device's; in words.
    pub(super) fn new_allowance(&self, tokens: &[Token]) -> Result<Option<Spending>, String> {
        let mut newest = None;
        for token in tokens {
            let allowance = self.read_allowance(token)?;
            if allowance.claims.total.currency == self.settings.currency {
                newest = Some(allowance);
            }
        }
        let current = self.allowance.as_ref().map(Spending::id);
        Ok(newest.filter(|newest| Some(newest.id()) != current))
    }

    /// What can be spent offline now.
    pub(super) fn offline_allowance(&self) -> Option<OfflineAllowance> {
        self.allowance.as_ref().map(Spending::left)
    }
}
