//! Planning what becomes of a batch of orders.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::super::account::House;
use super::super::allowance::AllowanceRecord;
use super::super::changes::NewOrder;
use super::super::fork::{Chain, Fork};
use super::super::lot;
use super::super::transfer::{Transfer, TransferKind};
use super::super::{AccountNumber, Context, FeedEntry, LedgerError, Outcome, TransferId, VerifiedOrder};
use super::{Facts, Plan};
use crate::protocol::sync::{Balance, ChainHead};
use crate::protocol::{
    AccountId, Currency, KeyId, Micros, Money, Order, OrderId, ProductId, Receipt, Sha256, UnixSeconds,
};
use crate::server::seeded::{Bug, seeded};
use crate::server::settle::{self, Decision, Verdict};

/// What becomes of an order, before the receipts are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It gets the new receipt of this place in the plan.
    New(usize),
    /// It came earlier in the batch, and gets the receipt of this place.
    Repeated(usize),
    /// It was settled before the batch.
    Stored(FeedEntry),
    /// Its id belongs to another order.
    Conflict,
    /// What the books say about its account is damaged: nothing was decided.
    Failed,
    /// Its device belongs to another account.
    WrongAccount,
    /// Its device was revoked.
    DeviceRevoked,
}

impl Fate {
    /// What came of an order, once the plan's `receipts` have their `entries` in the feeds.
    pub(crate) fn outcome(self, receipts: &[Receipt], entries: &[FeedEntry]) -> Result<Outcome, LedgerError> {
        let entry = |place: usize| {
            let found = receipts.get(place).zip(entries.get(place));
            found.ok_or_else(|| LedgerError::damaged("a receipt was not written"))
        };
        Ok(match self {
            Self::New(place) => {
                let (receipt, entry) = entry(place)?;
                Outcome::Settled { entry: entry.clone(), status: receipt.status }
            }
            Self::Repeated(place) => Outcome::Replayed(entry(place)?.1.clone()),
            Self::Stored(entry) => Outcome::Replayed(entry),
            Self::Conflict => Outcome::Conflict,
            Self::Failed => Outcome::Failed,
            Self::WrongAccount => Outcome::WrongAccount,
            Self::DeviceRevoked => Outcome::DeviceRevoked,
        })
    }
}

/// Which lots pay for an order, how much each, and out of which allowance, if it is paid out of one.
#[derive(Default)]
struct Drawn {
    parts: Vec<(TransferId, i64)>,
    allowance: Option<AllowanceRecord>,
}

/// What the orders so far have changed.
#[derive(Default)]
pub(super) struct State {
    orders: HashMap<OrderId, (Sha256, usize)>,
    chains: HashMap<KeyId, Chain>,
    /// The place of the last receipt in each account's feed.
    feeds: HashMap<AccountId, u64>,
    /// What accounts have from now on, and when the last of it ends, for a pass.
    owned: HashMap<(AccountId, ProductId), Option<UnixSeconds>>,
    /// Accounts of which something is damaged. A later order of theirs would seem not to follow the one that failed.
    failed: HashSet<AccountId>,
}

impl<F: Facts> Plan<'_, F> {
    /// Decides what becomes of each order of a batch, in this order.
    ///
    /// # Errors
    /// The books cannot be read, or the random source failed. Books that are damaged for one account, or have lost its
    /// device, fail its orders.
    pub(crate) fn settle(
        &mut self,
        batch: &[VerifiedOrder],
        context: &mut Context<'_>,
    ) -> Result<Vec<Fate>, LedgerError> {
        let mut fates = Vec::with_capacity(batch.len());
        for verified in batch {
            let account = &verified.order().account;
            let fate = match self.settle_one(verified, context) {
                Err(error @ (LedgerError::Damaged(_) | LedgerError::UnknownDevice(_))) => {
                    tracing::error!("the order `{}` cannot be settled: `{error}`", verified.order().id);
                    self.settling.failed.insert(account.clone());
                    Fate::Failed
                }
                fate => fate?,
            };
            fates.push(fate);
        }
        Ok(fates)
    }

    fn settle_one(&mut self, verified: &VerifiedOrder, context: &mut Context<'_>) -> Result<Fate, LedgerError> {
        let order = verified.order();
        let chain = self.chain_of(order.device)?;
        if chain.revoked {
            return Ok(Fate::DeviceRevoked);
        }
        if chain.account != order.account {
            return Ok(Fate::WrongAccount);
        }
        if let Some((sha256, place)) = self.settling.orders.get(&order.id) {
            return Ok(if *sha256 == verified.sha256() { Fate::Repeated(*place) } else { Fate::Conflict });
        }
        if let Some(sha256) = self.facts.order_sha256(order.id)? {
            return match sha256 == verified.sha256() || seeded(Bug::ForgetConflict) {
                true => self.facts.first_receipt(order.id).map(Fate::Stored),
                false => Ok(Fate::Conflict),
            };
        }
        if self.settling.failed.contains(&order.account) {
            return Ok(Fate::Failed);
        }
        self.touch(&order.account)?;
        let decision = settle::decide(order, context.catalog, self.now, self)?;
        let feed = self.next_feed(&order.account)?;
        let drawn = self.drawn(order, &decision.verdict)?;
        let fork = self.fork(order, &decision)?;
        // Whatever can be damaged was read by now: from here on, all of it is planned or the whole batch fails.
        let receipt = settle::receipt(verified, &decision.verdict, feed, context.signer, self.now)?;
        self.pay(order, &decision.verdict, drawn)?;
        self.settling.feeds.insert(order.account.clone(), feed);
        self.follow(verified, &decision)?;
        if let Some(fork) = fork {
            self.changes.forks.push(fork);
            self.freeze(order.device, &order.account)?;
        }
        let (owned, until) = self.remember(order, &decision.verdict);
        let place = self.changes.receipts.len();
        self.settling.orders.insert(order.id, (verified.sha256(), place));
        self.changes.orders.push(NewOrder {
            verified: verified.clone(),
            feed,
            chained: decision.chained,
            status: receipt.status,
            owned,
            until,
            amount: receipt.amount,
            settled_at: self.now,
        });
        self.changes.receipts.push(receipt);
        Ok(Fate::New(place))
    }

    pub(super) fn next_feed(&mut self, account: &AccountId) -> Result<u64, LedgerError> {
        let last = match self.settling.feeds.get(account) {
            Some(last) => *last,
            None => self.facts.feed_length(account)?,
        };
        last.checked_add(1).ok_or_else(|| LedgerError::damaged("a feed is too long"))
    }

    /// Which lots pay for an order.
    fn drawn(&mut self, order: &Order, verdict: &Verdict) -> Result<Drawn, LedgerError> {
        let Verdict::Granted { amount, within, .. } = verdict else { return Ok(Drawn::default()) };
        if amount.micros == Micros::ZERO {
            return Ok(Drawn::default());
        }
        let allowance = if *within { self.paying(order, *amount)? } else { None };
        let lots = self.wallet(&order.account, amount.currency)?;
        if let Some(allowance) = allowance {
            return Ok(Drawn { parts: allowance.hold.take(amount.micros.value()), allowance: Some(allowance) });
        }
        let parts = lot::draw(lots, amount.micros.value())
            .ok_or_else(|| LedgerError::damaged("a wallet is less than its lots"))?;
        Ok(Drawn { parts, allowance: None })
    }

    /// Moves what an order costs from the lots to the creators and the game.
    fn pay(&mut self, order: &Order, verdict: &Verdict, drawn: Drawn) -> Result<(), LedgerError> {
        let Verdict::Granted { amount, shares, kept, .. } = verdict else { return Ok(()) };
        let Drawn { parts: drawn, allowance } = drawn;
        if drawn.is_empty() {
            return Ok(());
        }
        let hold = allowance.as_ref().map(|allowance| allowance.hold.id);
        let currency = amount.currency;
        let creators = shares.iter().map(|(creator, part)| (House::payable(creator, currency), part.value()));
        let houses = creators.chain([(House::revenue(self.game, currency), kept.value())]);
        let destinations: Vec<_> =
            houses.filter(|(_, part)| *part > 0).map(|(house, part)| (self.changes.house(house), part)).collect();
        for (leg, (lot, house, amount)) in (0..).zip(lot::pair(&drawn, &destinations)) {
            self.changes.transfer(Transfer {
                id: TransferId::of_purchase(order.id, leg),
                kind: TransferKind::Purchase,
                debit: AccountNumber::of_lot(lot),
                credit: house,
                amount,
                order: Some(order.id),
                hold,
                at: self.now,
            });
        }
        for lot in self.wallets.get_mut(&(order.account.clone(), currency)).into_iter().flatten() {
            let paid = drawn.iter().find(|(id, _)| *id == lot.id);
            lot.balance = lot.balance.saturating_sub(paid.map_or(0, |(_, part)| *part));
        }
        if let Some(allowance) = allowance {
            self.free(&order.account, currency, &drawn)?;
            self.take_from(allowance, order, *amount);
        }
        Ok(())
    }

    fn follow(&mut self, verified: &VerifiedOrder, decision: &Decision) -> Result<(), LedgerError> {
        if decision.chained {
            let order = verified.order();
            let head = ChainHead { sequence: order.sequence, order_sha256: verified.sha256() };
            self.chain_of(order.device)?.head = Some(head);
            self.changes.chains.insert(order.device, head);
        }
        Ok(())
    }

    /// The chain of a device, as it will be.
    pub(super) fn chain_of(&mut self, device: KeyId) -> Result<&mut Chain, LedgerError> {
        match self.settling.chains.entry(device) {
            Entry::Occupied(chain) => Ok(chain.into_mut()),
            Entry::Vacant(none) => Ok(none.insert(self.facts.chain(device)?)),
        }
    }

    /// Whether an order that does not follow its chain shows that its device was copied to spend an allowance twice.
    /// Without an allowance it shows nothing: whoever restores a save is honest.
    fn fork(&mut self, order: &Order, decision: &Decision) -> Result<Option<Fork>, LedgerError> {
        let Some(claim) = order.allowance.filter(|_| !decision.chained) else { return Ok(None) };
        let &mut Chain { head, frozen, .. } = self.chain_of(order.device)?;
        if frozen || head.is_none_or(|head| head.sequence < order.sequence) || seeded(Bug::IgnoreFork) {
            return Ok(None);
        }
        if self.allowance(claim.id)?.is_none_or(|allowance| allowance.terms.device != order.device) {
            return Ok(None);
        }
        // What freezing it takes is read before anything is planned.
        for allowance in self.open_allowances(order.device, &order.account)? {
            self.wallet(&order.account, allowance.hold.currency)?;
        }
        let is_there = |new: &&NewOrder| {
            let there = new.verified.order();
            new.chained && there.device == order.device && there.sequence == order.sequence
        };
        let first = match self.changes.orders.iter().find(is_there) {
            Some(new) => Some(new.verified.order().id),
            None => self.facts.order_at(&order.account, order.device, order.sequence)?,
        };
        let (device, sequence, second, at) = (order.device, order.sequence, order.id, self.now);
        Ok(first.map(|first| Fork { device, sequence, first, second, at }))
    }

    /// Sells nothing to a device from now on, and closes its allowances.
    pub(super) fn freeze(&mut self, device: KeyId, account: &AccountId) -> Result<(), LedgerError> {
        self.chain_of(device)?.frozen = true;
        self.changes.frozen.insert(device, Some(self.now));
        // A code that it has made lets nobody in any more.
        self.changes.membership.void_codes.push(account.clone());
        for allowance in self.open_allowances(device, account)? {
            self.close(allowance)?;
        }
        Ok(())
    }

    /// Remembers what the account has now, and says whether it has something, and when that ends.
    fn remember(&mut self, order: &Order, verdict: &Verdict) -> (bool, Option<UnixSeconds>) {
        let Verdict::Granted { owned: true, until, .. } = verdict else { return (false, None) };
        let ends = self.settling.owned.entry((order.account.clone(), order.product.clone())).or_default();
        *ends = (*ends).max(*until);
        (true, *until)
    }
}

/// The books as the rules ask for them, with everything that the orders so far have changed.
impl<F: Facts> settle::Facts for Plan<'_, F> {
    fn chain(&mut self, device: KeyId) -> Result<Option<ChainHead>, LedgerError> {
        Ok(self.chain_of(device)?.head)
    }

    fn is_frozen(&mut self, device: KeyId) -> Result<bool, LedgerError> {
        Ok(self.chain_of(device)?.frozen)
    }

    fn owns(&mut self, account: &AccountId, product: &ProductId) -> Result<bool, LedgerError> {
        let owned = self.settling.owned.contains_key(&(account.clone(), product.clone()));
        Ok(owned || self.facts.owns(account, product)?)
    }

    fn runs(&mut self, account: &AccountId, product: &ProductId, now: UnixSeconds) -> Result<bool, LedgerError> {
        let owned = self.settling.owned.get(&(account.clone(), product.clone()));
        let running = owned.is_some_and(|until| until.is_some_and(|until| until > now));
        Ok(running || self.facts.runs(account, product, now)?)
    }

    fn covers(&mut self, order: &Order, amount: Money) -> Result<bool, LedgerError> {
        Ok(self.paying(order, amount)?.is_some())
    }

    fn available(&mut self, account: &AccountId, currency: Currency) -> Result<Micros, LedgerError> {
        let Balance { available, held, .. } = self.balance(account, currency)?;
        Ok(if seeded(Bug::SpendHeld) { available.checked_add(held).unwrap_or(available) } else { available })
    }
}
