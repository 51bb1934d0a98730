//! Writing transfers: each moves money between a wallet and an account of the house, at once for the wallet, and for the
//! house in one sum at the end, so that a batch touches the revenue's row once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::{AccountKind, LedgerError, TransferId, TransferKind};
use super::values;
use crate::protocol::{AccountId, Currency, Micros, Money, OrderId, UnixSeconds};

/// The transfers of one transaction.
pub(super) struct Postings<'a> {
    connection: &'a Connection,
    now: UnixSeconds,
    /// The house's accounts by kind, owner and currency: each one's number, and what was moved from and to it.
    house: BTreeMap<(AccountKind, String, Currency), HouseAccount>,
}

struct HouseAccount {
    id: i64,
    debits: i64,
    credits: i64,
}

/// One transfer.
pub(super) struct Posting<'a> {
    /// Its id, used once.
    pub(super) id: TransferId,
    /// Its kind, which says in which direction the money moves.
    pub(super) kind: TransferKind,
    /// Whose wallet.
    pub(super) wallet: &'a AccountId,
    /// The house's account: its kind and owner.
    pub(super) other: (AccountKind, &'a str),
    /// How much.
    pub(super) money: Money,
    /// The order that it is for.
    pub(super) order: Option<OrderId>,
}

impl<'a> Postings<'a> {
    pub(super) fn new(connection: &'a Connection, now: UnixSeconds) -> Self {
        Self { connection, now, house: BTreeMap::new() }
    }

    /// Writes a transfer. What costs nothing moves nothing.
    pub(super) fn post(&mut self, posting: Posting<'_>) -> Result<(), LedgerError> {
        let Posting { id, kind, wallet, other: (other_kind, owner), money, order } = posting;
        let amount = money.micros.value();
        if amount == 0 {
            return Ok(());
        }
        let wallet = account(self.connection, AccountKind::Wallet, wallet.as_str(), money.currency)?;
        let pays = kind == TransferKind::Purchase;
        let statement = match pays {
            // The rules have looked at the balance already; the books do not take their word for it.
            true => {
                "UPDATE accounts SET debits_posted = debits_posted + ?2
                 WHERE id = ?1 AND credits_posted - debits_posted - debits_pending >= ?2"
            }
            false => "UPDATE accounts SET credits_posted = credits_posted + ?2 WHERE id = ?1",
        };
        let changed = self.connection.prepare_cached(statement)?.execute([wallet, amount])?;
        if changed != 1 {
            return Err(LedgerError::damaged(format_args!("the transfer {id} would overdraw the wallet {wallet}")));
        }
        let house = self.house_account(other_kind, owner, money.currency)?;
        let sum = if pays { &mut house.credits } else { &mut house.debits };
        *sum = sum.checked_add(amount).ok_or_else(|| LedgerError::damaged("the sum of a batch is out of range"))?;
        let (debit, credit) = if pays { (wallet, house.id) } else { (house.id, wallet) };
        self.connection
            .prepare_cached(
                "INSERT INTO transfers (id, debit_account, credit_account, amount, kind, order_id, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![id.0, debit, credit, amount, kind.as_str(), order.map(|order| order.0), self.now])?;
        Ok(())
    }

    /// Writes the sums of the house's accounts. Must come last.
    pub(super) fn finish(self) -> Result<(), LedgerError> {
        for account in self.house.values() {
            self.connection
                .prepare_cached(
                    "UPDATE accounts SET debits_posted = debits_posted + ?2, credits_posted = credits_posted + ?3
                     WHERE id = ?1",
                )?
                .execute([account.id, account.debits, account.credits])?;
        }
        Ok(())
    }

    fn house_account(
        &mut self,
        kind: AccountKind,
        owner: &str,
        currency: Currency,
    ) -> Result<&mut HouseAccount, LedgerError> {
        match self.house.entry((kind, owner.to_owned(), currency)) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let id = account(self.connection, kind, owner, currency)?;
                Ok(entry.insert(HouseAccount { id, debits: 0, credits: 0 }))
            }
        }
    }
}

/// What an account can spend in a currency.
pub(super) fn available(
    connection: &Connection,
    account: &AccountId,
    currency: Currency,
) -> Result<Micros, LedgerError> {
    let available: Option<i64> = connection
        .prepare_cached(
            "SELECT credits_posted - debits_posted - debits_pending FROM accounts
             WHERE kind = 'wallet' AND owner = ?1 AND currency = ?2",
        )?
        .query_row([account.as_str(), currency.code()], |row| row.get(0))
        .optional()?;
    values::micros(available.unwrap_or_default())
}

/// The number of a ledger account, which is opened if there is none.
pub(super) fn account(
    connection: &Connection,
    kind: AccountKind,
    owner: &str,
    currency: Currency,
) -> Result<i64, LedgerError> {
    let known: Option<i64> = connection
        .prepare_cached("SELECT id FROM accounts WHERE kind = ?1 AND owner = ?2 AND currency = ?3")?
        .query_row([kind.as_str(), owner, currency.code()], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    connection.prepare_cached("INSERT INTO accounts (kind, owner, currency) VALUES (?1, ?2, ?3)")?.execute([
        kind.as_str(),
        owner,
        currency.code(),
    ])?;
    Ok(connection.last_insert_rowid())
}
