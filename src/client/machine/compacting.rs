//! Writing the journal anew without what is needed no longer: answered orders, what they gave provisionally, and all
//! but the last word of every sync and every count.

use super::{Machine, Output};
use crate::client::clock::Tick;
use crate::client::record::{Consumed, Follow, Record, Signed, Synced};
use crate::client::seal::{OrderSummary, ReceiptSummary};
use crate::client::seeded::{Bug, seeded};
use crate::client::view::Update;
use crate::protocol::{AccountResponse, ConsumptionReceipt, Order, Receipt, ReceiptError, Token, envelope};

/// How many records more than twice those that are needed there may be, so that a small journal is left alone.
const SLACK: u64 = 512;

impl Machine {
    /// Asks for the journal to be written anew, if more than half of it is needed no longer.
    pub(super) fn compact_next(&mut self, outputs: &mut Vec<Output>) {
        // What was used of a receipt that is not believed now would be forgotten: another version of the game may
        // believe it. And what is of an account that is not known may be this one's.
        let is_in_doubt = !self.withheld.is_empty() || self.is_account_unknown();
        if self.appending.is_some() || !self.access.may_write() || is_in_doubt {
            return;
        }
        let too_many = self.needed().saturating_mul(2).saturating_add(SLACK).max(self.no_compaction_before);
        if self.compaction_wanted || self.records > too_many {
            self.compaction_wanted = false;
            self.no_compaction_before = u64::MAX;
            outputs.push(Output::Compact);
        }
    }

    /// How many records the journal needs: its receipts, the open orders with what they give provisionally, and the
    /// consumptions without an answer.
    fn needed(&self) -> u64 {
        let open = 2 * self.orders.len() + self.consumptions.len();
        self.receipts.saturating_add(open as u64)
    }

    pub(super) fn compacted(&mut self) {
        self.records = self.needed();
        self.no_compaction_before = 0;
    }

    /// Nothing is lost by it: the journal only is longer than it need be. It is tried again when it has grown.
    pub(super) fn compaction_failed(&mut self, trouble: String, outputs: &mut Vec<Output>) {
        self.no_compaction_before = self.records.saturating_mul(2);
        outputs.push(Output::Tell(Update::Trouble(trouble)));
    }

    /// What is to be kept of each record when the journal is written anew, asked from its first to its last. What was
    /// verified at the start for want of a seal gets one.
    pub fn keeping(&self) -> impl FnMut(Record) -> Option<Record> + '_ {
        let mut is_joined = self.membership.joined.is_none();
        move |record| {
            is_joined |= matches!(&record, Record::Account(token) if self.membership.joined == Some(token.sha256()));
            self.keep(record, is_joined)
        }
    }

    /// The same of a record that comes after the answer by which the device joined its account, or before it.
    fn keep(&self, record: Record, is_joined: bool) -> Option<Record> {
        match record {
            // Every list, since each vouches for the receipts after it.
            Record::Identity(_) | Record::Keys(_) => Some(record),
            Record::Order(signed) => self.keep_order(signed).map(Record::Order),
            Record::Receipt(signed) => self.keep_receipt(signed, is_joined).map(Record::Receipt),
            Record::Account(ref token) => self.is_account_kept(token).then_some(record),
            Record::Provisional(ref provisional) => {
                let open = self.orders.get(provisional.order)?;
                (open.provisional.is_some() || open.allowance.is_some()).then_some(record)
            }
            // Their sums and last words are written after everything else.
            Record::Consumed(_) | Record::Synced(_) | Record::Allowance(_) | Record::Counted(_) => None,
            // Those without an answer are written after everything that can have given what they use up.
            Record::Consumption(_) => None,
            Record::ConsumptionReceipt(token) => self.keep_consumption_receipt(token).map(Record::ConsumptionReceipt),
        }
    }

    /// One that is not believed is kept: its server's key may be trusted again by another version of the game.
    fn is_account_kept(&self, token: &Token) -> bool {
        let believed = AccountResponse::verify_kept(token, &self.keys.vouched(), &self.settings.game);
        let is_needed = self.is_answer_needed(token) || self.is_any_put_aside() || believed.is_err();
        is_needed && !seeded(Bug::CompactAccount)
    }

    fn keep_order(&self, signed: Signed) -> Option<Signed> {
        let (id, signed) = match self.sealer.open_order(&signed) {
            Some(summary) => (summary.order, signed),
            None => {
                let token = signed.token();
                match Order::verify(&token, self.key.public(), &self.account, &self.settings.game) {
                    Ok(order) => (order.id, self.sealer.seal_order(&OrderSummary::new(&order, &token), &token)),
                    Err(_) => {
                        let of_before = envelope::claims_of_stored::<Order>(&token).ok();
                        let of_before = of_before.filter(|order| self.is_of_before(order));
                        // Any other was told when it was read, and gives nothing; it is not ours to throw away.
                        return of_before.is_none_or(|order| self.is_put_aside(order.id)).then_some(signed);
                    }
                }
            }
        };
        let is_needed = self.orders.contains(id) || self.is_put_aside(id);
        (is_needed && !seeded(Bug::CompactOrders)).then_some(signed)
    }

    /// What is within the cursor is in the sums.
    fn keep_consumption_receipt(&self, token: Token) -> Option<Token> {
        let claims = envelope::claims_of_stored::<ConsumptionReceipt>(&token).ok()?;
        self.is_waiting_to_be_counted(&claims).then_some(token)
    }

    /// What came before the device joined its account, or came back to it, has come again with its feed.
    fn keep_receipt(&self, signed: Signed, is_joined: bool) -> Option<Signed> {
        if self.sealer.open_receipt(&signed).is_some() {
            return is_joined.then_some(signed);
        }
        let token = signed.token();
        match Receipt::verify_for(&token, &self.keys.vouched(), &self.settings.game, &self.account) {
            Ok(claims) => is_joined.then(|| self.seal_receipt(&claims, &token)),
            // What was bought there is there.
            Err(ReceiptError::WrongAccount { .. }) => None,
            // Its server's key may be trusted again by another version of the game.
            Err(_) => Some(signed),
        }
    }

    /// A receipt with its seal, if it is one that decides an order for good.
    pub(super) fn seal_receipt(&self, claims: &Receipt, token: &Token) -> Signed {
        match claims.status.is_final() {
            true => self.sealer.seal_receipt(claims.server, &ReceiptSummary::new(claims, token), token),
            false => token.clone().into(),
        }
    }

    /// The consumptions without an answer, the sums and the last words that come at the end of a journal that is written
    /// anew.
    pub fn closing_records(&self, tick: Tick) -> Vec<Record> {
        let used = self.inventory.used().filter(|_| !seeded(Bug::CompactConsumed)).map(|(item, quantity)| {
            let item = item.clone();
            Record::Consumed(Consumed { item, quantity, at: tick.unix })
        });
        // Before the sums: what is counted as used up by then was still there when they were signed.
        let pending = self.consumptions.pending().filter(|_| !seeded(Bug::CompactConsumed));
        let pending = pending.cloned().map(Record::Consumption);
        let counted = self.counted().map(Record::Counted);
        let heard = self.heard();
        let synced = (heard > 0).then(|| {
            Record::Synced(Synced {
                cursor: self.cursor,
                wallet: self.wallet.clone(),
                server_time: heard,
                follow: (!seeded(Bug::CompactChain)).then_some(Follow { last: self.chain }),
                consumed_sequence: None,
            })
        });
        let allowance = self.allowance.as_ref().map(|spending| Record::Allowance(spending.saved()));
        used.chain(pending).chain(counted).chain(allowance).chain(synced).collect()
    }
}
