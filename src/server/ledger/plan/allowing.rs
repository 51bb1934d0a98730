//! Planning what becomes of devices' allowances.

use super::super::account::House;
use super::super::allowance::{self, AllowanceRecord, AllowanceRules, AllowanceWish, Renewal, Then};
use super::super::lot;
use super::super::transfer::TransferKind;
use super::super::{AccountNumber, Context, LedgerError, TransferId};
use super::{Facts, Plan};
use crate::protocol::{AccountId, AllowanceId, Currency, KeyId, Money, Order, Sha256, Token};
use crate::server::seeded::{Bug, seeded};

/// What is to become of a device's allowances, and how much it gets if it gets another one.
struct Considered {
    renewal: Renewal,
    amount: i64,
}

impl<F: Facts> Plan<'_, F> {
    /// Decides what becomes of the allowances of devices that want one, in this order. Gives the allowance that each
    /// should make orders within from now on, where that is news.
    pub(crate) fn allow(
        &mut self,
        wishes: &[AllowanceWish],
        rules: &AllowanceRules,
        context: &mut Context<'_>,
    ) -> Result<Vec<Option<Token>>, LedgerError> {
        let mut told = Vec::with_capacity(wishes.len());
        for wish in wishes {
            told.push(match self.allow_one(wish, rules, context) {
                Err(LedgerError::Damaged(what)) => {
                    tracing::error!("`{}` gets no allowance: the books are damaged: `{what}`", wish.account);
                    None
                }
                token => token?,
            });
        }
        Ok(told)
    }

    /// The same where it would change nothing; nothing where it would.
    pub(crate) fn allow_quietly(
        &mut self,
        wishes: &[AllowanceWish],
        rules: &AllowanceRules,
        context: &Context<'_>,
    ) -> Result<Option<Vec<Option<Token>>>, LedgerError> {
        let (catalog, server) = (context.catalog.digest(), context.signer.server());
        let mut told = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let Considered { renewal, amount } = self.consider(wish, rules, catalog, server)?;
            if !renewal.close.is_empty() || !self.changes.resolved.is_empty() {
                return Ok(None);
            }
            told.push(match renewal.then {
                Then::New { above, .. } if amount > above => return Ok(None),
                Then::Again(token) => Some(token),
                Then::New { .. } | Then::Keep => None,
            });
        }
        Ok(Some(told))
    }

    fn consider(
        &mut self,
        wish: &AllowanceWish,
        rules: &AllowanceRules,
        catalog: Sha256,
        server: KeyId,
    ) -> Result<Considered, LedgerError> {
        let (account, currency) = (&wish.account, wish.request.currency);
        self.touch(account)?;
        let chain = self.chain_of(wish.device)?;
        // Whoever is no member of the account is told so elsewhere.
        if chain.frozen || chain.revoked || chain.account != *account {
            return Ok(Considered { renewal: Renewal { close: Vec::new(), then: Then::Keep }, amount: 0 });
        }
        let mut open = self.open_allowances(wish.device, account)?;
        open.retain(|allowance| allowance.hold.currency == currency && !seeded(Bug::ForgetOpenAllowances));
        let left = open.iter().fold(0_i64, |sum, one| sum.saturating_add(one.hold.rest_amount()));
        let renewal = allowance::renewal(open, &wish.request, catalog, server, self.now);
        let freed = renewal.close.iter().fold(0_i64, |sum, one| sum.saturating_add(one.hold.rest_amount()));
        let amount = match renewal.then {
            Then::New { .. } => {
                let available = self.balance(account, currency)?.available.value().saturating_add(freed);
                rules.amount(available, left.saturating_sub(freed))
            }
            Then::Keep | Then::Again(_) => 0,
        };
        Ok(Considered { renewal, amount })
    }

    fn allow_one(
        &mut self,
        wish: &AllowanceWish,
        rules: &AllowanceRules,
        context: &mut Context<'_>,
    ) -> Result<Option<Token>, LedgerError> {
        let (account, currency) = (&wish.account, wish.request.currency);
        let considered = self.consider(wish, rules, context.catalog.digest(), context.signer.server())?;
        let Considered { renewal: Renewal { close, then }, amount } = considered;
        // Whatever can be damaged is read before anything is planned.
        self.wallet(account, currency)?;
        for allowance in close {
            self.close(allowance)?;
        }
        match then {
            Then::Keep => Ok(None),
            Then::Again(token) => Ok(Some(token)),
            Then::New { above, .. } if amount <= above => Ok(None),
            Then::New { number, .. } => {
                let Some(legs) = lot::draw(self.wallet(account, currency)?, amount) else { return Ok(None) };
                let allowance = allowance::signed(wish, (number, amount), legs, rules, context)?;
                let revenue = self.changes.house(House::revenue(self.game, currency));
                let hold = &allowance.hold;
                self.hold_legs(hold.id, TransferKind::Hold, hold.id, &hold.legs, revenue);
                for lot in self.wallet(account, currency)? {
                    let part = allowance.hold.legs.iter().find(|(id, _)| *id == lot.id);
                    lot.held = lot.held.saturating_add(part.map_or(0, |(_, part)| *part));
                }
                let token = allowance.terms.token.clone();
                self.changes.holds.push(allowance.hold.clone());
                self.changes.allowances.push((allowance.id(), allowance.terms.clone()));
                self.allowances.insert(allowance.id(), Some(allowance));
                Ok(Some(token))
            }
        }
    }

    /// Gives free what is left of an allowance, which backs nothing from now on.
    pub(super) fn close(&mut self, allowance: AllowanceRecord) -> Result<(), LedgerError> {
        let (account, currency) = (allowance.hold.account.clone(), allowance.hold.currency);
        self.free(&account, currency, &allowance.hold.rest())?;
        let revenue = self.changes.house(House::revenue(self.game, currency));
        let (mut before, closed) = (allowance.hold.clone(), allowance.closed(self.now));
        if seeded(Bug::KeepWhatIsClosed) {
            before.posted = before.amount;
        }
        self.changes.resolve(&before, closed.hold.clone(), revenue);
        self.allowances.insert(closed.id(), Some(closed));
        Ok(())
    }

    /// Sets no longer aside what `parts` of lots were.
    pub(super) fn free(
        &mut self,
        account: &AccountId,
        currency: Currency,
        parts: &[(TransferId, i64)],
    ) -> Result<(), LedgerError> {
        for lot in self.wallet(account, currency)? {
            let part = parts.iter().find(|(id, _)| *id == lot.id);
            lot.held = lot.held.saturating_sub(part.map_or(0, |(_, part)| *part));
        }
        Ok(())
    }

    /// An allowance as it will be.
    pub(super) fn allowance(&mut self, id: AllowanceId) -> Result<Option<AllowanceRecord>, LedgerError> {
        if let Some(known) = self.allowances.get(&id) {
            return Ok(known.clone());
        }
        let found = self.facts.allowance(id)?;
        self.allowances.insert(id, found.clone());
        Ok(found)
    }

    /// The open allowances that a device has, as they will be.
    pub(super) fn open_allowances(
        &mut self,
        device: KeyId,
        account: &AccountId,
    ) -> Result<Vec<AllowanceRecord>, LedgerError> {
        if self.listed.insert(account.clone()) {
            for allowance in self.facts.open_allowances(account)? {
                // What this plan has changed is more than what the books say.
                self.allowances.entry(allowance.id()).or_insert(Some(allowance));
            }
        }
        let now = self.now;
        let own = self.allowances.values().flatten();
        Ok(own.filter(|allowance| allowance.terms.device == device && allowance.is_open(now)).cloned().collect())
    }

    /// The allowance that pays for an order, if one does.
    pub(super) fn paying(&mut self, order: &Order, amount: Money) -> Result<Option<AllowanceRecord>, LedgerError> {
        let Some(claim) = order.allowance else { return Ok(None) };
        let now = self.now;
        Ok(self.allowance(claim.id)?.filter(|allowance| allowance.covers(order, amount, now)))
    }

    /// Takes what an order costs out of what an allowance has set aside.
    pub(super) fn take_from(&mut self, allowance: AllowanceRecord, order: &Order, amount: Money) {
        let revenue = self.changes.house(House::revenue(self.game, amount.currency));
        for (lot, part) in allowance.hold.take(amount.micros.value()) {
            self.changes.free(AccountNumber::of_lot(lot), revenue, part);
        }
        let after = allowance.after(order, amount);
        self.changes.spent.insert(after.id(), (after.hold.posted, after.terms.spent, after.terms.orders));
        self.allowances.insert(after.id(), Some(after));
    }
}
