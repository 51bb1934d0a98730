//! What an error of the database means for whoever asked: try the whole transaction again, connect again, or give up.

use std::error::Error;
use std::fmt;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{WasNull, WrongType};

use super::super::LedgerError;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The connection is lost, or the database takes none: connect again, then try the whole transaction again. If it
    /// was lost while committing, the ids of what was sent tell whether it was done.
    Lost,
    /// Another transaction was in the way: try the whole transaction again. If it has settled the same order, this one
    /// will find it.
    Conflict,
    /// The database is too busy: nothing was done, and whoever asked is told to come back.
    Busy,
    /// Trying again would not help.
    Lasting,
}

impl Trouble {
    pub(super) fn of(error: &LedgerError) -> Self {
        match error {
            LedgerError::Unavailable(_) => Self::Lost,
            LedgerError::Storage(source) => {
                source.downcast_ref::<Told>().map_or(Self::Lasting, |told| Self::of_database(&told.0))
            }
            _ => Self::Lasting,
        }
    }

    fn of_database(error: &tokio_postgres::Error) -> Self {
        let Some(state) = error.code() else {
            // The database said nothing: either it is not there, or a column does not hold what it should.
            let misread = error.source().is_some_and(|source| source.is::<WasNull>() || source.is::<WrongType>());
            return if misread { Self::Lasting } else { Self::Lost };
        };
        match state {
            &SqlState::T_R_SERIALIZATION_FAILURE
            | &SqlState::T_R_DEADLOCK_DETECTED
            // The same order, operation or device, by another server; or the same table, when both make the tables.
            | &SqlState::UNIQUE_VIOLATION
            | &SqlState::DUPLICATE_TABLE
            | &SqlState::DUPLICATE_OBJECT => Self::Conflict,
            &SqlState::LOCK_NOT_AVAILABLE | &SqlState::QUERY_CANCELED => Self::Busy,
            &SqlState::ADMIN_SHUTDOWN
            | &SqlState::CRASH_SHUTDOWN
            | &SqlState::CANNOT_CONNECT_NOW
            | &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
            // The primary has become a stand-by.
            | &SqlState::READ_ONLY_SQL_TRANSACTION => Self::Lost,
            // Class 08 is about the connection, class 53 about resources: too many connections, a full disk.
            state if state.code().starts_with("08") || state.code().starts_with("53") => Self::Lost,
            _ => Self::Lasting,
        }
    }
}

/// Which row is in the way of one with the same key, if that is what an error says.
pub(super) fn taken(error: &LedgerError) -> Option<String> {
    let LedgerError::Storage(source) = error else { return None };
    let told = source.downcast_ref::<Told>()?.0.as_db_error()?;
    let key = told.detail().filter(|_| *told.code() == SqlState::UNIQUE_VIOLATION)?;
    Some(format!("a row of `{}` is there that nothing speaks of: {key}", told.table().unwrap_or("a table")))
}

impl From<tokio_postgres::Error> for LedgerError {
    fn from(error: tokio_postgres::Error) -> Self {
        // The statements that write divide by zero where a row is missing that they have read before.
        if error.code() == Some(&SqlState::DIVISION_BY_ZERO) {
            return Self::damaged("a row that was read is not there to be changed");
        }
        Self::Storage(Box::new(Told(error)))
    }
}

/// An error of the driver, with what the database said.
#[derive(Debug)]
struct Told(tokio_postgres::Error);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_db_error() {
            Some(error) => write!(f, "{} ({})", error.message(), error.code().code()),
            None => match self.0.source() {
                Some(source) => write!(f, "{}: {source}", self.0),
                None => self.0.fmt(f),
            },
        }
    }
}

impl Error for Told {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
