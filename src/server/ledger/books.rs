//! The books row by row, as they are stored: what an audit reads. Nothing in a row is trusted, so it holds plain values.

use super::LedgerError;
use crate::protocol::{Receipt, Status, Token, envelope};

/// Is shown every row of the books: first all moves and logins, then all accounts, wallets, transfers, devices, orders,
/// consumptions, inventories, receipts, allowances, forks, holds and operations.
///
/// Moves of one device come in the order of their numbers, orders of one device in the order of its chain (those that
/// are no part of it anywhere among them), receipts by account and then by place in the feed. The rest come in any
/// order.
pub trait BookReader {
    /// Whether nothing after the transfers is to be read. Everything is, unless it is said.
    fn ends_after_transfers(&self) -> bool {
        false
    }
    /// A move of a device to another account. It is passed over, unless it is said.
    fn moved(&mut self, _row: MoveRow) {}
    /// Whose an account is. It is passed over, unless it is said.
    fn login(&mut self, _row: LoginRow) {}
    /// An account of the ledger.
    fn account(&mut self, row: AccountRow);
    /// A wallet. It is passed over, unless it is said.
    fn wallet(&mut self, _row: WalletRow) {}
    /// A transfer.
    fn transfer(&mut self, row: TransferRow);
    /// A device.
    fn device(&mut self, row: DeviceRow);
    /// An order.
    fn order(&mut self, row: OrderRow);
    /// A consumption. It is passed over, unless it is said.
    fn consumption(&mut self, _row: ConsumptionRow) {}
    /// What is counted of a feed. It is passed over, unless it is said; not every engine keeps it.
    fn inventory(&mut self, _row: InventoryRow) {}
    /// A receipt.
    fn receipt(&mut self, row: ReceiptRow);
    /// An allowance. It is passed over, unless it is said.
    fn allowance(&mut self, _row: AllowanceRow) {}
    /// The evidence of a fork. It is passed over, unless it is said.
    fn fork(&mut self, _row: ForkRow) {}
    /// A hold.
    fn hold(&mut self, row: HoldRow);
    /// An operation.
    fn operation(&mut self, row: OperationRow);
}

/// A move of a device from one account to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveRow {
    /// The device.
    pub device: String,
    /// Its number among those of the device: 1, 2, 3 …
    pub number: i64,
    /// The account that it has left.
    pub source: String,
    /// The account that it has joined.
    pub target: String,
    /// How many had joined that one before.
    pub place: i64,
    /// The number of the device's last order for the account that it has left.
    pub sequence: i64,
    /// Whether everything that the account had moved along.
    pub closing: bool,
    /// The digest of the link code that it has joined by.
    pub code: Option<Vec<u8>>,
    /// When it was.
    pub moved_at: i64,
}

/// Whose an account is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRow {
    /// The digest of the issuer and the subject.
    pub sha256: Vec<u8>,
    /// The account.
    pub account: String,
    /// Since when.
    pub bound_at: i64,
}

/// An account of the ledger and its stored sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// The number that transfers name it by.
    pub id: [u8; 16],
    /// Its kind.
    pub kind: String,
    /// Its owner.
    pub owner: String,
    /// Its currency.
    pub currency: String,
    /// The sum of what was moved from it, in micros.
    pub debits_posted: i64,
    /// The sum of what was moved to it, in micros.
    pub credits_posted: i64,
    /// The sum of what is set aside to be moved from it, in micros.
    pub debits_pending: i64,
    /// The sum of what is set aside to be moved to it, in micros.
    pub credits_pending: i64,
    /// Where its money came from, if it is a lot.
    pub lot: Option<LotRow>,
}

/// What is remembered of a lot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LotRow {
    /// Whether somebody has paid for it.
    pub origin: String,
    /// Where it came from.
    pub source: String,
    /// When it was opened.
    pub opened_at: i64,
    /// When it can no longer be given back to its source.
    pub refundable_until: Option<i64>,
    /// What it was opened with, in micros.
    pub opened_with: i64,
    /// What of that was given back to its source, in micros.
    pub refunded: i64,
    /// Whether it is looked at when its wallet is: while there is, or is held, something in it, or it is owed.
    pub open: bool,
}

/// A wallet: a currency that a player ever held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalletRow {
    /// The player's account.
    pub account: String,
    /// The currency.
    pub currency: String,
}

/// A transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferRow {
    /// Its id.
    pub id: [u8; 16],
    /// The account that it moves money from.
    pub debit_account: [u8; 16],
    /// The account that it moves money to.
    pub credit_account: [u8; 16],
    /// How much, in micros.
    pub amount: i64,
    /// Its kind.
    pub kind: String,
    /// The order that it is for.
    pub order: Option<[u8; 16]>,
    /// The hold that it makes, or takes from.
    pub hold: Option<[u8; 16]>,
    /// When it was written.
    pub created_at: i64,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    /// Its id.
    pub id: String,
    /// Its account.
    pub account: String,
    /// Its public key.
    pub public_key: Vec<u8>,
    /// The number of the last order in its chain; zero where there is none.
    pub sequence: i64,
    /// The digest of that order.
    pub chain_head: Option<Vec<u8>>,
    /// How long its account's feed was when the device last bought, where that is kept.
    pub feed: Option<i64>,
    /// Since when nothing is sold to it.
    pub frozen_at: Option<i64>,
    /// The highest number of its consumptions; zero where there is none.
    pub consumed_sequence: i64,
    /// How many of its consumptions had a number that was not above those before.
    pub consumed_repeated: i64,
    /// How many numbers its consumptions passed over.
    pub consumed_missing: i64,
    /// When it was enrolled.
    pub enrolled_at: i64,
    /// How many had joined its account before.
    pub place: i64,
    /// What the player calls it.
    pub name: Option<String>,
    /// Since when it buys nothing and hears nothing.
    pub revoked_at: Option<i64>,
    /// The device that has taken its place.
    pub replaced_by: Option<String>,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRow {
    /// Its id.
    pub id: [u8; 16],
    /// The account that made it.
    pub account: String,
    /// The place in that account's feed of the receipt that answered it first.
    pub feed: i64,
    /// The device that signed it.
    pub device: String,
    /// Its number in the device's chain, if it is a part of it.
    pub sequence: Option<i64>,
    /// What was ordered.
    pub product: String,
    /// How many.
    pub quantity: i64,
    /// The signed order.
    pub token: String,
    /// The digest of the signed order.
    pub sha256: Vec<u8>,
    /// What has become of it.
    pub status: String,
    /// What it cost, in micros.
    pub amount: i64,
    /// The currency of its amount.
    pub currency: String,
    /// Whether it has given the account the product, which is not consumed.
    pub owned: bool,
    /// When what it gives ends, for a pass.
    pub until: Option<i64>,
    /// How many were refunded.
    pub refunded_quantity: i64,
    /// What was refunded, in micros.
    pub refunded_amount: i64,
    /// When it was settled.
    pub settled_at: i64,
}

/// A consumption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumptionRow {
    /// Its id.
    pub id: [u8; 16],
    /// The account whose items it uses up.
    pub account: String,
    /// The place in that account's feed of the receipt that answers it.
    pub feed: i64,
    /// The device that signed it.
    pub device: String,
    /// Its number among those of the device.
    pub sequence: i64,
    /// The item.
    pub item: String,
    /// How many.
    pub quantity: i64,
    /// The signed consumption.
    pub token: String,
    /// The digest of the signed consumption.
    pub sha256: Vec<u8>,
    /// Whether the items are used up, or it was refused.
    pub consumed: bool,
    /// When it was decided.
    pub settled_at: i64,
}

/// What is counted of an account's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryRow {
    /// The account.
    pub account: String,
    /// The place up to which its feed is counted.
    pub feed: i64,
    /// The counts, as JSON.
    pub counts: String,
}

/// A receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptRow {
    /// The account in whose feed it is.
    pub account: String,
    /// Its place in the feed.
    pub feed: i64,
    /// Its id.
    pub id: [u8; 16],
    /// The order, or the consumption, that it answers.
    pub answers: [u8; 16],
    /// The signed receipt.
    pub token: String,
}

/// An allowance. Whose it is, how much, and what has become of it, the hold of the same id says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowanceRow {
    /// Its id, and that of the hold behind it.
    pub id: [u8; 16],
    /// The device that may spend it.
    pub device: String,
    /// Its number among those of the device in its currency.
    pub number: i64,
    /// When it was signed.
    pub issued_at: i64,
    /// From when on no order may be made within it.
    pub expires_at: i64,
    /// What one order may cost at most, in micros.
    pub per_order: i64,
    /// How many orders may be made.
    pub most_orders: i64,
    /// The digest of the catalogue that it is for.
    pub catalog: Vec<u8>,
    /// The signed allowance.
    pub token: String,
    /// What its orders say to be spent, in micros.
    pub spent: i64,
    /// How many orders they say to be made.
    pub orders: i64,
}

/// The evidence that a device has signed two different orders in one place of its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkRow {
    /// The device.
    pub device: String,
    /// The place.
    pub sequence: i64,
    /// The order that the chain holds there.
    pub first: [u8; 16],
    /// The other one, which names an allowance of the device.
    pub second: [u8; 16],
    /// When it was found.
    pub created_at: i64,
}

/// A hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRow {
    /// The operation that made it.
    pub id: [u8; 16],
    /// Whose wallet.
    pub account: String,
    /// The currency.
    pub currency: String,
    /// What was set aside, in micros.
    pub amount: i64,
    /// When it ends by itself.
    pub expires_at: i64,
    /// What has become of it.
    pub status: String,
    /// What of it was taken, in micros.
    pub posted: i64,
    /// When it was resolved.
    pub resolved_at: Option<i64>,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationRow {
    /// Its id.
    pub id: [u8; 16],
    /// The name of its action.
    pub action: String,
    /// The digest of its action.
    pub sha256: Vec<u8>,
    /// Whether it was done, and not refused.
    pub done: bool,
    /// What was answered, as JSON.
    pub answer: String,
    /// When it was decided.
    pub created_at: i64,
}

/// The status as the books, and receipts, write it.
pub(crate) const fn status_text(status: Status) -> &'static str {
    match status {
        Status::Granted => "granted",
        Status::Declined => "declined",
        Status::Pending => "pending",
        Status::Refunded => "refunded",
        Status::Revoked => "revoked",
        Status::Other => "other",
    }
}

/// The status that the books write as `text`.
pub(crate) fn parse_status(text: &str) -> Option<Status> {
    [Status::Granted, Status::Declined, Status::Pending, Status::Refunded, Status::Revoked]
        .into_iter()
        .find(|status| status_text(*status) == text)
}

/// Reads a receipt that this server signed and stored.
pub(crate) fn stored_receipt(token: &Token) -> Result<Receipt, LedgerError> {
    envelope::claims_of_stored(token).map_err(LedgerError::damaged)
}
