//! The books in memory: the reference that every other engine is compared with.
//!
//! It is written to be read beside the rules, not to be fast. What changes the books changes a copy of them, which
//! takes their place only when everything has gone well: that is its transaction.

mod accounts;
mod allowing;
mod consuming;
mod membership;
mod operating;
mod rows;

use std::collections::BTreeMap;

use self::accounts::Accounts;
use self::consuming::Consumptions;
use self::membership::{Members, Remembered};
use super::account::{House, WELCOME, source};
use super::fork::Fork;
use super::hold::{HoldRecord, HoldStatus};
use super::operation::OperationRecord;
use super::transfer::{Transfer, TransferKind};
use super::{
    AccountNumber, AccountRules, AccountSummary, AccountWish, AllowanceRules, AllowanceSummary, AllowanceTerms,
    AllowanceWish, Answer, BookReader, ConsumptionOutcome, Context, Device, Enrolled, FeedEntry, Ledger, LedgerError,
    Lot, ManageError, OperateError, Operation, OperationId, OrderSummary, Origin, Outcome, Place, Standing, Total,
    TransferId, VerifiedConsumption, VerifiedOrder, books, lot,
};
use crate::protocol::consumption::ConsumptionReceipt;
use crate::protocol::envelope;
use crate::protocol::sync::ChainHead;
use crate::protocol::{
    AccountId, AllowanceId, Currency, GameId, KeyId, Micros, Money, Order, OrderId, ProductId, PublicKey, Receipt,
    ReceiptId, Status, Token, UnixSeconds,
};
use crate::server::settle::{self, Facts, Verdict};
use crate::server::signing::Signer;

/// The books in memory.
#[derive(Clone, Debug)]
pub struct ModelLedger {
    game: GameId,
    accounts: Accounts,
    devices: BTreeMap<KeyId, Device>,
    members: Members,
    orders: BTreeMap<OrderId, OrderRecord>,
    /// The orders in the order in which they were settled.
    settled: Vec<OrderId>,
    feeds: BTreeMap<AccountId, Vec<ReceiptRecord>>,
    holds: BTreeMap<OperationId, HoldRecord>,
    /// What the holds allow that are behind allowances.
    allowances: BTreeMap<AllowanceId, AllowanceTerms>,
    /// The devices to which nothing is sold.
    frozen: BTreeMap<KeyId, UnixSeconds>,
    forks: Vec<Fork>,
    operations: BTreeMap<OperationId, OperationRecord>,
    consumptions: Consumptions,
}

#[derive(Clone, Debug)]
struct OrderRecord {
    verified: VerifiedOrder,
    /// Whose it is: who signed it, or whoever the account was moved to.
    account: AccountId,
    chained: bool,
    status: Status,
    amount: Money,
    owned: bool,
    until: Option<UnixSeconds>,
    refunded_quantity: u32,
    refunded_amount: i64,
    /// The place in the account's feed of the receipt that answered it first.
    feed: u64,
    settled_at: UnixSeconds,
}

#[derive(Clone, Debug)]
struct ReceiptRecord {
    id: ReceiptId,
    /// The order, or the consumption.
    answers: [u8; 16],
    entry: FeedEntry,
}

impl ReceiptRecord {
    /// The order that it answers, if it answers one: a consumption may have the id of an order.
    fn order(&self) -> Option<OrderId> {
        (!envelope::is_of::<ConsumptionReceipt>(&self.entry.token)).then_some(OrderId(self.answers))
    }
}

impl ModelLedger {
    /// Empty books for `game`.
    pub fn new(game: GameId) -> Self {
        Self {
            game,
            accounts: Accounts::default(),
            devices: BTreeMap::new(),
            members: Members::default(),
            orders: BTreeMap::new(),
            settled: Vec::new(),
            feeds: BTreeMap::new(),
            holds: BTreeMap::new(),
            allowances: BTreeMap::new(),
            frozen: BTreeMap::new(),
            forks: Vec::new(),
            operations: BTreeMap::new(),
            consumptions: Consumptions::default(),
        }
    }

    fn feed(&self, account: &AccountId) -> &[ReceiptRecord] {
        self.feeds.get(account).map_or(&[], Vec::as_slice)
    }

    fn next_feed(&self, account: &AccountId) -> u64 {
        self.feed(account).len() as u64 + 1
    }

    /// Signs a receipt and puts it at the end of its account's feed.
    fn append(&mut self, receipt: &Receipt, signer: &Signer) -> Result<FeedEntry, LedgerError> {
        let token = signer.sign_one(receipt)?;
        let entry = FeedEntry { feed: receipt.feed, token };
        let record = ReceiptRecord { id: receipt.id, answers: receipt.order.0, entry: entry.clone() };
        self.feeds.entry(receipt.account.clone()).or_default().push(record);
        Ok(entry)
    }

    fn receipt_of(&self, order: &OrderRecord) -> Result<FeedEntry, LedgerError> {
        let feed = self.feed(&order.account);
        let found = feed.iter().find(|record| record.entry.feed == order.feed);
        found.map(|record| record.entry.clone()).ok_or_else(|| LedgerError::damaged("an order has no receipt"))
    }

    fn settle_one(&mut self, verified: &VerifiedOrder, context: &mut Context<'_>) -> Result<Outcome, LedgerError> {
        let order = verified.order();
        if let Some(refused) = self.membership_refused(order.device, &order.account)? {
            return Ok(refused);
        }
        if let Some(known) = self.orders.get(&order.id) {
            return match known.verified.sha256() == verified.sha256() {
                true => self.receipt_of(known).map(Outcome::Replayed),
                false => Ok(Outcome::Conflict),
            };
        }
        self.expire_holds(Some(&order.account), context.now);
        let decision = settle::decide(order, context.catalog, context.now, self)?;
        let feed = self.next_feed(&order.account);
        let receipt = settle::receipt(verified, &decision.verdict, feed, context.signer, context.now)?;
        self.pay(order, &decision.verdict, context.now)?;
        self.look_for_fork(order, decision.chained, context.now);
        if decision.chained
            && let Some(device) = self.devices.get_mut(&order.device)
        {
            device.chain = Some(ChainHead { sequence: order.sequence, order_sha256: verified.sha256() });
        }
        let (owned, until) = match decision.verdict {
            Verdict::Granted { owned, until, .. } => (owned, until),
            Verdict::Declined(_) => (false, None),
        };
        let (status, amount) = (receipt.status, receipt.amount);
        let chained = decision.chained;
        self.settled.push(receipt.order);
        let (refunded_quantity, refunded_amount) = (0, 0);
        let settled_at = context.now;
        let account = order.account.clone();
        let record = OrderRecord {
            verified: verified.clone(),
            account,
            chained,
            status,
            amount,
            owned,
            until,
            refunded_quantity,
            refunded_amount,
            feed,
            settled_at,
        };
        self.orders.insert(receipt.order, record);
        Ok(Outcome::Settled { entry: self.append(&receipt, context.signer)?, status })
    }

    /// Moves what an order costs from the lots to the creators and the game.
    fn pay(&mut self, order: &Order, verdict: &Verdict, at: UnixSeconds) -> Result<(), LedgerError> {
        let Verdict::Granted { amount, shares, kept, within, .. } = verdict else { return Ok(()) };
        let currency = amount.currency;
        let allowance = order.allowance.filter(|_| *within).map(|claim| claim.id);
        let drawn = match allowance {
            Some(id) => self.take_from(id, order, *amount)?,
            None => {
                let drawn = lot::draw(&self.accounts.wallet(&order.account, currency), amount.micros.value());
                drawn.ok_or_else(|| LedgerError::damaged("a wallet is less than its lots"))?
            }
        };
        let mut destinations = Vec::new();
        for (creator, part) in shares {
            if *part > Micros::ZERO {
                destinations.push((self.accounts.house(House::payable(creator, currency)), part.value()));
            }
        }
        if *kept > Micros::ZERO {
            destinations.push((self.accounts.house(House::revenue(&self.game, currency)), kept.value()));
        }
        for (leg, (lot, house, amount)) in (0..).zip(lot::pair(&drawn, &destinations)) {
            let id = TransferId::of_purchase(order.id, leg);
            let hold = allowance.map(|AllowanceId(id)| OperationId(id));
            let (kind, order) = (TransferKind::Purchase, Some(order.id));
            let debit = AccountNumber::of_lot(lot);
            self.accounts.post(Transfer { id, kind, debit, credit: house, amount, order, hold, at })?;
        }
        Ok(())
    }

    /// Gives free what is due, of one account or of all, and says how many holds that was.
    fn expire_holds(&mut self, account: Option<&AccountId>, now: UnixSeconds) -> u64 {
        let is_due = |hold: &&mut HoldRecord| {
            hold.status == HoldStatus::Pending
                && hold.expires_at <= now
                && account.is_none_or(|account| hold.account == *account)
        };
        let mut count = 0;
        for hold in self.holds.values_mut().filter(is_due) {
            hold.status = HoldStatus::Expired;
            hold.resolved_at = Some(hold.expires_at);
            count += 1;
            let revenue = House::revenue(&self.game, hold.currency).number();
            self.accounts.release(&hold.rest(), revenue);
        }
        count
    }

    /// Runs `change` on a copy of the books, and keeps the copy if it went well.
    fn transaction<T, E>(&mut self, change: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let mut copy = self.clone();
        let result = change(&mut copy)?;
        *self = copy;
        Ok(result)
    }

    fn has_account(&self, account: &AccountId) -> bool {
        let left = self.members.moves.iter().any(|one| one.from == *account);
        left || self.devices.values().any(|device| device.account == *account)
    }

    /// What is said of an order of a device that is revoked, or belongs to another account.
    fn membership_refused(&self, device: KeyId, account: &AccountId) -> Result<Option<Outcome>, LedgerError> {
        let device = self.devices.get(&device).ok_or(LedgerError::UnknownDevice(device))?;
        Ok(match device {
            Device { revoked: true, .. } => Some(Outcome::DeviceRevoked),
            device if device.account != *account => Some(Outcome::WrongAccount),
            _ => None,
        })
    }
}

impl Ledger for ModelLedger {
    fn game(&self) -> &GameId {
        &self.game
    }

    fn enrol(
        &mut self,
        keys: &[PublicKey],
        welcome: Option<Money>,
        now: UnixSeconds,
    ) -> Result<Vec<Enrolled>, LedgerError> {
        self.transaction(|books| {
            let enrol = |key: &PublicKey| {
                let id = key.id();
                if let Some(device) = books.devices.get(&id) {
                    return Ok(Enrolled { account: device.account.clone(), new: false });
                }
                let account = id.guest_account();
                books.devices.insert(id, Device { account: account.clone(), key: *key, chain: None, revoked: false });
                books.members.devices.insert(id, Remembered::first(now));
                if let Some(money) = welcome.filter(|money| money.micros > Micros::ZERO) {
                    let lot = Lot {
                        id: TransferId::of_welcome(&account),
                        account: account.clone(),
                        currency: money.currency,
                        origin: Origin::Promotional,
                        source: source(WELCOME).map_err(LedgerError::damaged)?,
                        opened_at: now,
                        refundable_until: None,
                        opened_with: money.micros.value(),
                        refunded: 0,
                        balance: 0,
                        held: 0,
                    };
                    books.accounts.open(lot, TransferKind::Welcome, now)?;
                }
                Ok(Enrolled { account, new: true })
            };
            keys.iter().map(enrol).collect()
        })
    }

    fn device(&mut self, id: KeyId) -> Result<Option<Device>, LedgerError> {
        Ok(self.devices.get(&id).cloned())
    }

    fn settle(&mut self, batch: &[VerifiedOrder], context: &mut Context<'_>) -> Result<Vec<Outcome>, LedgerError> {
        self.transaction(|books| batch.iter().map(|order| books.settle_one(order, context)).collect())
    }

    fn consume(
        &mut self,
        batch: &[VerifiedConsumption],
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<Vec<ConsumptionOutcome>, LedgerError> {
        self.transaction(|books| batch.iter().map(|one| books.consume_one(one, signer, now)).collect())
    }

    fn allow(
        &mut self,
        wishes: &[AllowanceWish],
        rules: &AllowanceRules,
        context: &mut Context<'_>,
    ) -> Result<Vec<Option<Token>>, LedgerError> {
        self.transaction(|books| wishes.iter().map(|wish| books.allow_one(wish, rules, context)).collect())
    }

    fn manage(
        &mut self,
        wish: &AccountWish,
        rules: &AccountRules,
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<super::Membership, ManageError> {
        self.manage_once(wish, rules, signer, now)
    }

    fn standings(&mut self, asked: &[Place]) -> Result<Vec<Standing>, LedgerError> {
        let standing = |place: &Place| {
            let feed = self.feed(&place.account);
            let places = Standing::places(place.cursor, feed.len() as u64);
            let listed = |record: &&ReceiptRecord| places.contains(&(record.entry.feed - 1));
            let device = self.devices.get(&place.device).ok_or(LedgerError::UnknownDevice(place.device))?;
            match self.membership_refused(place.device, &place.account)? {
                Some(Outcome::DeviceRevoked) => return Err(LedgerError::DeviceRevoked(place.device)),
                Some(_) => return Err(LedgerError::WrongAccount { device: place.device }),
                None => {}
            }
            Ok(Standing {
                page: feed.iter().filter(listed).map(|record| record.entry.clone()).collect(),
                cursor: places.end,
                more: places.end < feed.len() as u64,
                wallet: self.accounts.balances(&place.account),
                chain: device.chain,
                consumed_sequence: self.consumptions.numbers.get(&place.device).map_or(0, |numbers| numbers.last),
            })
        };
        asked.iter().map(standing).collect()
    }

    fn operate(
        &mut self,
        operation: &Operation,
        signer: &mut Signer,
        now: UnixSeconds,
    ) -> Result<Answer, OperateError> {
        self.operate_once(operation, signer, now)
    }

    fn expire(&mut self, now: UnixSeconds) -> Result<u64, LedgerError> {
        Ok(self.expire_holds(None, now))
    }

    fn totals(&mut self) -> Result<Vec<Total>, LedgerError> {
        self.accounts.totals()
    }

    fn show(&mut self, account: &AccountId) -> Result<Option<AccountSummary>, LedgerError> {
        if !self.has_account(account) {
            return Ok(None);
        }
        let mut orders = BTreeMap::new();
        let mut latest = Vec::new();
        // By the account's feed: what has moved here is later than what was settled here before.
        let mut own: Vec<(&OrderId, &OrderRecord)> =
            self.orders.iter().filter(|(_, record)| record.account == *account).collect();
        own.sort_by_key(|(_, record)| std::cmp::Reverse(record.feed));
        for (id, record) in own {
            let order = record.verified.order();
            *orders.entry(books::status_text(record.status).to_owned()).or_insert(0) += 1;
            if record.status != Status::Declined && latest.len() < AccountSummary::LATEST {
                latest.push(OrderSummary {
                    id: *id,
                    product: order.product.clone(),
                    quantity: order.quantity,
                    refunded: record.refunded_quantity,
                    amount: record.amount,
                    status: record.status,
                });
            }
        }
        let is_own = |id: &&KeyId| self.devices.get(id).is_some_and(|device| device.account == *account);
        let numbers = self.consumptions.numbers.iter().filter(|(id, _)| is_own(id));
        let own = || self.devices.iter().filter(|(_, device)| device.account == *account);
        Ok(Some(AccountSummary {
            account: account.clone(),
            wallet: self.accounts.balances(account),
            devices: own().map(|(id, device)| (*id, device.chain)).collect(),
            orders,
            receipts: self.feed(account).len() as u64,
            latest,
            allowances: AllowanceSummary::of(self.pending_allowances(account))?,
            frozen: self.frozen.keys().filter(is_own).copied().collect(),
            consumptions: numbers.map(|(id, numbers)| (*id, *numbers)).collect(),
            revoked: own().filter(|(_, device)| device.revoked).map(|(id, _)| *id).collect(),
            names: own().filter_map(|(id, _)| Some((*id, self.members.devices.get(id)?.name.clone()?))).collect(),
            signed_in: self.members.login_of(account).is_some(),
            moved_to: self.members.moved_to(account),
        }))
    }

    fn read(&mut self, reader: &mut dyn BookReader) -> Result<(), LedgerError> {
        self.read_rows(reader);
        Ok(())
    }
}

impl Facts for ModelLedger {
    fn chain(&mut self, device: KeyId) -> Result<Option<ChainHead>, LedgerError> {
        let device = self.devices.get(&device).ok_or(LedgerError::UnknownDevice(device))?;
        Ok(device.chain)
    }

    fn is_frozen(&mut self, device: KeyId) -> Result<bool, LedgerError> {
        Ok(self.frozen.contains_key(&device))
    }

    fn covers(&mut self, order: &Order, amount: Money) -> Result<bool, LedgerError> {
        let named = order.allowance.and_then(|claim| self.allowance(claim.id));
        // Whatever is due was given free by now.
        Ok(named.is_some_and(|allowance| allowance.covers(order, amount, UnixSeconds::MIN)))
    }

    fn owns(&mut self, account: &AccountId, product: &ProductId) -> Result<bool, LedgerError> {
        Ok(self.owned(account, product).next().is_some())
    }

    fn runs(&mut self, account: &AccountId, product: &ProductId, now: UnixSeconds) -> Result<bool, LedgerError> {
        Ok(self.owned(account, product).any(|record| record.until.is_some_and(|until| until > now)))
    }

    fn available(&mut self, account: &AccountId, currency: Currency) -> Result<Micros, LedgerError> {
        Micros::new(lot::available(&self.accounts.wallet(account, currency))).map_err(LedgerError::damaged)
    }
}

impl ModelLedger {
    fn owned(&self, account: &AccountId, product: &ProductId) -> impl Iterator<Item = &OrderRecord> {
        self.orders.values().filter(move |record| {
            let order = record.verified.order();
            record.status == Status::Granted && record.owned && record.account == *account && order.product == *product
        })
    }
}
