//! The money: sums against transfers, transfers against orders.

use std::collections::BTreeMap;

use super::{AuditReport, Paid};
use crate::protocol::{GameId, OrderId};
use crate::server::ledger::{AccountRow, TransferId, TransferRow};

/// The sums of an account, as stored and as added again.
struct Account {
    row: AccountRow,
    debits: i128,
    credits: i128,
}

pub(super) struct MoneyAudit {
    game: String,
    accounts: BTreeMap<i64, Account>,
    /// The transfers that no order has accounted for yet.
    transfers: BTreeMap<TransferId, TransferRow>,
}

impl MoneyAudit {
    pub(super) fn new(game: &GameId) -> Self {
        Self { game: game.to_string(), accounts: BTreeMap::new(), transfers: BTreeMap::new() }
    }

    pub(super) fn account(&mut self, row: AccountRow) {
        self.accounts.insert(row.id, Account { row, debits: 0, credits: 0 });
    }

    pub(super) fn transfer(&mut self, row: TransferRow, report: &mut AuditReport) {
        let id = TransferId(row.id);
        if row.amount <= 0 {
            report.differs(format_args!("transfer {id}: its amount is {}", row.amount));
        }
        let amount = i128::from(row.amount);
        let debit = self.accounts.get_mut(&row.debit_account).map(|account| {
            account.debits += amount;
            (account.row.kind.clone(), account.row.currency.clone())
        });
        let credit = self.accounts.get_mut(&row.credit_account).map(|account| {
            account.credits += amount;
            (account.row.kind.clone(), account.row.currency.clone())
        });
        let (Some((debit, debit_currency)), Some((credit, credit_currency))) = (debit, credit) else {
            report.differs(format_args!("transfer {id}: an account that it names is missing"));
            return;
        };
        if debit_currency != credit_currency {
            report.differs(format_args!("transfer {id}: it moves {debit_currency} into {credit_currency}"));
        }
        let expected = match row.kind.as_str() {
            "purchase" => ("wallet", "revenue"),
            "refund" => ("revenue", "wallet"),
            _ => ("funding", "wallet"),
        };
        if (debit.as_str(), credit.as_str()) != expected {
            report.differs(format_args!("transfer {id}: a {} moves from {debit} to {credit}", row.kind));
        }
        self.transfers.insert(id, row);
    }

    /// Checks that an order has moved exactly what it should.
    pub(super) fn expect(&mut self, id: TransferId, kind: &str, order: OrderId, paid: &Paid, report: &mut AuditReport) {
        let Some(row) = self.transfers.remove(&id) else {
            report.differs(format_args!("order {order}: its {kind} transfer is missing"));
            return;
        };
        let (wallet, revenue) = match kind {
            "purchase" => (row.debit_account, row.credit_account),
            _ => (row.credit_account, row.debit_account),
        };
        let owner = |account| self.accounts.get(&account).map(|account| account.row.owner.as_str());
        let currency = self.accounts.get(&wallet).map(|account| account.row.currency.as_str());
        let right = row.kind == kind
            && row.order == Some(order.0)
            && row.amount == paid.amount
            && owner(wallet) == Some(&paid.account)
            && owner(revenue) == Some(&self.game)
            && currency == Some(&paid.currency);
        if !right {
            report.differs(format_args!("order {order}: its {kind} transfer is not what the order says"));
        }
    }

    pub(super) fn finish(self, report: &mut AuditReport) {
        for (id, row) in &self.transfers {
            if row.kind == "purchase" || row.kind == "refund" || row.order.is_some() {
                report.differs(format_args!("transfer {id}: no order accounts for this {}", row.kind));
            }
        }
        let mut totals: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
        for Account { row, debits, credits } in self.accounts.values() {
            let name = format!("the {} of {} in {}", row.kind, row.owner, row.currency);
            let mut compare = |what, stored, added: i128| {
                if i128::from(stored) != added {
                    report
                        .differs(format_args!("{name}: its {what} are {stored}, and its transfers add up to {added}"));
                }
            };
            compare("debits", row.debits_posted, *debits);
            compare("credits", row.credits_posted, *credits);
            compare("pending debits", row.debits_pending, 0);
            compare("pending credits", row.credits_pending, 0);
            let stored = i128::from(row.credits_posted) - i128::from(row.debits_posted);
            if row.kind == "wallet" && stored < 0 {
                report.differs(format_args!("{name}: it is {stored}, below zero"));
            }
            let total = totals.entry(&row.currency).or_default();
            total.0 += i128::from(row.debits_posted);
            total.1 += i128::from(row.credits_posted);
        }
        for (currency, (debits, credits)) in totals {
            if debits != credits {
                report.differs(format_args!("{currency}: all debits are {debits}, and all credits are {credits}"));
            }
        }
    }
}
