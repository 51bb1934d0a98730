//! Statements: what a creator has earned and was paid, and what players have paid for and not used yet.
//!
//! Both are added up from the transfers, on any engine, as they were at a moment: what was written at that moment or
//! later is left out. `docs/ledger.md` says what each column means.

use std::collections::BTreeMap;

use serde::Serialize;

use super::date::Date;
use super::ledger::{
    AccountRow, BookReader, DeviceRow, HoldRow, Ledger, LedgerError, LedgerMoney, OperationRow, OrderRow, ReceiptRow,
    TransferId, TransferKind, TransferRow,
};
use crate::protocol::{CreatorId, Currency, UnixSeconds};

/// What a creator has earned and was paid in one currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CreatorStatement {
    /// Who.
    pub creator: CreatorId,
    /// From when on; what was before is in the opening balance.
    pub from: Date,
    /// Until when; what was written then or later is left out.
    pub until: Date,
    /// What was payable at the beginning. Below zero, the creator owes it.
    pub opening: LedgerMoney,
    /// What has changed it, in the order of time; of one second, first sales, then refunds, then payouts.
    pub lines: Vec<StatementLine>,
    /// What was payable at the end.
    pub closing: LedgerMoney,
}

/// One transfer in a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatementLine {
    /// When it was written.
    pub at: Date,
    /// Its kind: `purchase`, `refund` or `payout`.
    pub kind: String,
    /// Its id.
    pub transfer: TransferId,
    /// The order that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<TransferId>,
    /// What it adds; below zero, what it takes.
    pub amount: LedgerMoney,
    /// What was payable after it.
    pub balance: LedgerMoney,
}

/// What players have paid for and not used, as of a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnusedStatement {
    /// As of when; what was written then or later is left out.
    pub at: Date,
    /// Every lot that somebody paid for and that is not empty.
    pub lots: Vec<UnusedLot>,
    /// The sum of what is unused, per currency.
    pub unused: Vec<LedgerMoney>,
    /// The sum of what is owed, because more was given back than was left, per currency.
    pub owed: Vec<LedgerMoney>,
}

/// A lot that is not empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnusedLot {
    /// The player's account.
    pub account: String,
    /// Where the money came from.
    pub source: String,
    /// The lot.
    pub lot: TransferId,
    /// When it was opened.
    pub opened_at: Date,
    /// What it was opened with.
    pub opened_with: LedgerMoney,
    /// What is in it, held or not; below zero, what is owed.
    pub unused: LedgerMoney,
}

/// What a creator has earned and was paid from `from` until `until`: a statement per currency.
///
/// # Errors
/// The books cannot be read, or are damaged.
pub fn creator(
    ledger: &mut dyn Ledger,
    creator: &CreatorId,
    from: UnixSeconds,
    until: UnixSeconds,
) -> Result<Vec<CreatorStatement>, LedgerError> {
    let rows = Rows::read(ledger)?;
    let own = rows.accounts.iter().filter(|row| row.kind == "payable" && row.owner == creator.as_str());
    let statement = |account: &AccountRow| {
        let currency = currency(account)?;
        let mut balance: i128 = 0;
        let mut opening = money(0, currency)?;
        let mut lines = Vec::new();
        for row in rows.transfers.iter().filter(|row| row.created_at < until) {
            let amount = match (row.credit_account == account.id, row.debit_account == account.id) {
                (true, _) => i128::from(row.amount),
                (_, true) => -i128::from(row.amount),
                _ => continue,
            };
            balance += amount;
            if row.created_at < from {
                opening = money(balance, currency)?;
                continue;
            }
            lines.push(StatementLine {
                at: Date(row.created_at),
                kind: row.kind.clone(),
                transfer: TransferId(row.id),
                order: row.order.map(TransferId),
                amount: money(amount, currency)?,
                balance: money(balance, currency)?,
            });
        }
        let (creator, closing) = (creator.clone(), money(balance, currency)?);
        Ok(CreatorStatement { creator, from: Date(from), until: Date(until), opening, lines, closing })
    };
    own.map(statement).collect()
}

/// What players have paid for and not used, as it was before `at`.
///
/// # Errors
/// The books cannot be read, or are damaged.
pub fn unused(ledger: &mut dyn Ledger, at: UnixSeconds) -> Result<UnusedStatement, LedgerError> {
    let rows = Rows::read(ledger)?;
    let mut balances: BTreeMap<[u8; 16], i128> = BTreeMap::new();
    for row in rows.transfers.iter().filter(|row| row.created_at < at && row.kind != "hold") {
        *balances.entry(row.credit_account).or_default() += i128::from(row.amount);
        *balances.entry(row.debit_account).or_default() -= i128::from(row.amount);
    }
    let mut lots = Vec::new();
    let mut sums: BTreeMap<Currency, [i128; 2]> = BTreeMap::new();
    for account in &rows.accounts {
        let balance = balances.get(&account.id).copied().unwrap_or_default();
        let Some(lot) = account.lot.as_ref().filter(|lot| lot.origin == "paid" && balance != 0) else { continue };
        let currency = currency(account)?;
        let [unused, owed] = sums.entry(currency).or_default();
        *(if balance > 0 { unused } else { owed }) += balance.abs();
        lots.push(UnusedLot {
            account: account.owner.clone(),
            source: lot.source.clone(),
            lot: TransferId(account.id),
            opened_at: Date(lot.opened_at),
            opened_with: money(i128::from(lot.opened_with), currency)?,
            unused: money(balance, currency)?,
        });
    }
    lots.sort_by(|one, other| {
        (&one.account, one.opened_at, one.lot).cmp(&(&other.account, other.opened_at, other.lot))
    });
    let unused = sums.iter().map(|(currency, [unused, _])| money(*unused, *currency)).collect::<Result<_, _>>()?;
    let owed = sums.iter().map(|(currency, [_, owed])| money(*owed, *currency)).collect::<Result<_, _>>()?;
    Ok(UnusedStatement { at: Date(at), lots, unused, owed })
}

fn currency(account: &AccountRow) -> Result<Currency, LedgerError> {
    account.currency.parse().map_err(LedgerError::damaged)
}

fn money(micros: i128, currency: Currency) -> Result<LedgerMoney, LedgerError> {
    Ok(LedgerMoney::new(i64::try_from(micros).map_err(LedgerError::damaged)?, currency))
}

/// The accounts, and the transfers in the order of time.
#[derive(Default)]
struct Rows {
    accounts: Vec<AccountRow>,
    transfers: Vec<TransferRow>,
}

impl Rows {
    fn read(ledger: &mut dyn Ledger) -> Result<Self, LedgerError> {
        let mut rows = Self::default();
        ledger.read(&mut rows)?;
        rows.accounts.sort_by_key(|row| (row.currency.clone(), row.id));
        // Of one second, sales come first, then refunds, then payouts: only what is there is given.
        let turn = |row: &TransferRow| TransferKind::parse(&row.kind);
        rows.transfers.sort_by_key(|row| (row.created_at, turn(row), row.id));
        Ok(rows)
    }
}

impl BookReader for Rows {
    fn account(&mut self, row: AccountRow) {
        self.accounts.push(row);
    }

    fn transfer(&mut self, row: TransferRow) {
        self.transfers.push(row);
    }

    fn device(&mut self, _: DeviceRow) {}
    fn order(&mut self, _: OrderRow) {}
    fn receipt(&mut self, _: ReceiptRow) {}
    fn hold(&mut self, _: HoldRow) {}
    fn operation(&mut self, _: OperationRow) {}
}
