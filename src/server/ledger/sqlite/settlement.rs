//! Settling a batch: every order is decided and posted in turn, then all receipts are signed at once and stored.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::super::{
    AccountKind, Context, FeedEntry, LedgerError, Outcome, TransferId, TransferKind, VerifiedOrder, books,
};
use super::postings::{self, Posting, Postings};
use super::{reading, values};
use crate::protocol::sync::ChainHead;
use crate::protocol::{AccountId, Currency, KeyId, Micros, OrderId, ProductId, Receipt, Sha256, Token, UnixSeconds};
use crate::server::settle::{self, Decision, Facts, Verdict};

/// What becomes of an order, before the receipts are signed.
enum Fate {
    /// It gets the new receipt of this place in the batch.
    New(usize),
    /// It came earlier in the batch, and gets the receipt of this place.
    Repeated(usize),
    /// It was settled before the batch.
    Stored(FeedEntry),
    /// Its id belongs to another order.
    Conflict,
}

struct Settlement<'a> {
    books: Books<'a>,
    postings: Postings<'a>,
    /// The place of the last receipt in each account's feed, the new ones included.
    feeds: HashMap<AccountId, u64>,
    receipts: Vec<Receipt>,
    /// Where the new orders' receipts are.
    places: HashMap<OrderId, usize>,
}

/// Settles `batch`; the caller commits.
pub(super) fn settle(
    transaction: &Transaction<'_>,
    batch: &[VerifiedOrder],
    context: &mut Context<'_>,
) -> Result<Vec<Outcome>, LedgerError> {
    let mut settlement = Settlement {
        books: Books(transaction),
        postings: Postings::new(transaction, context.now),
        feeds: HashMap::new(),
        receipts: Vec::new(),
        places: HashMap::new(),
    };
    let mut fates = Vec::with_capacity(batch.len());
    for verified in batch {
        fates.push(settlement.order(verified, context)?);
    }
    let Settlement { postings, receipts, .. } = settlement;
    postings.finish()?;
    let tokens = context.signer.sign(&receipts)?;
    let mut outcomes = Vec::with_capacity(receipts.len());
    for (receipt, token) in receipts.iter().zip(tokens) {
        outcomes.push((store_receipt(transaction, receipt, token)?, receipt.status));
    }
    // Every place is that of a receipt, and each receipt has its outcome: indexing cannot fail.
    let outcome = |fate| match fate {
        Fate::New(place) => {
            let (entry, status) = outcomes[place].clone();
            Outcome::Settled { entry, status }
        }
        Fate::Repeated(place) => Outcome::Replayed(outcomes[place].0.clone()),
        Fate::Stored(entry) => Outcome::Replayed(entry),
        Fate::Conflict => Outcome::Conflict,
    };
    Ok(fates.into_iter().map(outcome).collect())
}

/// Puts a signed receipt into its account's feed.
pub(super) fn store_receipt(
    connection: &Connection,
    receipt: &Receipt,
    token: Token,
) -> Result<FeedEntry, LedgerError> {
    connection
        .prepare_cached("INSERT INTO receipts (account, feed, id, order_id, token) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![
            receipt.account.as_str(),
            values::stored_count(receipt.feed),
            receipt.id.0,
            receipt.order.0,
            token.as_str(),
        ])?;
    Ok(FeedEntry { feed: receipt.feed, token })
}

impl Settlement<'_> {
    fn order(&mut self, verified: &VerifiedOrder, context: &mut Context<'_>) -> Result<Fate, LedgerError> {
        let order = verified.order();
        if let Some(sha256) = self.books.order_sha256(order.id)? {
            return match (sha256 == verified.sha256(), self.places.get(&order.id)) {
                (false, _) => Ok(Fate::Conflict),
                (true, Some(place)) => Ok(Fate::Repeated(*place)),
                (true, None) => self.books.first_receipt(order.id).map(Fate::Stored),
            };
        }
        let decision = settle::decide(order, context.catalog, context.now, &mut self.books)?;
        let feed = self.next_feed(&order.account)?;
        let receipt = settle::receipt(verified, &decision.verdict, feed, context.signer, context.now)?;
        self.books.store_order(verified, &decision, &receipt, context.now)?;
        self.postings.post(Posting {
            id: TransferId::of_purchase(order.id),
            kind: TransferKind::Purchase,
            wallet: &order.account,
            other: (AccountKind::Revenue, context.signer.game.as_str()),
            money: receipt.amount,
            order: Some(order.id),
        })?;
        let place = self.receipts.len();
        self.places.insert(order.id, place);
        self.receipts.push(receipt);
        Ok(Fate::New(place))
    }

    fn next_feed(&mut self, account: &AccountId) -> Result<u64, LedgerError> {
        let last = match self.feeds.get(account) {
            Some(last) => *last,
            None => reading::feed_length(self.books.0, account)?,
        };
        self.feeds.insert(account.clone(), last + 1);
        Ok(last + 1)
    }
}

/// The books, as the rules ask for them.
struct Books<'a>(&'a Connection);

impl Books<'_> {
    fn order_sha256(&self, id: OrderId) -> Result<Option<Sha256>, LedgerError> {
        let mut statement = self.0.prepare_cached("SELECT sha256 FROM orders WHERE id = ?1")?;
        Ok(statement.query_row([id.0], |row| row.get(0).map(Sha256)).optional()?)
    }

    fn first_receipt(&self, order: OrderId) -> Result<FeedEntry, LedgerError> {
        let first = reading::first_receipt(self.0, order)?;
        first.ok_or_else(|| LedgerError::damaged(format_args!("the order {order} has no receipt")))
    }

    fn store_order(
        &self,
        verified: &VerifiedOrder,
        decision: &Decision,
        receipt: &Receipt,
        now: UnixSeconds,
    ) -> Result<(), LedgerError> {
        let order = verified.order();
        let device = order.device.to_string();
        let sequence = decision.chained.then_some(values::stored_count(order.sequence));
        let until = match decision.verdict {
            Verdict::Granted { until, .. } => until,
            Verdict::Declined(_) => None,
        };
        self.0
            .prepare_cached(
                "INSERT INTO orders (id, account, device, sequence, product, quantity, token, sha256, status, until,
                     amount, currency, settled_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                order.id.0,
                order.account.as_str(),
                device,
                sequence,
                order.product.as_str(),
                order.quantity,
                verified.token().as_str(),
                verified.sha256().0,
                books::status_text(receipt.status),
                until,
                receipt.amount.micros.value(),
                receipt.amount.currency.code(),
                now,
            ])?;
        if decision.chained {
            self.0
                .prepare_cached("UPDATE devices SET sequence = ?2, chain_head = ?3 WHERE id = ?1")?
                .execute(params![device, sequence, verified.sha256().0])?;
        }
        Ok(())
    }
}

impl Facts for Books<'_> {
    fn chain(&mut self, device: KeyId) -> Result<Option<ChainHead>, LedgerError> {
        reading::chain(self.0, device)
    }

    fn owns(&mut self, account: &AccountId, product: &ProductId) -> Result<bool, LedgerError> {
        let mut statement =
            self.0.prepare_cached("SELECT 1 FROM orders WHERE account = ?1 AND product = ?2 AND status = 'granted'")?;
        Ok(statement.exists([account.as_str(), product.as_str()])?)
    }

    fn runs(&mut self, account: &AccountId, product: &ProductId, now: UnixSeconds) -> Result<bool, LedgerError> {
        let mut statement = self.0.prepare_cached(
            "SELECT 1 FROM orders WHERE account = ?1 AND product = ?2 AND status = 'granted' AND until > ?3",
        )?;
        Ok(statement.exists(params![account.as_str(), product.as_str(), now])?)
    }

    fn available(&mut self, account: &AccountId, currency: Currency) -> Result<Micros, LedgerError> {
        postings::available(self.0, account, currency)
    }
}
