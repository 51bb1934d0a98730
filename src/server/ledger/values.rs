//! Values read back from a database: each is parsed again, so that damage is an error and never a wrong answer.

use crate::protocol::sync::ChainHead;
use crate::protocol::{Micros, Sha256};

use super::{ConsumptionNumbers, LedgerError};

/// A count or a place, which is never below zero.
pub(super) fn count(value: i64) -> Result<u64, LedgerError> {
    u64::try_from(value).map_err(|_| LedgerError::damaged(format_args!("{value} is where a count should be")))
}

/// A count or a place for a database. What is too large for it is past the end of everything that is in it.
pub(super) fn stored_count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The difference of an account's sums.
pub(super) fn micros(value: i64) -> Result<Micros, LedgerError> {
    Micros::new(value).map_err(LedgerError::damaged)
}

/// The numbers of a device's consumptions, from its three columns.
pub(super) fn numbers(last: i64, repeated: i64, missing: i64) -> Result<ConsumptionNumbers, LedgerError> {
    Ok(ConsumptionNumbers { last: count(last)?, repeated: count(repeated)?, missing: count(missing)? })
}

/// Text that parses.
pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, LedgerError> {
    text.parse().map_err(LedgerError::damaged)
}

/// The head of a device's chain, from its two columns.
pub(super) fn chain(sequence: i64, head: Option<[u8; 32]>) -> Result<Option<ChainHead>, LedgerError> {
    let chain = |head| Ok(ChainHead { sequence: count(sequence)?, order_sha256: Sha256(head) });
    head.map(chain).transpose()
}
