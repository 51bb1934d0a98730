//! Copies of the books: whole, as of one moment, in one file.

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::super::LedgerError;
use super::SqliteLedger;

/// How long to wait when the books are locked for a moment.
const BREATH: Duration = Duration::from_millis(20);

impl SqliteLedger {
    /// Writes a copy of the books, as of this moment, into a new file at `path`, and checks it. Others may go on
    /// reading and writing the books meanwhile.
    ///
    /// # Errors
    /// The books could not be read, or the copy not be written, or the copy is damaged.
    pub(crate) fn copy_to(&self, path: &Path) -> Result<(), LedgerError> {
        copy(&self.connection, path)
    }

    /// Writes a copy of the books in the file at `from`, which nobody changes, into a new file at `path`, and checks it.
    ///
    /// # Errors
    /// As [`SqliteLedger::copy_to`], or there are no books in the file.
    pub(crate) fn copy_of(from: &Path, path: &Path) -> Result<(), LedgerError> {
        copy(&Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY)?, path)
    }
}

fn copy(from: &Connection, path: &Path) -> Result<(), LedgerError> {
    let mut to = Connection::open(path)?;
    let backup = Backup::new(from, &mut to)?;
    // All pages in one step are of one moment. A copy in several steps would begin again with every change.
    while backup.step(-1)? != StepResult::Done {
        std::thread::sleep(BREATH);
    }
    drop(backup);
    // One file, without a log beside it, which somebody would forget to copy.
    to.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    let found: String = to.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(LedgerError::damaged(found));
    }
    let game: i64 = to.query_row("SELECT count(*) FROM meta WHERE name = 'game'", [], |row| row.get(0))?;
    match game {
        1 => Ok(()),
        _ => Err(LedgerError::damaged("the game's name is missing")),
    }
}
