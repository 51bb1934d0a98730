//! Rows read back: each value is parsed again, so that damage is an error and never a wrong answer.

use std::collections::HashMap;
use std::str::FromStr;

use tokio_postgres::Row;

use super::super::account::Origin;
use super::super::hold::{HoldRecord, HoldStatus};
use super::super::lot::Lot;
use super::super::transfer::{Transfer, TransferKind};
use super::super::{AccountNumber, AllowanceRecord, AllowanceTerms, LedgerError, OperationId, TransferId, values};
use crate::protocol::{OrderId, Sha256, Token};

/// Text in a column, parsed again.
pub(super) fn text<T: FromStr<Err: std::fmt::Display>>(row: &Row, column: usize) -> Result<T, LedgerError> {
    values::parsed(row.try_get(column)?)
}

/// Bytes in a column, of one length.
pub(super) fn bytes<const LENGTH: usize>(row: &Row, column: usize) -> Result<[u8; LENGTH], LedgerError> {
    row.try_get::<_, &[u8]>(column)?.try_into().map_err(|_| LedgerError::damaged("an id or a digest of a wrong length"))
}

/// The digest in a column, if there is one.
pub(super) fn digest(row: &Row, column: usize) -> Result<Option<[u8; 32]>, LedgerError> {
    let found = row.try_get::<_, Option<&[u8]>>(column)?.map(<[u8; 32]>::try_from);
    found.transpose().map_err(|_| LedgerError::damaged("a digest of a wrong length"))
}

pub(super) fn token(row: &Row, column: usize) -> Result<Token, LedgerError> {
    Ok(Token::from_text(row.try_get(column)?))
}

/// One of a few words in a column.
pub(super) fn kind_of<T>(parse: fn(&str) -> Option<T>, row: &Row, column: usize) -> Result<T, LedgerError> {
    let text: &str = row.try_get(column)?;
    parse(text).ok_or_else(|| LedgerError::damaged(format_args!("{text:?} is none of its kind")))
}

/// A row with the columns of a lot.
pub(super) fn lot_of(row: &Row) -> Result<Lot, LedgerError> {
    Ok(Lot {
        id: TransferId(bytes(row, 0)?),
        account: text(row, 1)?,
        currency: text(row, 2)?,
        origin: kind_of(Origin::parse, row, 3)?,
        source: text(row, 4)?,
        opened_at: row.try_get(5)?,
        refundable_until: row.try_get(6)?,
        opened_with: row.try_get(7)?,
        refunded: row.try_get(8)?,
        balance: row.try_get(9)?,
        held: row.try_get(10)?,
    })
}

/// A row with the columns of a transfer for an order.
pub(super) fn transfer_of(row: &Row, order: OrderId) -> Result<Transfer, LedgerError> {
    Ok(Transfer {
        id: TransferId(bytes(row, 0)?),
        kind: kind_of(TransferKind::parse, row, 1)?,
        debit: AccountNumber(bytes(row, 2)?),
        credit: AccountNumber(bytes(row, 3)?),
        amount: row.try_get(4)?,
        order: Some(order),
        hold: None,
        at: row.try_get(5)?,
    })
}

/// Holds from rows that each hold one of their legs.
pub(super) fn holds_of(rows: &[Row]) -> Result<Vec<HoldRecord>, LedgerError> {
    let mut holds: HashMap<OperationId, HoldRecord> = HashMap::new();
    let mut legs: HashMap<TransferId, (TransferId, i64)> = HashMap::new();
    for row in rows {
        let id = OperationId(bytes(row, 0)?);
        let hold = HoldRecord {
            id,
            account: text(row, 1)?,
            currency: text(row, 2)?,
            amount: row.try_get(3)?,
            expires_at: row.try_get(4)?,
            status: kind_of(HoldStatus::parse, row, 5)?,
            posted: row.try_get(6)?,
            resolved_at: row.try_get(7)?,
            legs: Vec::new(),
        };
        holds.insert(id, hold);
        if row.try_get::<_, Option<&[u8]>>(8)?.is_some() {
            legs.insert(TransferId(bytes(row, 8)?), (TransferId(bytes(row, 9)?), row.try_get(10)?));
        }
    }
    for hold in holds.values_mut() {
        // In the order in which they were drawn, which is that of their numbers.
        let leg = |number| legs.get(&TransferId::of_operation(TransferKind::Hold, hold.id, number)).copied();
        hold.legs = (0..).map_while(leg).collect();
    }
    Ok(holds.into_values().collect())
}

/// Allowances from rows that each hold one of the legs of the hold behind one.
pub(super) fn allowances_of(rows: &[Row]) -> Result<Vec<AllowanceRecord>, LedgerError> {
    let mut terms: HashMap<OperationId, AllowanceTerms> = HashMap::new();
    for row in rows {
        let allowance = AllowanceTerms {
            device: text(row, 11)?,
            number: row.try_get(12)?,
            issued_at: row.try_get(13)?,
            expires_at: row.try_get(14)?,
            per_order: row.try_get(15)?,
            most_orders: row.try_get(16)?,
            catalog: Sha256(bytes(row, 17)?),
            token: token(row, 18)?,
            spent: row.try_get(19)?,
            orders: row.try_get(20)?,
        };
        terms.insert(OperationId(bytes(row, 0)?), allowance);
    }
    let record = |hold: HoldRecord| Some(AllowanceRecord { terms: terms.remove(&hold.id)?, hold });
    Ok(holds_of(rows)?.into_iter().filter_map(record).collect())
}
