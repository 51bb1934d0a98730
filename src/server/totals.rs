//! What all accounts of a kind hold together: the operator's view of the books.
//!
//! Adding every account up takes time that grows with the number of players, so it is done at most once a minute, on a
//! connection of its own, however often it is asked for.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ledger::{LedgerError, SqliteLedger};

/// How old the sums may be.
const AGE: Duration = Duration::from_secs(60);

/// What the accounts of one kind hold together in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Total {
    /// The kind: `wallet`, `revenue`, `funding` …
    pub(crate) account: String,
    /// The ISO 4217 code.
    pub(crate) currency: String,
    /// What they hold, in millionths of the currency unit; what came in less what went out.
    pub(crate) micros: i64,
}

/// The sums, added up now and then.
#[derive(Debug)]
pub(crate) struct Totals {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    ledger: SqliteLedger,
    read: Option<(Instant, Vec<Total>)>,
}

impl Totals {
    pub(crate) fn new(ledger: SqliteLedger) -> Self {
        Self { inner: Mutex::new(Inner { ledger, read: None }) }
    }

    /// The sums as of the last minute. Blocks while they are added up.
    ///
    /// # Errors
    /// The books could not be read.
    pub(crate) fn read(&self) -> Result<Vec<Total>, LedgerError> {
        // A panic elsewhere leaves nothing half done in a reader.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, totals)) = &inner.read
            && read.elapsed() < AGE
        {
            return Ok(totals.clone());
        }
        let totals = inner.ledger.totals()?;
        inner.read = Some((Instant::now(), totals.clone()));
        Ok(totals)
    }
}
