//! What all accounts of a kind hold together: the operator's view of the books.
//!
//! Adding every account up takes time that grows with the number of players, so it is done at most once a minute, on a
//! connection of its own, however often it is asked for.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ledger::{Ledger, LedgerError, Total};

/// How old the sums may be.
const AGE: Duration = Duration::from_secs(60);

/// The sums, added up now and then.
#[derive(Debug)]
pub(crate) struct Totals {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    ledger: Box<dyn Ledger>,
    read: Option<(Instant, Vec<Total>)>,
}

impl Totals {
    pub(crate) fn new(ledger: Box<dyn Ledger>) -> Self {
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
