//! The operations: each has moved what its answer says, of whose it says and at its time, and is what it was asked to
//! be; and whatever only an operation can move was moved by one.

use std::collections::{BTreeMap, BTreeSet};

use super::AuditReport;
use super::accounts::Heirs;
use crate::protocol::{Micros, Money, OrderId};
use crate::server::ledger::operation::{
    FreezeDevice, Hold, NameDevice, OperationRecord, Payout, Post, RefundCredit, RefundOrder, RevokeDevice, ThawDevice,
    Void,
};
use crate::server::ledger::{
    AccountRow, Action, AllowanceRow, Answer, Credit, HoldRow, HoldStatus, OperationId, OperationRow, Origin,
    TransferId, TransferKind, TransferRow,
};

#[derive(Default)]
pub(super) struct OperationAudit {
    /// What operations have moved, until the operation that did is read.
    moved: BTreeMap<TransferId, TransferRow>,
    holds: BTreeMap<OperationId, HoldRow>,
    /// The holds that are behind allowances.
    allowances: BTreeSet<OperationId>,
    /// The holds that were posted or voided, by the digest of each action that may have done so.
    resolved: BTreeMap<[u8; 32], OperationId>,
    /// Those of them of which the operation was read.
    resolved_by_operations: BTreeSet<OperationId>,
    /// The operations that made the lots.
    credits: BTreeMap<[u8; 16], OperationId>,
    /// What was given back of credits, which may be read before the credits.
    credit_refunds: Vec<CreditRefund>,
}

struct CreditRefund {
    id: OperationId,
    sha256: Vec<u8>,
    lot: [u8; 16],
    money: Money,
}

/// What an operation says that it did: what it has moved, of whose, and how much.
struct Said {
    moves: Option<TransferKind>,
    owner: String,
    money: Money,
    order: Option<OrderId>,
}

fn said(action: &str, answer: &Answer) -> Option<Said> {
    use TransferKind::{Credit, CreditRefund, Hold, Payout, Post, Refund};
    let said = |moves, owner: &str, money: &Money| Said { moves, owner: owner.to_owned(), money: *money, order: None };
    Some(match (action, answer) {
        ("credit", Answer::Wallet { account, money, .. }) => said(Some(Credit), account.as_str(), money),
        ("refund_credit", Answer::Wallet { account, money, .. }) => said(Some(CreditRefund), account.as_str(), money),
        ("hold", Answer::Wallet { account, money, .. }) => said(Some(Hold), account.as_str(), money),
        ("post", Answer::Wallet { account, money, .. }) => said(Some(Post), account.as_str(), money),
        ("void", Answer::Wallet { account, money, .. }) => said(None, account.as_str(), money),
        ("payout", Answer::Creator { creator, money, .. }) => said(Some(Payout), creator.as_str(), money),
        ("refund_order", Answer::Order { receipt, money, .. }) => {
            Said { order: Some(receipt.order), ..said(Some(Refund), receipt.account.as_str(), money) }
        }
        _ => return None,
    })
}

impl OperationAudit {
    pub(super) fn transfer(&mut self, kind: TransferKind, row: &TransferRow) {
        if !matches!(kind, TransferKind::Purchase | TransferKind::Welcome) {
            self.moved.insert(TransferId(row.id), row.clone());
        }
    }

    /// What an allowance has set aside was moved by no operation, but when it was signed.
    pub(super) fn allowance(&mut self, row: &AllowanceRow, report: &mut AuditReport) {
        let id = OperationId(row.id);
        self.allowances.insert(id);
        if self.take(TransferKind::Hold, id).iter().any(|leg| leg.created_at != row.issued_at) {
            report.differs(format_args!("allowance {id}: its transfers were written at another time"));
        }
    }

    pub(super) fn hold(&mut self, row: &HoldRow) {
        let hold = OperationId(row.id);
        if self.allowances.contains(&hold) {
            return;
        }
        let actions: Vec<Action> = match HoldStatus::parse(&row.status) {
            Some(HoldStatus::Posted) => {
                let all = (row.posted == row.amount).then_some(None);
                let amounts = all.into_iter().chain(Micros::new(row.posted).ok().map(Some));
                amounts.map(|amount| Post { hold, amount }.into()).collect()
            }
            Some(HoldStatus::Voided) => vec![Void { hold }.into()],
            _ => Vec::new(),
        };
        self.resolved.extend(actions.iter().map(|action| (action.sha256().0, hold)));
        self.holds.insert(hold, row.clone());
    }

    /// Takes the transfers of a kind that an operation has made.
    fn take(&mut self, kind: TransferKind, id: OperationId) -> Vec<TransferRow> {
        (0..).map_while(|leg| self.moved.remove(&TransferId::of_operation(kind, id, leg))).collect()
    }

    pub(super) fn operation<'a>(
        &mut self,
        row: &OperationRow,
        account: impl Fn([u8; 16]) -> Option<&'a AccountRow>,
        heirs: &Heirs,
        report: &mut AuditReport,
    ) {
        let id = OperationId(row.id);
        let answer = match OperationRecord::parse_decision(row.done, &row.answer) {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => return,
            Err(_) => return report.differs(format_args!("operation {id}: its answer cannot be read")),
        };
        if let Some(action) = device_action(&answer) {
            if !is(&action, &row.sha256) || action.name() != row.action {
                not_as_asked(id, report);
            }
            return;
        }
        let Some(said) = said(&row.action, &answer) else {
            return report.differs(format_args!("operation {id}: it is no {}, by its answer", row.action));
        };
        let legs = said.moves.map_or_else(Vec::new, |kind| self.take(kind, id));
        let fees = self.take(TransferKind::Fee, id);
        let moved: i128 = legs.iter().map(|leg| i128::from(leg.amount)).sum();
        if said.moves.is_some() && moved != i128::from(said.money.micros.value()) {
            let micros = said.money.micros.value();
            report.differs(format_args!("operation {id}: its answer says {micros}, and its transfers move {moved}"));
        }
        if legs.iter().chain(&fees).any(|leg| leg.created_at != row.created_at) {
            report.differs(format_args!("operation {id}: its transfers were written at another time"));
        }
        if !legs.iter().all(|leg| said.is_of(leg, &account, heirs)) {
            report.differs(format_args!("operation {id}: its answer is of another account"));
        }
        let as_asked = match (said.moves, &answer) {
            (None | Some(TransferKind::Post), _) => self.resolves(row, &said, (&legs, heirs), report),
            (Some(TransferKind::Credit), _) => legs.first().is_some_and(|leg| {
                self.credits.insert(leg.credit_account, id);
                is_one_of(&credits(leg, &fees, &said, &account), row)
            }),
            (Some(TransferKind::CreditRefund), _) => {
                let (sha256, money) = (row.sha256.clone(), said.money);
                let lots = legs.iter().map(|leg| leg.debit_account);
                self.credit_refunds.extend(lots.map(|lot| CreditRefund { id, sha256: sha256.clone(), lot, money }));
                true
            }
            (Some(TransferKind::Hold), Answer::Wallet { account, money, .. }) => {
                self.holds.get(&id).is_some_and(|hold| {
                    let (account, expires_at) = (account.clone(), hold.expires_at);
                    is_one_of(&[Hold { account, money: *money, expires_at }.into()], row)
                })
            }
            (_, Answer::Creator { creator, money, .. }) => {
                let source = legs.first().and_then(|leg| account(leg.credit_account)?.owner.parse().ok());
                let action: Option<Action> =
                    source.map(|source| Payout { creator: creator.clone(), money: *money, source }.into());
                is_one_of(action.as_slice(), row)
            }
            (_, Answer::Order { receipt, quantity, .. }) => {
                let order = receipt.order;
                let all_or_so_many = [None, Some(*quantity)];
                is_one_of(&all_or_so_many.map(|quantity| Action::from(RefundOrder { order, quantity })), row)
            }
            _ => false,
        };
        if !as_asked {
            not_as_asked(id, report);
        }
    }

    /// Finds the hold that an operation has resolved, and compares them. Whether there is one.
    fn resolves(
        &mut self,
        row: &OperationRow,
        said: &Said,
        (legs, heirs): (&[TransferRow], &Heirs),
        report: &mut AuditReport,
    ) -> bool {
        let id = OperationId(row.id);
        let hold = <[u8; 32]>::try_from(&*row.sha256).ok().and_then(|sha256| self.resolved.get(&sha256).copied());
        let Some((hold, found)) = hold.and_then(|hold| Some((hold, self.holds.get(&hold)?))) else { return false };
        self.resolved_by_operations.insert(hold);
        let amount = if said.moves.is_some() { found.posted } else { found.amount };
        if !heirs.may_be(&said.owner, &found.account) || found.currency != said.money.currency.code() {
            report.differs(format_args!("operation {id}: its answer is of another account"));
        }
        if amount != said.money.micros.value() || legs.iter().any(|leg| leg.hold != Some(hold.0)) {
            report.differs(format_args!("operation {id}: it is not what became of the hold {hold}"));
        }
        if let Some(at) = found.resolved_at.filter(|at| *at != row.created_at) {
            report.differs(format_args!(
                "hold {hold}: it was resolved at {at}, and by an operation of {}",
                row.created_at
            ));
        }
        true
    }

    /// Whether no operation has made this refund.
    pub(super) fn is_nobodys(&self, refund: TransferId) -> bool {
        self.moved.contains_key(&refund)
    }

    pub(super) fn finish(self, report: &mut AuditReport) {
        // Refunds are known to their orders.
        for (id, row) in self.moved.iter().filter(|(_, row)| row.kind != TransferKind::Refund.as_str()) {
            report.differs(format_args!("transfer {id}: no operation accounts for this {}", row.kind));
        }
        let resolved: BTreeSet<OperationId> = self.resolved.values().copied().collect();
        for hold in resolved.difference(&self.resolved_by_operations) {
            report.differs(format_args!("hold {hold}: no operation has resolved it"));
        }
        for CreditRefund { id, sha256, lot, money } in &self.credit_refunds {
            let credit = self.credits.get(lot);
            if !credit.is_some_and(|credit| credit_refunds(*credit, *money).any(|action| is(&action, sha256))) {
                not_as_asked(*id, report);
            }
        }
    }
}

impl Said {
    /// Whether a transfer is of the account, and for the order, that the answer names.
    fn is_of<'a>(
        &self,
        leg: &TransferRow,
        account: impl Fn([u8; 16]) -> Option<&'a AccountRow>,
        heirs: &Heirs,
    ) -> bool {
        let party = match self.moves {
            Some(TransferKind::Credit | TransferKind::Refund) => leg.credit_account,
            _ => leg.debit_account,
        };
        let named =
            |row: &AccountRow| heirs.may_be(&self.owner, &row.owner) && row.currency == self.money.currency.code();
        account(party).is_some_and(named) && leg.order.map(OrderId) == self.order
    }
}

/// What was asked of a device, by the answer.
fn device_action(answer: &Answer) -> Option<Action> {
    Some(match answer {
        Answer::Device { device, frozen: true, .. } => FreezeDevice { device: *device }.into(),
        Answer::Device { device, frozen: false, .. } => ThawDevice { device: *device }.into(),
        Answer::Revoked { device, .. } => RevokeDevice { device: *device }.into(),
        Answer::Named { device, name, .. } => NameDevice { device: *device, name: name.clone() }.into(),
        _ => return None,
    })
}

fn not_as_asked(id: OperationId, report: &mut AuditReport) {
    report.differs(format_args!("operation {id}: what it did is not what it was asked to do"));
}

fn is(action: &Action, sha256: &[u8]) -> bool {
    action.sha256().0 == sha256
}

fn is_one_of(actions: &[Action], row: &OperationRow) -> bool {
    actions.iter().any(|action| is(action, &row.sha256))
}

/// The actions that make a lot as it is. A fee of nothing leaves no trace.
fn credits<'a>(
    leg: &TransferRow,
    fees: &[TransferRow],
    said: &Said,
    account: impl Fn([u8; 16]) -> Option<&'a AccountRow>,
) -> Vec<Action> {
    let credit = || {
        let row = account(leg.credit_account)?;
        let lot = row.lot.as_ref()?;
        Some(Credit {
            account: said.owner.parse().ok()?,
            money: said.money,
            origin: Origin::parse(&lot.origin)?,
            source: lot.source.parse().ok()?,
            refundable_until: lot.refundable_until,
            fee: None,
        })
    };
    let fees: Vec<Option<Micros>> = match fees {
        [] => vec![None, Some(Micros::ZERO)],
        fees => fees.iter().map(|fee| Micros::new(fee.amount).ok()).collect(),
    };
    let with_fee = |credit: &Credit, fee| Action::from(Credit { fee, ..credit.clone() });
    credit().map_or_else(Vec::new, |credit| fees.into_iter().map(|fee| with_fee(&credit, fee)).collect())
}

/// The actions that give `money` of a credit back.
fn credit_refunds(credit: OperationId, money: Money) -> impl Iterator<Item = Action> {
    let amounts = [None, Some(money.micros)].into_iter();
    let choices = move |amount| {
        [(false, false), (false, true), (true, false), (true, true)]
            .map(|(only_unspent, forced)| Action::from(RefundCredit { credit, amount, only_unspent, forced }))
    };
    amounts.flat_map(choices)
}
