//! What becomes durable, and what changes once it is: orders, receipts, and items used up.

use std::mem;

use super::{ChainHead, Known, Machine, OfflineGrants, OrderState, Output, PlacedOrder, SignedReceipt, Terms};
use crate::client::clock::Tick;
use crate::client::record::{Consumed, Provisional, Record, Synced};
use crate::client::view::Update;
use crate::protocol::{Grant, ItemId, Order, OrderId, Status, Token};

/// The most that one append takes at once.
const MAX_BATCH: usize = 256;

/// Something that waits to become durable.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    Purchase(Box<Terms>),
    SignedOrder { terms: Box<Terms>, order: Box<Order>, token: Token, provisional: Option<Vec<Grant>> },
    Consume { item: ItemId, quantity: u64 },
    Receipts { receipts: Vec<SignedReceipt>, synced: Synced, more: bool },
}

impl Machine {
    /// Starts the next append, if none is under way and something waits.
    pub(super) fn append_next(&mut self, tick: Tick, outputs: &mut Vec<Output>) {
        if !self.appending.is_empty() || self.waiting.is_empty() {
            return;
        }
        let mut records = Vec::new();
        let mut chain = self.chain;
        let batch = self.waiting.len().min(MAX_BATCH);
        for waiting in self.waiting.drain(..batch).collect::<Vec<_>>() {
            let waiting = match waiting {
                Waiting::Purchase(terms) => match self.sign(&terms, chain, tick) {
                    Ok((order, token)) => {
                        chain = Some(ChainHead { sequence: order.sequence, order_sha256: token.sha256() });
                        records.push(Record::Order(token.clone()));
                        let provisional = self.provisional_grants(&terms, tick);
                        if let Some(grants) = provisional.clone() {
                            records.push(Record::Provisional(Provisional { order: terms.id, grants }));
                        }
                        Waiting::SignedOrder { terms, order: Box::new(order), token, provisional }
                    }
                    Err(trouble) => {
                        self.not_saved(&terms, &trouble, tick, outputs);
                        continue;
                    }
                },
                Waiting::Consume { item, quantity } => {
                    records.push(Record::Consumed(Consumed { item: item.clone(), quantity, at: tick.unix }));
                    Waiting::Consume { item, quantity }
                }
                Waiting::Receipts { receipts, synced, more } => {
                    chain = synced.follow.map_or(chain, |follow| follow.last);
                    records.extend(receipts.iter().map(|receipt| Record::Receipt(receipt.token.clone())));
                    records.push(Record::Synced(synced.clone()));
                    Waiting::Receipts { receipts, synced, more }
                }
                signed @ Waiting::SignedOrder { .. } => signed,
            };
            self.appending.push(waiting);
        }
        self.appending_chain = chain;
        if !records.is_empty() {
            outputs.push(Output::Append(records));
        }
    }

    fn sign(&self, terms: &Terms, chain: Option<ChainHead>, tick: Tick) -> Result<(Order, Token), String> {
        let order = Order {
            id: terms.id,
            device: self.device,
            account: self.account.clone(),
            game: self.settings.game.clone(),
            issued_at: tick.unix,
            sequence: chain.map_or(1, |head| head.sequence.saturating_add(1)),
            previous: chain.map(|head| head.order_sha256),
            product: terms.product.clone(),
            quantity: terms.quantity,
            price: terms.price,
            catalog: terms.catalog,
        };
        let token = order.sign(&self.key).map_err(|error| error.to_string())?;
        Ok((order, token))
    }

    /// The append under way is durable: now, and only now, it counts.
    pub(super) fn appended(&mut self, tick: Tick, outputs: &mut Vec<Output>) {
        self.chain = self.appending_chain;
        for done in mem::take(&mut self.appending) {
            match done {
                Waiting::SignedOrder { terms, order, token, provisional } => {
                    let order_sha256 = Some(token.sha256());
                    let place = self.orders.len();
                    let known = Known {
                        order: PlacedOrder::new(&terms, tick.unix),
                        place,
                        sha256: order_sha256,
                        decided_at: 0,
                    };
                    self.orders.insert(terms.id, known);
                    self.unanswered.insert(order.sequence, (terms.id, token));
                    self.sync_wanted = true;
                    if let Some(grants) = provisional {
                        self.inventory.grant(terms.id, grants, true);
                    }
                    self.update(terms.id, outputs, |order| order.state = OrderState::Queued);
                }
                Waiting::Consume { item, quantity } => {
                    self.inventory.consume(&item, quantity);
                    outputs.push(Output::Tell(Update::Consumed { item, quantity, saved: true }));
                }
                Waiting::Receipts { receipts, synced, more } => self.settle(receipts, synced, more, outputs),
                Waiting::Purchase(_) => {}
            }
        }
    }

    /// The append under way failed and left nothing behind. Orders are gone, and say so; receipts will come again.
    pub(super) fn append_failed(&mut self, trouble: &str, tick: Tick, outputs: &mut Vec<Output>) {
        for failed in mem::take(&mut self.appending) {
            match failed {
                Waiting::Purchase(terms) | Waiting::SignedOrder { terms, .. } => {
                    self.not_saved(&terms, trouble, tick, outputs);
                }
                Waiting::Consume { item, quantity } => {
                    outputs.push(Output::Tell(Update::Consumed { item, quantity, saved: false }));
                }
                Waiting::Receipts { .. } => self.failed(trouble, None, tick),
            }
        }
        outputs.push(Output::Tell(Update::Trouble(trouble.to_owned())));
    }

    fn not_saved(&mut self, terms: &Terms, trouble: &str, tick: Tick, outputs: &mut Vec<Output>) {
        let mut order = PlacedOrder::new(terms, tick.unix);
        order.state = OrderState::NotSaved;
        order.trouble = Some(trouble.to_owned());
        outputs.push(Output::Tell(Update::Order(order)));
    }

    /// What an order gives before its receipt, if this game is set to give anything.
    fn provisional_grants(&self, terms: &Terms, tick: Tick) -> Option<Vec<Grant>> {
        let now = self.now(tick);
        let from_now = |grant: &Grant| match grant {
            Grant::Entitlement { entitlement, until: Some(duration) } => {
                let until = Some(now.saturating_add(*duration));
                Grant::Entitlement { entitlement: entitlement.clone(), until }
            }
            other => other.clone(),
        };
        let provisional = self.settings.offline_grants == OfflineGrants::Provisional;
        provisional.then(|| terms.grants.iter().map(from_now).collect())
    }

    fn settle(&mut self, receipts: Vec<SignedReceipt>, synced: Synced, more: bool, outputs: &mut Vec<Output>) {
        for receipt in receipts {
            if self.apply(&receipt) {
                let order = receipt.claims.order;
                outputs.push(Output::Tell(Update::Receipt(Box::new(receipt))));
                self.update(order, outputs, |_| {});
            }
        }
        self.stored();
        self.cursor = synced.cursor;
        self.server_time = self.server_time.max(synced.server_time);
        self.sync_wanted |= more || !self.unanswered.is_empty();
        if synced.wallet != self.wallet {
            self.wallet.clone_from(&synced.wallet);
            outputs.push(Output::Tell(Update::Wallet(synced.wallet)));
        }
    }

    /// Applies a receipt that is verified and durable. Says whether it was new.
    pub(super) fn apply(&mut self, receipt: &SignedReceipt) -> bool {
        let claims = &receipt.claims;
        if !self.receipt_ids.insert(claims.id) {
            return false;
        }
        self.server_time = self.server_time.max(claims.issued_at);
        self.unanswered.retain(|_, (id, _)| *id != claims.order);
        let place = self.orders.len();
        let known = self.orders.entry(claims.order).or_insert_with(|| Known {
            place,
            order: PlacedOrder {
                id: claims.order,
                product: claims.product.clone(),
                quantity: claims.quantity,
                total: claims.amount,
                state: OrderState::Pending,
                provisional: false,
                reason: None,
                trouble: None,
                placed_at: claims.issued_at,
            },
            sha256: Some(claims.order_sha256),
            decided_at: 0,
        });
        if claims.feed <= known.decided_at {
            return true;
        }
        known.decided_at = claims.feed;
        known.order.reason = claims.reason;
        known.order.state = state_of(claims.status);
        match claims.status {
            Status::Granted => self.inventory.grant(claims.order, claims.grants.clone(), false),
            Status::Declined | Status::Refunded | Status::Revoked => self.inventory.take_back(claims.order),
            Status::Pending | Status::Other => {}
        }
        known.order.provisional = self.inventory.is_provisional(claims.order);
        true
    }

    /// Whether a receipt answers the very order that this device signed, or an order that it does not know.
    pub(super) fn answers_what_was_signed(&self, order: OrderId, sha256: crate::protocol::Sha256) -> bool {
        let signed = self.orders.get(&order).and_then(|known| known.sha256);
        signed.is_none_or(|signed| signed == sha256)
    }
}

fn state_of(status: Status) -> OrderState {
    match status {
        Status::Granted => OrderState::Granted,
        Status::Declined => OrderState::Declined,
        Status::Pending | Status::Other => OrderState::Pending,
        Status::Refunded => OrderState::Refunded,
        Status::Revoked => OrderState::Revoked,
    }
}
