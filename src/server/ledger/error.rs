//! What can go wrong with the books.

use thiserror::Error;

use crate::protocol::envelope::EnvelopeError;
use crate::protocol::{KeyId, TrustError};

/// The books could not be read or written. Nothing changed, and the same may be tried again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The engine failed.
    #[error("the books could not be read or written: {0}")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database cannot be reached, or is too busy to answer in time. Nothing is half done, and the same may be tried
    /// again; what was sent when the connection was lost may have been done, and is then not done twice.
    #[error("the database is not available: {0}; try again when it is")]
    Unavailable(String),
    /// The database holds no books.
    #[error("there are no books in the database; start `iap-server serve` with it once, or pass another")]
    NoBooks,
    /// The books hold something that this server never writes; `iap-server audit` tells more.
    #[error("the books are damaged: {0}; run `iap-server audit` on them")]
    Damaged(String),
    /// The device is not in the books, or not any more: they may be older than what is known of it.
    #[error("the device {0} is not enrolled in these books; it has to enrol again")]
    UnknownDevice(KeyId),
    /// The device belongs to another account than the one that it is taken for.
    #[error("the device {device} belongs to another account now; ask which")]
    WrongAccount {
        /// The device.
        device: KeyId,
    },
    /// The device was revoked.
    #[error("the device {0} was revoked; it buys nothing and hears nothing any more")]
    DeviceRevoked(KeyId),
    /// The books were written by a newer server.
    #[error("the books are of version {found}, and this server knows up to {known}; run a newer `iap-server`")]
    NewerVersion {
        /// The version of the books.
        found: i64,
        /// The newest version that this server knows.
        known: i64,
    },
    /// The books are another game's.
    #[error("the books are of the game {found}, and this is {expected}; pass the folder of this game, or an empty one")]
    OtherGame {
        /// The game that was wanted.
        expected: String,
        /// The game that the books are for.
        found: String,
    },
    /// A receipt could not be signed.
    #[error("a receipt could not be signed: {0}")]
    Signing(#[source] EnvelopeError),
    /// It is not the time of the key that signs.
    #[error("nothing can be signed: {0}; run `iap-server keys rotate`")]
    SigningKey(TrustError),
    /// The random source failed.
    #[error("the operating system's random source failed: {0}")]
    Random(String),
}

impl LedgerError {
    /// Something in the books that cannot be read back.
    pub(crate) fn damaged(what: impl std::fmt::Display) -> Self {
        Self::Damaged(what.to_string())
    }
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error::{
            FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, QueryReturnedNoRows,
        };
        match error {
            // The file was read, and what it says is nothing that this server writes.
            FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | QueryReturnedNoRows => Self::damaged(error),
            error => Self::Storage(Box::new(error)),
        }
    }
}
