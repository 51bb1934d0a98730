//! The receipt: a server's signed answer to an order, and the check that it is for this game and account.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::UnixSeconds;
use super::count::{self, COUNTS};
use super::digest::Sha256;
use super::envelope::{self, Claims, EnvelopeError, Token};
use super::keys::{KeyId, SecretKey, TrustError, TrustedKeys};
use super::money::Money;
use super::name::{AccountId, EntitlementId, GameId, ItemId, OrderId, ProductId, ReceiptId};

/// The claims of an `iap-receipt+jwt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Receipt {
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
    /// Its place in the account's feed: 1, 2, 3 …
    #[serde(with = "count")]
    pub feed: u64,
    /// The order it answers.
    pub order: OrderId,
    /// The digest of that order's token.
    pub order_sha256: Sha256,
    /// What became of the order.
    pub status: Status,
    /// Why, where the status is not `granted`, or where less is granted than was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What was ordered.
    pub product: ProductId,
    /// How many were ordered, or are left after a refund in part.
    pub quantity: u32,
    /// What was charged, or is left of it after a refund in part, or was given back; zero for a declined order.
    pub amount: Money,
    /// What the account gets, or loses again; empty for a declined order.
    pub grants: Vec<Grant>,
}

impl Claims for Receipt {
    const TYPE: &'static str = "iap-receipt+jwt";
    const MAX_LENGTH: usize = 32 * 1024;
}

impl Receipt {
    /// Signs the receipt.
    ///
    /// # Errors
    /// As [`envelope::sign`].
    pub fn sign(&self, key: &SecretKey) -> Result<Token, EnvelopeError> {
        envelope::sign(self, key)
    }

    /// Verifies a receipt of one of the trusted server `keys`, for `game`, whoever's it is.
    ///
    /// This is what a game's back end calls; it then looks at `account`, `status` and `grants` itself.
    ///
    /// # Errors
    /// The token does not verify, names another issuer than its signer, is for another game, or was signed
    /// outside the key's time.
    pub fn verify(token: &Token, keys: &(impl TrustedKeys + ?Sized), game: &GameId) -> Result<Self, ReceiptError> {
        let (kid, receipt) = envelope::verify::<Self>(token, keys)?;
        if receipt.server != kid {
            return Err(ReceiptError::WrongIssuer { expected: kid, found: receipt.server });
        }
        if receipt.game != *game {
            return Err(ReceiptError::WrongAudience { expected: game.clone(), found: receipt.game });
        }
        keys.judge(kid, receipt.issued_at)?;
        Ok(receipt)
    }

    /// Verifies a receipt that must be `account`'s.
    ///
    /// # Errors
    /// As [`Receipt::verify`], or the receipt is another account's.
    pub fn verify_for(
        token: &Token,
        keys: &(impl TrustedKeys + ?Sized),
        game: &GameId,
        account: &AccountId,
    ) -> Result<Self, ReceiptError> {
        let receipt = Self::verify(token, keys, game)?;
        if receipt.account != *account {
            return Err(ReceiptError::WrongAccount { expected: account.clone(), found: receipt.account });
        }
        Ok(receipt)
    }
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Paid, and the grants are the account's.
    Granted,
    /// Not paid, and never will be.
    Declined,
    /// Waiting for somebody else, for example a parent; another receipt will follow.
    Pending,
    /// Paid back; the grants are the account's no longer.
    Refunded,
    /// Taken back without a refund.
    Revoked,
    /// A status that this version does not know. It changes nothing; an update of the game may know more.
    #[serde(other)]
    Other,
}

impl Status {
    /// Whether it decides an order until the server says otherwise, rather than asking to wait.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Other)
    }
}

/// Why an order was declined, refunded or revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The wallet holds less than the price.
    InsufficientFunds,
    /// The server's catalogue has no such product.
    UnknownProduct,
    /// The order names the server's catalogue but another price than is in it.
    PriceMismatch,
    /// The order was made from a catalogue that is no longer the server's, in which the price was another.
    StaleCatalog,
    /// The account has this unlock, or the pass is still running.
    AlreadyOwned,
    /// The quantity is not one that the product can be bought in.
    QuantityOutOfRange,
    /// The order does not follow the device's last one: the save was copied or rolled back.
    ChainBroken,
    /// The device signed two different orders in one place of its chain, and one of them within an allowance: nothing is
    /// sold to it until the operator thaws it.
    DeviceFrozen,
    /// The operator decided it.
    Operator,
    /// The order stands, but less of it: a part was paid back.
    RefundedInPart,
    /// The order stands, and is this account's now: the device that made it has joined the account, and brought along
    /// what it had bought before.
    Moved,
    /// A reason that this version does not know.
    #[serde(other)]
    Other,
}

/// A sentence for a person.
impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InsufficientFunds => "there is not enough in the wallet",
            Self::UnknownProduct => "the store does not sell this product",
            Self::PriceMismatch => "the price in the order is not the catalogue's",
            Self::StaleCatalog => "the price has changed since this catalogue; update the game",
            Self::AlreadyOwned => "it is already owned",
            Self::QuantityOutOfRange => "it cannot be bought in this quantity",
            Self::ChainBroken => "this save was copied or rolled back; buy again",
            Self::DeviceFrozen => "this device was copied and has spent twice; ask the operator of the store",
            Self::Operator => "the operator of the store decided so",
            Self::RefundedInPart => "a part of it was paid back",
            Self::Moved => "it was bought before this device joined the account",
            Self::Other => "the store gave a reason that this version of the game does not know",
        })
    }
}

/// What an account gets from an order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(untagged, try_from = "GrantMembers")]
pub enum Grant {
    /// A right: for ever, or until a time by the server's clock.
    Entitlement {
        /// The right's name.
        entitlement: EntitlementId,
        /// When it ends; never, if there is none.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<UnixSeconds>,
    },
    /// A number of countable things.
    Item {
        /// The thing's name.
        item: ItemId,
        /// How many, at least one.
        quantity: u64,
    },
}

/// The members that a grant may have. Those of a right and of an item are never mixed, so that no two readers take one
/// grant for two different ones.
#[derive(Deserialize)]
struct GrantMembers {
    entitlement: Option<EntitlementId>,
    until: Option<UnixSeconds>,
    item: Option<ItemId>,
    quantity: Option<u64>,
}

impl TryFrom<GrantMembers> for Grant {
    type Error = &'static str;

    fn try_from(members: GrantMembers) -> Result<Self, &'static str> {
        match members {
            GrantMembers { entitlement: Some(entitlement), until, item: None, quantity: None } => {
                Ok(Self::Entitlement { entitlement, until })
            }
            GrantMembers { entitlement: None, until: None, item: Some(item), quantity: Some(quantity) }
                if COUNTS.contains(&quantity) =>
            {
                Ok(Self::Item { item, quantity })
            }
            _ => Err("a grant is an `entitlement` and perhaps its `until`, or an `item` and its `quantity` from 1"),
        }
    }
}

/// Why a token is not a receipt to be believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// The token itself is not to be believed.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Its key was not trusted when it was signed.
    #[error("the receipt does not count: {0}")]
    Trust(#[from] TrustError),
    /// It names an issuer other than the key that signed it.
    #[error("the receipt names the issuer {found}, but {expected} signed it")]
    WrongIssuer {
        /// The key that signed.
        expected: KeyId,
        /// The issuer named in the claims.
        found: KeyId,
    },
    /// It is for another game.
    #[error("the receipt is for the game {found}, and this is {expected}")]
    WrongAudience {
        /// This game.
        expected: GameId,
        /// The game named in the claims.
        found: GameId,
    },
    /// It is somebody else's.
    #[error("the receipt is for the account {found}, and this is {expected}")]
    WrongAccount {
        /// This account.
        expected: AccountId,
        /// The account named in the claims.
        found: AccountId,
    },
}
