//! Sums over the accounts of each kind.

use rusqlite::{Connection, Row};

use super::super::{LedgerError, Total};

pub(super) fn totals(connection: &Connection) -> Result<Vec<Total>, LedgerError> {
    let sums = "SELECT kind, currency, sum(credits_posted - debits_posted) FROM accounts GROUP BY kind, currency";
    let mut statement = connection.prepare_cached(sums)?;
    let total = |row: &Row<'_>| Ok(Total { account: row.get(0)?, currency: row.get(1)?, micros: row.get(2)? });
    Ok(statement.query_map([], total)?.collect::<Result<_, _>>()?)
}
