//! Why nothing was bought or used up, for the game and, as text, for the player.

use thiserror::Error;

use crate::protocol::{Currency, OrderId};

/// Why nothing was ordered. In every case nothing is charged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PurchaseError {
    // The player's doing.
    /// It is owned already.
    #[error("this is already yours")]
    AlreadyOwned,
    /// An order for it is on its way.
    #[error("this is already ordered")]
    AlreadyOrdered {
        /// That order.
        order: OrderId,
    },
    /// The same product was ordered a moment ago.
    #[error("this was just ordered; press again to buy another")]
    DoubleTap,

    /// The device was revoked: whoever owns the account removed it.
    #[error("nothing can be bought with this device any more: it was removed from its account")]
    DeviceRevoked,

    // The game's doing.
    /// The catalogue has no such product.
    #[error("there is no product {product:?} in the catalogue")]
    UnknownProduct {
        /// What was asked for.
        product: String,
    },
    /// The quantity is not one that can be bought.
    #[error("{quantity} of this cannot be bought at once; choose 1 to {most}")]
    QuantityOutOfRange {
        /// What was asked for.
        quantity: u32,
        /// The most.
        most: u32,
    },
    /// The product has no price in the currency of this store.
    #[error("this is not sold in {currency}")]
    NotSoldIn {
        /// The currency.
        currency: Currency,
    },

    // The state of things.
    /// The journal is still being read.
    #[error("the store is still opening; try again in a moment")]
    NotOpen,
    /// The catalogue is still being loaded.
    #[error("the store's products are still being loaded; try again in a moment")]
    CatalogNotLoaded,
    /// There is no catalogue, and why.
    #[error("the store's products could not be loaded: {reason}")]
    CatalogFailed {
        /// What is wrong with it.
        reason: String,
    },
    /// This copy of the game may not write.
    #[error("nothing can be bought here: {reason}")]
    ReadOnly {
        /// Why not.
        reason: String,
    },
    /// The store could not be opened.
    #[error("the store could not be opened: {reason}")]
    Failed {
        /// Why not.
        reason: String,
    },
    /// Too much waits for the disk.
    #[error("the store is busy; try again in a moment")]
    Busy,
    /// The system has no random numbers to give.
    #[error("the system's random source failed; try again")]
    NoRandomness,
}

/// Why nothing was used up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// There are not as many.
    #[error("{quantity} of {item:?} cannot be used: there are {left}")]
    NotEnough {
        /// The item.
        item: String,
        /// How many were asked for.
        quantity: u64,
        /// How many there are.
        left: u64,
    },
    /// Nothing can be written.
    #[error(transparent)]
    Store(PurchaseError),
}
