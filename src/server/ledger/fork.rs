//! Forks: two different orders that a device has signed in one place of its chain, one of them within an allowance.

use super::{LedgerError, Place};
use crate::protocol::sync::ChainHead;
use crate::protocol::{AccountId, KeyId, OrderId, UnixSeconds};

/// What the books say about a device's chain, and about the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The account that the device belongs to.
    pub(crate) account: AccountId,
    /// Whether the device was revoked.
    pub(crate) revoked: bool,
    /// The last order that it holds.
    pub(crate) head: Option<ChainHead>,
    /// Whether nothing is sold to the device.
    pub(crate) frozen: bool,
}

impl Chain {
    /// Checks that the device is taken for what it is.
    pub(crate) fn check_member(&self, place: &Place) -> Result<(), LedgerError> {
        match self {
            Self { revoked: true, .. } => Err(LedgerError::DeviceRevoked(place.device)),
            chain if chain.account != place.account => Err(LedgerError::WrongAccount { device: place.device }),
            _ => Ok(()),
        }
    }
}

/// The evidence of a fork. Both orders, which the device has signed, are in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fork {
    /// The device.
    pub(crate) device: KeyId,
    /// The place in its chain.
    pub(crate) sequence: u64,
    /// The order that the chain holds there.
    pub(crate) first: OrderId,
    /// The other one, which names an allowance of the device.
    pub(crate) second: OrderId,
    /// When it was found.
    pub(crate) at: UnixSeconds,
}
