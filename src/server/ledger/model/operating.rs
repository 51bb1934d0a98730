//! What an operator does, in memory: each action is written out as the documents tell it, on its own.

use super::super::LedgerMoney;
use super::super::account::House;
use super::super::operation::{Action, Credit, Hold, NameDevice, Payout, Post, RefundCredit, RefundOrder};
use super::super::refund::{self, PaidOrder};
use super::super::refused::Refused;
use super::*;
use crate::protocol::sync::Balance;

/// Adds a change to a wallet's balance, unless it would be too much.
fn changed(before: Balance, available: i64, held: i64) -> Option<Balance> {
    let add = |micros: Micros, change: i64| Micros::new(micros.value() + change).ok();
    let (available, held) = (add(before.available, available)?, add(before.held, held)?);
    available.checked_add(held)?;
    Some(Balance { available, held, ..before })
}

fn money(micros: i64, currency: Currency) -> Result<Money, LedgerError> {
    Ok(Money::new(Micros::new(micros).map_err(LedgerError::damaged)?, currency))
}

impl ModelLedger {
    pub(super) fn operate_once(
        &mut self,
        operation: &Operation,
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<Answer, OperateError> {
        let Operation { id, action } = operation;
        let sha256 = action.sha256();
        if let Some(known) = self.operations.get(id) {
            return match known.sha256 == sha256 {
                true => Ok(known.decision.clone()?),
                false => Err(OperateError::IdUsed(*id)),
            };
        }
        let decision = self.transaction(|books| {
            let done = match action {
                Action::Credit(credit) => books.credit(*id, credit, now),
                Action::RefundOrder(refund) => books.refund_order(*id, refund, signer, now),
                Action::RefundCredit(refund) => books.refund_credit(*id, refund, now),
                Action::Hold(hold) => books.hold(*id, hold, now),
                Action::Post(Post { hold, amount }) => books.resolve(*id, *hold, HoldStatus::Posted, *amount, now),
                Action::Void(void) => books.resolve(*id, void.hold, HoldStatus::Voided, None, now),
                Action::Payout(payout) => books.payout(*id, payout, now),
                Action::FreezeDevice(freeze) => books.set_frozen(freeze.device, true, now),
                Action::ThawDevice(thaw) => books.set_frozen(thaw.device, false, now),
                Action::RevokeDevice(revoke) => books.revoke_by_operator(revoke.device, now),
                Action::NameDevice(name) => books.name_by_operator(name),
            };
            let decision = match done {
                Ok(answer) => Ok(answer),
                Err(OperateError::Refused(refused)) if refused.is_final() => Err(refused),
                Err(error) => return Err(error),
            };
            let (name, decision) = (action.name().to_owned(), decision);
            let record = OperationRecord { id: *id, name, sha256, decision: decision.clone(), at: now };
            books.operations.insert(*id, record);
            Ok(decision)
        })?;
        Ok(decision?)
    }

    fn credit(&mut self, id: OperationId, credit: &Credit, now: UnixSeconds) -> Result<Answer, OperateError> {
        let Credit { account, money, origin, source, refundable_until, fee } = credit.clone();
        let currency = money.currency;
        if money.micros <= Micros::ZERO {
            return Err(Refused::NotPositive(money).into());
        }
        if let Some(fee) = fee {
            let in_range = (Micros::ZERO..=money.micros).contains(&fee);
            if !in_range || origin == Origin::Promotional {
                return Err(Refused::FeeOutOfRange(Money::new(fee, currency)).into());
            }
        }
        self.known_account(&account)?;
        self.expire_holds(Some(&account), now);
        let before = self.accounts.wallet_balance(&account, currency);
        let balance = changed(before, money.micros.value(), 0).ok_or(Refused::TooMuch(money))?;
        let lot = Lot {
            id: TransferId::of_credit(id),
            account: account.clone(),
            currency,
            origin,
            source: source.clone(),
            opened_at: now,
            refundable_until,
            opened_with: money.micros.value(),
            refunded: 0,
            balance: 0,
            held: 0,
        };
        self.accounts.open(lot, TransferKind::Credit, now)?;
        if let Some(fee) = fee.filter(|fee| *fee != Micros::ZERO) {
            let fees = self.accounts.house(House::fees(&source, currency));
            let funding = self.accounts.house(House::origin(Origin::Paid, &source, currency));
            self.post_operation(id, TransferKind::Fee, fees, funding, fee.value(), now)?;
        }
        Ok(Answer::Wallet { account, balance, money })
    }

    fn known_account(&self, account: &AccountId) -> Result<(), Refused> {
        match self.members.moved_to(account) {
            _ if !self.has_account(account) => Err(Refused::UnknownAccount(account.clone())),
            Some(to) => Err(Refused::AccountMoved { account: account.clone(), to }),
            None => Ok(()),
        }
    }

    fn post_operation(
        &mut self,
        id: OperationId,
        kind: TransferKind,
        debit: AccountNumber,
        credit: AccountNumber,
        amount: i64,
        at: UnixSeconds,
    ) -> Result<(), LedgerError> {
        let id = TransferId::of_operation(kind, id, 0);
        self.accounts.post(Transfer { id, kind, debit, credit, amount, order: None, hold: None, at })
    }

    fn refund_order(
        &mut self,
        id: OperationId,
        asked: &RefundOrder,
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<Answer, OperateError> {
        let order = asked.order;
        let record = self.orders.get(&order).ok_or(Refused::UnknownOrder(order))?;
        let paid = PaidOrder {
            order,
            account: record.account.clone(),
            status: record.status,
            quantity: record.verified.order().quantity,
            refunded_quantity: record.refunded_quantity,
            amount: record.amount,
            refunded_amount: record.refunded_amount,
        };
        let first = books::stored_receipt(&self.receipt_of(record)?.token)?;
        self.expire_holds(Some(&paid.account), now);
        let refund = refund::decide(&paid, asked.quantity)?;
        let amount = refund.money.micros.value();
        let before = self.accounts.wallet_balance(&paid.account, paid.amount.currency);
        changed(before, amount, 0).ok_or(Refused::TooMuch(refund.money))?;
        let own: Vec<Transfer> =
            self.accounts.transfers.values().filter(|transfer| transfer.order == Some(order)).cloned().collect();
        let reversal = refund::reversal(&own, amount).ok_or_else(|| LedgerError::damaged("it was not paid"))?;
        for (leg, (lot, house, amount)) in (0..).zip(reversal) {
            let (id, kind) = (TransferId::of_operation(TransferKind::Refund, id, leg), TransferKind::Refund);
            let (order, hold, at) = (Some(order), None, now);
            self.accounts.post(Transfer { id, kind, debit: house, credit: lot, amount, order, hold, at })?;
        }
        if let Some(record) = self.orders.get_mut(&order) {
            record.status = refund.standing.status;
            record.refunded_quantity = refund.standing.refunded_quantity;
            record.refunded_amount = refund.standing.refunded_amount;
        }
        let feed = self.next_feed(&paid.account);
        let receipt = refund::receipt(first, &paid, &refund, feed, signer, now)?;
        self.append(&receipt, signer)?;
        Ok(Answer::Order { receipt: Box::new(receipt), money: refund.money, quantity: refund.quantity })
    }

    fn refund_credit(
        &mut self,
        id: OperationId,
        asked: &RefundCredit,
        now: UnixSeconds,
    ) -> Result<Answer, OperateError> {
        let credit = asked.credit;
        let found = self.accounts.lot(TransferId::of_credit(credit)).ok_or(Refused::UnknownCredit(credit))?;
        self.expire_holds(Some(&found.account), now);
        // Holds that were due held it no longer.
        let lot = self.accounts.lot(found.id).unwrap_or(found);
        let left = money(lot.opened_with - lot.refunded, lot.currency)?;
        let wanted = match asked.amount {
            Some(amount) if amount <= Micros::ZERO => {
                return Err(Refused::NotPositive(Money::new(amount, lot.currency)).into());
            }
            Some(amount) => Money::new(amount, lot.currency),
            None => left,
        };
        if left.micros == Micros::ZERO || wanted.micros > left.micros {
            return Err(Refused::AboveCredit { credit, money: wanted, left }.into());
        }
        match lot.refundable_until {
            Some(until) if until <= now && !asked.forced => return Err(Refused::TooLate { credit, until }.into()),
            _ => {}
        }
        let amount = wanted.micros.value();
        let before = self.accounts.wallet_balance(&lot.account, lot.currency);
        let unspent = (lot.balance - lot.held).clamp(0, before.available.value().max(0));
        if asked.only_unspent && amount > unspent {
            let unspent = money(unspent, lot.currency)?;
            return Err(Refused::Spent { credit, money: wanted, unspent }.into());
        }
        let balance = changed(before, -amount, 0).ok_or(Refused::TooMuch(wanted))?;
        let source = self.accounts.house(lot.house());
        self.post_operation(id, TransferKind::CreditRefund, lot.number(), source, amount, now)?;
        self.accounts.add_refunded(lot.id, amount);
        Ok(Answer::Wallet { account: lot.account, balance, money: wanted })
    }

    fn hold(&mut self, id: OperationId, asked: &Hold, now: UnixSeconds) -> Result<Answer, OperateError> {
        let Hold { account, money, expires_at } = asked.clone();
        let currency = money.currency;
        if money.micros <= Micros::ZERO {
            return Err(Refused::NotPositive(money).into());
        }
        if expires_at <= now {
            return Err(Refused::ExpiresInThePast(expires_at).into());
        }
        self.known_account(&account)?;
        self.expire_holds(Some(&account), now);
        if self.holds.contains_key(&id) {
            // It is behind an allowance.
            return Err(OperateError::IdUsed(id));
        }
        let before = self.accounts.wallet_balance(&account, currency);
        let amount = money.micros.value();
        let legs = lot::draw(&self.accounts.wallet(&account, currency), amount);
        let available = Money::new(before.available, currency);
        let legs = legs.ok_or(Refused::InsufficientFunds { money, available })?;
        let balance = changed(before, -amount, amount).ok_or(Refused::TooMuch(money))?;
        let revenue = self.accounts.house(House::revenue(&self.game, currency));
        for (leg, (lot, part)) in (0..).zip(&legs) {
            self.accounts.post(Transfer {
                id: TransferId::of_operation(TransferKind::Hold, id, leg),
                kind: TransferKind::Hold,
                debit: AccountNumber::of_lot(*lot),
                credit: revenue,
                amount: *part,
                order: None,
                hold: Some(id),
                at: now,
            })?;
        }
        let status = HoldStatus::Pending;
        let record = HoldRecord {
            id,
            account: account.clone(),
            currency,
            amount,
            expires_at,
            status,
            posted: 0,
            resolved_at: None,
            legs,
        };
        self.holds.insert(id, record);
        Ok(Answer::Wallet { account, balance, money })
    }

    fn resolve(
        &mut self,
        id: OperationId,
        hold: OperationId,
        status: HoldStatus,
        asked: Option<Micros>,
        now: UnixSeconds,
    ) -> Result<Answer, OperateError> {
        if !self.operations.get(&hold).is_some_and(OperationRecord::has_made_hold) {
            // What is behind an allowance is not the operator's to take.
            return Err(Refused::UnknownHold(hold).into());
        }
        let account = self.holds.get(&hold).ok_or(Refused::UnknownHold(hold))?.account.clone();
        self.expire_holds(Some(&account), now);
        let record = self.holds.get(&hold).cloned().ok_or(Refused::UnknownHold(hold))?;
        if record.status != HoldStatus::Pending {
            return Err(Refused::HoldResolved { hold, status: record.status }.into());
        }
        let held = money(record.amount, record.currency)?;
        let wanted = asked.map_or(held, |amount| Money::new(amount, record.currency));
        let posted = match status {
            HoldStatus::Posted if wanted.micros <= Micros::ZERO => return Err(Refused::NotPositive(wanted).into()),
            HoldStatus::Posted => wanted.micros.value(),
            _ => 0,
        };
        if posted > record.amount {
            return Err(Refused::AboveHold { hold, money: wanted, held }.into());
        }
        let before = self.accounts.wallet_balance(&account, record.currency);
        let balance = changed(before, record.amount - posted, -record.amount).ok_or(Refused::TooMuch(wanted))?;
        let revenue = self.accounts.house(House::revenue(&self.game, record.currency));
        self.accounts.release(&record.legs, revenue);
        let (mut left, mut number) = (posted, 0);
        for (lot, part) in &record.legs {
            let amount = left.min(*part);
            if amount > 0 {
                self.accounts.post(Transfer {
                    id: TransferId::of_operation(TransferKind::Post, id, number),
                    kind: TransferKind::Post,
                    debit: AccountNumber::of_lot(*lot),
                    credit: revenue,
                    amount,
                    order: None,
                    hold: Some(hold),
                    at: now,
                })?;
                left -= amount;
                number += 1;
            }
        }
        self.holds.insert(hold, HoldRecord { status, posted, resolved_at: Some(now), ..record });
        Ok(Answer::Wallet { account, balance, money: wanted })
    }

    fn set_frozen(&mut self, device: KeyId, frozen: bool, now: UnixSeconds) -> Result<Answer, OperateError> {
        let account = self.devices.get(&device).ok_or(Refused::UnknownDevice(device))?.account.clone();
        self.expire_holds(Some(&account), now);
        match frozen {
            true => self.freeze(device, now),
            false => {
                self.frozen.remove(&device);
            }
        }
        Ok(Answer::Device { device, account, frozen })
    }

    fn revoke_by_operator(&mut self, device: KeyId, now: UnixSeconds) -> Result<Answer, OperateError> {
        let found = self.devices.get(&device).cloned().ok_or(Refused::UnknownDevice(device))?;
        self.expire_holds(Some(&found.account), now);
        if !found.revoked {
            self.revoke(device, None, now);
        }
        Ok(Answer::Revoked { device, account: found.account })
    }

    fn name_by_operator(&mut self, asked: &NameDevice) -> Result<Answer, OperateError> {
        let NameDevice { device, name } = asked.clone();
        let account = self.devices.get(&device).ok_or(Refused::UnknownDevice(device))?.account.clone();
        self.name(device, name.clone());
        Ok(Answer::Named { device, account, name })
    }

    fn payout(&mut self, id: OperationId, asked: &Payout, now: UnixSeconds) -> Result<Answer, OperateError> {
        let Payout { creator, money: wanted, source } = asked.clone();
        let currency = wanted.currency;
        if wanted.micros <= Micros::ZERO {
            return Err(Refused::NotPositive(wanted).into());
        }
        let account = House::payable(&creator, currency);
        let owed = self.accounts.balance(account.number());
        if wanted.micros.value() > owed {
            return Err(Refused::AbovePayable { money: wanted, payable: LedgerMoney::new(owed, currency) }.into());
        }
        let from = self.accounts.house(account);
        let to = self.accounts.house(House::origin(Origin::Paid, &source, currency));
        self.post_operation(id, TransferKind::Payout, from, to, wanted.micros.value(), now)?;
        let payable = LedgerMoney::new(owed - wanted.micros.value(), currency);
        Ok(Answer::Creator { creator, money: wanted, payable })
    }
}
