//! The books in memory: the reference that every other engine is compared with.
//!
//! It is written to be read beside the rules, not to be fast. What changes the books changes a copy of them, which
//! takes their place only when everything has gone well: that is its transaction.

mod accounts;
mod rows;

use std::collections::BTreeMap;

use self::accounts::Accounts;
use super::transfer::{OPERATOR, WELCOME};
use super::{
    AccountSummary, BookReader, Context, Credit, CreditError, Device, Enrolled, FeedEntry, Ledger, LedgerError,
    OrderSummary, Outcome, Place, RefundError, Standing, TransferId, TransferKind, VerifiedOrder, books,
};
use crate::protocol::sync::{Balance, ChainHead};
use crate::protocol::{
    AccountId, Currency, GameId, KeyId, Micros, Money, OrderId, ProductId, PublicKey, Receipt, ReceiptId, Status,
    UnixSeconds,
};
use crate::server::settle::{self, Facts, Verdict};
use crate::server::signing::Signer;

/// The books in memory.
#[derive(Clone, Debug)]
pub struct ModelLedger {
    game: GameId,
    accounts: Accounts,
    devices: BTreeMap<KeyId, Device>,
    orders: BTreeMap<OrderId, OrderRecord>,
    /// The orders in the order in which they were settled.
    settled: Vec<OrderId>,
    feeds: BTreeMap<AccountId, Vec<ReceiptRecord>>,
}

#[derive(Clone, Debug)]
struct OrderRecord {
    verified: VerifiedOrder,
    chained: bool,
    status: Status,
    amount: Money,
    until: Option<UnixSeconds>,
    /// The place in the account's feed of the receipt that answered it first.
    feed: u64,
}

#[derive(Clone, Debug)]
struct ReceiptRecord {
    id: ReceiptId,
    order: OrderId,
    entry: FeedEntry,
}

impl ModelLedger {
    /// Empty books for `game`.
    pub fn new(game: GameId) -> Self {
        Self {
            game,
            accounts: Accounts::default(),
            devices: BTreeMap::new(),
            orders: BTreeMap::new(),
            settled: Vec::new(),
            feeds: BTreeMap::new(),
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
        let token = receipt.sign(&signer.key).map_err(LedgerError::Signing)?;
        let entry = FeedEntry { feed: receipt.feed, token };
        let record = ReceiptRecord { id: receipt.id, order: receipt.order, entry: entry.clone() };
        self.feeds.entry(receipt.account.clone()).or_default().push(record);
        Ok(entry)
    }

    fn receipt_of(&self, order: &OrderRecord) -> Result<FeedEntry, LedgerError> {
        let feed = self.feed(&order.verified.order().account);
        let found = feed.iter().find(|record| record.entry.feed == order.feed);
        found.map(|record| record.entry.clone()).ok_or_else(|| LedgerError::damaged("an order has no receipt"))
    }

    fn settle_one(&mut self, verified: &VerifiedOrder, context: &mut Context<'_>) -> Result<Outcome, LedgerError> {
        let order = verified.order();
        if let Some(known) = self.orders.get(&order.id) {
            return match known.verified.sha256() == verified.sha256() {
                true => self.receipt_of(known).map(Outcome::Replayed),
                false => Ok(Outcome::Conflict),
            };
        }
        let decision = settle::decide(order, context.catalog, context.now, self)?;
        let feed = self.next_feed(&order.account);
        let receipt = settle::receipt(verified, &decision.verdict, feed, context.signer, context.now)?;
        if let Verdict::Granted { amount, .. } = &decision.verdict {
            let wallet = self.accounts.wallet(&order.account, amount.currency);
            let revenue = self.accounts.revenue(&self.game, amount.currency);
            let id = TransferId::of_purchase(order.id);
            self.accounts.post(id, TransferKind::Purchase, wallet, revenue, amount.micros, Some(order.id))?;
        }
        if decision.chained
            && let Some(device) = self.devices.get_mut(&order.device)
        {
            device.chain = Some(ChainHead { sequence: order.sequence, order_sha256: verified.sha256() });
        }
        let until = match decision.verdict {
            Verdict::Granted { until, .. } => until,
            Verdict::Declined(_) => None,
        };
        let (status, amount) = (receipt.status, receipt.amount);
        let (chained, verified) = (decision.chained, verified.clone());
        self.settled.push(receipt.order);
        self.orders.insert(receipt.order, OrderRecord { verified, chained, status, amount, until, feed });
        Ok(Outcome::Settled { entry: self.append(&receipt, context.signer)?, status })
    }

    /// Runs `change` on a copy of the books, and keeps the copy if it went well.
    fn transaction<T, E>(&mut self, change: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let mut copy = self.clone();
        let result = change(&mut copy)?;
        *self = copy;
        Ok(result)
    }

    fn has_account(&self, account: &AccountId) -> bool {
        self.devices.values().any(|device| device.account == *account)
    }
}

impl Ledger for ModelLedger {
    fn enrol(
        &mut self,
        keys: &[PublicKey],
        welcome: Option<Money>,
        _now: UnixSeconds,
    ) -> Result<Vec<Enrolled>, LedgerError> {
        self.transaction(|books| {
            let enrol = |key: &PublicKey| {
                let id = key.id();
                if let Some(device) = books.devices.get(&id) {
                    return Ok(Enrolled { account: device.account.clone(), new: false });
                }
                let account = id.guest_account();
                books.devices.insert(id, Device { account: account.clone(), key: *key, chain: None });
                if let Some(money) = welcome.filter(|money| money.micros > Micros::ZERO) {
                    let wallet = books.accounts.wallet(&account, money.currency);
                    let funding = books.accounts.funding(WELCOME, money.currency);
                    let id = TransferId::of_welcome(&account);
                    books.accounts.post(id, TransferKind::Welcome, funding, wallet, money.micros, None)?;
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

    fn standings(&mut self, asked: &[Place]) -> Result<Vec<Standing>, LedgerError> {
        let standing = |place: &Place| {
            let feed = self.feed(&place.account);
            let places = Standing::places(place.cursor, feed.len() as u64);
            let listed = |record: &&ReceiptRecord| places.contains(&(record.entry.feed - 1));
            Standing {
                page: feed.iter().filter(listed).map(|record| record.entry.clone()).collect(),
                cursor: places.end,
                more: places.end < feed.len() as u64,
                wallet: self.accounts.balances(&place.account),
                chain: self.devices.get(&place.device).and_then(|device| device.chain),
            }
        };
        Ok(asked.iter().map(standing).collect())
    }

    fn credit(&mut self, credit: &Credit, _now: UnixSeconds) -> Result<Balance, CreditError> {
        let Credit { id, account, money } = credit;
        if money.micros <= Micros::ZERO {
            return Err(CreditError::NotPositive(*money));
        }
        if !self.has_account(account) {
            return Err(CreditError::UnknownAccount(account.clone()));
        }
        self.transaction(|books| {
            let wallet = books.accounts.wallet(account, money.currency);
            let funding = books.accounts.funding(OPERATOR, money.currency);
            let balance = |books: &Self| Balance {
                currency: money.currency,
                available: books.accounts.available(account, money.currency),
                held: Micros::ZERO,
            };
            if let Some(posted) = books.accounts.transfer(*id) {
                let same = posted.credit == wallet && posted.debit == funding && posted.amount == money.micros;
                return if same { Ok(balance(books)) } else { Err(CreditError::IdUsed) };
            }
            let before = books.accounts.available(account, money.currency);
            before.checked_add(money.micros).ok_or(CreditError::TooMuch(*money))?;
            books.accounts.post(*id, TransferKind::Credit, funding, wallet, money.micros, None)?;
            Ok(balance(books))
        })
    }

    fn refund(&mut self, order: OrderId, signer: &mut Signer, now: UnixSeconds) -> Result<Receipt, RefundError> {
        let record = self.orders.get(&order).ok_or(RefundError::UnknownOrder(order))?;
        match record.status {
            Status::Granted => {}
            Status::Refunded => return Err(RefundError::AlreadyRefunded(order)),
            _ => return Err(RefundError::NotGranted(order)),
        }
        let granted = books::stored_receipt(&self.receipt_of(record)?.token)?;
        let (account, amount) = (granted.account.clone(), granted.amount);
        let available = self.accounts.available(&account, amount.currency);
        available.checked_add(amount.micros).ok_or(RefundError::TooMuch(amount))?;
        self.transaction(|books| {
            let wallet = books.accounts.wallet(&account, amount.currency);
            let revenue = books.accounts.revenue(&books.game.clone(), amount.currency);
            let id = TransferId::of_refund(order);
            books.accounts.post(id, TransferKind::Refund, revenue, wallet, amount.micros, Some(order))?;
            if let Some(record) = books.orders.get_mut(&order) {
                record.status = Status::Refunded;
            }
            let receipt = settle::refund_receipt(granted, books.next_feed(&account), signer, now)?;
            books.append(&receipt, signer)?;
            Ok(receipt)
        })
    }

    fn show(&mut self, account: &AccountId) -> Result<Option<AccountSummary>, LedgerError> {
        if !self.has_account(account) {
            return Ok(None);
        }
        let mut orders = BTreeMap::new();
        let mut latest = Vec::new();
        for id in self.settled.iter().rev() {
            let Some(record) = self.orders.get(id) else { continue };
            let order = record.verified.order();
            if order.account != *account {
                continue;
            }
            *orders.entry(books::status_text(record.status).to_owned()).or_insert(0) += 1;
            if record.status != Status::Declined && latest.len() < AccountSummary::LATEST {
                latest.push(OrderSummary {
                    id: *id,
                    product: order.product.clone(),
                    quantity: order.quantity,
                    amount: record.amount,
                    status: record.status,
                });
            }
        }
        let own = self.devices.iter().filter(|(_, device)| device.account == *account);
        Ok(Some(AccountSummary {
            account: account.clone(),
            wallet: self.accounts.balances(account),
            devices: own.map(|(id, device)| (*id, device.chain)).collect(),
            orders,
            receipts: self.feed(account).len() as u64,
            latest,
        }))
    }

    fn read(&mut self, reader: &mut dyn BookReader) -> Result<(), LedgerError> {
        self.read_rows(reader);
        Ok(())
    }
}

impl Facts for ModelLedger {
    fn chain(&mut self, device: KeyId) -> Result<Option<ChainHead>, LedgerError> {
        let device = self.devices.get(&device).ok_or_else(|| LedgerError::damaged("an order's device is missing"))?;
        Ok(device.chain)
    }

    fn owns(&mut self, account: &AccountId, product: &ProductId) -> Result<bool, LedgerError> {
        Ok(self.granted(account, product).next().is_some())
    }

    fn runs(&mut self, account: &AccountId, product: &ProductId, now: UnixSeconds) -> Result<bool, LedgerError> {
        Ok(self.granted(account, product).any(|record| record.until.is_some_and(|until| until > now)))
    }

    fn available(&mut self, account: &AccountId, currency: Currency) -> Result<Micros, LedgerError> {
        Ok(self.accounts.available(account, currency))
    }
}

impl ModelLedger {
    fn granted(&self, account: &AccountId, product: &ProductId) -> impl Iterator<Item = &OrderRecord> {
        self.orders.values().filter(move |record| {
            let order = record.verified.order();
            record.status == Status::Granted && order.account == *account && order.product == *product
        })
    }
}
