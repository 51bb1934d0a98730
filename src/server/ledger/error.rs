//! What can go wrong with the books.

use thiserror::Error;

use crate::protocol::envelope::EnvelopeError;
use crate::protocol::{AccountId, Money, OrderId};

/// The books could not be read or written. Nothing changed, and the same may be tried again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The engine failed.
    #[error("the books could not be read or written: {0}")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The books hold something that this server never writes; `iap-server audit` tells more.
    #[error("the books are damaged: {0}; run `iap-server audit` on them")]
    Damaged(String),
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
        Self::Storage(Box::new(error))
    }
}

/// Why an account was not credited.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CreditError {
    /// No device has opened this account.
    #[error("there is no account {0}; a device opens one when it first reaches this server")]
    UnknownAccount(AccountId),
    /// A credit is more than zero.
    #[error("{0} cannot be credited; write an amount above zero")]
    NotPositive(Money),
    /// The wallet would hold more than an amount can be.
    #[error("{0} more would be too much for the wallet; the most it can hold is 9007199254.740991")]
    TooMuch(Money),
    /// The transfer's id belongs to another credit.
    #[error("this id was used for another credit; use each id for one credit")]
    IdUsed,
    /// The books could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Why an order was not refunded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RefundError {
    /// There is no such order.
    #[error("there is no order {0}; `iap-server show` lists an account's orders")]
    UnknownOrder(OrderId),
    /// The order was not granted, so nothing was paid.
    #[error("the order {0} was declined, so there is nothing to refund")]
    NotGranted(OrderId),
    /// The order was refunded before.
    #[error("the order {0} was refunded before; an order is refunded once")]
    AlreadyRefunded(OrderId),
    /// The wallet would hold more than an amount can be.
    #[error("{0} more would be too much for the wallet; the most it can hold is 9007199254.740991")]
    TooMuch(Money),
    /// The books could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<rusqlite::Error> for CreditError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Ledger(error.into())
    }
}

impl From<rusqlite::Error> for RefundError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Ledger(error.into())
    }
}
