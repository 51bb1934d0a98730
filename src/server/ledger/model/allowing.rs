//! What becomes of devices' allowances, in memory, as the documents tell it.

use super::super::allowance::{self, Renewal, Then};
use super::super::{AllowanceRecord, AllowanceRules, AllowanceWish};
use super::*;

impl ModelLedger {
    /// An allowance; closed ones too.
    pub(super) fn allowance(&self, id: AllowanceId) -> Option<AllowanceRecord> {
        let (terms, hold) = (self.allowances.get(&id)?, self.holds.get(&OperationId(id.0))?);
        Some(AllowanceRecord { hold: hold.clone(), terms: terms.clone() })
    }

    /// The allowances of an account of which the holds are pending.
    pub(super) fn pending_allowances(&self, account: &AccountId) -> Vec<AllowanceRecord> {
        let all = self.allowances.keys().filter_map(|id| self.allowance(*id));
        all.filter(|one| one.hold.status == HoldStatus::Pending && one.hold.account == *account).collect()
    }

    pub(super) fn allow_one(
        &mut self,
        wish: &AllowanceWish,
        rules: &AllowanceRules,
        context: &mut Context<'_>,
    ) -> Result<Option<Token>, LedgerError> {
        let (account, currency, now) = (&wish.account, wish.request.currency, context.now);
        self.expire_holds(Some(account), now);
        // Whoever is no member of the account is told so elsewhere.
        if self.frozen.contains_key(&wish.device) || self.membership_refused(wish.device, account)?.is_some() {
            return Ok(None);
        }
        let mut open = self.pending_allowances(account);
        open.retain(|one| one.terms.device == wish.device && one.hold.currency == currency);
        let left: i64 = open.iter().map(|one| one.hold.rest_amount()).sum();
        let (catalog, server) = (context.catalog.digest(), context.signer.server());
        let Renewal { close, then } = allowance::renewal(open, &wish.request, catalog, server, now);
        let freed: i64 = close.iter().map(|one| one.hold.rest_amount()).sum();
        close.iter().for_each(|one| self.close(one, now));
        let (number, above) = match then {
            Then::Keep => return Ok(None),
            Then::Again(token) => return Ok(Some(token)),
            Then::New { number, above } => (number, above),
        };
        let lots = self.accounts.wallet(account, currency);
        let amount = rules.amount(lot::available(&lots), left - freed);
        let Some(legs) = lot::draw(&lots, amount).filter(|_| amount > above) else { return Ok(None) };
        let made = allowance::signed(wish, (number, amount), legs, rules, context)?;
        let revenue = self.accounts.house(House::revenue(&self.game, currency));
        for (leg, (lot, part)) in (0..).zip(&made.hold.legs) {
            self.accounts.post(Transfer {
                id: TransferId::of_operation(TransferKind::Hold, made.hold.id, leg),
                kind: TransferKind::Hold,
                debit: AccountNumber::of_lot(*lot),
                credit: revenue,
                amount: *part,
                order: None,
                hold: Some(made.hold.id),
                at: now,
            })?;
        }
        let (id, token) = (made.id(), made.terms.token.clone());
        self.holds.insert(made.hold.id, made.hold);
        self.allowances.insert(id, made.terms);
        Ok(Some(token))
    }

    fn close(&mut self, allowance: &AllowanceRecord, now: UnixSeconds) {
        let revenue = House::revenue(&self.game, allowance.hold.currency).number();
        self.accounts.release(&allowance.hold.rest(), revenue);
        self.holds.insert(allowance.hold.id, allowance.clone().closed(now).hold);
    }

    /// Takes what an order costs out of what an allowance has set aside; gives what each lot pays.
    pub(super) fn take_from(
        &mut self,
        id: AllowanceId,
        order: &Order,
        amount: Money,
    ) -> Result<Vec<(TransferId, i64)>, LedgerError> {
        let allowance = self.allowance(id).ok_or_else(|| LedgerError::damaged("an allowance is missing"))?;
        let parts = allowance.hold.take(amount.micros.value());
        self.accounts.release(&parts, House::revenue(&self.game, amount.currency).number());
        let AllowanceRecord { hold, terms } = allowance.after(order, amount);
        self.holds.insert(hold.id, hold);
        self.allowances.insert(id, terms);
        Ok(parts)
    }

    /// Freezes the device of an order that does not follow the chain, names an allowance of the device, and stands where
    /// the chain holds another one.
    pub(super) fn look_for_fork(&mut self, order: &Order, chained: bool, now: UnixSeconds) {
        let named = order.allowance.and_then(|claim| self.allowances.get(&claim.id));
        let own = named.is_some_and(|terms| terms.device == order.device);
        if chained || !own || self.frozen.contains_key(&order.device) {
            return;
        }
        let there = self.orders.values().find(|record| {
            let other = record.verified.order();
            let told = self.feed(&order.account).iter().any(|receipt| receipt.order() == Some(other.id));
            record.chained && other.device == order.device && other.sequence == order.sequence && told
        });
        if let Some(first) = there.map(|record| record.verified.order().id) {
            let (device, sequence, second, at) = (order.device, order.sequence, order.id, now);
            self.forks.push(Fork { device, sequence, first, second, at });
            self.freeze(device, now);
        }
    }

    /// Sells nothing to a device from now on, and closes its allowances.
    pub(super) fn freeze(&mut self, device: KeyId, now: UnixSeconds) {
        self.frozen.insert(device, now);
        if let Some(device) = self.devices.get(&device) {
            // A code that it has made lets nobody in any more.
            self.members.link_codes.remove(&device.account);
        }
        self.close_allowances(device, now);
    }

    pub(super) fn close_allowances(&mut self, device: KeyId, now: UnixSeconds) {
        let all: Vec<_> = self.allowances.keys().filter_map(|id| self.allowance(*id)).collect();
        for one in all.iter().filter(|one| one.hold.status == HoldStatus::Pending && one.terms.device == device) {
            self.close(one, now);
        }
    }
}
