//! Using up what was bought: what a consumption becomes, and the count of an account's items that decides it.
//!
//! How many of an item an account has is nowhere written when something is bought: it follows from the receipts in its
//! feed, read in their order. [`Inventory`] is that count up to a place in the feed, kept so that nobody reads a feed
//! twice.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::LedgerError;
use crate::protocol::consumption::{ConsumptionReason, ConsumptionReceipt, ConsumptionStatus, FeedReceipt};
use crate::protocol::sync::SyncError;
use crate::protocol::{
    AccountId, Consumption, GameId, Grant, ItemId, OrderId, PublicKey, Reason, Receipt, Sha256, Status, Token,
    UnixSeconds,
};
use crate::server::signing::Signer;

/// How many receipts of one account are counted at a time.
const MOST_OF_ONE: usize = 4_096;
/// How many receipts of all accounts of a batch are counted at a time, if that leaves each account a few.
const MOST_OF_ALL: usize = 16_384;
/// The few.
const LEAST_OF_ONE: usize = 64;

/// A consumption whose signature, device, account and game were checked: the only kind that reaches the books.
#[derive(Clone, Debug)]
pub struct VerifiedConsumption {
    consumption: Consumption,
    token: Token,
    sha256: Sha256,
}

impl VerifiedConsumption {
    /// Verifies a consumption of the device with `key`, which belongs to `account`, for `game`.
    ///
    /// # Errors
    /// As [`Consumption::verify`].
    pub fn verify(token: Token, key: PublicKey, account: &AccountId, game: &GameId) -> Result<Self, SyncError> {
        let consumption = Consumption::verify(&token, key, account, game)?;
        let sha256 = token.sha256();
        Ok(Self { consumption, token, sha256 })
    }

    /// The claims.
    pub fn consumption(&self) -> &Consumption {
        &self.consumption
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

/// What became of one consumption of a batch. Its receipt is in the feed, if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumptionOutcome {
    /// It is new, and decided.
    Settled {
        /// Consumed or refused.
        status: ConsumptionStatus,
        /// Whether its number is not above that of every consumption of its device before.
        repeated: bool,
    },
    /// It was decided before.
    Replayed,
    /// Its id belongs to another consumption.
    Conflict,
    /// There was too much to count. What was counted is kept, so the same may be sent again at once.
    Undecided,
    /// Its device was revoked, or belongs to another account, or is not in the books. Nothing was decided; whoever asks
    /// how the device stands is told which.
    NotMember,
    /// The books are damaged where they speak of its account. Nothing was decided.
    Failed,
}

/// The numbers of a device's consumptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumptionNumbers {
    /// The highest that was decided; zero where there is none.
    pub last: u64,
    /// How many were decided that were not above all before: the device's save was restored, or copied.
    pub repeated: u64,
    /// How many numbers were passed over: what had them never came.
    pub missing: u64,
}

impl ConsumptionNumbers {
    /// The same after a consumption of this number, and whether that is a repeated one.
    pub(crate) fn after(self, sequence: u64) -> (Self, bool) {
        match sequence.checked_sub(self.last.saturating_add(1)) {
            Some(gap) => (Self { last: sequence, missing: self.missing.saturating_add(gap), ..self }, false),
            None => (Self { repeated: self.repeated.saturating_add(1), ..self }, true),
        }
    }

    /// How many consumptions that is.
    pub fn decided(self) -> u64 {
        self.last.saturating_sub(self.missing).saturating_add(self.repeated)
    }
}

/// How many of an item an account was given, and has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ItemCount {
    pub(crate) given: u64,
    pub(crate) used: u64,
}

impl ItemCount {
    /// How many are left.
    pub(crate) fn left(self) -> u64 {
        self.given.saturating_sub(self.used)
    }
}

/// What an order gives of each item.
pub(crate) type Items = BTreeMap<ItemId, u64>;

/// The items in a receipt's grants.
pub(crate) fn items_of(grants: &[Grant]) -> Items {
    let mut items = Items::new();
    for grant in grants {
        if let Grant::Item { item, quantity } = grant {
            let sum = items.entry(item.clone()).or_default();
            *sum = sum.saturating_add(*quantity);
        }
    }
    items
}

/// The items of an account, up to a place in its feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inventory {
    /// The place up to which the feed was counted.
    pub(crate) feed: u64,
    counts: Counts,
}

/// What of an inventory is stored as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    items: BTreeMap<ItemId, ItemCount>,
    /// What the orders still give of which a part was paid back: all others give what their first receipt says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    parts: BTreeMap<OrderId, Items>,
}

impl Inventory {
    /// Reads a stored inventory.
    pub(crate) fn parse(feed: u64, text: &str) -> Result<Self, LedgerError> {
        let counts = serde_json::from_str(text).map_err(LedgerError::damaged)?;
        Ok(Self { feed, counts })
    }

    /// The inventory as it is stored, but for its place.
    pub(crate) fn text(&self) -> Result<String, LedgerError> {
        serde_json::to_string(&self.counts).map_err(LedgerError::damaged)
    }

    /// How many of an item are left.
    pub(crate) fn left(&self, item: &ItemId) -> u64 {
        self.counts.items.get(item).map_or(0, |count| count.left())
    }

    /// How many of each item are used up of what is given now.
    pub(crate) fn used(&self) -> Items {
        self.counts.items.iter().map(|(item, count)| (item.clone(), count.used)).collect()
    }

    /// Counts the next receipts of the feed. `first` gives the receipt that answered an order first in this feed.
    pub(crate) fn count_all(
        &mut self,
        receipts: &[Token],
        mut first: impl FnMut(OrderId) -> Result<Receipt, LedgerError>,
    ) -> Result<(), LedgerError> {
        for token in receipts {
            let receipt = FeedReceipt::stored(token).map_err(LedgerError::damaged)?;
            self.count(&receipt, &mut first)?;
        }
        Ok(())
    }

    /// Counts the next receipt of the feed.
    pub(crate) fn count(
        &mut self,
        receipt: &FeedReceipt,
        mut first: impl FnMut(OrderId) -> Result<Receipt, LedgerError>,
    ) -> Result<(), LedgerError> {
        let next = self.feed.saturating_add(1);
        if receipt.feed() != next {
            let found = receipt.feed();
            return Err(LedgerError::damaged(format_args!("a receipt says {found} at the place {next} of its feed")));
        }
        match receipt {
            FeedReceipt::Order(receipt) => self.count_order(receipt, &mut first)?,
            FeedReceipt::Consumption(receipt) if receipt.status == ConsumptionStatus::Consumed => {
                let count = self.counts.items.entry(receipt.item.clone()).or_default();
                count.used = count.used.saturating_add(receipt.quantity).min(count.given);
            }
            FeedReceipt::Consumption(_) => {}
        }
        self.feed = next;
        Ok(())
    }

    fn count_order(
        &mut self,
        receipt: &Receipt,
        first: &mut impl FnMut(OrderId) -> Result<Receipt, LedgerError>,
    ) -> Result<(), LedgerError> {
        let (before, now) = match (receipt.status, receipt.reason) {
            (Status::Granted, Some(Reason::RefundedInPart)) => {
                let before = match self.counts.parts.remove(&receipt.order) {
                    Some(part) => part,
                    None => items_of(&first(receipt.order)?.grants),
                };
                let now = items_of(&receipt.grants);
                self.counts.parts.insert(receipt.order, now.clone());
                (before, now)
            }
            (Status::Granted, _) => (Items::new(), items_of(&receipt.grants)),
            // It repeats what was still granted until then.
            (Status::Refunded | Status::Revoked, _) => {
                self.counts.parts.remove(&receipt.order);
                (items_of(&receipt.grants), Items::new())
            }
            (Status::Declined | Status::Pending | Status::Other, _) => return Ok(()),
        };
        for (item, quantity) in now {
            let count = self.counts.items.entry(item).or_default();
            count.given = count.given.saturating_add(quantity);
        }
        for (item, quantity) in before {
            let count = self.counts.items.entry(item).or_default();
            count.given = count.given.saturating_sub(quantity);
            // What was used of it is no debt on what is bought next.
            count.used = count.used.min(count.given);
        }
        Ok(())
    }

    /// Decides a consumption, and counts it at the next place of the feed.
    pub(crate) fn decide(&mut self, consumption: &Consumption) -> ConsumptionStatus {
        self.feed = self.feed.saturating_add(1);
        let Some(count) = self.counts.items.get_mut(&consumption.item) else { return ConsumptionStatus::Refused };
        if count.left() < consumption.quantity {
            return ConsumptionStatus::Refused;
        }
        count.used = count.used.saturating_add(consumption.quantity);
        ConsumptionStatus::Consumed
    }
}

/// How many receipts of each account are counted at a time, where there are so many accounts.
pub(crate) fn most_counted(accounts: usize) -> usize {
    (MOST_OF_ALL / accounts.max(1)).clamp(LEAST_OF_ONE, MOST_OF_ONE)
}

/// The receipt, not yet signed, that tells what became of a consumption.
pub(crate) fn receipt(
    verified: &VerifiedConsumption,
    status: ConsumptionStatus,
    feed: u64,
    signer: &mut Signer,
    now: UnixSeconds,
) -> Result<ConsumptionReceipt, LedgerError> {
    let consumption = verified.consumption();
    Ok(ConsumptionReceipt {
        id: signer.next_id()?,
        server: signer.server(),
        game: signer.game.clone(),
        account: consumption.account.clone(),
        issued_at: now,
        feed,
        consumption: consumption.id,
        consumption_sha256: verified.sha256(),
        device: consumption.device,
        item: consumption.item.clone(),
        quantity: consumption.quantity,
        status,
        reason: (status != ConsumptionStatus::Consumed).then_some(ConsumptionReason::NotEnough),
    })
}

impl fmt::Display for ConsumptionNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repeated, missing, .. } = *self;
        write!(f, "{} consumptions", self.decided())?;
        if repeated > 0 {
            write!(f, ", {repeated} with a number that was passed")?;
        }
        if missing > 0 {
            write!(f, ", {missing} numbers missing")?;
        }
        Ok(())
    }
}
