//! Where a server keeps its books.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

#[cfg(feature = "postgres")]
use super::ledger::{PostgresUrl, PostgresUrlError};

/// Where the books are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Database {
    /// In the data folder, in SQLite: for one server.
    #[default]
    Folder,
    /// In a PostgreSQL database, which any number of servers may share.
    #[cfg(feature = "postgres")]
    Postgres(PostgresUrl),
}

/// Why a text does not name a database. It never repeats the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The server was built without PostgreSQL.
    #[error("this iap-server was built without PostgreSQL; build it with --features postgres, or leave --database out")]
    WithoutPostgres,
    /// The URL is not one that can be used.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Url(#[from] PostgresUrlError),
}

/// The URL of a PostgreSQL database; what is empty is the data folder, as an unset variable of the environment often is.
impl FromStr for Database {
    type Err = DatabaseError;

    fn from_str(text: &str) -> Result<Self, DatabaseError> {
        if text.is_empty() {
            return Ok(Self::Folder);
        }
        #[cfg(feature = "postgres")]
        return Ok(Self::Postgres(text.parse()?));
        #[cfg(not(feature = "postgres"))]
        Err(DatabaseError::WithoutPostgres)
    }
}

/// Without the password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder => f.write_str("the data folder"),
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => url.fmt(f),
        }
    }
}
