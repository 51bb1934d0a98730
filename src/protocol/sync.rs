//! One exchange between a device and its server: enrolment, and orders up, receipts down.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::UnixSeconds;
use super::allowance::AllowanceRequest;
use super::consumption::MAX_CONSUMPTIONS;
use super::count;
use super::digest::Sha256;
use super::envelope::{self, Claims, EnvelopeError, Token};
use super::keys::{Jwk, KeyError, KeyId, PublicKey, SecretKey, TrustError, TrustedKeys};
use super::money::{Currency, Micros};
use super::name::{AccountId, GameId, ReceiptId};

/// The most orders in one sync.
pub const MAX_ORDERS: usize = 256;

/// The most receipts of the feed in one answer; `more` says that there are others.
pub const MAX_RECEIPTS: usize = 256;

/// The most balances of a wallet that a device tells of.
pub const MAX_BALANCES: usize = 256;

/// The longest that a server holds an answer until there is news, in seconds.
pub const LONGEST_WAIT: u64 = 30;

/// The body of `POST /v1/devices`: a public key, and its own word that it wants to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// The device's public key.
    pub jwk: Jwk,
    /// An `iap-device+jwt`, signed by that key.
    pub proof: Token,
}

/// The claims of an `iap-device+jwt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceProof {
    /// The device that signs.
    #[serde(rename = "iss")]
    pub device: KeyId,
    /// The account that it opens, its own guest account; or the one in which it takes another device's place.
    #[serde(rename = "sub")]
    pub account: AccountId,
    /// The game.
    #[serde(rename = "aud")]
    pub game: GameId,
    /// When, by the device's clock.
    #[serde(rename = "iat")]
    pub issued_at: UnixSeconds,
}

impl Claims for DeviceProof {
    const TYPE: &'static str = "iap-device+jwt";
}

impl Enrolment {
    /// Asks for the device with `key` to be enrolled in `game` as a guest.
    ///
    /// # Errors
    /// As [`envelope::sign`].
    pub fn sign(key: &SecretKey, game: &GameId, now: UnixSeconds) -> Result<Self, EnvelopeError> {
        Self::sign_into(key, &key.id().guest_account(), game, now)
    }

    /// Says that the device with `key` wants to take the place of another one in `account`.
    ///
    /// # Errors
    /// As [`envelope::sign`].
    pub fn sign_into(
        key: &SecretKey,
        account: &AccountId,
        game: &GameId,
        now: UnixSeconds,
    ) -> Result<Self, EnvelopeError> {
        let proof = DeviceProof { device: key.id(), account: account.clone(), game: game.clone(), issued_at: now };
        Ok(Self { jwk: key.public().into(), proof: envelope::sign(&proof, key)? })
    }

    /// Verifies that the holder of the key asks to join `game`, and that the key may be enrolled.
    ///
    /// # Errors
    /// The key breaks the enrolment rule, the proof does not verify, or it is for another game or account.
    pub fn verify(&self, game: &GameId) -> Result<(PublicKey, DeviceProof), SyncError> {
        self.verify_into(&self.jwk.public_key()?.id().guest_account(), game)
    }

    /// Verifies what the holder of the key asks, in whichever account it is.
    ///
    /// # Errors
    /// As [`Enrolment::verify`], but for the account.
    pub fn verify_anywhere(&self, game: &GameId) -> Result<(PublicKey, DeviceProof), SyncError> {
        let key = self.jwk.public_key()?;
        let (kid, proof) = envelope::verify::<DeviceProof>(&self.proof, &[key])?;
        check_parties(kid, proof.device, game, &proof.game, &proof.account, &proof.account)?;
        Ok((key, proof))
    }

    /// Verifies that the holder of the key asks to take the place of another device in `account`.
    ///
    /// # Errors
    /// As [`Enrolment::verify`].
    pub fn verify_into(&self, account: &AccountId, game: &GameId) -> Result<(PublicKey, DeviceProof), SyncError> {
        let key = self.jwk.public_key()?;
        let (kid, proof) = envelope::verify::<DeviceProof>(&self.proof, &[key])?;
        check_parties(kid, proof.device, game, &proof.game, account, &proof.account)?;
        Ok((key, proof))
    }
}

/// The claims of an `iap-sync+jwt`: what a device sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRequest {
    /// The device that signs.
    #[serde(rename = "iss")]
    pub device: KeyId,
    /// The account.
    #[serde(rename = "sub")]
    pub account: AccountId,
    /// The game.
    #[serde(rename = "aud")]
    pub game: GameId,
    /// When, by the device's clock.
    #[serde(rename = "iat")]
    pub issued_at: UnixSeconds,
    /// 128 random bits, so that no two requests are alike.
    #[serde(rename = "jti")]
    pub id: ReceiptId,
    /// The place in the feed up to which the device has everything.
    pub cursor: u64,
    /// Orders that have no receipt yet, oldest first; at most [`MAX_ORDERS`].
    pub orders: Vec<Token>,
    /// The number of the list of keys that the device has; 0 if it has none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub keys: u64,
    /// What allowance the device wants; none if it does not spend offline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowance: Option<AllowanceRequest>,
    /// Consumptions whose receipts are not in the feed up to the cursor, oldest first; at most [`MAX_CONSUMPTIONS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consumptions: Vec<Token>,
    /// How long the server may hold its answer until there is news; none for an answer at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
}

/// What a device says that asks for news and has nothing to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The longest that it waits, in seconds; the server answers after [`LONGEST_WAIT`] at the latest.
    pub seconds: u64,
    /// The wallet as the device last heard of it: another one is news. At most [`MAX_BALANCES`].
    pub wallet: Vec<Balance>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Claims for SyncRequest {
    const TYPE: &'static str = "iap-sync+jwt";
    const MAX_LENGTH: usize = 1024 * 1024;
}

impl SyncRequest {
    /// Signs the request.
    ///
    /// # Errors
    /// As [`envelope::sign`].
    pub fn sign(&self, key: &SecretKey) -> Result<Token, EnvelopeError> {
        envelope::sign(self, key)
    }

    /// Verifies a request of the device with `key`, which belongs to `account`, for `game`.
    ///
    /// # Errors
    /// The token does not verify, is another device's, account's or game's, or holds too many orders, consumptions or
    /// balances.
    pub fn verify(token: &Token, key: PublicKey, account: &AccountId, game: &GameId) -> Result<Self, SyncError> {
        let (kid, request) = envelope::verify::<Self>(token, &[key])?;
        check_parties(kid, request.device, game, &request.game, account, &request.account)?;
        if request.orders.len() > MAX_ORDERS {
            return Err(SyncError::TooManyOrders(request.orders.len()));
        }
        if request.consumptions.len() > MAX_CONSUMPTIONS {
            return Err(SyncError::TooManyConsumptions(request.consumptions.len()));
        }
        if let Some(wait) = request.wait.as_ref().filter(|wait| wait.wallet.len() > MAX_BALANCES) {
            return Err(SyncError::TooManyBalances(wait.wallet.len()));
        }
        Ok(request)
    }

    /// The device that a request says it is from, before anything is verified: only good for looking up its key.
    ///
    /// # Errors
    /// The token is too long, or not one of this kind at all.
    pub fn claimed_device(token: &Token) -> Result<KeyId, EnvelopeError> {
        envelope::claimed_key::<Self>(token)
    }
}

/// The claims of an `iap-sync-response+jwt`: what the server answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncResponse {
    /// The server that signs, by its key.
    #[serde(rename = "iss")]
    pub server: KeyId,
    /// The account.
    #[serde(rename = "sub")]
    pub account: AccountId,
    /// The game.
    #[serde(rename = "aud")]
    pub game: GameId,
    /// When, by the server's clock.
    #[serde(rename = "iat")]
    pub issued_at: UnixSeconds,
    /// The digest of the request that this answers, so that no old answer can be played again.
    pub request_sha256: Sha256,
    /// The answers to the orders sent, then the feed after the cursor.
    pub receipts: Vec<Token>,
    /// The place in the feed up to which the device has everything once it has these.
    pub cursor: u64,
    /// Whether the feed goes on after that place, or consumptions of the request are not decided yet: then the device
    /// asks again at once.
    pub more: bool,
    /// The wallet, one entry per currency.
    pub wallet: Vec<Balance>,
    /// The last order of this device that was settled, for its next one to follow; none if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainHead>,
    /// The digest of the catalogue that the server sells from.
    pub catalog: Sha256,
    /// The allowance that the device should make orders within from now on, if there is one for it, and it is another
    /// than the request's `current`; each is an `iap-allowance+jwt`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowances: Vec<Token>,
    /// The highest number of a consumption of this device that was decided, for its next one to have a higher one; 0 if
    /// there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub consumed_sequence: u64,
}

impl Claims for SyncResponse {
    const TYPE: &'static str = "iap-sync-response+jwt";
    const MAX_LENGTH: usize = 32 * 1024 * 1024;
}

impl SyncResponse {
    /// Signs the response.
    ///
    /// # Errors
    /// As [`envelope::sign`].
    pub fn sign(&self, key: &SecretKey) -> Result<Token, EnvelopeError> {
        envelope::sign(self, key)
    }

    /// Verifies that one of the trusted server `keys` answers `request`, for `account` and `game`.
    ///
    /// # Errors
    /// The token does not verify, is for another account or game, answers another request, or its key is not trusted
    /// now.
    pub fn verify(
        token: &Token,
        keys: &(impl TrustedKeys + ?Sized),
        account: &AccountId,
        game: &GameId,
        request: &Token,
    ) -> Result<Self, SyncError> {
        let (kid, response) = envelope::verify::<Self>(token, keys)?;
        check_parties(kid, response.server, game, &response.game, account, &response.account)?;
        if response.request_sha256 != request.sha256() {
            return Err(SyncError::AnswersAnotherRequest);
        }
        keys.judge_answer(kid, response.issued_at)?;
        Ok(response)
    }
}

/// What a wallet holds in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Balance {
    /// The currency.
    pub currency: Currency,
    /// What can be spent; below zero only after a refund of something used.
    pub available: Micros,
    /// What is set aside.
    pub held: Micros,
}

/// A place in a device's chain of orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// The number of the last order.
    #[serde(deserialize_with = "count::deserialize")]
    pub sequence: u64,
    /// The digest of its token.
    pub order_sha256: Sha256,
}

pub(super) fn check_parties(
    signer: KeyId,
    issuer: KeyId,
    game: &GameId,
    audience: &GameId,
    account: &AccountId,
    subject: &AccountId,
) -> Result<(), SyncError> {
    if issuer != signer {
        return Err(SyncError::WrongIssuer { expected: signer, found: issuer });
    }
    if audience != game {
        return Err(SyncError::WrongAudience { expected: game.clone(), found: audience.clone() });
    }
    if subject != account {
        return Err(SyncError::WrongAccount { expected: account.clone(), found: subject.clone() });
    }
    Ok(())
}

/// Why a message between a device and its server is not to be acted on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The token itself is not to be believed.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The key may not be enrolled.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The server's key is not trusted now.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// It names an issuer other than the key that signed it.
    #[error("the message names the issuer {found}, but {expected} signed it")]
    WrongIssuer {
        /// The key that signed.
        expected: KeyId,
        /// The issuer named in the claims.
        found: KeyId,
    },
    /// It is for another game.
    #[error("the message is for the game {found}, and this is {expected}")]
    WrongAudience {
        /// This game.
        expected: GameId,
        /// The game named in the claims.
        found: GameId,
    },
    /// It is for another account.
    #[error("the message is for the account {found}, and this is {expected}")]
    WrongAccount {
        /// The account it should be for.
        expected: AccountId,
        /// The account named in the claims.
        found: AccountId,
    },
    /// It holds more orders than one sync may.
    #[error("the request holds {0} orders, and may hold {MAX_ORDERS}; send the rest in the next one")]
    TooManyOrders(usize),
    /// It holds more consumptions than one sync may.
    #[error("the request holds {0} consumptions, and may hold {MAX_CONSUMPTIONS}; send the rest in the next one")]
    TooManyConsumptions(usize),
    /// It tells of more balances than there are currencies.
    #[error("the request tells of {0} balances, and may tell of {MAX_BALANCES}; send the wallet as it was answered")]
    TooManyBalances(usize),
    /// It answers a request that was not this one.
    #[error("the response answers another request")]
    AnswersAnotherRequest,
}
