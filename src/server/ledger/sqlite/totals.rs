//! Sums over the accounts of each kind.

use super::super::LedgerError;
use super::SqliteLedger;
use crate::server::totals::Total;

impl SqliteLedger {
    /// What the accounts of each kind hold together, a sum per currency. Reads every account.
    ///
    /// # Errors
    /// The books could not be read.
    pub(crate) fn totals(&self) -> Result<Vec<Total>, LedgerError> {
        let sums = "SELECT kind, currency, sum(credits_posted - debits_posted) FROM accounts GROUP BY kind, currency";
        let mut statement = self.connection.prepare_cached(sums)?;
        let total =
            |row: &rusqlite::Row<'_>| Ok(Total { account: row.get(0)?, currency: row.get(1)?, micros: row.get(2)? });
        Ok(statement.query_map([], total)?.collect::<Result<_, _>>()?)
    }
}
