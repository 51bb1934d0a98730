//! Planning what becomes of a batch of consumptions.

use std::collections::{BTreeMap, HashMap};

use super::super::consumption::{self, ConsumptionNumbers, ConsumptionOutcome, Inventory, VerifiedConsumption};
use super::super::{FeedEntry, LedgerError, books};
use crate::protocol::consumption::{ConsumptionReceipt, ConsumptionStatus};
use crate::protocol::{AccountId, ConsumptionId, KeyId, OrderId, Sha256, Token, UnixSeconds};
use crate::server::signing::Signer;

/// What such a plan asks the books. Nothing that it is told may have changed when the plan is written.
pub(crate) trait ConsumptionFacts {
    /// The digest of the consumption of this id, if there is one.
    fn consumption_sha256(&mut self, id: ConsumptionId) -> Result<Option<Sha256>, LedgerError>;

    /// The account of a device, which must be there and not be revoked, and its numbers. A device of none of the accounts
    /// that the batch names may be missing.
    fn consumer(&mut self, device: KeyId) -> Result<(AccountId, ConsumptionNumbers), LedgerError>;

    /// How many receipts the account's feed holds.
    fn feed_length(&mut self, account: &AccountId) -> Result<u64, LedgerError>;

    /// What was counted of the account's feed.
    fn inventory(&mut self, account: &AccountId) -> Result<Inventory, LedgerError>;

    /// The receipts after that, in their order: so many of them at most.
    fn uncounted(&mut self, account: &AccountId, after: u64, most: usize) -> Result<Vec<Token>, LedgerError>;

    /// The receipt that answered an order first; it must be there.
    fn first_receipt(&mut self, order: OrderId) -> Result<FeedEntry, LedgerError>;
}

/// What is to be written in one transaction.
#[derive(Debug, Default)]
pub(crate) struct ConsumptionChanges {
    /// New consumptions, each decided by the receipt in the same place.
    pub(crate) consumptions: Vec<NewConsumption>,
    /// Their receipts, not signed yet.
    pub(crate) receipts: Vec<ConsumptionReceipt>,
    /// What is counted of accounts' feeds.
    pub(crate) inventories: BTreeMap<AccountId, Inventory>,
    /// The numbers of the devices that have consumed.
    pub(crate) numbers: BTreeMap<KeyId, ConsumptionNumbers>,
}

/// A consumption that was decided.
#[derive(Debug)]
pub(crate) struct NewConsumption {
    pub(crate) verified: VerifiedConsumption,
    /// The place in its account's feed of the receipt that answers it.
    pub(crate) feed: u64,
    pub(crate) consumed: bool,
}

/// What is known of an account.
enum Account {
    /// Its items, all of its feed counted.
    Counted,
    /// There is more to count.
    Behind,
    Failed,
}

/// Decides what becomes of each consumption of a batch, in this order.
///
/// # Errors
/// The books cannot be read, or the random source failed. Books that are damaged for one account fail its
/// consumptions.
pub(crate) fn consume<F: ConsumptionFacts>(
    facts: &mut F,
    batch: &[VerifiedConsumption],
    signer: &mut Signer,
    now: UnixSeconds,
) -> Result<(Vec<ConsumptionOutcome>, ConsumptionChanges), LedgerError> {
    let mut accounts: Vec<&AccountId> = batch.iter().map(|verified| &verified.consumption().account).collect();
    accounts.sort_unstable();
    accounts.dedup();
    let most = consumption::most_counted(accounts.len());
    let (changes, known, decided) = (ConsumptionChanges::default(), HashMap::new(), HashMap::new());
    let mut plan = Plan { facts, most, changes, known, decided };
    let mut outcomes = Vec::with_capacity(batch.len());
    for verified in batch {
        let consumption = verified.consumption();
        outcomes.push(match plan.consume_one(verified, signer, now) {
            // No trouble of the account, nor of its other devices.
            Err(LedgerError::DeviceRevoked(_) | LedgerError::WrongAccount { .. } | LedgerError::UnknownDevice(_)) => {
                ConsumptionOutcome::NotMember
            }
            Err(error @ LedgerError::Damaged(_)) => {
                tracing::error!("the consumption `{}` cannot be decided: `{error}`", consumption.id);
                // A later one of the account would be decided before it.
                plan.known.insert(consumption.account.clone(), Account::Failed);
                ConsumptionOutcome::Failed
            }
            outcome => outcome?,
        });
    }
    Ok((outcomes, plan.changes))
}

struct Plan<'a, F> {
    facts: &'a mut F,
    /// How many receipts of one account are counted.
    most: usize,
    changes: ConsumptionChanges,
    known: HashMap<AccountId, Account>,
    /// The consumptions of this batch that were decided.
    decided: HashMap<ConsumptionId, Sha256>,
}

impl<F: ConsumptionFacts> Plan<'_, F> {
    fn consume_one(
        &mut self,
        verified: &VerifiedConsumption,
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<ConsumptionOutcome, LedgerError> {
        let consumption = verified.consumption();
        let known = match self.decided.get(&consumption.id) {
            Some(sha256) => Some(*sha256),
            None => self.facts.consumption_sha256(consumption.id)?,
        };
        if let Some(sha256) = known {
            let same = sha256 == verified.sha256();
            return Ok(if same { ConsumptionOutcome::Replayed } else { ConsumptionOutcome::Conflict });
        }
        let (account, stored) = self.facts.consumer(consumption.device)?;
        if account != consumption.account {
            return Err(LedgerError::WrongAccount { device: consumption.device });
        }
        if !self.known.contains_key(&account) {
            let counted = self.count(&account)?;
            self.known.insert(account.clone(), counted);
        }
        let inventory = match (self.known.get(&account), self.changes.inventories.get_mut(&account)) {
            (Some(Account::Behind), _) => return Ok(ConsumptionOutcome::Undecided),
            (Some(Account::Counted), Some(inventory)) => inventory,
            _ => return Ok(ConsumptionOutcome::Failed),
        };
        // Whatever can be damaged was read by now.
        let status = inventory.decide(consumption);
        let feed = inventory.feed;
        let receipt = consumption::receipt(verified, status, feed, signer, now)?;
        let numbers = self.changes.numbers.get(&consumption.device).copied().unwrap_or(stored);
        let (numbers, repeated) = numbers.after(consumption.sequence);
        self.changes.numbers.insert(consumption.device, numbers);
        self.decided.insert(consumption.id, verified.sha256());
        let consumed = status == ConsumptionStatus::Consumed;
        self.changes.consumptions.push(NewConsumption { verified: verified.clone(), feed, consumed });
        self.changes.receipts.push(receipt);
        Ok(ConsumptionOutcome::Settled { status, repeated })
    }

    /// Counts what was not counted yet of an account's feed, or as much of it as is counted at a time.
    fn count(&mut self, account: &AccountId) -> Result<Account, LedgerError> {
        let length = self.facts.feed_length(account)?;
        let mut inventory = self.facts.inventory(account)?;
        if inventory.feed > length {
            return Err(LedgerError::damaged(format_args!("more is counted than the feed of {account} holds")));
        }
        if inventory.feed < length {
            let receipts = self.facts.uncounted(account, inventory.feed, self.most)?;
            let first = |order| books::stored_receipt(&self.facts.first_receipt(order)?.token);
            inventory.count_all(&receipts, first)?;
            if receipts.is_empty() {
                return Err(LedgerError::damaged(format_args!("receipts are missing in the feed of {account}")));
            }
        }
        let counted = if inventory.feed == length { Account::Counted } else { Account::Behind };
        self.changes.inventories.insert(account.clone(), inventory);
        Ok(counted)
    }
}
