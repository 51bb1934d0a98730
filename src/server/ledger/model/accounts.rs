//! The accounts of the ledger and the transfers between them, in memory.

use std::collections::BTreeMap;

use super::super::{AccountKind, LedgerError, TransferId, TransferKind};
use crate::protocol::sync::Balance;
use crate::protocol::{AccountId, Currency, GameId, Micros, OrderId};

/// The accounts of the ledger and the transfers between them.
#[derive(Clone, Debug, Default)]
pub(super) struct Accounts {
    pub(super) accounts: BTreeMap<Account, Sums>,
    pub(super) transfers: BTreeMap<TransferId, Transfer>,
}

/// An account of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Account {
    pub(super) kind: AccountKind,
    pub(super) owner: String,
    pub(super) currency: Currency,
}

/// What was moved from and to an account.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) debits: i64,
    pub(super) credits: i64,
}

/// A transfer; it never changes.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) kind: TransferKind,
    pub(super) debit: Account,
    pub(super) credit: Account,
    pub(super) amount: Micros,
    pub(super) order: Option<OrderId>,
}

impl Accounts {
    pub(super) fn wallet(&self, account: &AccountId, currency: Currency) -> Account {
        Account { kind: AccountKind::Wallet, owner: account.to_string(), currency }
    }

    pub(super) fn revenue(&self, game: &GameId, currency: Currency) -> Account {
        Account { kind: AccountKind::Revenue, owner: game.to_string(), currency }
    }

    pub(super) fn funding(&self, source: &str, currency: Currency) -> Account {
        Account { kind: AccountKind::Funding, owner: source.to_owned(), currency }
    }

    pub(super) fn transfer(&self, id: TransferId) -> Option<&Transfer> {
        self.transfers.get(&id)
    }

    /// Moves `amount` from one account to another. What costs nothing moves nothing.
    pub(super) fn post(
        &mut self,
        id: TransferId,
        kind: TransferKind,
        debit: Account,
        credit: Account,
        amount: Micros,
        order: Option<OrderId>,
    ) -> Result<(), LedgerError> {
        if amount == Micros::ZERO {
            return Ok(());
        }
        if self.transfers.contains_key(&id) {
            return Err(LedgerError::damaged(format_args!("the transfer {id} is there already")));
        }
        let too_much = || LedgerError::damaged("an account's sum is out of range");
        let debits = &mut self.accounts.entry(debit.clone()).or_default().debits;
        *debits = debits.checked_add(amount.value()).ok_or_else(too_much)?;
        let credits = &mut self.accounts.entry(credit.clone()).or_default().credits;
        *credits = credits.checked_add(amount.value()).ok_or_else(too_much)?;
        self.transfers.insert(id, Transfer { kind, debit, credit, amount, order });
        Ok(())
    }

    /// What an account can spend in a currency.
    pub(super) fn available(&self, account: &AccountId, currency: Currency) -> Micros {
        let sums = self.accounts.get(&self.wallet(account, currency)).copied().unwrap_or_default();
        Micros::new(sums.credits - sums.debits).unwrap_or_default()
    }

    /// Everything that an account holds, in the order of the currencies' codes.
    pub(super) fn balances(&self, account: &AccountId) -> Vec<Balance> {
        let wallets =
            self.accounts.keys().filter(|key| key.kind == AccountKind::Wallet && key.owner == account.as_str());
        let balance = |key: &Account| Balance {
            currency: key.currency,
            available: self.available(account, key.currency),
            held: Micros::ZERO,
        };
        let mut balances: Vec<Balance> = wallets.map(balance).collect();
        balances.sort_by_key(|balance| balance.currency.code());
        balances
    }
}
