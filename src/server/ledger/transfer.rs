//! Transfers: each moves an amount from one account to another, or sets it aside, and never changes.

use std::fmt;
use std::str::FromStr;

use super::account::{AccountNumber, kinds};
use crate::protocol::text::serde_as_text;
use crate::protocol::{AccountId, KeyId, NameError, OrderId, Sha256, UnixSeconds};

/// 128 bits that name a transfer. An id is used once: that is what keeps money from moving twice.
///
/// It is a digest of what the transfer is for, and never an id that a device or an operator chose: whoever chose the id
/// of another transfer could otherwise stand in its way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub [u8; 16]);

impl TransferId {
    /// A transfer that pays for an order, by its number among them, from 0.
    pub fn of_purchase(order: OrderId, leg: u32) -> Self {
        Self::derived("purchase", &order.0, leg)
    }

    /// The transfer that welcomes an account.
    pub fn of_welcome(account: &AccountId) -> Self {
        Self::derived("welcome", account.as_str().as_bytes(), 0)
    }

    /// A transfer of a kind that an operation makes, by its number among them, from 0.
    pub fn of_operation(kind: TransferKind, operation: OperationId, leg: u32) -> Self {
        Self::derived(kind.as_str(), &operation.0, leg)
    }

    /// The transfer by which a part of a lot goes back to its source when its owner's last device moves to another
    /// account, which is the move of this number for the device.
    pub(crate) fn of_move(device: KeyId, number: i64, lot: TransferId) -> Self {
        let of = [device.to_string().as_bytes(), &number.to_be_bytes(), &lot.0].concat();
        Self::derived("move", &of, 0)
    }

    /// The lot that a credit opened.
    pub fn of_credit(operation: OperationId) -> Self {
        Self::of_operation(TransferKind::Credit, operation, 0)
    }

    fn derived(kind: &str, of: &[u8], leg: u32) -> Self {
        // The kind ends at the first zero byte and the number is the last four, so no two of these texts are alike.
        let Sha256(digest) = Sha256::of([kind.as_bytes(), &[0], of, &leg.to_be_bytes()].concat());
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }
}

/// 128 bits that the operator chooses to name something that is to be done. It is used once, for ever: what was done
/// under it is not done again, and what was refused under it stays refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub [u8; 16]);

macro_rules! as_hexadecimal {
    ($type:ident, $kind:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                OrderId(self.0).fmt(f)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let OrderId(id) = text.parse().map_err(|error| NameError { kind: $kind, ..error })?;
                Ok(Self(id))
            }
        }

        serde_as_text!($type);
    };
}

as_hexadecimal!(TransferId, "transfer id");
as_hexadecimal!(OperationId, "operation id");

kinds! {
    /// The kinds of transfer.
    TransferKind {
        /// From a source to a lot, which it opens.
        Credit = "credit",
        /// From a source of promotions to a lot, which it opens, when a player's account is opened.
        Welcome = "welcome",
        /// From the fees of a source to its funding: what it has kept of a credit.
        Fee = "fee",
        /// From a lot to the revenue or to a creator, for an order.
        Purchase = "purchase",
        /// The way back of a purchase, in full or in part.
        Refund = "refund",
        /// From a lot back to the source that its credit came from.
        CreditRefund = "credit_refund",
        /// Sets aside what is in a lot, for the revenue; moves nothing.
        Hold = "hold",
        /// From a lot to the revenue, out of what was set aside.
        Post = "post",
        /// From what a creator is owed to a source of funding, which has paid it.
        Payout = "payout",
    }
}

/// A transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Its id.
    pub id: TransferId,
    /// Its kind.
    pub kind: TransferKind,
    /// The account that it moves money from.
    pub debit: AccountNumber,
    /// The account that it moves money to.
    pub credit: AccountNumber,
    /// How much, in micros; above zero.
    pub amount: i64,
    /// The order that it is for.
    pub order: Option<OrderId>,
    /// The operation that set the money aside, for a hold and what was posted of it.
    pub hold: Option<OperationId>,
    /// When it was written.
    pub at: UnixSeconds,
}
