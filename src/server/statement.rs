//! Statements: what a creator has earned and was paid, and what players have paid for and not used yet.
//!
//! Both are added up from the transfers, on any engine, as they were at a moment: what was written at that moment or
//! later is left out. `docs/ledger.md` says what each column means.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::date::Date;
use super::ledger::{
    AccountRow, BookReader, DeviceRow, HoldRow, Ledger, LedgerError, LedgerMoney, LotRow, OperationRow, OrderRow,
    Origin, ReceiptRow, TransferId, TransferKind, TransferRow,
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
    /// For a sale and its refund, whether somebody has paid for the money that paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
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
    let mut reader = CreatorReader { creator, from, until, accounts: BTreeMap::new(), given_away: HashSet::new() };
    ledger.read(&mut reader)?;
    let mut accounts: Vec<Payable> = reader.accounts.into_values().collect();
    accounts.sort_by(|one, other| one.currency.cmp(&other.currency));
    accounts.into_iter().map(|account| account.statement(creator, from, until)).collect()
}

/// What players have paid for and not used, as it was before `at`.
///
/// # Errors
/// The books cannot be read, or are damaged.
pub fn unused(ledger: &mut dyn Ledger, at: UnixSeconds) -> Result<UnusedStatement, LedgerError> {
    let mut reader = UnusedReader { at, paid: BTreeMap::new() };
    ledger.read(&mut reader)?;
    let mut lots = Vec::new();
    let mut sums: BTreeMap<Currency, [i128; 2]> = BTreeMap::new();
    for (number, Paid { row, lot, balance }) in reader.paid {
        if balance == 0 {
            continue;
        }
        let currency = currency(&row.currency)?;
        let [unused, owed] = sums.entry(currency).or_default();
        *(if balance > 0 { unused } else { owed }) += balance.abs();
        lots.push(UnusedLot {
            account: row.owner,
            source: lot.source,
            lot: TransferId(number),
            opened_at: Date(lot.opened_at),
            opened_with: LedgerMoney::new(lot.opened_with, currency),
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

fn currency(text: &str) -> Result<Currency, LedgerError> {
    text.parse().map_err(LedgerError::damaged)
}

fn money(micros: i128, currency: Currency) -> Result<LedgerMoney, LedgerError> {
    Ok(LedgerMoney::new(i64::try_from(micros).map_err(LedgerError::damaged)?, currency))
}

/// Keeps what one creator's statements tell, and adds up what was before them: there may be millions of other transfers.
struct CreatorReader<'a> {
    creator: &'a CreatorId,
    from: UnixSeconds,
    until: UnixSeconds,
    /// What is payable to the creator, by the numbers of the accounts.
    accounts: BTreeMap<[u8; 16], Payable>,
    /// The lots whose money nobody has paid, by their numbers.
    given_away: HashSet<[u8; 16]>,
}

/// What is payable to a creator in one currency.
struct Payable {
    currency: String,
    opening: i128,
    /// What each transfer adds, and whether it is for money that nobody has paid.
    transfers: Vec<(i128, Origin, TransferRow)>,
}

impl Payable {
    fn statement(
        self,
        creator: &CreatorId,
        from: UnixSeconds,
        until: UnixSeconds,
    ) -> Result<CreatorStatement, LedgerError> {
        let Self { currency: code, opening, mut transfers } = self;
        let currency = currency(&code)?;
        // Of one second, sales come first, then refunds, then payouts: only what is there is given.
        transfers.sort_by_key(|(_, _, row)| (row.created_at, TransferKind::parse(&row.kind), row.id));
        let mut balance = opening;
        let mut lines = Vec::with_capacity(transfers.len());
        for (amount, origin, row) in transfers {
            balance += amount;
            lines.push(StatementLine {
                origin: row.order.map(|_| origin),
                at: Date(row.created_at),
                kind: row.kind,
                transfer: TransferId(row.id),
                order: row.order.map(TransferId),
                amount: money(amount, currency)?,
                balance: money(balance, currency)?,
            });
        }
        let (opening, closing) = (money(opening, currency)?, money(balance, currency)?);
        Ok(CreatorStatement { creator: creator.clone(), from: Date(from), until: Date(until), opening, lines, closing })
    }
}

impl BookReader for CreatorReader<'_> {
    fn ends_after_transfers(&self) -> bool {
        true
    }

    fn account(&mut self, row: AccountRow) {
        if row.lot.as_ref().is_some_and(|lot| lot.origin == Origin::Promotional.as_str()) {
            self.given_away.insert(row.id);
        } else if row.kind == "payable" && row.owner == self.creator.as_str() {
            self.accounts.insert(row.id, Payable { currency: row.currency, opening: 0, transfers: Vec::new() });
        }
    }

    fn transfer(&mut self, row: TransferRow) {
        if row.created_at >= self.until {
            return;
        }
        let amount = i128::from(row.amount);
        let (to, from) = (row.credit_account, row.debit_account);
        for (number, other, amount) in [(to, from, amount), (from, to, -amount)] {
            let origin = if self.given_away.contains(&other) { Origin::Promotional } else { Origin::Paid };
            match self.accounts.get_mut(&number) {
                Some(account) if row.created_at < self.from => account.opening += amount,
                Some(account) => account.transfers.push((amount, origin, row.clone())),
                None => {}
            }
        }
    }

    fn device(&mut self, _: DeviceRow) {}
    fn order(&mut self, _: OrderRow) {}
    fn receipt(&mut self, _: ReceiptRow) {}
    fn hold(&mut self, _: HoldRow) {}
    fn operation(&mut self, _: OperationRow) {}
}

/// Adds up what is in the lots that somebody paid for, and keeps no transfer.
struct UnusedReader {
    at: UnixSeconds,
    /// The lots, by their numbers.
    paid: BTreeMap<[u8; 16], Paid>,
}

/// A lot that somebody paid for.
struct Paid {
    row: AccountRow,
    lot: LotRow,
    balance: i128,
}

impl BookReader for UnusedReader {
    fn ends_after_transfers(&self) -> bool {
        true
    }

    fn account(&mut self, mut row: AccountRow) {
        if let Some(lot) = row.lot.take().filter(|lot| lot.origin == Origin::Paid.as_str()) {
            self.paid.insert(row.id, Paid { row, lot, balance: 0 });
        }
    }

    fn transfer(&mut self, row: TransferRow) {
        // What is only set aside is not used.
        if row.created_at >= self.at || row.kind == TransferKind::Hold.as_str() {
            return;
        }
        let amount = i128::from(row.amount);
        for (number, amount) in [(row.credit_account, amount), (row.debit_account, -amount)] {
            if let Some(paid) = self.paid.get_mut(&number) {
                paid.balance += amount;
            }
        }
    }

    fn device(&mut self, _: DeviceRow) {}
    fn order(&mut self, _: OrderRow) {}
    fn receipt(&mut self, _: ReceiptRow) {}
    fn hold(&mut self, _: HoldRow) {}
    fn operation(&mut self, _: OperationRow) {}
}
