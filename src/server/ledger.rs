//! The books: who owns what, who was charged what, and every receipt that says so.
//!
//! [`Ledger`] is what the rest of the server sees of them. Three engines keep it: [`ModelLedger`] in memory, the reference
//! that reads like the rules, [`SqliteLedger`] in a file, and, with the feature `postgres`, `PostgresLedger` in a database
//! that servers can share. The same tests run on all of them.
//!
//! The books are double entry: money moves between accounts of the ledger by transfers, which never change once they are
//! written, and a stored balance is only a sum kept at hand. What a player holds is in lots, each an account of its own,
//! so that money which goes back goes back to where it came from. An order, its transfers, its receipt and the
//! receipt's place in the feed are written in one transaction or not at all. `docs/ledger.md` says it for accountants.
//!
//! The rules are pure functions in [`lot`], `settle` and `refund`. The model applies them one by one; the engines that
//! keep books in a database share a planner, which decides a whole batch from what it reads and gives the changes as
//! plain data to be written.

mod account;
mod allowance;
pub(crate) mod books;
mod changes;
pub(crate) mod consumption;
mod error;
mod fork;
mod hold;
pub mod lot;
pub(crate) mod membership;
mod model;
mod money;
pub mod operation;
mod plan;
#[cfg(feature = "postgres")]
mod postgres;
mod refund;
mod refused;
mod sqlite;
mod transfer;
mod values;

#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresLedger, PostgresUrl, PostgresUrlError};
pub use account::{AccountKind, AccountNumber, House, Origin};
pub use allowance::{AllowanceRecord, AllowanceRules, AllowanceTerms, AllowanceWish};
pub use books::{
    AccountRow, AllowanceRow, BookReader, ConsumptionRow, DeviceRow, ForkRow, HoldRow, InventoryRow, LoginRow, LotRow,
    MoveRow, OperationRow, OrderRow, ReceiptRow, TransferRow, WalletRow,
};
pub use consumption::{ConsumptionNumbers, ConsumptionOutcome, VerifiedConsumption};
pub use error::LedgerError;
pub use hold::{HoldRecord, HoldStatus};
pub use lot::Lot;
pub use membership::{AccountChange, AccountRules, AccountWish, Denied, Login, ManageError, Membership};
pub use model::ModelLedger;
pub use money::LedgerMoney;
pub use operation::{Action, Answer, Credit, Operation};
pub use refused::{OperateError, Refused};
pub use sqlite::SqliteLedger;
pub use transfer::{OperationId, Transfer, TransferId, TransferKind};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::signing::Signer;
use crate::protocol::account::DeviceName;
use crate::protocol::order::OrderError;
use crate::protocol::sync::{Balance, ChainHead, MAX_RECEIPTS};
use crate::protocol::{
    AccountId, AllowanceId, Catalog, GameId, KeyId, Money, Order, OrderId, ProductId, PublicKey, Sha256, Status, Token,
    UnixSeconds,
};

/// The books of one game.
pub trait Ledger: fmt::Debug + Send {
    /// The game whose books these are.
    fn game(&self) -> &GameId;

    /// Enrols devices, each with its own guest account, and gives every new account its welcome credit; in one
    /// transaction. A device that is enrolled already stays as it is.
    ///
    /// # Errors
    /// The books could not be read or written; nothing changed.
    fn enrol(
        &mut self,
        keys: &[PublicKey],
        welcome: Option<Money>,
        now: UnixSeconds,
    ) -> Result<Vec<Enrolled>, LedgerError>;

    /// The device called `id`, if it is enrolled.
    ///
    /// # Errors
    /// The books could not be read.
    fn device(&mut self, id: KeyId) -> Result<Option<Device>, LedgerError>;

    /// The same for several devices, in their order.
    ///
    /// # Errors
    /// The books could not be read; or they are damaged for one of them, and then each can be asked for alone.
    fn devices(&mut self, ids: &[KeyId]) -> Result<Vec<Option<Device>>, LedgerError> {
        ids.iter().map(|id| self.device(*id)).collect()
    }

    /// Decides what becomes of each order, in this order and in one transaction: an id that is known gets the receipt
    /// it has, and a new one is settled, posted and answered with a signed receipt.
    ///
    /// # Errors
    /// The books could not be read or written, or a receipt not signed; nothing changed.
    fn settle(&mut self, batch: &[VerifiedOrder], context: &mut Context<'_>) -> Result<Vec<Outcome>, LedgerError>;

    /// Decides what becomes of each consumption, in this order and in one transaction: an id that is known changes
    /// nothing, and a new one is answered in its account's feed by a signed receipt.
    ///
    /// # Errors
    /// The books could not be read or written, or a receipt not signed; nothing changed.
    fn consume(
        &mut self,
        batch: &[VerifiedConsumption],
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<Vec<ConsumptionOutcome>, LedgerError>;

    /// Sees to the allowances of devices that want one, by `rules` and in one transaction: closes those that a device
    /// does not make orders within any more, and sets another one aside where less than half of the last one is left.
    /// Gives each device's allowance to make orders within from now on, where that is news. Nothing is written where
    /// nothing changes.
    ///
    /// # Errors
    /// The books could not be read or written, or an allowance not signed; nothing changed.
    fn allow(
        &mut self,
        wishes: &[AllowanceWish],
        rules: &AllowanceRules,
        context: &mut Context<'_>,
    ) -> Result<Vec<Option<Token>>, LedgerError>;

    /// Sees to what a device asks about its account, by `rules` and in one transaction. The same question again changes
    /// nothing: it is answered alike where that is so, and refused otherwise.
    ///
    /// # Errors
    /// It is not to be done, and never will be by the same question; or the device is not enrolled, the books could not
    /// be read or written, or a receipt not signed. Nothing changed.
    fn manage(
        &mut self,
        wish: &AccountWish,
        rules: &AccountRules,
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<Membership, ManageError>;

    /// What each of several devices should hear: the feed after its cursor, its account's wallet and its chain.
    ///
    /// # Errors
    /// The books could not be read; or they are damaged for one of the devices, do not know it, or know that it was
    /// revoked or is another account's, and then each of them can be asked for alone.
    fn standings(&mut self, asked: &[Place]) -> Result<Vec<Standing>, LedgerError>;

    /// Does what an operator wants done, once per id; decides and writes it in one transaction. An id that is known gets
    /// the answer that it got first, if it is for the same action.
    ///
    /// # Errors
    /// It is refused, which is written too, or the id was used for another operation; nothing was done. Or the books
    /// could not be read or written; nothing changed.
    fn operate(&mut self, operation: &Operation, signer: &mut Signer, now: UnixSeconds)
    -> Result<Answer, OperateError>;

    /// Gives free what was set aside by holds that are due at `now`, and returns how many there were. Each is given free
    /// in any case before anything else is decided about its account, so this may be called at any time, or never.
    ///
    /// # Errors
    /// The books could not be read or written; nothing changed.
    fn expire(&mut self, now: UnixSeconds) -> Result<u64, LedgerError>;

    /// Whether anybody else may have written to the books since this was last asked.
    ///
    /// # Errors
    /// The books could not be read.
    fn is_changed_elsewhere(&mut self) -> Result<bool, LedgerError> {
        Ok(false)
    }

    /// What the accounts of each kind hold together. Reads every account.
    ///
    /// # Errors
    /// The books could not be read, or a sum leaves the range of 64 bits.
    fn totals(&mut self) -> Result<Vec<Total>, LedgerError>;

    /// What the books say about an account, if it exists.
    ///
    /// # Errors
    /// The books could not be read.
    fn show(&mut self, account: &AccountId) -> Result<Option<AccountSummary>, LedgerError>;

    /// Shows every row of the books, as of one moment, to `reader`.
    ///
    /// # Errors
    /// The books could not be read.
    fn read(&mut self, reader: &mut dyn BookReader) -> Result<(), LedgerError>;
}

/// What the accounts of one kind hold together in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// The kind: `wallet`, `revenue`, `funding` …
    pub account: String,
    /// The ISO 4217 code.
    pub currency: String,
    /// What they hold, in millionths of the currency unit; what came in less what went out.
    pub micros: i64,
}

/// What settling needs besides the books.
#[derive(Debug)]
pub struct Context<'a> {
    /// What is sold, and for how much.
    pub catalog: &'a Catalog,
    /// Who signs the receipts.
    pub signer: &'a mut Signer,
    /// The time now.
    pub now: UnixSeconds,
}

/// An order whose signature, device, account and game were checked: the only kind that reaches the books.
#[derive(Clone, Debug)]
pub struct VerifiedOrder {
    order: Order,
    token: Token,
    sha256: Sha256,
}

impl VerifiedOrder {
    /// Verifies an order of the device with `key`, which belongs to `account`, for `game`.
    ///
    /// # Errors
    /// As [`Order::verify`].
    pub fn verify(token: Token, key: PublicKey, account: &AccountId, game: &GameId) -> Result<Self, OrderError> {
        let order = Order::verify(&token, key, account, game)?;
        let sha256 = token.sha256();
        Ok(Self { order, token, sha256 })
    }

    /// The same for a text with the digest `sha256`, of which it is known that its signature was verified before.
    ///
    /// # Errors
    /// It is another device's, account's or game's.
    pub(crate) fn again(
        token: Token,
        sha256: Sha256,
        key: PublicKey,
        account: &AccountId,
        game: &GameId,
    ) -> Result<Self, OrderError> {
        let order = Order::read_verified(&token, key.id(), account, game)?;
        Ok(Self { order, token, sha256 })
    }

    /// The claims.
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// The text that was signed.
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// The digest of the text.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }
}

/// A device in the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The account it belongs to.
    pub account: AccountId,
    /// Its public key.
    pub key: PublicKey,
    /// The last order that its chain holds.
    pub chain: Option<ChainHead>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// What became of an enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// The account that the device belongs to.
    pub account: AccountId,
    /// Whether the device was not enrolled before.
    pub new: bool,
}

/// What became of one order of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The order is new, and this is its receipt.
    Settled {
        /// The receipt.
        entry: FeedEntry,
        /// What it says.
        status: Status,
    },
    /// The order was settled before, and this is the receipt that it got then, byte for byte.
    Replayed(FeedEntry),
    /// The order's id belongs to another order.
    Conflict,
    /// The books are damaged where they speak of the order's account, or have lost its device. Nothing was decided, and the same order may be
    /// sent again; the orders of other accounts were settled.
    Failed,
    /// The order is for another account than the one that its device belongs to. Nothing was decided, and nothing ever
    /// is while that is so.
    WrongAccount,
    /// The order's device was revoked. Nothing was decided, and nothing ever is.
    DeviceRevoked,
}

/// A receipt in its account's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEntry {
    /// Its place: 1, 2, 3 …
    pub feed: u64,
    /// The signed receipt.
    pub token: Token,
}

/// A device, and the place in the feed up to which it has everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The device.
    pub device: KeyId,
    /// Its account.
    pub account: AccountId,
    /// The place in the feed.
    pub cursor: u64,
}

/// What a device should hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The feed after the cursor, at most [`MAX_RECEIPTS`] of it.
    pub page: Vec<FeedEntry>,
    /// The place up to which the device has everything once it has the page.
    pub cursor: u64,
    /// Whether the feed goes on after that place.
    pub more: bool,
    /// What the account holds, a balance per currency.
    pub wallet: Vec<Balance>,
    /// The last order that the device's chain holds.
    pub chain: Option<ChainHead>,
    /// The highest number of a consumption of the device; zero if there is none.
    pub consumed_sequence: u64,
}

impl Standing {
    /// The page of a feed of `length` receipts that follows `cursor`. A cursor past the end is one of books that were
    /// lost: the feed is another since they were restored from an older copy, so it is read from its beginning.
    fn places(cursor: u64, length: u64) -> std::ops::Range<u64> {
        let start = if cursor > length { 0 } else { cursor };
        start..length.min(start.saturating_add(MAX_RECEIPTS as u64))
    }
}

/// What the books say about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSummary {
    /// The account.
    pub account: AccountId,
    /// What it holds, a balance per currency.
    pub wallet: Vec<Balance>,
    /// Its devices.
    pub devices: BTreeMap<KeyId, Option<ChainHead>>,
    /// How many orders it has made, by what became of them.
    pub orders: BTreeMap<String, u64>,
    /// How many receipts its feed holds.
    pub receipts: u64,
    /// Its latest orders that were not declined, latest first; at most [`AccountSummary::LATEST`].
    pub latest: Vec<OrderSummary>,
    /// What its devices may spend while they are offline, in the order of the devices.
    pub allowances: Vec<AllowanceSummary>,
    /// Those of its devices to which nothing is sold.
    pub frozen: BTreeSet<KeyId>,
    /// The numbers of the consumptions of those of its devices that have made any.
    pub consumptions: BTreeMap<KeyId, ConsumptionNumbers>,
    /// Those of its devices that were revoked.
    pub revoked: BTreeSet<KeyId>,
    /// What the player calls the devices that have a name.
    pub names: BTreeMap<KeyId, DeviceName>,
    /// Whether it is the account of somebody whom the game's login knows.
    pub signed_in: bool,
    /// The account that everything of this one has moved to, if its last device has.
    pub moved_to: Option<AccountId>,
}

/// What the books say about an allowance that backs something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowanceSummary {
    /// The allowance.
    pub id: AllowanceId,
    /// The device that may spend it.
    pub device: KeyId,
    /// What it was set aside with.
    pub total: Money,
    /// What is still set aside.
    pub left: Money,
    /// How many more orders may be made within it.
    pub orders_left: i64,
    /// From when on no order may be made within it.
    pub expires_at: UnixSeconds,
    /// From when on it backs nothing any more.
    pub settle_by: UnixSeconds,
}

impl AllowanceSummary {
    /// The allowances that back something, as `records` tell them.
    fn of(records: Vec<AllowanceRecord>) -> Result<Vec<Self>, LedgerError> {
        let summary = |record: AllowanceRecord| {
            let money = |micros| Ok::<_, LedgerError>(Money::new(values::micros(micros)?, record.hold.currency));
            Ok(Self {
                id: record.id(),
                device: record.terms.device,
                total: money(record.hold.amount)?,
                left: money(record.hold.rest_amount())?,
                orders_left: record.terms.most_orders.saturating_sub(record.terms.orders),
                expires_at: record.terms.expires_at,
                settle_by: record.hold.expires_at,
            })
        };
        let mut records = records;
        records.sort_by_key(|record| (record.terms.device, record.hold.currency, record.terms.number));
        records.into_iter().map(summary).collect()
    }
}

impl AccountSummary {
    /// The most orders that a summary lists.
    pub const LATEST: usize = 20;
}

/// What the books say about an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderSummary {
    /// The order.
    pub id: OrderId,
    /// What was bought.
    pub product: ProductId,
    /// How many.
    pub quantity: u32,
    /// How many of them were refunded.
    pub refunded: u32,
    /// What all of them cost.
    pub amount: Money,
    /// What has become of it.
    pub status: Status,
}
