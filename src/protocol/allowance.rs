//! The allowance: what the server lets one device spend while it is offline, backed by a hold on the wallet.
//!
//! An [`Allowance`] is signed by the server and is for one device alone. An order that is made within it says so with an
//! [`AllowanceUse`], and is granted whatever happens to the wallet meanwhile.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::UnixSeconds;
use super::count;
use super::digest::Sha256;
use super::envelope::{self, Claims, EnvelopeError, Token};
use super::keys::{KeyId, SecretKey, TrustError, TrustedKeys};
use super::money::{Currency, Micros, Money};
use super::name::{AccountId, AllowanceId, GameId, PolicyId};

/// The claims of an `iap-allowance+jwt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// The allowance's own id, which is that of the hold behind it too.
    #[serde(rename = "jti")]
    pub id: AllowanceId,
    /// The server that signs, by its key.
    #[serde(rename = "iss")]
    pub server: KeyId,
    /// The game.
    #[serde(rename = "aud")]
    pub game: GameId,
    /// The account that pays.
    #[serde(rename = "sub")]
    pub account: AccountId,
    /// When it was signed, by the server's clock.
    #[serde(rename = "iat")]
    pub issued_at: UnixSeconds,
    /// The one device that may spend it.
    pub device: KeyId,
    /// How much may be spent in all.
    #[serde(deserialize_with = "positive_money")]
    pub total: Money,
    /// How much one order may cost at most, in micros of the same currency.
    #[serde(deserialize_with = "positive_micros")]
    pub per_order: Micros,
    /// How many orders may be made at most.
    #[serde(with = "count")]
    pub orders: u64,
    /// The digest of the catalogue whose prices it is for.
    pub catalog: Sha256,
    /// From when on no order may be made within it, by the server's clock as far as the device knows it.
    #[serde(rename = "exp")]
    pub expires_at: UnixSeconds,
    /// Until when the server honours orders that were made within it: from then on what is unused is free again.
    pub settle_by: UnixSeconds,
    /// The rules by which it was given.
    pub policy: PolicyId,
}

impl Claims for Allowance {
    const TYPE: &'static str = "iap-allowance+jwt";
}

impl Allowance {
    /// Signs the allowance.
    ///
    /// # Errors
    /// As [`envelope::sign`].
    pub fn sign(&self, key: &SecretKey) -> Result<Token, EnvelopeError> {
        envelope::sign(self, key)
    }

    /// Verifies an allowance of one of the trusted server `keys`, for `game`, that must be `account`'s and `device`'s.
    ///
    /// # Errors
    /// The token does not verify, names another issuer than its signer, is another game's, account's or device's, ends
    /// before it begins, or was signed outside the key's time.
    pub fn verify(
        token: &Token,
        keys: &(impl TrustedKeys + ?Sized),
        game: &GameId,
        account: &AccountId,
        device: KeyId,
    ) -> Result<Self, AllowanceError> {
        let (kid, allowance) = envelope::verify::<Self>(token, keys)?;
        if allowance.server != kid {
            return Err(AllowanceError::WrongIssuer { expected: kid, found: allowance.server });
        }
        if allowance.game != *game {
            return Err(AllowanceError::WrongAudience { expected: game.clone(), found: allowance.game });
        }
        if allowance.account != *account {
            return Err(AllowanceError::WrongAccount { expected: account.clone(), found: allowance.account });
        }
        if allowance.device != device {
            return Err(AllowanceError::WrongDevice { expected: device, found: allowance.device });
        }
        if allowance.expires_at < allowance.issued_at || allowance.settle_by < allowance.expires_at {
            return Err(AllowanceError::Times);
        }
        keys.judge(kid, allowance.issued_at)?;
        Ok(allowance)
    }
}

/// What an order says about the allowance that it is made within.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowanceUse {
    /// The allowance.
    pub id: AllowanceId,
    /// How much of it is spent by its orders so far, this one included, in micros.
    #[serde(deserialize_with = "spent_micros")]
    pub spent: Micros,
    /// How many orders were made within it so far, this one included.
    #[serde(with = "count")]
    pub orders: u64,
}

/// What a device that wants an allowance says when it syncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowanceRequest {
    /// The allowance that the device makes orders within from now on, if it has one. No order that is not answered yet
    /// was made within an older one, so the server closes those that the device has in this currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<AllowanceId>,
    /// The currency in which it wants one.
    pub currency: Currency,
}

fn positive_money<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
    let money = Money::deserialize(deserializer)?;
    at_least(1, money.micros).map(|micros| Money { micros, ..money })
}

fn positive_micros<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Micros, D::Error> {
    at_least(1, Micros::deserialize(deserializer)?)
}

fn spent_micros<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Micros, D::Error> {
    at_least(0, Micros::deserialize(deserializer)?)
}

fn at_least<E: serde::de::Error>(least: i64, micros: Micros) -> Result<Micros, E> {
    match micros.value() >= least {
        true => Ok(micros),
        false => Err(E::custom(format_args!("{} micros is out of range: this is {least} at least", micros.value()))),
    }
}

/// Why a token is not an allowance to be spent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AllowanceError {
    /// The token itself is not to be believed.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Its key was not trusted when it was signed.
    #[error("the allowance does not count: {0}")]
    Trust(#[from] TrustError),
    /// It names an issuer other than the key that signed it.
    #[error("the allowance names the issuer {found}, but {expected} signed it")]
    WrongIssuer {
        /// The key that signed.
        expected: KeyId,
        /// The issuer named in the claims.
        found: KeyId,
    },
    /// It is for another game.
    #[error("the allowance is for the game {found}, and this is {expected}")]
    WrongAudience {
        /// This game.
        expected: GameId,
        /// The game named in the claims.
        found: GameId,
    },
    /// It is somebody else's.
    #[error("the allowance is for the account {found}, and this is {expected}")]
    WrongAccount {
        /// This account.
        expected: AccountId,
        /// The account named in the claims.
        found: AccountId,
    },
    /// It is for another device.
    #[error("the allowance is for the device {found}, and this is {expected}")]
    WrongDevice {
        /// This device.
        expected: KeyId,
        /// The device named in the claims.
        found: KeyId,
    },
    /// It would end before it begins.
    #[error("the allowance ends before it was signed, or is settled before it ends")]
    Times,
}

#[cfg(test)]
mod tests;
