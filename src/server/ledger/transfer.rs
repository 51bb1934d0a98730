//! Transfers and the accounts that they move money between.

use std::fmt;
use std::str::FromStr;

use crate::protocol::{AccountId, NameError, OrderId, Sha256};

/// The owner of the accounts that the operator's money comes from.
pub(crate) const OPERATOR: &str = "operator";
/// The owner of the accounts that welcome credit comes from.
pub(crate) const WELCOME: &str = "welcome";

/// 128 bits that name a transfer. An id is used once: that is what keeps money from moving twice.
///
/// The ids of transfers for orders are digests, and never the order's own id: devices choose those, and one that chose
/// the id of another transfer could otherwise stand in its way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub [u8; 16]);

impl TransferId {
    /// The transfer that pays for an order.
    pub fn of_purchase(order: OrderId) -> Self {
        Self::derived("purchase", &order.0)
    }

    /// The transfer that pays an order back.
    pub fn of_refund(order: OrderId) -> Self {
        Self::derived("refund", &order.0)
    }

    /// The transfer that welcomes an account.
    pub fn of_welcome(account: &AccountId) -> Self {
        Self::derived("welcome", account.as_str().as_bytes())
    }

    fn derived(kind: &str, of: &[u8]) -> Self {
        let Sha256(digest) = Sha256::of([kind.as_bytes(), of].concat());
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        OrderId(self.0).fmt(f)
    }
}

impl fmt::Debug for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for TransferId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let OrderId(id) = text.parse().map_err(|error| NameError { kind: "transfer id", ..error })?;
        Ok(Self(id))
    }
}

macro_rules! kinds {
    ($(#[$doc:meta])* $type:ident { $($(#[$kind_doc:meta])* $name:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$kind_doc])* $name,)*
        }

        impl $type {
            /// The kind as the books write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

kinds! {
    /// The kinds of account in the ledger.
    AccountKind {
        /// What a player holds; owned by the player's account.
        Wallet = "wallet",
        /// What the game has earned; owned by the game.
        Revenue = "revenue",
        /// Where money comes from; owned by its source.
        Funding = "funding",
    }
}

kinds! {
    /// The kinds of transfer.
    TransferKind {
        /// From a wallet to the revenue, for an order.
        Purchase = "purchase",
        /// From the operator to a wallet.
        Credit = "credit",
        /// To a wallet, when its account is opened.
        Welcome = "welcome",
        /// From the revenue back to a wallet, for an order.
        Refund = "refund",
    }
}
