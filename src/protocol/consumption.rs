//! Using up what was bought: a device's signed word that it has used items, and the server's signed answer to it.
//!
//! A device numbers its consumptions, apart from its orders. They only ever take away, so one whose number was used
//! before, as after a save was restored, is decided like any other; the numbers only show that it happened. The answer
//! comes by the account's feed alone, so that every device of the account counts the same, in the same order.

use serde::{Deserialize, Serialize};

use super::UnixSeconds;
use super::count;
use super::digest::Sha256;
use super::envelope::{self, Claims, EnvelopeError, Token};
use super::keys::{KeyId, PublicKey, SecretKey, TrustedKeys};
use super::name::{AccountId, ConsumptionId, GameId, ItemId, ReceiptId};
use super::receipt::{Receipt, ReceiptError};
use super::sync::{SyncError, check_parties};

/// The most consumptions in one sync.
pub const MAX_CONSUMPTIONS: usize = 256;

/// The claims of an `iap-consume+jwt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumption {
    /// 128 random bits; the idempotency key, for ever.
    #[serde(rename = "jti")]
    pub id: ConsumptionId,
    /// The device that signs.
    #[serde(rename = "iss")]
    pub device: KeyId,
    /// The account whose items are used up.
    #[serde(rename = "sub")]
    pub account: AccountId,
    /// The game.
    #[serde(rename = "aud")]
    pub game: GameId,
    /// When, by the device's clock, which proves nothing.
    #[serde(rename = "iat")]
    pub issued_at: UnixSeconds,
    /// 1, 2, 3 … for each consumption of this device.
    #[serde(rename = "seq", with = "count")]
    pub sequence: u64,
    /// What is used up.
    pub item: ItemId,
    /// How many, at least one: all of them or none.
    #[serde(with = "count")]
    pub quantity: u64,
}

impl Claims for Consumption {
    const TYPE: &'static str = "iap-consume+jwt";
    /// With the longest names one is below 800 bytes.
    const MAX_LENGTH: usize = 1024;
}

impl Consumption {
    /// Signs the consumption.
    ///
    /// # Errors
    /// As [`envelope::sign`].
    pub fn sign(&self, key: &SecretKey) -> Result<Token, EnvelopeError> {
        envelope::sign(self, key)
    }

    /// Verifies a consumption of the device with `key`, which belongs to `account`, for `game`.
    ///
    /// # Errors
    /// The token does not verify, or it is another device's, account's or game's.
    pub fn verify(token: &Token, key: PublicKey, account: &AccountId, game: &GameId) -> Result<Self, SyncError> {
        let (kid, consumption) = envelope::verify::<Self>(token, &[key])?;
        check_parties(kid, consumption.device, game, &consumption.game, account, &consumption.account)?;
        Ok(consumption)
    }
}

/// The claims of an `iap-consumption-receipt+jwt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumptionReceipt {
    /// The receipt's own id.
    #[serde(rename = "jti")]
    pub id: ReceiptId,
    /// The server that signs, by its key.
    #[serde(rename = "iss")]
    pub server: KeyId,
    /// The game.
    #[serde(rename = "aud")]
    pub game: GameId,
    /// The account.
    #[serde(rename = "sub")]
    pub account: AccountId,
    /// When it was signed, by the server's clock.
    #[serde(rename = "iat")]
    pub issued_at: UnixSeconds,
    /// Its place in the account's feed.
    #[serde(with = "count")]
    pub feed: u64,
    /// The consumption that it answers.
    pub consumption: ConsumptionId,
    /// The digest of that consumption's token.
    pub consumption_sha256: Sha256,
    /// The device that signed the consumption.
    pub device: KeyId,
    /// What was to be used up.
    pub item: ItemId,
    /// How many.
    #[serde(with = "count")]
    pub quantity: u64,
    /// What became of it.
    pub status: ConsumptionStatus,
    /// Why, where the status is not `consumed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ConsumptionReason>,
}

impl Claims for ConsumptionReceipt {
    const TYPE: &'static str = "iap-consumption-receipt+jwt";
}

impl ConsumptionReceipt {
    /// Signs the receipt.
    ///
    /// # Errors
    /// As [`envelope::sign`].
    pub fn sign(&self, key: &SecretKey) -> Result<Token, EnvelopeError> {
        envelope::sign(self, key)
    }

    /// Verifies a receipt of one of the trusted server `keys`, for `game` and `account`.
    ///
    /// # Errors
    /// The token does not verify, names another issuer than its signer, is for another game or account, or was signed
    /// outside the key's time.
    pub fn verify_for(
        token: &Token,
        keys: &(impl TrustedKeys + ?Sized),
        game: &GameId,
        account: &AccountId,
    ) -> Result<Self, SyncError> {
        let (kid, receipt) = envelope::verify::<Self>(token, keys)?;
        check_parties(kid, receipt.server, game, &receipt.game, account, &receipt.account)?;
        keys.judge(kid, receipt.issued_at)?;
        Ok(receipt)
    }
}

/// What became of a consumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsumptionStatus {
    /// The items are used up.
    Consumed,
    /// Nothing was used up.
    Refused,
    /// A status that this version does not know. It takes nothing.
    #[serde(other)]
    Other,
}

/// Why a consumption was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConsumptionReason {
    /// The account had fewer of the item left.
    NotEnough,
    /// It was used up in an account of which everything has moved here.
    Moved,
    /// A reason that this version does not know.
    #[serde(other)]
    Other,
}

/// What stands at a place of an account's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedReceipt {
    /// The receipt of an order.
    Order(Receipt),
    /// The receipt of a consumption.
    Consumption(ConsumptionReceipt),
}

impl FeedReceipt {
    /// Verifies a receipt of either kind, which must be `account`'s.
    ///
    /// # Errors
    /// In words: the token is of another kind, or is not to be believed.
    pub fn verify_for(
        token: &Token,
        keys: &(impl TrustedKeys + ?Sized),
        game: &GameId,
        account: &AccountId,
    ) -> Result<Self, FeedReceiptError> {
        if envelope::is_of::<ConsumptionReceipt>(token) {
            return Ok(Self::Consumption(ConsumptionReceipt::verify_for(token, keys, game, account)?));
        }
        Ok(Self::Order(Receipt::verify_for(token, keys, game, account)?))
    }

    /// Reads a receipt that was verified before it was stored.
    #[cfg(feature = "server")]
    pub(crate) fn stored(token: &Token) -> Result<Self, EnvelopeError> {
        if envelope::is_of::<ConsumptionReceipt>(token) {
            return envelope::claims_of_stored(token).map(Self::Consumption);
        }
        envelope::claims_of_stored(token).map(Self::Order)
    }

    /// Its place in the feed.
    pub fn feed(&self) -> u64 {
        match self {
            Self::Order(receipt) => receipt.feed,
            Self::Consumption(receipt) => receipt.feed,
        }
    }
}

/// Why a text in a feed is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeedReceiptError {
    /// It is, or claims to be, the receipt of an order.
    #[error(transparent)]
    Order(#[from] ReceiptError),
    /// It claims to be the receipt of a consumption.
    #[error("of a consumption: {0}")]
    Consumption(#[from] SyncError),
}

#[cfg(test)]
mod tests;
