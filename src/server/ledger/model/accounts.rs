//! The accounts of the ledger and the transfers between them, in memory.

use std::collections::{BTreeMap, BTreeSet};

use super::super::account::House;
use super::super::lot;
use super::super::transfer::{Transfer, TransferKind};
use super::super::{AccountKind, AccountNumber, LedgerError, Lot, Total, TransferId};
use crate::protocol::sync::Balance;
use crate::protocol::{AccountId, Currency, Micros, UnixSeconds};

/// The accounts of the ledger and the transfers between them.
#[derive(Clone, Debug, Default)]
pub(super) struct Accounts {
    pub(super) houses: BTreeMap<AccountNumber, House>,
    /// Every lot, with a balance that [`Accounts::sums`] knows and the lot does not.
    lots: BTreeMap<TransferId, Lot>,
    /// The lots of each wallet.
    pub(super) wallets: BTreeMap<(AccountId, Currency), BTreeSet<TransferId>>,
    pub(super) sums: BTreeMap<AccountNumber, Sums>,
    pub(super) transfers: BTreeMap<TransferId, Transfer>,
}

/// What was moved from and to an account, or is set aside.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) debits: i64,
    pub(super) credits: i64,
    pub(super) debits_pending: i64,
    pub(super) credits_pending: i64,
}

impl Accounts {
    /// The number of an account of the house, which is opened if it is missing.
    pub(super) fn house(&mut self, house: House) -> AccountNumber {
        let number = house.number();
        self.houses.insert(number, house);
        number
    }

    /// What the accounts of each kind hold together.
    pub(super) fn totals(&self) -> Result<Vec<Total>, LedgerError> {
        let houses = self.houses.iter().map(|(number, house)| (*number, house.kind, house.currency));
        let lots = self.lots.values().map(|lot| (lot.number(), AccountKind::Wallet, lot.currency));
        let mut sums: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for (number, kind, currency) in houses.chain(lots) {
            let sum = sums.entry((kind.as_str(), currency.code())).or_default();
            let added = sum.checked_add(self.balance(number));
            *sum = added.ok_or_else(|| LedgerError::damaged("the sum of a kind of account is out of range"))?;
        }
        let total = |((account, currency), micros): ((&str, &str), i64)| Total {
            account: account.to_owned(),
            currency: currency.to_owned(),
            micros,
        };
        Ok(sums.into_iter().map(total).collect())
    }

    /// Credits less debits.
    pub(super) fn balance(&self, number: AccountNumber) -> i64 {
        self.sums.get(&number).map_or(0, |sums| sums.credits - sums.debits)
    }

    /// A lot as it is now.
    pub(super) fn lot(&self, id: TransferId) -> Option<Lot> {
        let lot = self.lots.get(&id)?;
        let held = self.sums.get(&lot.number()).map_or(0, |sums| sums.debits_pending);
        Some(Lot { balance: self.balance(lot.number()), held, ..lot.clone() })
    }

    pub(super) fn lots(&self) -> impl Iterator<Item = Lot> {
        self.lots.keys().filter_map(|id| self.lot(*id))
    }

    /// Every lot of a wallet, empty ones too.
    pub(super) fn wallet(&self, account: &AccountId, currency: Currency) -> Vec<Lot> {
        let ids = self.wallets.get(&(account.clone(), currency)).into_iter().flatten();
        ids.filter_map(|id| self.lot(*id)).collect()
    }

    /// What a wallet holds.
    pub(super) fn wallet_balance(&self, account: &AccountId, currency: Currency) -> Balance {
        let lots = self.wallet(account, currency);
        let micros = |sum| Micros::new(sum).unwrap_or_default();
        Balance { currency, available: micros(lot::available(&lots)), held: micros(lot::held(&lots)) }
    }

    /// Everything that an account holds, in the order of the currencies' codes.
    pub(super) fn balances(&self, account: &AccountId) -> Vec<Balance> {
        let own = self.wallets.keys().filter(|(owner, _)| owner == account);
        own.map(|(_, currency)| self.wallet_balance(account, *currency)).collect()
    }

    /// Opens a lot and fills it.
    pub(super) fn open(&mut self, lot: Lot, kind: TransferKind, at: UnixSeconds) -> Result<(), LedgerError> {
        let debit = self.house(lot.house());
        let transfer = Transfer {
            id: lot.id,
            kind,
            debit,
            credit: lot.number(),
            amount: lot.opened_with,
            order: None,
            hold: None,
            at,
        };
        self.wallets.entry((lot.account.clone(), lot.currency)).or_default().insert(lot.id);
        self.lots.insert(lot.id, lot);
        self.post(transfer)
    }

    /// Moves or sets aside what a transfer says.
    pub(super) fn post(&mut self, transfer: Transfer) -> Result<(), LedgerError> {
        let Transfer { id, kind, debit, credit, amount, .. } = transfer;
        if self.transfers.contains_key(&id) {
            return Err(LedgerError::damaged(format_args!("the transfer {id} is there already")));
        }
        let add = |sum: &mut i64| {
            *sum = sum.checked_add(amount).ok_or_else(|| LedgerError::damaged("an account's sum is out of range"))?;
            Ok::<_, LedgerError>(())
        };
        let pending = kind == TransferKind::Hold;
        let from = self.sums.entry(debit).or_default();
        add(if pending { &mut from.debits_pending } else { &mut from.debits })?;
        let to = self.sums.entry(credit).or_default();
        add(if pending { &mut to.credits_pending } else { &mut to.credits })?;
        self.transfers.insert(id, transfer);
        Ok(())
    }

    /// Gives free what was set aside of lots.
    pub(super) fn release(&mut self, legs: &[(TransferId, i64)], revenue: AccountNumber) {
        for (lot, amount) in legs {
            self.sums.entry(AccountNumber::of_lot(*lot)).or_default().debits_pending -= amount;
            self.sums.entry(revenue).or_default().credits_pending -= amount;
        }
    }

    /// Gives a lot to another account.
    pub(super) fn change_owner(&mut self, id: TransferId, account: &AccountId) {
        let Some(lot) = self.lots.get_mut(&id) else { return };
        let before = (std::mem::replace(&mut lot.account, account.clone()), lot.currency);
        let after = (account.clone(), lot.currency);
        // The wallet that it was in stays, and may be empty.
        self.wallets.entry(before).or_default().remove(&id);
        self.wallets.entry(after).or_default().insert(id);
    }

    /// Remembers that a part of a lot was given back to its source.
    pub(super) fn add_refunded(&mut self, id: TransferId, amount: i64) {
        if let Some(lot) = self.lots.get_mut(&id) {
            lot.refunded += amount;
        }
    }
}
