//! What the game sees: orders on their way, receipts, and the news that the worker sends.

use serde::{Deserialize, Serialize};

use super::account::{AccountTrouble, AccountView, Asked};
use super::inventory::Holdings;
use super::machine::{ServerClock, Terms};
use super::storage::{Access, Persistence};
use crate::protocol::sync::Balance;
use crate::protocol::{
    AccountId, ItemId, KeyId, Money, Order, OrderId, ProductId, Reason, Receipt, Status, Token, UnixSeconds,
};

/// How many of the latest receipts a game is shown, with their orders. All of them are in the journal.
pub const RECENT: usize = 500;

/// When what was ordered is given: with the receipt, or at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OfflineGrants {
    /// As soon as the order is safe in the journal, if it is within the allowance that the server set aside for this
    /// device: then the money is there, and the server honours the order whatever happens to the wallet meanwhile. With
    /// the receipt otherwise.
    #[default]
    Allowance,
    /// With the receipt. Nothing is given that was not paid for.
    Wait,
    /// As soon as the order is safe in the journal; taken back if it is declined. Until its receipt it is marked
    /// provisional. Choose it for what does no harm when it was never paid.
    Provisional,
}

/// What this device may spend offline, as the server set it aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfflineAllowance {
    /// How much is left.
    pub left: Money,
    /// The most that one order may cost.
    pub per_order: Money,
    /// How many orders may still be made.
    pub orders: u64,
    /// When it ends, by the server's clock.
    pub until: UnixSeconds,
}

/// How far an order is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OrderState {
    /// Asked for; not yet safe on the disk.
    Placed,
    /// Signed, and safe in the journal: it survives a crash and will be sent.
    Queued,
    /// Sent to the server, and not yet answered.
    Sent,
    /// The server waits for somebody, for example a parent.
    Pending,
    /// A receipt grants it.
    Granted,
    /// A receipt declines it; it will never be charged.
    Declined,
    /// It was paid back.
    Refunded,
    /// It was taken back.
    Revoked,
    /// A receipt answered it that is not believed: its server's key is not trusted here. It gives nothing and is never
    /// sent again; it can be ordered anew.
    Unverified,
    /// It could not be made safe on the disk, or it was ordered for an account that this device has left since: it is
    /// gone, and nothing is charged to the account of now.
    NotSaved,
}

impl OrderState {
    /// Whether the order waits for the disk, the network, the server or somebody.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Placed | Self::Queued | Self::Sent | Self::Pending)
    }
}

/// An order, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedOrder {
    /// Its id.
    pub id: OrderId,
    /// What was ordered.
    pub product: ProductId,
    /// How many; after a refund in part, how many are left.
    pub quantity: u32,
    /// What it costs in all; after a refund in part, what is left of that.
    pub total: Money,
    /// How far it is.
    pub state: OrderState,
    /// Whether what it gives is already there although no receipt has answered it yet.
    pub provisional: bool,
    /// Why it was declined, refunded or revoked, or why less of it is granted than was.
    pub reason: Option<Reason>,
    /// What went wrong on this device, in words, where something did.
    pub trouble: Option<String>,
    /// When it was placed by the device's clock, or else answered by the server's.
    pub placed_at: UnixSeconds,
}

impl PlacedOrder {
    /// An order that was just asked for.
    pub(crate) fn new(terms: &Terms, now: UnixSeconds) -> Self {
        Self {
            id: terms.id,
            product: terms.product.clone(),
            quantity: terms.quantity,
            total: terms.total,
            state: OrderState::Placed,
            provisional: false,
            reason: None,
            trouble: None,
            placed_at: now,
        }
    }

    /// An order of this device, as it was signed.
    pub(crate) fn signed(order: Order) -> Self {
        Self {
            id: order.id,
            product: order.product,
            quantity: order.quantity,
            total: order.price.checked_mul(order.quantity).unwrap_or(order.price),
            state: OrderState::Queued,
            provisional: false,
            reason: None,
            trouble: None,
            placed_at: order.issued_at,
        }
    }

    /// The order that a receipt answers, as far as the receipt tells.
    pub(crate) fn of(claims: &Receipt) -> Self {
        Self {
            id: claims.order,
            product: claims.product.clone(),
            quantity: claims.quantity,
            total: claims.amount,
            state: OrderState::Pending,
            provisional: false,
            reason: None,
            trouble: None,
            placed_at: claims.issued_at,
        }
    }

    /// What a receipt makes of it.
    pub(crate) fn decide(&mut self, claims: &Receipt) {
        self.state = match claims.status {
            Status::Granted => OrderState::Granted,
            Status::Declined => OrderState::Declined,
            Status::Pending | Status::Other => OrderState::Pending,
            Status::Refunded => OrderState::Refunded,
            Status::Revoked => OrderState::Revoked,
        };
        if claims.status == Status::Granted {
            // Less than was ordered, after a refund in part.
            (self.quantity, self.total) = (claims.quantity, claims.amount);
        }
        self.reason = claims.reason;
        self.trouble = None;
        self.provisional &= self.state == OrderState::Pending;
    }
}

/// A receipt that verified, and the bytes to show to anybody who wants to verify it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReceipt {
    /// What it says.
    pub claims: Receipt,
    /// The signed text.
    pub token: Token,
}

/// How the client and its server stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Connection {
    /// No server is set: orders are queued, and stay so.
    #[default]
    NoServer,
    /// This copy of the game may not write, so it asks nothing of the server.
    ReadOnly,
    /// The game set it offline.
    Offline,
    /// A request is on its way, and none was answered yet, nor failed.
    Connecting,
    /// The last request was answered.
    Online,
    /// The server said that this device was revoked: it asks nothing any more, and nothing can be bought with it.
    Revoked,
    /// The last request failed; another will follow by itself.
    Retrying {
        /// What went wrong, in words.
        trouble: String,
    },
}

/// Everything there is when the journal has been read.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// This device.
    pub device: KeyId,
    /// Its account.
    pub account: AccountId,
    /// Whether this copy of the game may write.
    pub access: Access,
    /// The orders that are open, and those that the latest receipts answered; oldest first.
    pub orders: Vec<PlacedOrder>,
    /// The latest receipts, in the order in which they came.
    pub receipts: Vec<SignedReceipt>,
    /// What is owned.
    pub holdings: Holdings,
    /// The wallet as last heard.
    pub wallet: Vec<Balance>,
    /// What this device may spend offline.
    pub allowance: Option<OfflineAllowance>,
    /// The account as the server last said.
    pub membership: AccountView,
    /// What was wrong with the journal, in words.
    pub troubles: Vec<String>,
}

impl Snapshot {
    /// Those of the orders that nobody knew to be saved which are not, as what was read now shows.
    pub(crate) fn lost(&self, mut in_doubt: Vec<PlacedOrder>) -> Vec<PlacedOrder> {
        in_doubt.retain(|doubtful| self.orders.iter().all(|order| order.id != doubtful.id));
        in_doubt
    }
}

/// News for the game.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Update {
    /// The journal has been read.
    Opened(Box<Snapshot>),
    /// The journal could not be opened; nothing can be bought.
    OpenFailed(String),
    /// An order is new or has come further.
    Order(PlacedOrder),
    /// A receipt verified and is safe in the journal.
    Receipt(Box<SignedReceipt>),
    /// Something is owned that was not, or the other way round.
    Holdings(Holdings),
    /// Items asked to be consumed are used up, or (`saved` false) could not be, and are still there.
    Consumed {
        /// The item.
        item: ItemId,
        /// How many.
        quantity: u64,
        /// Whether it is safe in the journal.
        saved: bool,
    },
    /// Items that were used up are back: the server had fewer left when it heard of it.
    ConsumeRefused {
        /// The item.
        item: ItemId,
        /// How many.
        quantity: u64,
    },
    /// The wallet changed.
    Wallet(Vec<Balance>),
    /// What this device may spend offline is another than before.
    Allowance(Option<OfflineAllowance>),
    /// The server's clock was heard.
    ServerClock(ServerClock),
    /// The device's clock was found to be behind the last time that the server signed; or (false) it no longer is, or
    /// the server was heard.
    ClockUntrusted(bool),
    /// The connection changed.
    Connection(Connection),
    /// What was asked about the account came about, or why it did not. If the account is another than before, nothing
    /// that was told of orders, receipts and the wallet is true any more; what is, is told after this.
    Account {
        /// What was asked.
        asked: Asked,
        /// What came of it.
        outcome: Result<Box<AccountView>, AccountTrouble>,
    },
    /// How long what is kept on this device stays: once the journal has been read, and when it changes.
    Persistence(Persistence),
    /// Something was wrong that an order's state does not tell, in words.
    Trouble(String),
}
