//! Forks: two different orders that a device has signed in one place of its chain, one of them within an allowance.

use crate::protocol::sync::ChainHead;
use crate::protocol::{KeyId, OrderId, UnixSeconds};

/// What the books say about a device's chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The last order that it holds.
    pub(crate) head: Option<ChainHead>,
    /// Whether nothing is sold to the device.
    pub(crate) frozen: bool,
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
