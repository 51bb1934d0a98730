//! What an operator does to the books: each under an id of its own, once, and answered alike for ever.

use serde::{Deserialize, Serialize};

use super::OperationId;
use super::account::{OPERATOR, Origin, source};
use super::money::LedgerMoney;
use super::refused::Refused;
use crate::protocol::account::DeviceName;
use crate::protocol::sync::Balance;
use crate::protocol::{
    AccountId, CreatorId, KeyId, Micros, Money, NameError, OrderId, Receipt, Sha256, SourceId, UnixSeconds,
};

/// Something that an operator wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The id that it is done under. Sent again with the same action it gets the same answer, and nothing is done.
    pub id: OperationId,
    /// What is to be done.
    pub action: Action,
}

impl Operation {
    /// An action to be done under `id`.
    pub fn new(id: OperationId, action: impl Into<Action>) -> Self {
        Self { id, action: action.into() }
    }
}

/// What an operator can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Add money to a wallet.
    Credit(Credit),
    /// Give an order's money back to the wallet, and take back what it gave.
    RefundOrder(RefundOrder),
    /// Give a credit's money back to its source.
    RefundCredit(RefundCredit),
    /// Set money aside.
    Hold(Hold),
    /// Take what was set aside.
    Post(Post),
    /// Give free what was set aside.
    Void(Void),
    /// Tell that a creator was paid.
    Payout(Payout),
    /// Sell nothing to a device.
    FreezeDevice(FreezeDevice),
    /// Sell to a device again.
    ThawDevice(ThawDevice),
    /// Have a device buy nothing and hear nothing any more.
    RevokeDevice(RevokeDevice),
    /// Call a device by a name.
    NameDevice(NameDevice),
}

macro_rules! actions {
    ($($name:ident,)*) => {
        $(impl From<$name> for Action {
            fn from(action: $name) -> Self {
                Self::$name(action)
            }
        })*
    };
}

actions!(
    Credit,
    RefundOrder,
    RefundCredit,
    Hold,
    Post,
    Void,
    Payout,
    FreezeDevice,
    ThawDevice,
    RevokeDevice,
    NameDevice,
);

impl Action {
    /// Its name in the books.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Credit(_) => "credit",
            Self::RefundOrder(_) => "refund_order",
            Self::RefundCredit(_) => "refund_credit",
            Self::Hold(_) => "hold",
            Self::Post(_) => "post",
            Self::Void(_) => "void",
            Self::Payout(_) => "payout",
            Self::FreezeDevice(_) => "freeze_device",
            Self::ThawDevice(_) => "thaw_device",
            Self::RevokeDevice(_) => "revoke_device",
            Self::NameDevice(_) => "name_device",
        }
    }

    /// The digest of everything that it says: two actions are the same if theirs are.
    pub fn sha256(&self) -> Sha256 {
        // Structs of strings, numbers and booleans always serialise.
        Sha256::of(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// Money for a wallet; it opens a lot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Credit {
    /// Who gets it.
    pub account: AccountId,
    /// How much; more than zero.
    pub money: Money,
    /// Whether somebody has paid for it.
    pub origin: Origin,
    /// Where it comes from.
    pub source: SourceId,
    /// From when on it cannot be given back to its source, unless that is forced; never, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refundable_until: Option<UnixSeconds>,
    /// What the source keeps of it for itself, in the same currency; for paid money alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fee: Option<Micros>,
}

impl Credit {
    /// Money that was paid to the operator.
    ///
    /// # Errors
    /// Never: the operator's name is a good one.
    pub fn paid(account: AccountId, money: Money) -> Result<Self, NameError> {
        let (origin, source) = (Origin::Paid, source(OPERATOR)?);
        Ok(Self { account, money, origin, source, refundable_until: None, fee: None })
    }
}

/// A refund of an order, to the lots that paid for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefundOrder {
    /// The order.
    pub order: OrderId,
    /// How many of what was ordered; all that are left, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u32>,
}

/// A refund of a credit, to its source: a card's charge-back, or goodwill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefundCredit {
    /// The operation that credited it.
    pub credit: OperationId,
    /// How much; all that is left to be refunded, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Micros>,
    /// Whether to refuse if it is spent or held already. If not, the wallet may owe it afterwards.
    pub only_unspent: bool,
    /// Whether to do it also when it is too late: a charge-back is nobody's to refuse.
    pub forced: bool,
}

/// Money of a wallet that is set aside for the game, until it is posted, voided or expired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// Whose wallet.
    pub account: AccountId,
    /// How much; more than zero.
    pub money: Money,
    /// When it ends by itself.
    pub expires_at: UnixSeconds,
}

/// Takes what a hold has set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Post {
    /// The operation that set it aside.
    pub hold: OperationId,
    /// How much; all of it, if there is none. The rest can be spent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Micros>,
}

/// Gives free what a hold has set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Void {
    /// The operation that set it aside.
    pub hold: OperationId,
}

/// A creator was paid, outside of the books, by a source of funding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Payout {
    /// Who.
    pub creator: CreatorId,
    /// How much; more than zero, and at most what is payable.
    pub money: Money,
    /// Who has paid it.
    pub source: SourceId,
}

/// Nothing is sold to a device from then on, and its allowances are closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FreezeDevice {
    /// The device.
    pub device: KeyId,
}

/// A device that was frozen can buy again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThawDevice {
    /// The device.
    pub device: KeyId,
}

/// A device buys nothing and hears nothing any more, for ever, and its allowances are closed. Again, it changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevokeDevice {
    /// The device.
    pub device: KeyId,
}

/// What a device is called in the list that its player sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NameDevice {
    /// The device.
    pub device: KeyId,
    /// The name; none takes it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<DeviceName>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// The wallet after an operation on it. Below zero, the player owes it.
    Wallet {
        /// The player's account.
        account: AccountId,
        /// What it held right after.
        balance: Balance,
        /// What was credited, given back, set aside, taken or given free.
        money: Money,
    },
    /// An order was refunded.
    Order {
        /// What the account was told, not signed.
        receipt: Box<Receipt>,
        /// What was given back.
        money: Money,
        /// How many of what was ordered.
        quantity: u32,
    },
    /// A creator was paid.
    Creator {
        /// Who.
        creator: CreatorId,
        /// What was paid.
        money: Money,
        /// What is payable after it.
        payable: LedgerMoney,
    },
    /// A device was frozen, or thawed.
    Device {
        /// The device.
        device: KeyId,
        /// Its account.
        account: AccountId,
        /// Whether nothing is sold to it now.
        frozen: bool,
    },
    /// A device was revoked, now or before.
    Revoked {
        /// The device.
        device: KeyId,
        /// Its account.
        account: AccountId,
    },
    /// A device was named.
    Named {
        /// The device.
        device: KeyId,
        /// Its account.
        account: AccountId,
        /// Its name, if it has one now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<DeviceName>,
    },
}

/// An operation in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationRecord {
    /// Its id.
    pub id: OperationId,
    /// The name of its action.
    pub name: String,
    /// The digest of its action.
    pub sha256: Sha256,
    /// What came of it.
    pub decision: Result<Answer, Refused>,
    /// When it was decided.
    pub at: UnixSeconds,
}

impl OperationRecord {
    /// Whether it has set money aside.
    pub(crate) fn has_made_hold(&self) -> bool {
        self.name == "hold" && self.decision.is_ok()
    }

    /// What came of it as the books write it.
    pub(crate) fn decision_text(&self) -> String {
        // Structs of strings and numbers always serialise.
        let text = match &self.decision {
            Ok(answer) => serde_json::to_string(answer),
            Err(refused) => serde_json::to_string(refused),
        };
        text.unwrap_or_default()
    }

    /// What came of it, from the books' two columns.
    pub(crate) fn parse_decision(done: bool, text: &str) -> serde_json::Result<Result<Answer, Refused>> {
        match done {
            true => serde_json::from_str(text).map(Ok),
            false => serde_json::from_str(text).map(Err),
        }
    }
}
