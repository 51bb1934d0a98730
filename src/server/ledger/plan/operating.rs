//! Planning an operation.

use super::super::account::House;
use super::super::changes::Changes;
use super::super::hold::{HoldRecord, HoldStatus};
use super::super::lot::{self, Lot};
use super::super::operation::{
    Action, Answer, Credit, FreezeDevice, Hold, NameDevice, Operation, OperationRecord, Payout, Post, RefundCredit,
    RefundOrder, RevokeDevice, ThawDevice,
};
use super::super::refused::{OperateError, Refused};
use super::super::transfer::{Transfer, TransferKind};
use super::super::{AccountNumber, LedgerError, LedgerMoney, OperationId, Origin, TransferId, books, refund};
use super::{Facts, Plan};
use crate::protocol::sync::Balance;
use crate::protocol::{AccountId, Currency, GameId, KeyId, Micros, Money, UnixSeconds};
use crate::server::signing::Signer;

/// What an operation comes to: an answer or a refusal, or that the plan cannot go on.
type Decided = Result<Answer, OperateError>;

/// Decides what becomes of an operation. The changes hold its record; there are none if it was decided before.
///
/// # Errors
/// The id was used for another operation, or the books cannot be read. A refusal that is final is no error here: it is to
/// be written.
pub(crate) fn operate(
    facts: &mut impl Facts,
    operation: &Operation,
    game: &GameId,
    signer: &mut Signer,
    now: UnixSeconds,
) -> Result<(Changes, Result<Answer, Refused>), OperateError> {
    let Operation { id, action } = operation;
    let sha256 = action.sha256();
    if let Some(known) = facts.operation(*id)? {
        return match known.sha256 == sha256 {
            true => Ok((Changes::default(), known.decision)),
            false => Err(OperateError::IdUsed(*id)),
        };
    }
    let mut plan = Plan::new(facts, game, now);
    let decision = match plan.decide(*id, action, signer) {
        Ok(answer) => Ok(answer),
        Err(OperateError::Refused(refused)) if refused.is_final() => Err(refused),
        Err(error) => return Err(error),
    };
    let name = action.name().to_owned();
    plan.changes.operation = Some(OperationRecord { id: *id, name, sha256, decision: decision.clone(), at: now });
    Ok((plan.changes, decision))
}

fn money(micros: i64, currency: Currency) -> Result<Money, LedgerError> {
    Ok(Money::new(Micros::new(micros).map_err(LedgerError::damaged)?, currency))
}

/// Refuses what is not above zero.
fn positive(money: Money) -> Result<i64, Refused> {
    if money.micros > Micros::ZERO { Ok(money.micros.value()) } else { Err(Refused::NotPositive(money)) }
}

impl<F: Facts> Plan<'_, F> {
    /// Every action reads first and changes last, so that what is refused changes nothing but due holds.
    fn decide(&mut self, id: OperationId, action: &Action, signer: &mut Signer) -> Decided {
        match action {
            Action::Credit(credit) => self.credit(id, credit),
            Action::RefundOrder(refund) => self.refund_order(id, refund, signer),
            Action::RefundCredit(refund) => self.refund_credit(id, refund),
            Action::Hold(hold) => self.hold(id, hold),
            Action::Post(post) => self.post(id, post),
            Action::Void(void) => self.resolve(id, void.hold, HoldStatus::Voided, None),
            Action::Payout(payout) => self.payout(id, payout),
            Action::FreezeDevice(FreezeDevice { device }) => self.set_frozen(*device, true),
            Action::ThawDevice(ThawDevice { device }) => self.set_frozen(*device, false),
            Action::RevokeDevice(RevokeDevice { device }) => self.revoke_device(*device),
            Action::NameDevice(asked) => self.name_device(asked),
        }
    }

    fn known_account(&mut self, account: &AccountId) -> Result<(), OperateError> {
        if !self.facts.has_account(account)? {
            return Err(Refused::UnknownAccount(account.clone()).into());
        }
        if let Some(to) = self.facts.moved_to(account)? {
            return Err(Refused::AccountMoved { account: account.clone(), to }.into());
        }
        Ok(self.touch(account)?)
    }

    /// The wallet's balance when `change` is added to what is available and `held` to what is held. What is available
    /// and held together must stay in range too, since holds can be given free.
    fn after(&mut self, account: &AccountId, change: Money, held: i64) -> Result<Balance, OperateError> {
        let Money { micros, currency } = change;
        let before = self.balance(account, currency)?;
        let sum = |one: Micros, other: i64| Micros::new(one.value().checked_add(other)?).ok();
        let after = || {
            let available = sum(before.available, micros.value())?;
            let held = sum(before.held, held)?;
            available.checked_add(held)?;
            Some(Balance { currency, available, held })
        };
        let magnitude = Micros::new(micros.value().abs()).unwrap_or(micros);
        Ok(after().ok_or(Refused::TooMuch(Money::new(magnitude, currency)))?)
    }

    fn moved(&mut self, id: TransferId, kind: TransferKind, from: AccountNumber, to: AccountNumber, amount: i64) {
        self.changes.transfer(Transfer {
            id,
            kind,
            debit: from,
            credit: to,
            amount,
            order: None,
            hold: None,
            at: self.now,
        });
    }

    fn credit(&mut self, id: OperationId, credit: &Credit) -> Decided {
        let Credit { account, money, origin, source, refundable_until, fee } = credit;
        let amount = positive(*money)?;
        if let Some(fee) = fee
            && (fee.is_negative() || *fee > money.micros || *origin == Origin::Promotional)
        {
            return Err(Refused::FeeOutOfRange(Money::new(*fee, money.currency)).into());
        }
        self.known_account(account)?;
        let balance = self.after(account, *money, 0)?;
        let lot = Lot {
            id: TransferId::of_credit(id),
            account: account.clone(),
            currency: money.currency,
            origin: *origin,
            source: source.clone(),
            opened_at: self.now,
            refundable_until: *refundable_until,
            opened_with: amount,
            refunded: 0,
            balance: 0,
            held: 0,
        };
        let funding = lot.house().number();
        self.changes.open(lot, TransferKind::Credit, self.now);
        if let Some(fee) = fee.filter(|fee| *fee > Micros::ZERO) {
            let fees = self.changes.house(House::fees(source, money.currency));
            let id = TransferId::of_operation(TransferKind::Fee, id, 0);
            self.moved(id, TransferKind::Fee, fees, funding, fee.value());
        }
        Ok(Answer::Wallet { account: account.clone(), balance, money: *money })
    }

    fn refund_order(&mut self, id: OperationId, asked: &RefundOrder, signer: &mut Signer) -> Decided {
        let order = asked.order;
        let paid = self.facts.paid_order(order)?.ok_or(Refused::UnknownOrder(order))?;
        self.touch(&paid.account)?;
        let refund = refund::decide(&paid, asked.quantity)?;
        self.after(&paid.account, refund.money, 0)?;
        let transfers = self.facts.transfers_of(order)?;
        let reversal = refund::reversal(&transfers, refund.money.micros.value());
        let reversal = reversal
            .ok_or_else(|| LedgerError::damaged(format_args!("the order {order} was paid with less than it cost")))?;
        let first = books::stored_receipt(&self.facts.first_receipt(order)?.token)?;
        let feed = self.next_feed(&paid.account)?;
        let receipt = refund::receipt(first, &paid, &refund, feed, signer, self.now)?;
        for (leg, (lot, house, amount)) in (0..).zip(reversal) {
            self.changes.transfer(Transfer {
                id: TransferId::of_operation(TransferKind::Refund, id, leg),
                kind: TransferKind::Refund,
                debit: house,
                credit: lot,
                amount,
                order: Some(order),
                hold: None,
                at: self.now,
            });
        }
        self.changes.standings.push(refund.standing);
        self.changes.receipts.push(receipt.clone());
        Ok(Answer::Order { receipt: Box::new(receipt), money: refund.money, quantity: refund.quantity })
    }

    fn refund_credit(&mut self, id: OperationId, asked: &RefundCredit) -> Decided {
        let credit = asked.credit;
        let lot = self.facts.lot(TransferId::of_credit(credit))?.ok_or(Refused::UnknownCredit(credit))?;
        self.touch(&lot.account)?;
        let mut lot = lot;
        self.release(&mut lot);
        let left = money(lot.opened_with.saturating_sub(lot.refunded), lot.currency)?;
        let wanted = Money::new(asked.amount.unwrap_or(left.micros), lot.currency);
        if asked.amount.is_some() {
            positive(wanted)?;
        }
        let amount = wanted.micros.value();
        if wanted.micros > left.micros || left.micros == Micros::ZERO {
            return Err(Refused::AboveCredit { credit, money: wanted, left }.into());
        }
        if let Some(until) = lot.refundable_until.filter(|until| self.now >= *until && !asked.forced) {
            return Err(Refused::TooLate { credit, until }.into());
        }
        // A lot that is owed takes from the others, so what covers it is not there to be given back.
        let available = self.balance(&lot.account, lot.currency)?.available.value();
        let unspent = lot.available().min(available).max(0);
        if asked.only_unspent && unspent < amount {
            let unspent = money(unspent, lot.currency)?;
            return Err(Refused::Spent { credit, money: wanted, unspent }.into());
        }
        let balance = self.after(&lot.account, money(-amount, lot.currency)?, 0)?;
        let source = self.changes.house(lot.house());
        let transfer = TransferId::of_operation(TransferKind::CreditRefund, id, 0);
        self.moved(transfer, TransferKind::CreditRefund, lot.number(), source, amount);
        *self.changes.refunded.entry(lot.number()).or_default() += amount;
        Ok(Answer::Wallet { account: lot.account, balance, money: wanted })
    }

    fn hold(&mut self, id: OperationId, asked: &Hold) -> Decided {
        let Hold { account, money: wanted, expires_at } = asked;
        let amount = positive(*wanted)?;
        if *expires_at <= self.now {
            return Err(Refused::ExpiresInThePast(*expires_at).into());
        }
        self.known_account(account)?;
        if self.facts.hold(id)?.is_some() {
            // It is behind an allowance.
            return Err(OperateError::IdUsed(id));
        }
        let currency = wanted.currency;
        let available = self.balance(account, currency)?.available;
        let drawn = lot::draw(self.wallet(account, currency)?, amount);
        let legs =
            drawn.ok_or(Refused::InsufficientFunds { money: *wanted, available: Money::new(available, currency) })?;
        let balance = self.after(account, money(-amount, currency)?, amount)?;
        let revenue = self.changes.house(House::revenue(self.game, currency));
        self.hold_legs(id, TransferKind::Hold, id, &legs, revenue);
        let (account, expires_at) = (account.clone(), *expires_at);
        self.changes.holds.push(HoldRecord {
            id,
            account: account.clone(),
            currency,
            amount,
            expires_at,
            status: HoldStatus::Pending,
            posted: 0,
            resolved_at: None,
            legs,
        });
        Ok(Answer::Wallet { account, balance, money: *wanted })
    }

    pub(super) fn hold_legs(
        &mut self,
        operation: OperationId,
        kind: TransferKind,
        hold: OperationId,
        legs: &[(TransferId, i64)],
        revenue: AccountNumber,
    ) {
        for (leg, (lot, amount)) in (0..).zip(legs) {
            self.changes.transfer(Transfer {
                id: TransferId::of_operation(kind, operation, leg),
                kind,
                debit: AccountNumber::of_lot(*lot),
                credit: revenue,
                amount: *amount,
                order: None,
                hold: Some(hold),
                at: self.now,
            });
        }
    }

    fn post(&mut self, id: OperationId, asked: &Post) -> Decided {
        self.resolve(id, asked.hold, HoldStatus::Posted, asked.amount)
    }

    /// Resolves a hold: takes `amount` or all of it if it is to be posted, and nothing if it is to be voided.
    fn resolve(&mut self, id: OperationId, hold: OperationId, status: HoldStatus, amount: Option<Micros>) -> Decided {
        // What is behind an allowance was set aside by no operation, and is not the operator's to take.
        let record = match self.facts.operation(hold)? {
            Some(made) if made.has_made_hold() => self.facts.hold(hold)?.ok_or(Refused::UnknownHold(hold))?,
            _ => return Err(Refused::UnknownHold(hold).into()),
        };
        self.touch(&record.account)?;
        let found = if record.is_due(self.now) { HoldStatus::Expired } else { record.status };
        if found != HoldStatus::Pending {
            return Err(Refused::HoldResolved { hold, status: found }.into());
        }
        let currency = record.currency;
        let held = money(record.amount, currency)?;
        let wanted = Money::new(amount.unwrap_or(held.micros), currency);
        let posted = if status == HoldStatus::Posted { positive(wanted)? } else { 0 };
        if posted > record.amount {
            return Err(Refused::AboveHold { hold, money: wanted, held }.into());
        }
        let balance = self.after(
            &record.account,
            money(record.amount.saturating_sub(posted), currency)?,
            record.amount.saturating_neg(),
        )?;
        let revenue = self.changes.house(House::revenue(self.game, currency));
        self.hold_legs(id, TransferKind::Post, hold, &record.take(posted), revenue);
        let account = record.account.clone();
        let resolved_at: Option<UnixSeconds> = Some(self.now);
        self.changes.resolve(&record, HoldRecord { status, posted, resolved_at, ..record.clone() }, revenue);
        Ok(Answer::Wallet { account, balance, money: wanted })
    }

    fn set_frozen(&mut self, device: KeyId, frozen: bool) -> Decided {
        let account = self.facts.account_of(device)?.ok_or(Refused::UnknownDevice(device))?;
        self.touch(&account)?;
        match frozen {
            true => self.freeze(device, &account)?,
            false => {
                self.changes.frozen.insert(device, None);
            }
        }
        Ok(Answer::Device { device, account, frozen })
    }

    fn revoke_device(&mut self, device: KeyId) -> Decided {
        let account = self.facts.account_of(device)?.ok_or(Refused::UnknownDevice(device))?;
        self.touch(&account)?;
        if !self.chain_of(device)?.revoked {
            self.revoke(device, &account, None)?;
        }
        Ok(Answer::Revoked { device, account })
    }

    fn name_device(&mut self, asked: &NameDevice) -> Decided {
        let NameDevice { device, name } = asked.clone();
        let account = self.facts.account_of(device)?.ok_or(Refused::UnknownDevice(device))?;
        self.changes.membership.named.push((device, name.clone()));
        Ok(Answer::Named { device, account, name })
    }

    fn payout(&mut self, id: OperationId, asked: &Payout) -> Decided {
        let Payout { creator, money: wanted, source } = asked;
        let amount = positive(*wanted)?;
        let payable = LedgerMoney::new(self.facts.payable(creator, wanted.currency)?, wanted.currency);
        if payable.micros < amount {
            return Err(Refused::AbovePayable { money: *wanted, payable }.into());
        }
        let left = LedgerMoney::new(payable.micros.saturating_sub(amount), wanted.currency);
        let from = self.changes.house(House::payable(creator, wanted.currency));
        let to = self.changes.house(House::origin(Origin::Paid, source, wanted.currency));
        self.moved(TransferId::of_operation(TransferKind::Payout, id, 0), TransferKind::Payout, from, to, amount);
        Ok(Answer::Creator { creator: creator.clone(), money: *wanted, payable: left })
    }
}
