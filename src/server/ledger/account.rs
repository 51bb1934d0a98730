//! The accounts of the ledger: players' lots, and the accounts of the house.

use std::fmt;

use super::TransferId;
use crate::protocol::{CreatorId, Currency, GameId, NameError, OrderId, Sha256, SourceId};

/// Where the operator's credits come from, unless another source is named.
pub(crate) const OPERATOR: &str = "operator";
/// Where welcome credit comes from.
pub(crate) const WELCOME: &str = "welcome";

macro_rules! kinds {
    ($(#[$doc:meta])* $type:ident { $($(#[$kind_doc:meta])* $name:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$kind_doc])* $name,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The kind as the books write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The kind that the books write as `text`.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
            }
        }
    };
}

pub(super) use kinds;

kinds! {
    /// The kinds of account in the ledger.
    AccountKind {
        /// A lot of what a player holds; owned by the player's account.
        Wallet = "wallet",
        /// What the game has earned; owned by the game.
        Revenue = "revenue",
        /// What creators have earned and were not paid yet; owned by the creator.
        Payable = "payable",
        /// Where paid money comes from, and goes back to; owned by its source.
        Funding = "funding",
        /// Where money comes from that nobody paid; owned by its source.
        Promotion = "promotion",
        /// What sources of funding have kept for themselves; owned by the source.
        Fees = "fees",
    }
}

/// 128 bits that name an account of the ledger: for a lot the id of the transfer that opened it, and for an account of
/// the house a digest of its kind, owner and currency. So every engine, and every server, names it alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountNumber(pub [u8; 16]);

impl AccountNumber {
    /// The account of the lot that the transfer `id` opened.
    pub fn of_lot(id: TransferId) -> Self {
        Self(id.0)
    }
}

impl fmt::Display for AccountNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        OrderId(self.0).fmt(f)
    }
}

impl fmt::Debug for AccountNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// An account that is no player's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct House {
    /// Its kind; never a wallet.
    pub kind: AccountKind,
    /// Whose it is.
    pub owner: String,
    /// What it is kept in.
    pub currency: Currency,
}

impl House {
    /// What a game has earned.
    pub fn revenue(game: &GameId, currency: Currency) -> Self {
        Self { kind: AccountKind::Revenue, owner: game.to_string(), currency }
    }

    /// What a creator is owed.
    pub fn payable(creator: &CreatorId, currency: Currency) -> Self {
        Self { kind: AccountKind::Payable, owner: creator.to_string(), currency }
    }

    /// Where the money of a lot comes from.
    pub fn origin(origin: Origin, source: &SourceId, currency: Currency) -> Self {
        let kind = match origin {
            Origin::Paid => AccountKind::Funding,
            Origin::Promotional => AccountKind::Promotion,
        };
        Self { kind, owner: source.to_string(), currency }
    }

    /// What a source of funding has kept.
    pub fn fees(source: &SourceId, currency: Currency) -> Self {
        Self { kind: AccountKind::Fees, owner: source.to_string(), currency }
    }

    /// The number that names it.
    pub fn number(&self) -> AccountNumber {
        let Self { kind, owner, currency } = self;
        let Sha256(digest) = Sha256::of(format!("account\0{}\0{owner}\0{currency}", kind.as_str()));
        let mut number = [0; 16];
        number.copy_from_slice(&digest[..16]);
        AccountNumber(number)
    }
}

kinds! {
    /// Whether somebody has paid for the money in a lot.
    Origin {
        /// Somebody has.
        Paid = "paid",
        /// Nobody has: it was given away.
        Promotional = "promotional",
    }
}

impl serde::Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Origin {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("write `paid` or `promotional`"))
    }
}

/// The source called `name`.
pub(crate) fn source(name: &str) -> Result<SourceId, NameError> {
    name.parse()
}
