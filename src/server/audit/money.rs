//! The money: sums against transfers, transfers against orders, and lots against where they came from.

use std::collections::{BTreeMap, BTreeSet};

use super::accounts::{AccountAudit, Heirs};
use super::holds::HoldAudit;
use super::operations::OperationAudit;
use super::{AuditReport, Paid};
use crate::protocol::{GameId, OrderId};
use crate::server::ledger::{
    AccountKind, AccountRow, AllowanceRow, DeviceRow, HoldRow, House, MoveRow, OperationId, OperationRow, Origin,
    TransferId, TransferKind, TransferRow, WalletRow,
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
    /// What a lot's opening transfer says: with how much, and when.
    opened: Option<(i64, i64)>,
}

pub(super) struct MoneyAudit {
    game: String,
    accounts: BTreeMap<[u8; 16], Account>,
    /// The transfers of each order that has not accounted for them yet.
    orders: BTreeMap<OrderId, Vec<TransferRow>>,
    holds: HoldAudit,
    operations: OperationAudit,
    /// The account and the currency of each wallet.
    wallets: BTreeSet<(String, String)>,
    /// The accounts that devices have opened.
    players: BTreeSet<String>,
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
            operations: OperationAudit::default(),
            wallets: BTreeSet::new(),
            players: BTreeSet::new(),
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
        let account =
            Account { row, debits: 0, credits: 0, debits_pending: 0, credits_pending: 0, refunded: 0, opened: None };
        self.accounts.insert(account.row.id, account);
    }

    pub(super) fn wallet(&mut self, row: WalletRow) {
        self.wallets.insert((row.account, row.currency));
    }

    pub(super) fn device(&mut self, row: &DeviceRow) {
        self.players.insert(row.account.clone());
    }

    pub(super) fn moved(&mut self, row: &MoveRow) {
        self.players.insert(row.source.clone());
    }

    pub(super) fn transfer(&mut self, row: TransferRow, moves: &AccountAudit, report: &mut AuditReport) {
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
        self.add(kind, &row, &moves.heirs, report);
        if kind == TransferKind::CreditRefund && moves.has_given_back(&row) {
            self.expect_promotional(&row, report);
        } else {
            self.operations.transfer(kind, &row);
        }
        match kind {
            TransferKind::Hold => self.holds.leg(&row),
            TransferKind::Post => self.holds.post(&row),
            TransferKind::Purchase if row.hold.is_some() => self.holds.post(&row),
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

    /// Checks that only what nobody has paid for goes back to its source because of a move.
    fn expect_promotional(&self, row: &TransferRow, report: &mut AuditReport) {
        let lot = self.accounts.get(&row.debit_account).and_then(|account| account.row.lot.as_ref());
        if lot.is_none_or(|lot| lot.origin != Origin::Promotional.as_str()) {
            let id = TransferId(row.id);
            report.differs(format_args!("transfer {id}: it gives back what was paid, because of a move"));
        }
    }

    /// The kind and the currency of an account.
    fn described(&self, number: [u8; 16]) -> Option<(String, String)> {
        self.accounts.get(&number).map(|account| (account.row.kind.clone(), account.row.currency.clone()))
    }

    fn add(&mut self, kind: TransferKind, row: &TransferRow, heirs: &Heirs, report: &mut AuditReport) {
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
            account.opened = Some((row.amount, row.created_at));
        }
        let (lot, house) = match kind {
            TransferKind::Credit | TransferKind::Welcome => (row.credit_account, row.debit_account),
            TransferKind::CreditRefund => (row.debit_account, row.credit_account),
            _ => return,
        };
        let id = TransferId(row.id);
        let lot_row = self.accounts.get(&lot).map(|account| &account.row);
        let opens = kind == TransferKind::CreditRefund || lot == row.id;
        if !opens || lot_row.and_then(origin).map(|origin| origin.number().0) != Some(house) {
            report.differs(format_args!("transfer {id}: the lot that it names has another source or origin"));
        }
        let welcomes = |owner: &str| owner.parse().is_ok_and(|owner| TransferId::of_welcome(&owner) == id);
        let welcome =
            |row: &AccountRow| welcomes(&row.owner) || heirs.before(&row.owner).iter().any(|before| welcomes(before));
        if kind == TransferKind::Welcome && !lot_row.is_some_and(welcome) {
            let owner = lot_row.map_or("", |row| &row.owner);
            report.differs(format_args!("transfer {id}: it is not the welcome of the account {owner}"));
        }
    }

    /// Checks that an order has moved exactly what it should.
    pub(super) fn expect(&mut self, order: OrderId, paid: &Paid, heirs: &Heirs, report: &mut AuditReport) {
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
            right &=
                found(lot).is_some_and(|row| heirs.may_be(&paid.account, &row.owner) && row.currency == paid.currency);
            right &= found(house).is_some_and(|row| row.kind == "payable" || row.owner == self.game);
        }
        self.expect_times(order, paid, &rows, report);
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

    /// Checks that an order's purchase is of the time when it was settled, and its refunds of operations.
    fn expect_times(&self, order: OrderId, paid: &Paid, rows: &[TransferRow], report: &mut AuditReport) {
        let (refunds, purchases): (Vec<_>, Vec<_>) =
            rows.iter().partition(|row| row.kind == TransferKind::Refund.as_str());
        if let Some(row) = purchases.iter().find(|row| row.created_at != paid.settled_at) {
            let (at, settled_at) = (row.created_at, paid.settled_at);
            report.differs(format_args!("order {order}: it was settled at {settled_at}, and paid for at {at}"));
        }
        // Books of version 1 know no operation for a refund, which was one of everything.
        let nobodys: Vec<_> = refunds.iter().filter(|row| self.operations.is_nobodys(TransferId(row.id))).collect();
        if paid.refunded != paid.amount || nobodys.len() != refunds.len() {
            for row in nobodys {
                let id = TransferId(row.id);
                report.differs(format_args!("transfer {id}: no operation accounts for this refund"));
            }
        }
    }

    pub(super) fn hold(&mut self, row: HoldRow, heirs: &Heirs, report: &mut AuditReport) {
        self.operations.hold(&row);
        if row.status == "pending" {
            let legs = self.holds.legs_of(row.id);
            // What was taken of an allowance is set aside no longer, for whomever it was taken.
            let revenue = legs.first().map(|(_, house, _)| *house).unwrap_or_default();
            let taken = self.holds.posts_of(row.id).into_iter().map(|(lot, _, amount)| (lot, revenue, -amount));
            for (lot, house, amount) in legs.into_iter().chain(taken) {
                if let Some(account) = self.accounts.get_mut(&lot) {
                    account.debits_pending += amount;
                }
                if let Some(account) = self.accounts.get_mut(&house) {
                    account.credits_pending += amount;
                }
            }
        }
        let owner = |lot| self.accounts.get(&lot).map(|account| account.row.owner.as_str());
        let owned = |lot| owner(lot).is_some_and(|owner| heirs.may_be(&row.account, owner));
        if !self.holds.legs_of(row.id).iter().all(|(lot, _, _)| owned(*lot)) {
            report.differs(format_args!("hold {}: it holds what is another account's", OperationId(row.id)));
        }
        self.holds.hold(row, report);
    }

    pub(super) fn allowance(&mut self, row: &AllowanceRow, report: &mut AuditReport) {
        self.holds.allowance(row.id);
        self.operations.allowance(row, report);
    }

    pub(super) fn operation(&mut self, row: &OperationRow, heirs: &Heirs, report: &mut AuditReport) {
        let account = |number: [u8; 16]| self.accounts.get(&number).map(|account| &account.row);
        self.operations.operation(row, account, heirs, report);
        self.holds.operation(row);
    }

    /// Checks that the wallets are those of the lots, and that each was opened by a device.
    fn expect_wallets(&self, heirs: &Heirs, report: &mut AuditReport) {
        let lots = self.accounts.values().filter(|account| account.row.lot.is_some());
        let lots: BTreeSet<(String, String)> =
            lots.map(|lot| (lot.row.owner.clone(), lot.row.currency.clone())).collect();
        for (account, currency) in lots.difference(&self.wallets) {
            report
                .differs(format_args!("wallet of {account} in {currency}: there are lots in it, and it is not listed"));
        }
        let emptied = |wallet: &&(String, String)| heirs.is_closed(&wallet.0);
        for (account, currency) in self.wallets.difference(&lots).filter(|wallet| !emptied(wallet)) {
            report
                .differs(format_args!("wallet of {account} in {currency}: it is listed, and there are no lots in it"));
        }
        let owners: BTreeSet<&String> = lots.iter().map(|(account, _)| account).collect();
        for account in owners.into_iter().filter(|account| !self.players.contains(*account)) {
            report.differs(format_args!("no device has opened the account {account}, and there are lots of it"));
        }
    }

    pub(super) fn finish(self, heirs: &Heirs, report: &mut AuditReport) {
        for (order, rows) in &self.orders {
            for row in rows {
                let (id, kind) = (TransferId(row.id), &row.kind);
                report.differs(format_args!("transfer {id}: no order accounts for this {kind} (it names {order})"));
            }
        }
        self.expect_wallets(heirs, report);
        self.operations.finish(report);
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

/// Where the money of a lot comes from, by what the lot says.
fn origin(row: &AccountRow) -> Option<House> {
    let lot = row.lot.as_ref()?;
    let (origin, source) = (Origin::parse(&lot.origin)?, lot.source.parse().ok()?);
    Some(House::origin(origin, &source, row.currency.parse().ok()?))
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
        compare("opening credits", lot.opened_with, self.opened.map_or(0, |(amount, _)| i128::from(amount)));
        if let Some((_, at)) = self.opened.filter(|(_, at)| *at != lot.opened_at) {
            report.differs(format_args!("{name}: it was opened at {}, and its transfer is of {at}", lot.opened_at));
        }
        let filled = row.credits_posted != row.debits_posted || row.debits_pending != 0;
        match (lot.open, filled) {
            (true, false) => report.differs(format_args!("{name}: it is open, and empty")),
            (false, true) => report.differs(format_args!("{name}: it is not open, and not empty")),
            _ => {}
        }
        if lot.refunded > lot.opened_with {
            report.differs(format_args!("{name}: more of it was refunded than it was opened with"));
        }
        let available = i128::from(row.credits_posted) - i128::from(row.debits_posted) - i128::from(row.debits_pending);
        if available < -i128::from(lot.refunded) {
            report.differs(format_args!("{name}: it is {available}, below zero, and not because of its refunds"));
        }
    }
}
