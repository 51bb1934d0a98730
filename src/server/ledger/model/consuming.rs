//! What becomes of consumptions, in memory, as the documents tell it: the whole feed is read each time.

use super::super::consumption::{self, ConsumptionNumbers, ConsumptionOutcome, Items, VerifiedConsumption, items_of};
use super::*;
use crate::protocol::consumption::{ConsumptionStatus, FeedReceipt};
use crate::protocol::{ConsumptionId, ItemId};

/// A consumption that was decided.
#[derive(Clone, Debug)]
pub(super) struct ConsumptionRecord {
    pub(super) verified: VerifiedConsumption,
    pub(super) feed: u64,
    pub(super) consumed: bool,
    pub(super) settled_at: UnixSeconds,
}

/// The consumptions, by their ids, and the numbers of the devices that have made them.
#[derive(Clone, Debug, Default)]
pub(super) struct Consumptions {
    pub(super) decided: BTreeMap<ConsumptionId, ConsumptionRecord>,
    pub(super) numbers: BTreeMap<KeyId, ConsumptionNumbers>,
}

impl ModelLedger {
    pub(super) fn consume_one(
        &mut self,
        verified: &VerifiedConsumption,
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<ConsumptionOutcome, LedgerError> {
        let consumption = verified.consumption();
        if let Some(known) = self.consumptions.decided.get(&consumption.id) {
            let same = known.verified.sha256() == verified.sha256();
            return Ok(if same { ConsumptionOutcome::Replayed } else { ConsumptionOutcome::Conflict });
        }
        let is_member = |device: &Device| device.account == consumption.account && !device.revoked;
        if !self.devices.get(&consumption.device).is_some_and(is_member) {
            return Ok(ConsumptionOutcome::NotMember);
        }
        let consumed = self.left(&consumption.account, &consumption.item)? >= consumption.quantity;
        let status = if consumed { ConsumptionStatus::Consumed } else { ConsumptionStatus::Refused };
        let feed = self.next_feed(&consumption.account);
        let receipt = consumption::receipt(verified, status, feed, signer, now)?;
        let token = signer.sign_consumptions(std::slice::from_ref(&receipt))?.remove(0);
        let entry = FeedEntry { feed, token };
        let record = ReceiptRecord { id: receipt.id, answers: consumption.id.0, entry };
        self.feeds.entry(consumption.account.clone()).or_default().push(record);
        let numbers = self.consumptions.numbers.entry(consumption.device).or_default();
        let repeated;
        (*numbers, repeated) = numbers.after(consumption.sequence);
        let record = ConsumptionRecord { verified: verified.clone(), feed, consumed, settled_at: now };
        self.consumptions.decided.insert(consumption.id, record);
        Ok(ConsumptionOutcome::Settled { status, repeated })
    }

    /// How many of each item an account has used up of what its orders give.
    pub(super) fn items_used(&self, account: &AccountId) -> Result<Items, LedgerError> {
        let mut given: BTreeMap<OrderId, Items> = BTreeMap::new();
        for record in self.feed(account) {
            if let FeedReceipt::Order(receipt) =
                FeedReceipt::stored(&record.entry.token).map_err(LedgerError::damaged)?
            {
                match receipt.status {
                    Status::Granted => drop(given.insert(receipt.order, items_of(&receipt.grants))),
                    Status::Refunded | Status::Revoked => drop(given.remove(&receipt.order)),
                    _ => {}
                }
            }
        }
        let mut used = Items::new();
        for (item, quantity) in given.into_values().flatten() {
            *used.entry(item).or_default() += quantity;
        }
        for (item, quantity) in &mut used {
            *quantity -= self.left(account, item)?;
        }
        Ok(used)
    }

    /// How many of an item an account has left: what the last receipt of each order gives, less what was used; and
    /// wherever something was taken back, no more is used than there is.
    pub(super) fn left(&self, account: &AccountId, item: &ItemId) -> Result<u64, LedgerError> {
        let mut orders: BTreeMap<OrderId, Items> = BTreeMap::new();
        let mut used: u64 = 0;
        let given =
            |orders: &BTreeMap<OrderId, Items>| -> u64 { orders.values().filter_map(|items| items.get(item)).sum() };
        for record in self.feed(account) {
            match FeedReceipt::stored(&record.entry.token).map_err(LedgerError::damaged)? {
                FeedReceipt::Order(receipt) if receipt.status.is_final() => {
                    let items = match receipt.status {
                        Status::Granted => items_of(&receipt.grants),
                        _ => Items::new(),
                    };
                    orders.insert(receipt.order, items);
                    used = used.min(given(&orders));
                }
                FeedReceipt::Consumption(receipt)
                    if receipt.status == ConsumptionStatus::Consumed && receipt.item == *item =>
                {
                    used += receipt.quantity;
                }
                _ => {}
            }
        }
        Ok(given(&orders) - used)
    }
}
