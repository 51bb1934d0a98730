//! What a player can ask about their account from this device, and what they are told.

use thiserror::Error;

use crate::protocol::account::IssuedLinkCode;
use crate::protocol::{AccountId, DeviceEntry, DeviceName, KeyId, LinkCode};

/// Something that a player asks about their account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccountWish {
    /// Which devices belong to it.
    Devices,
    /// A code with which another device joins it.
    LinkCode,
    /// To join the account that made this code.
    JoinByCode(LinkCode),
    /// To join the account of the player whom this ID token names.
    SignIn(String),
    /// To call a device by a name, or by none.
    NameDevice {
        /// The device.
        device: KeyId,
        /// The name.
        name: Option<DeviceName>,
    },
    /// To have a device buy nothing any more, for ever.
    RevokeDevice(KeyId),
    /// To go on with another key, and have the old one revoked.
    ReplaceKey,
}

impl AccountWish {
    /// What it is, without what was said with it.
    pub fn asked(&self) -> Asked {
        match self {
            Self::Devices => Asked::Devices,
            Self::LinkCode => Asked::LinkCode,
            Self::JoinByCode(_) => Asked::JoinByCode,
            Self::SignIn(_) => Asked::SignIn,
            Self::NameDevice { .. } => Asked::NameDevice,
            Self::RevokeDevice(_) => Asked::RevokeDevice,
            Self::ReplaceKey => Asked::ReplaceKey,
        }
    }

    /// Whether what is ordered waits until it is answered, since the answer may change whom orders are signed by and
    /// for.
    pub(super) fn holds_purchases(&self, device: KeyId) -> bool {
        match self {
            Self::JoinByCode(_) | Self::SignIn(_) | Self::ReplaceKey => true,
            Self::RevokeDevice(revoked) => *revoked == device,
            Self::Devices | Self::LinkCode | Self::NameDevice { .. } => false,
        }
    }
}

/// What was asked about an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Asked {
    /// Nothing: the store found by itself that something had changed.
    Nothing,
    /// Which devices belong to it.
    Devices,
    /// A code for another device.
    LinkCode,
    /// To join another account with a code.
    JoinByCode,
    /// To join the account of a player.
    SignIn,
    /// To name a device.
    NameDevice,
    /// To revoke a device.
    RevokeDevice,
    /// To replace this device's key.
    ReplaceKey,
}

/// The account that a device belongs to, as the server last said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// The account.
    pub account: AccountId,
    /// This device.
    pub device: KeyId,
    /// Whether the account belongs to somebody whom the game's login knows.
    pub signed_in: bool,
    /// Whether this device was revoked: it buys nothing and hears nothing any more.
    pub revoked: bool,
    /// The devices of the account, in the order in which they joined it; none before the server was asked.
    pub devices: Vec<DeviceEntry>,
    /// The code that another device can join with, if one was asked for since the start.
    pub link_code: Option<IssuedLinkCode>,
}

/// Why what was asked about an account did not come about. The words are for the player.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AccountTrouble {
    // Nobody answered.
    /// The store was not reached, or it failed.
    #[error("the store cannot be reached; nothing was changed as far as this device knows: {trouble}")]
    NoConnection {
        /// What went wrong.
        trouble: String,
    },
    /// The store did not answer; it may have done it all the same. It is asked again until it answers, and then another
    /// message follows. What is ordered waits no longer.
    #[error(
        "the store has not answered yet; nothing was changed as far as this device knows, and it asks again by itself"
    )]
    AskedAgain {
        /// What went wrong.
        trouble: String,
    },

    // The player's doing.
    /// No code like this is good now.
    #[error("this code is not good: it is mistyped, was used before or is too old; make a new one on the other device")]
    WrongLinkCode,
    /// The account has as many devices as it may.
    #[error("this account has as many devices as it may; remove one of them first")]
    TooManyDevices,
    /// What was bought as a guest is too much to be moved at once.
    #[error("too much was bought on this device to move it to that account; ask the makers of the game")]
    TooManyPurchases,
    /// The account belongs to another player.
    #[error("this device belongs to another player; use another save for each player")]
    Conflict,
    /// The account has no such device.
    #[error("there is no such device in this account any more")]
    NotYourDevice,
    /// This device was revoked.
    #[error("this device was removed from its account")]
    DeviceRevoked,
    /// Too much was asked.
    #[error("this was tried too often; try again in a while")]
    TooOften,

    // The login's or the game's doing.
    /// The ID token was not taken.
    #[error("the sign-in was not accepted; sign in again")]
    BadIdToken,
    /// The server takes no ID tokens.
    #[error("this store has no sign-in")]
    SignInUnavailable,
    /// The server refused it for another reason.
    #[error("the store refused: {detail}")]
    Refused {
        /// What it said.
        detail: String,
    },

    // This device's doing.
    /// Something else is being asked already.
    #[error("something else is being asked about the account; wait for its answer")]
    Busy,
    /// It could not be made safe on the disk. If the server has done it, the device finds out by itself.
    #[error("it could not be saved on this device: {trouble}")]
    NotSaved {
        /// What the disk said.
        trouble: String,
    },
}
