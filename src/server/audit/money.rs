//! The money: sums against transfers, transfers against orders, and lots against where they came from.

use std::collections::{BTreeMap, BTreeSet};

use super::holds::HoldAudit;
use super::{AuditReport, Paid};
use crate::protocol::{GameId, OrderId};
use crate::server::ledger::{
    AccountKind, AccountRow, HoldRow, House, OperationId, OperationRow, TransferId, TransferKind, TransferRow,
};

/// The sums of an account, as stored and as added again.
struct Account {
    row: AccountRow,
    debits: i128,
    credits: i128,
    debits_pending: i128,
    credits_pending: i128,
    /// What was given back to the source of a lot.
    refunded: i128,
    /// What a lot's opening transfer says.
    opened_with: Option<i64>,
}

pub(super) struct MoneyAudit {
    game: String,
    accounts: BTreeMap<[u8; 16], Account>,
    /// The transfers of each order that has not accounted for them yet.
    orders: BTreeMap<OrderId, Vec<TransferRow>>,
    holds: HoldAudit,
    /// The lots that credits opened, and those that operations say they opened.
    credits: [BTreeSet<TransferId>; 2],
}

/// From which kinds of account to which each kind of transfer goes.
fn ends(kind: TransferKind) -> (&'static [AccountKind], &'static [AccountKind]) {
    use AccountKind::{Fees, Funding, Payable, Promotion, Revenue, Wallet};
    match kind {
        TransferKind::Credit => (&[Funding, Promotion], &[Wallet]),
        TransferKind::Welcome => (&[Promotion], &[Wallet]),
        TransferKind::Fee => (&[Fees], &[Funding]),
        TransferKind::Purchase => (&[Wallet], &[Revenue, Payable]),
        TransferKind::Refund => (&[Revenue, Payable], &[Wallet]),
        TransferKind::CreditRefund => (&[Wallet], &[Funding, Promotion]),
        TransferKind::Hold | TransferKind::Post => (&[Wallet], &[Revenue]),
        TransferKind::Payout => (&[Payable], &[Funding]),
    }
}

impl MoneyAudit {
    pub(super) fn new(game: &GameId) -> Self {
        Self {
            game: game.to_string(),
            accounts: BTreeMap::new(),
            orders: BTreeMap::new(),
            holds: HoldAudit::default(),
            credits: [BTreeSet::new(), BTreeSet::new()],
        }
    }

    pub(super) fn account(&mut self, row: AccountRow, report: &mut AuditReport) {
        let kind = AccountKind::parse(&row.kind);
        let currency = row.currency.parse().ok();
        let house = kind.zip(currency).map(|(kind, currency)| House { kind, owner: row.owner.clone(), currency });
        let right = match &house {
            Some(house) if house.kind == AccountKind::Wallet => row.lot.is_some(),
            Some(house) => house.number().0 == row.id && row.lot.is_none(),
            None => false,
        };
        if !right {
            report.differs(format_args!("{}: its number or its kind is not its own", name(&row)));
        }
        let account = Account {
            row,
            debits: 0,
            credits: 0,
            debits_pending: 0,
            credits_pending: 0,
            refunded: 0,
            opened_with: None,
        };
        self.accounts.insert(account.row.id, account);
    }

    pub(super) fn transfer(&mut self, row: TransferRow, report: &mut AuditReport) {
        let id = TransferId(row.id);
        if row.amount <= 0 {
            report.differs(format_args!("transfer {id}: its amount is {}", row.amount));
        }
        let Some(kind) = TransferKind::parse(&row.kind) else {
            return report.differs(format_args!("transfer {id}: there are no transfers of the kind {}", row.kind));
        };
        let (Some(debit), Some(credit)) = (self.described(row.debit_account), self.described(row.credit_account))
        else {
            return report.differs(format_args!("transfer {id}: an account that it names is missing"));
        };
        if debit.1 != credit.1 {
            report.differs(format_args!("transfer {id}: it moves {} into {}", debit.1, credit.1));
        }
        let (from, to) = ends(kind);
        if !from.iter().any(|kind| kind.as_str() == debit.0) || !to.iter().any(|kind| kind.as_str() == credit.0) {
            report.differs(format_args!("transfer {id}: a {} moves from {} to {}", row.kind, debit.0, credit.0));
        }
        self.add(kind, &row, report);
        match kind {
            TransferKind::Hold => self.holds.leg(&row),
            TransferKind::Post => self.holds.post(&row),
            TransferKind::Credit => drop(self.credits[0].insert(id)),
            _ => {}
        }
        match (kind, row.order) {
            (TransferKind::Purchase | TransferKind::Refund, Some(order)) => {
                self.orders.entry(OrderId(order)).or_default().push(row);
            }
            (TransferKind::Purchase | TransferKind::Refund, None) | (_, Some(_)) => {
                report.differs(format_args!("transfer {id}: no order accounts for this {}", row.kind));
            }
            _ => {}
        }
    }

    /// The kind and the currency of an account.
    fn described(&self, number: [u8; 16]) -> Option<(String, String)> {
        self.accounts.get(&number).map(|account| (account.row.kind.clone(), account.row.currency.clone()))
    }

    fn add(&mut self, kind: TransferKind, row: &TransferRow, report: &mut AuditReport) {
        let amount = i128::from(row.amount);
        if kind != TransferKind::Hold {
            if let Some(account) = self.accounts.get_mut(&row.debit_account) {
                account.debits += amount;
                account.refunded += if kind == TransferKind::CreditRefund { amount } else { 0 };
            }
            if let Some(account) = self.accounts.get_mut(&row.credit_account) {
                account.credits += amount;
            }
        }
        if matches!(kind, TransferKind::Credit | TransferKind::Welcome)
            && let Some(account) = self.accounts.get_mut(&row.credit_account)
        {
            account.opened_with = Some(row.amount);
        }
        let (lot, house) = match kind {
            TransferKind::Credit | TransferKind::Welcome => (row.credit_account, row.debit_account),
            TransferKind::CreditRefund => (row.debit_account, row.credit_account),
            _ => return,
        };
        let source = |number| self.accounts.get(&number).map(|account| &account.row);
        let from = source(lot).and_then(|row| row.lot.as_ref()).map(|lot| lot.source.as_str());
        let opens = kind == TransferKind::CreditRefund || lot == row.id;
        if !opens || from != source(house).map(|row| row.owner.as_str()) {
            report.differs(format_args!("transfer {}: the lot that it names has another source", TransferId(row.id)));
        }
    }

    /// Checks that an order has moved exactly what it should.
    pub(super) fn expect(&mut self, order: OrderId, paid: &Paid, report: &mut AuditReport) {
        let rows = self.orders.remove(&order).unwrap_or_default();
        let mut remaining: BTreeMap<([u8; 16], [u8; 16]), i128> = BTreeMap::new();
        let (mut bought, mut refunded, mut right) = (0, 0, true);
        for row in &rows {
            let amount = i128::from(row.amount);
            let (lot, house) = match row.kind.as_str() {
                "purchase" => {
                    bought += amount;
                    *remaining.entry((row.debit_account, row.credit_account)).or_default() += amount;
                    (row.debit_account, row.credit_account)
                }
                _ => {
                    refunded += amount;
                    *remaining.entry((row.credit_account, row.debit_account)).or_default() -= amount;
                    (row.credit_account, row.debit_account)
                }
            };
            let found = |number| self.accounts.get(&number).map(|account| &account.row);
            right &= found(lot).is_some_and(|row| row.owner == paid.account && row.currency == paid.currency);
            right &= found(house).is_some_and(|row| row.kind == "payable" || row.owner == self.game);
        }
        if bought != i128::from(paid.amount) {
            let amount = paid.amount;
            report.differs(format_args!(
                "order {order}: it cost {amount}, and its purchase transfers add up to {bought}"
            ));
        }
        if refunded != i128::from(paid.refunded) {
            let amount = paid.refunded;
            report.differs(format_args!(
                "order {order}: {amount} of it was refunded, and its refund transfers add up to {refunded}"
            ));
        }
        if !right || remaining.values().any(|amount| *amount < 0) {
            report.differs(format_args!("order {order}: its transfers are not what the order says"));
        }
    }

    pub(super) fn hold(&mut self, row: HoldRow, report: &mut AuditReport) {
        if row.status == "pending" {
            for (lot, house, amount) in self.holds.legs_of(row.id) {
                if let Some(account) = self.accounts.get_mut(&lot) {
                    account.debits_pending += amount;
                }
                if let Some(account) = self.accounts.get_mut(&house) {
                    account.credits_pending += amount;
                }
            }
        }
        let owned = |lot| self.accounts.get(&lot).is_some_and(|account| account.row.owner == row.account);
        if !self.holds.legs_of(row.id).iter().all(|(lot, _, _)| owned(*lot)) {
            report.differs(format_args!("hold {}: it holds what is another account's", OperationId(row.id)));
        }
        self.holds.hold(row, report);
    }

    pub(super) fn operation(&mut self, row: &OperationRow, report: &mut AuditReport) {
        if row.done && row.action == "credit" {
            self.credits[1].insert(TransferId::of_credit(OperationId(row.id)));
        }
        self.holds.operation(row, report);
    }

    pub(super) fn finish(self, report: &mut AuditReport) {
        for (order, rows) in &self.orders {
            for row in rows {
                let (id, kind) = (TransferId(row.id), &row.kind);
                report.differs(format_args!("transfer {id}: no order accounts for this {kind} (it names {order})"));
            }
        }
        let [found, said] = &self.credits;
        for id in found.symmetric_difference(said) {
            report
                .differs(format_args!("credit {id}: there is a transfer without an operation, or the other way round"));
        }
        self.holds.finish(report);
        let mut totals: BTreeMap<&str, [i128; 4]> = BTreeMap::new();
        for account in self.accounts.values() {
            account.finish(report);
            let row = &account.row;
            let total = totals.entry(&row.currency).or_default();
            let sums = [row.debits_posted, row.credits_posted, row.debits_pending, row.credits_pending];
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += i128::from(sum));
        }
        for (currency, [debits, credits, debits_pending, credits_pending]) in totals {
            if debits != credits || debits_pending != credits_pending {
                report.differs(format_args!(
                    "{currency}: all debits are {debits}, and all credits are {credits}; pending, {debits_pending} and \
                     {credits_pending}"
                ));
            }
        }
    }
}

fn name(row: &AccountRow) -> String {
    format!("the {} of {} in {}", row.kind, row.owner, row.currency)
}

impl Account {
    fn finish(&self, report: &mut AuditReport) {
        let Self { row, debits, credits, .. } = self;
        let name = match &row.lot {
            Some(_) => format!("{} (lot {})", name(row), TransferId(row.id)),
            None => name(row),
        };
        let mut compare = |what, stored, added: i128| {
            if i128::from(stored) != added {
                report.differs(format_args!("{name}: its {what} are {stored}, and its transfers add up to {added}"));
            }
        };
        compare("debits", row.debits_posted, *debits);
        compare("credits", row.credits_posted, *credits);
        compare("pending debits", row.debits_pending, self.debits_pending);
        compare("pending credits", row.credits_pending, self.credits_pending);
        let Some(lot) = &row.lot else { return };
        compare("refunds", lot.refunded, self.refunded);
        compare("opening credits", lot.opened_with, self.opened_with.map_or(0, i128::from));
        if lot.refunded > lot.opened_with {
            report.differs(format_args!("{name}: more of it was refunded than it was opened with"));
        }
        let available = i128::from(row.credits_posted) - i128::from(row.debits_posted) - i128::from(row.debits_pending);
        if available < -i128::from(lot.refunded) {
            report.differs(format_args!("{name}: it is {available}, below zero, and not because of its refunds"));
        }
    }
}
