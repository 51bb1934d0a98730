//! The order: a device's signed intent to buy, and the check that it is what its device, account and game say.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::UnixSeconds;
use super::allowance::AllowanceUse;
use super::count;
use super::digest::Sha256;
use super::envelope::{self, Claims, EnvelopeError, Token};
use super::keys::{KeyId, PublicKey, SecretKey};
use super::money::Money;
use super::name::{AccountId, GameId, OrderId, ProductId};

/// The largest quantity of one order.
pub const MAX_QUANTITY: u32 = 1_000;

/// The claims of an `iap-order+jwt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// 128 random bits; the idempotency key, for ever.
    #[serde(rename = "jti")]
    pub id: OrderId,
    /// The device that signs.
    #[serde(rename = "iss")]
    pub device: KeyId,
    /// The account that pays and receives.
    #[serde(rename = "sub")]
    pub account: AccountId,
    /// The game.
    #[serde(rename = "aud")]
    pub game: GameId,
    /// When it was made by the device's clock, which proves nothing.
    #[serde(rename = "iat")]
    pub issued_at: UnixSeconds,
    /// 1, 2, 3 … for each order of this device.
    #[serde(rename = "seq", with = "count")]
    pub sequence: u64,
    /// The digest of the device's previous order; none for the first.
    #[serde(rename = "prev", default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Sha256>,
    /// What is bought.
    pub product: ProductId,
    /// How many, from 1 to [`MAX_QUANTITY`].
    pub quantity: u32,
    /// The price of one, as the player saw it.
    pub price: Money,
    /// The digest of the catalogue that the price was read from.
    pub catalog: Sha256,
    /// The allowance that it was made within; none if it waits for the server's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowance: Option<AllowanceUse>,
}

impl Claims for Order {
    const TYPE: &'static str = "iap-order+jwt";
    /// Servers keep every order for ever, declined ones too. With the longest names one is below 1.5 KiB; the rest is for
    /// claims to come.
    const MAX_LENGTH: usize = 2 * 1024;
}

impl Order {
    /// Signs the order.
    ///
    /// # Errors
    /// As [`envelope::sign`].
    pub fn sign(&self, key: &SecretKey) -> Result<Token, EnvelopeError> {
        envelope::sign(self, key)
    }

    /// Verifies an order of the device with `key`, which belongs to `account`, for `game`.
    ///
    /// # Errors
    /// The token does not verify, or it is another device's, account's or game's.
    pub fn verify(token: &Token, key: PublicKey, account: &AccountId, game: &GameId) -> Result<Self, OrderError> {
        let (kid, order) = envelope::verify::<Self>(token, &[key])?;
        order.checked(kid, account, game)
    }

    /// Reads an order of `device` whose signature was verified before.
    ///
    /// # Errors
    /// It is another device's, account's or game's.
    #[cfg(feature = "server")]
    pub(crate) fn read_verified(
        token: &Token,
        device: KeyId,
        account: &AccountId,
        game: &GameId,
    ) -> Result<Self, OrderError> {
        envelope::claims_of_stored::<Self>(token)?.checked(device, account, game)
    }

    fn checked(self, device: KeyId, account: &AccountId, game: &GameId) -> Result<Self, OrderError> {
        if self.device != device {
            return Err(OrderError::WrongDevice { expected: device, found: self.device });
        }
        if self.game != *game {
            return Err(OrderError::WrongAudience { expected: game.clone(), found: self.game });
        }
        if self.account != *account {
            return Err(OrderError::WrongAccount { expected: account.clone(), found: self.account });
        }
        Ok(self)
    }
}

/// Why a token is not an order to be settled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OrderError {
    /// The token itself is not to be believed.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// It names a device other than the one that signed it.
    #[error("the order names the device {found}, but {expected} signed it")]
    WrongDevice {
        /// The device that signed.
        expected: KeyId,
        /// The device named in the claims.
        found: KeyId,
    },
    /// It was made for another game.
    #[error("the order is for the game {found}, and this is {expected}")]
    WrongAudience {
        /// This game.
        expected: GameId,
        /// The game named in the claims.
        found: GameId,
    },
    /// It would charge an account that its device does not belong to.
    #[error("the order is for the account {found}, and its device belongs to {expected}")]
    WrongAccount {
        /// The device's account.
        expected: AccountId,
        /// The account named in the claims.
        found: AccountId,
    },
}
