//! Why an operation is refused. It stays refused for ever under its id, with the same words, but where the account was
//! closed: the id, which may be that of a payment, is free to be used for the account that has everything.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::LedgerError;
use super::OperationId;
use super::hold::HoldStatus;
use super::money::LedgerMoney;
use crate::protocol::{AccountId, KeyId, Money, OrderId, UnixSeconds};

/// Why an operation was refused. Nothing was done, and nothing ever will be under its id, unless it is
/// [`Refused::AccountMoved`].
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(tag = "refused", content = "with", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refused {
    /// No device has opened this account.
    #[error("there is no account {0}; a device opens one when it first reaches this server")]
    UnknownAccount(AccountId),
    /// The last device of the account has joined another one, and everything that it had is there.
    #[error("the account {account} was closed: everything that it had is in {to}")]
    AccountMoved {
        /// The account.
        account: AccountId,
        /// Where everything is.
        to: AccountId,
    },
    /// The device is not enrolled.
    #[error("there is no device {0}; `iap-server show` lists an account's devices")]
    UnknownDevice(KeyId),
    /// An amount is more than zero.
    #[error("{0} is not above zero; write an amount above zero")]
    NotPositive(Money),
    /// The wallet would hold, or owe, more than an amount can be.
    #[error("{0} would be too much for the wallet; the most it can hold is 9007199254.740991")]
    TooMuch(Money),
    /// A fee is a part of a credit that was paid for.
    #[error("a fee of {0} cannot be taken from this credit; write 0 up to the credit, and none for a promotional one")]
    FeeOutOfRange(Money),
    /// There is no such order.
    #[error("there is no order {0}; `iap-server show` lists an account's orders")]
    UnknownOrder(OrderId),
    /// The order was not granted, so nothing was paid.
    #[error("the order {0} was declined, so there is nothing to refund")]
    NotGranted(OrderId),
    /// The order was refunded in full before.
    #[error("the order {0} was refunded before; nothing is left of it to refund")]
    AlreadyRefunded(OrderId),
    /// Fewer than that are left of the order.
    #[error("{quantity} of the order {order} cannot be refunded; write 1 up to the {left} that are left")]
    QuantityOutOfRange {
        /// The order.
        order: OrderId,
        /// How many were to be refunded.
        quantity: u32,
        /// How many are left.
        left: u32,
    },
    /// No operation of this id was a credit that was made.
    #[error("there is no credit {0}; pass the id that it was made under")]
    UnknownCredit(OperationId),
    /// Less than that is left of the credit.
    #[error("{money} of the credit {credit} cannot be refunded; {left} is left of it to refund")]
    AboveCredit {
        /// The credit.
        credit: OperationId,
        /// What was to be refunded.
        money: Money,
        /// What was not refunded yet.
        left: Money,
    },
    /// The credit could be refunded up to a time, which is over.
    #[error("the credit {credit} could be refunded before {until} (Unix time); force it if it is a charge-back")]
    TooLate {
        /// The credit.
        credit: OperationId,
        /// Until when.
        until: UnixSeconds,
    },
    /// The credit is spent or held, and only what is unspent was to be refunded.
    #[error("{money} of the credit {credit} is not there any more; {unspent} of it is unspent")]
    Spent {
        /// The credit.
        credit: OperationId,
        /// What was to be refunded.
        money: Money,
        /// What is neither spent, nor held, nor needed for what the wallet owes elsewhere.
        unspent: Money,
    },
    /// The wallet has less.
    #[error("there is not enough in the wallet: {available} is available, and {money} was to be held")]
    InsufficientFunds {
        /// What was to be held.
        money: Money,
        /// What can be spent.
        available: Money,
    },
    /// A hold ends in the future.
    #[error("the hold would end at {0} (Unix time), which is over; write a later time")]
    ExpiresInThePast(UnixSeconds),
    /// No operation of this id was a hold that was made.
    #[error("there is no hold {0}; pass the id that it was made under")]
    UnknownHold(OperationId),
    /// A hold is resolved once.
    #[error("the hold {hold} was {} before; a hold is resolved once", .status.as_str())]
    HoldResolved {
        /// The hold.
        hold: OperationId,
        /// What became of it.
        status: HoldStatus,
    },
    /// A hold has set aside less.
    #[error("{money} cannot be taken from the hold {hold}; it holds {held}")]
    AboveHold {
        /// The hold.
        hold: OperationId,
        /// What was to be taken.
        money: Money,
        /// What it holds.
        held: Money,
    },
    /// A creator is owed less.
    #[error("{money} cannot be paid out; {payable} is payable")]
    AbovePayable {
        /// What was to be paid.
        money: Money,
        /// What is owed to the creator; below zero after refunds of what was paid out already.
        payable: LedgerMoney,
    },
}

impl Refused {
    /// Whether that is the decision of the operation's id for ever.
    pub(crate) fn is_final(&self) -> bool {
        !matches!(self, Self::AccountMoved { .. })
    }
}

/// Why an operation was not done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OperateError {
    /// It is refused, for ever.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The id belongs to another operation. That one stands, and this one may be tried under an id of its own.
    #[error("the id {0} was used for another operation; use each id for one")]
    IdUsed(OperationId),
    /// The books could not be read or written. The same may be tried again under the same id.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
