//! The planner: decides what becomes of a batch of orders, or of an operation, from what the books say, and gives
//! the [`Changes`] that an engine writes in one transaction. It reads through [`Facts`] and writes nothing itself.
//!
//! What earlier orders of a batch have done is kept here, so the books are asked for each thing once, as it was before
//! the batch. The sums of the house's accounts are never asked for, except what is payable to a creator who is paid
//! out: engines may keep them in as many rows as they like.

mod accounts;
mod allowing;
mod consuming;
mod expiring;
mod operating;
mod settling;

use std::collections::{BTreeMap, HashMap, HashSet};

pub(crate) use accounts::{AccountFacts, manage};
pub(crate) use consuming::{ConsumptionChanges, ConsumptionFacts, consume};
pub(crate) use operating::operate;
pub(crate) use settling::Fate;

use super::account::{Origin, WELCOME, source};
use super::allowance::AllowanceRecord;
use super::changes::Changes;
use super::fork::Chain;
use super::hold::HoldRecord;
use super::lot::{self, Lot};
use super::operation::OperationRecord;
use super::refund::PaidOrder;
use super::transfer::{Transfer, TransferKind};
use super::{FeedEntry, LedgerError, OperationId, TransferId};
use crate::protocol::sync::Balance;
use crate::protocol::{
    AccountId, AllowanceId, CreatorId, Currency, GameId, KeyId, Micros, Money, OrderId, ProductId, Sha256, UnixSeconds,
};

/// What a plan asks the books. Nothing that it is told may have changed when the plan is written.
pub(crate) trait Facts {
    /// The digest of the order of this id, if there is one.
    fn order_sha256(&mut self, id: OrderId) -> Result<Option<Sha256>, LedgerError>;

    /// The receipt that answered an order first; it must be there.
    fn first_receipt(&mut self, order: OrderId) -> Result<FeedEntry, LedgerError>;

    /// The chain of a device, which must be there.
    fn chain(&mut self, device: KeyId) -> Result<Chain, LedgerError>;

    /// The order that the chain of a device holds in a place, if it is in the books.
    fn order_at(&mut self, account: &AccountId, device: KeyId, sequence: u64) -> Result<Option<OrderId>, LedgerError>;

    /// The account that a device belongs to, if it is enrolled.
    fn account_of(&mut self, device: KeyId) -> Result<Option<AccountId>, LedgerError>;

    /// Whether the account has the product, by an order that is granted and was of no consumable.
    fn owns(&mut self, account: &AccountId, product: &ProductId) -> Result<bool, LedgerError>;

    /// Whether the account has the product as a pass that ends after `now`, by an order that is granted.
    fn runs(&mut self, account: &AccountId, product: &ProductId, now: UnixSeconds) -> Result<bool, LedgerError>;

    /// How many receipts the account's feed holds.
    fn feed_length(&mut self, account: &AccountId) -> Result<u64, LedgerError>;

    /// The lots of a wallet in which there is, or is held, something, or that are owed; in any order.
    fn lots(&mut self, account: &AccountId, currency: Currency) -> Result<Vec<Lot>, LedgerError>;

    /// The account's holds that are due at `now`.
    fn due_holds(&mut self, account: &AccountId, now: UnixSeconds) -> Result<Vec<HoldRecord>, LedgerError>;

    /// The account that everything of a closed one has moved to.
    fn moved_to(&mut self, account: &AccountId) -> Result<Option<AccountId>, LedgerError>;

    /// Whether any device has opened this account.
    fn has_account(&mut self, account: &AccountId) -> Result<bool, LedgerError>;

    /// The operation of this id, if there is one.
    fn operation(&mut self, id: OperationId) -> Result<Option<OperationRecord>, LedgerError>;

    /// The lot that a transfer opened, if there is one; empty ones too.
    fn lot(&mut self, id: TransferId) -> Result<Option<Lot>, LedgerError>;

    /// An order, if there is one.
    fn paid_order(&mut self, id: OrderId) -> Result<Option<PaidOrder>, LedgerError>;

    /// The transfers for an order; in any order.
    fn transfers_of(&mut self, order: OrderId) -> Result<Vec<Transfer>, LedgerError>;

    /// A hold, if there is one.
    fn hold(&mut self, id: OperationId) -> Result<Option<HoldRecord>, LedgerError>;

    /// An allowance, if there is one; closed ones too.
    fn allowance(&mut self, id: AllowanceId) -> Result<Option<AllowanceRecord>, LedgerError>;

    /// The allowances of an account's devices of which the holds are pending; in any order.
    fn open_allowances(&mut self, account: &AccountId) -> Result<Vec<AllowanceRecord>, LedgerError>;

    /// The credits less the debits of what is payable to a creator, in micros.
    fn payable(&mut self, creator: &CreatorId, currency: Currency) -> Result<i64, LedgerError>;
}

/// A plan in the making.
pub(crate) struct Plan<'a, F> {
    facts: &'a mut F,
    game: &'a GameId,
    now: UnixSeconds,
    changes: Changes,
    /// The accounts whose due holds were given free.
    touched: HashSet<AccountId>,
    /// What was given free of each lot before its wallet was asked for.
    released: HashMap<TransferId, i64>,
    /// The open lots of each wallet, as they will be.
    wallets: HashMap<(AccountId, Currency), Vec<Lot>>,
    settling: settling::State,
    /// The allowances that were asked for, as they will be.
    allowances: BTreeMap<AllowanceId, Option<AllowanceRecord>>,
    /// The accounts whose open allowances were asked for.
    listed: HashSet<AccountId>,
}

impl<'a, F: Facts> Plan<'a, F> {
    /// A plan for the books of `game` that changes nothing yet.
    pub(crate) fn new(facts: &'a mut F, game: &'a GameId, now: UnixSeconds) -> Self {
        Self {
            facts,
            game,
            now,
            changes: Changes::default(),
            touched: HashSet::new(),
            released: HashMap::new(),
            wallets: HashMap::new(),
            settling: settling::State::default(),
            allowances: BTreeMap::new(),
            listed: HashSet::new(),
        }
    }

    /// What is to be written.
    pub(crate) fn into_changes(self) -> Changes {
        self.changes
    }

    /// Gives a new account its welcome credit.
    pub(crate) fn welcome(&mut self, account: &AccountId, money: Money) -> Result<(), LedgerError> {
        if money.micros <= Micros::ZERO {
            return Ok(());
        }
        let lot = Lot {
            id: TransferId::of_welcome(account),
            account: account.clone(),
            currency: money.currency,
            origin: Origin::Promotional,
            source: source(WELCOME).map_err(LedgerError::damaged)?,
            opened_at: self.now,
            refundable_until: None,
            opened_with: money.micros.value(),
            refunded: 0,
            balance: 0,
            held: 0,
        };
        self.changes.open(lot, TransferKind::Welcome, self.now);
        Ok(())
    }

    /// The open lots of a wallet, as they will be. The account must have been touched.
    fn wallet(&mut self, account: &AccountId, currency: Currency) -> Result<&mut Vec<Lot>, LedgerError> {
        let key = (account.clone(), currency);
        if !self.wallets.contains_key(&key) {
            let mut lots = self.facts.lots(account, currency)?;
            lots.iter_mut().for_each(|lot| self.release(lot));
            self.wallets.insert(key.clone(), lots);
        }
        Ok(self.wallets.entry(key).or_default())
    }

    /// Takes off a lot what holds that were due have set aside.
    fn release(&self, lot: &mut Lot) {
        lot.held = lot.held.saturating_sub(self.released.get(&lot.id).copied().unwrap_or_default());
    }

    /// What a wallet holds, as it will be.
    fn balance(&mut self, account: &AccountId, currency: Currency) -> Result<Balance, LedgerError> {
        let lots = self.wallet(account, currency)?;
        let micros = |sum| Micros::new(sum).map_err(LedgerError::damaged);
        Ok(Balance { currency, available: micros(lot::available(lots))?, held: micros(lot::held(lots))? })
    }
}
