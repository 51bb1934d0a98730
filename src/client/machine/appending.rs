//! What becomes durable, and what changes once it is: orders, receipts, and items used up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::account::{Learned, Stray, next_in};
use super::allowance::Spending;
use super::consuming::Pending;
use super::not_saved::not_saved;
use super::orders::OpenOrder;
use super::{ChainHead, Machine, OfflineGrants, OrderState, Output, PlacedOrder, Settled, SignedReceipt, Terms};
use crate::client::clock::Tick;
use crate::client::record::{Consumed, Counted, Provisional, Record, Signed, Synced};
use crate::client::seal::{OrderSummary, ReceiptSummary};
use crate::client::seeded::{Bug, seeded};
use crate::client::view::Update;
use crate::protocol::allowance::AllowanceUse;
use crate::protocol::{
    AllowanceId, ConsumptionId, ConsumptionReceipt, Grant, ItemId, Order, OrderId, Receipt, Sha256, Status, Token,
};

/// The most that one append takes at once.
const MAX_BATCH: usize = 256;

/// Something that waits to become durable.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    Purchase(Box<Terms>),
    SignedOrder { terms: Box<Terms>, sha256: Sha256, signed: Signed, provisional: Option<Provisional> },
    Consume { id: ConsumptionId, item: ItemId, quantity: u64 },
    SignedConsumption(Box<Pending>),
    Receipts(Box<Answered>),
    Account(Box<Learned>),
}

/// What an answer says that is to become durable.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    /// A list of keys that is not in the journal yet.
    pub(super) keys: Option<Token>,
    pub(super) receipts: Vec<SignedReceipt>,
    /// Receipts of consumptions.
    pub(super) consumptions: Vec<(ConsumptionReceipt, Token)>,
    /// An allowance that is new.
    pub(super) allowance: Option<Spending>,
    /// Orders that are to be sent, as the answer is for the device and the account that they name, and that nothing in the
    /// journal has said to be of now.
    pub(super) own: Vec<Stray>,
    pub(super) synced: Synced,
    /// Whether the feed goes on.
    pub(super) more: bool,
}

/// What goes into one append.
pub(super) struct Batch {
    /// What it will mean once it is durable.
    meaning: Vec<Waiting>,
    /// The chain as it will be.
    chain: Option<ChainHead>,
    /// The allowance as it will be.
    allowance: Option<Spending>,
    /// The number of the last consumption as it will be.
    pub(super) consumed: u64,
    /// How many of each item its consumptions use up.
    pub(super) used: BTreeMap<ItemId, u64>,
    pub(super) records: Vec<Record>,
}

/// An append under way.
#[derive(Debug)]
pub(super) struct Appending {
    /// What it will mean once it is durable.
    pub(super) meaning: Vec<Waiting>,
    /// The chain as it will be.
    chain: Option<ChainHead>,
    /// The allowance as it will be.
    allowance: Option<Spending>,
    /// The number of the last consumption as it will be.
    consumed: u64,
    records: Arc<[Record]>,
    /// What the disk said when it was not known whether it is durable.
    pub(super) trouble: Option<String>,
    /// When to try again then.
    pub(super) retry_at: Option<Duration>,
    pub(super) failures: u32,
}

/// An order as it was before a receipt.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) place: u64,
    /// None, if it is not among those that are open.
    pub(super) order: Option<PlacedOrder>,
}

impl Machine {
    /// Starts the next append, if none is under way and something waits.
    pub(super) fn append_next(&mut self, tick: Tick, outputs: &mut Vec<Output>) {
        if let Some(appending) = &mut self.appending {
            if appending.retry_at.is_some_and(|at| at <= tick.elapsed) {
                appending.retry_at = None;
                outputs.push(Output::Append(Arc::clone(&appending.records)));
            }
            if let Some(trouble) = appending.trouble.clone() {
                self.refuse_waiting(&trouble, tick, outputs);
            }
            return;
        }
        let count = self.count_to_append().min(MAX_BATCH);
        let mut batch = Batch {
            meaning: Vec::with_capacity(count),
            chain: self.chain,
            allowance: self.allowance.clone(),
            consumed: self.consumptions.last,
            used: BTreeMap::new(),
            records: Vec::with_capacity(count),
        };
        for _ in 0..count {
            if let Some(waiting) = self.waiting.pop_front() {
                self.prepare(waiting, &mut batch, tick, outputs);
            }
        }
        let Batch { meaning, chain, allowance, consumed, records, .. } = batch;
        self.act_before_durable(&meaning, outputs);
        if !meaning.is_empty() {
            let records = Arc::from(records);
            outputs.push(Output::Append(Arc::clone(&records)));
            let (trouble, retry_at, failures) = (None, None, 0);
            self.appending =
                Some(Appending { meaning, chain, allowance, consumed, records, trouble, retry_at, failures });
        }
    }

    /// What must only happen once an append is durable, with the bug switched on that does it too early.
    fn act_before_durable(&mut self, meaning: &[Waiting], outputs: &mut Vec<Output>) {
        if seeded(Bug::SentBeforeDurable) {
            for waiting in meaning {
                if let Waiting::SignedOrder { terms, sha256, signed, .. } = waiting {
                    self.open_order(PlacedOrder::new(terms, 0), *sha256, Some(signed.clone()), None, None);
                    self.sync_wanted = true;
                }
            }
        }
        if seeded(Bug::AppliedBeforeDurable) {
            for waiting in meaning {
                if let Waiting::Receipts(answered) = waiting.clone() {
                    self.settle(*answered, outputs);
                }
            }
        }
    }

    /// Adds to a batch what it takes for `waiting` to become durable.
    fn prepare(&self, waiting: Waiting, batch: &mut Batch, tick: Tick, outputs: &mut Vec<Output>) {
        let waiting = match waiting {
            Waiting::Purchase(terms) => match self.sign(&terms, batch, tick) {
                Ok((order, token)) => {
                    let records = &mut batch.records;
                    let summary = OrderSummary::new(&order, &token);
                    batch.chain = Some(ChainHead { sequence: order.sequence, order_sha256: summary.sha256 });
                    let signed = self.sealer.seal_order(&summary, &token);
                    records.push(Record::Order(signed.clone()));
                    if seeded(Bug::QueuedBeforeDurable) {
                        let queued = PlacedOrder { state: OrderState::Queued, ..PlacedOrder::new(&terms, tick.unix) };
                        outputs.push(Output::Tell(Update::Order(queued)));
                    }
                    let provisional = self.provisional(&terms, order.allowance, tick);
                    records.extend(provisional.clone().map(Record::Provisional));
                    if let (Some(spending), Some(order)) = (&mut batch.allowance, order.allowance) {
                        spending.spend(order);
                    }
                    Waiting::SignedOrder { terms, sha256: summary.sha256, signed, provisional }
                }
                Err(trouble) => return outputs.push(Output::Tell(Update::Order(not_saved(&terms, &trouble, tick)))),
            },
            Waiting::Consume { id, item, quantity } if self.settings.server_keys.is_empty() => {
                batch.records.push(Record::Consumed(Consumed { item: item.clone(), quantity, at: tick.unix }));
                Waiting::Consume { id, item, quantity }
            }
            Waiting::Consume { id, item, quantity } => {
                match self.prepare_consumption((id, item, quantity), batch, tick) {
                    Ok(signed) => signed,
                    Err(refused) => return outputs.push(Output::Tell(refused)),
                }
            }
            Waiting::Receipts(answered) => {
                let Answered { keys, receipts, consumptions, allowance, own, synced, .. } = &*answered;
                // Before the receipts, which it may vouch for.
                batch.records.extend(keys.clone().map(Record::Keys));
                batch.records.extend(own.iter().map(|stray| Record::Order(stray.signed().clone())));
                batch.chain = own.last().map_or(batch.chain, |stray| Some(stray.head()));
                batch.chain = synced.follow.map_or(batch.chain, |follow| follow.last);
                let sealed = receipts.iter().map(|it| self.seal_receipt(&it.claims, &it.token));
                if synced.cursor < self.cursor {
                    let consumed_sequence = batch.consumed;
                    batch.records.push(Record::Counted(Counted { consumed_sequence, ..Counted::default() }));
                }
                batch.consumed = batch.consumed.max(synced.consumed_sequence.unwrap_or_default());
                batch.records.extend(sealed.map(Record::Receipt));
                batch.records.extend(consumptions.iter().map(|(_, token)| Record::ConsumptionReceipt(token.clone())));
                if let Some(allowance) = allowance {
                    batch.allowance = Some(allowance.clone());
                    batch.records.push(Record::Allowance(allowance.saved()));
                }
                batch.records.push(Record::Synced(synced.clone()));
                Waiting::Receipts(answered)
            }
            Waiting::Account(learned) => {
                batch.records.extend(learned.keys.clone().map(Record::Keys));
                // Before the answer, so that a crash that tears it off leaves them as they are.
                batch.records.extend(self.strays_of(&learned.claims).cloned().map(Record::Order));
                batch.records.push(Record::Account(learned.token.clone()));
                if learned.claims.account != self.account {
                    // Whoever reads this may have known the account before, and counted its feed to some place.
                    let consumed_sequence = batch.consumed;
                    batch.records.push(Record::Counted(Counted { consumed_sequence, ..Counted::default() }));
                }
                Waiting::Account(learned)
            }
            signed @ (Waiting::SignedOrder { .. } | Waiting::SignedConsumption(_)) => signed,
        };
        batch.meaning.push(waiting);
    }

    fn sign(&self, terms: &Terms, batch: &Batch, tick: Tick) -> Result<(Order, Token), String> {
        if self.membership.is_revoked() {
            return Err("this device was removed from its account".to_owned());
        }
        if self.is_account_unknown() {
            // It would be lost with the account that it is not of.
            return Err(
                "what the store said of this device's account cannot be read on this device any more, and the \
                        store was not reached since; go online, and order it then"
                    .to_owned(),
            );
        }
        let (sequence, previous) = next_in(batch.chain);
        let order = Order {
            id: terms.id,
            device: self.device,
            account: self.account.clone(),
            game: self.settings.game.clone(),
            issued_at: tick.unix,
            sequence,
            previous,
            product: terms.product.clone(),
            quantity: terms.quantity,
            price: terms.price,
            catalog: terms.catalog,
            allowance: self.covered(batch.allowance.as_ref(), terms, tick),
        };
        let token = order.sign(&self.key).map_err(|error| error.to_string())?;
        Ok((order, token))
    }

    /// The append under way is durable: now, and only now, it counts.
    pub(super) fn appended(&mut self, tick: Tick, outputs: &mut Vec<Output>) {
        let Some(appending) = self.appending.take() else { return };
        self.chain = appending.chain;
        self.allowance = appending.allowance;
        self.consumptions.last = appending.consumed;
        self.records += appending.records.len() as u64;
        outputs.reserve(appending.meaning.len());
        for done in appending.meaning {
            match done {
                Waiting::SignedOrder { terms, sha256, signed, provisional } => {
                    let allowance = provisional.as_ref().and_then(|provisional| provisional.allowance);
                    let give = |given: Provisional| self.inventory.grant(terms.id, &given.grants, true);
                    let provisional = provisional.map(give);
                    let mut order = PlacedOrder::new(&terms, tick.unix);
                    order.state = OrderState::Queued;
                    order.provisional = provisional.is_some();
                    outputs.push(Output::Tell(Update::Order(order.clone())));
                    let allowance = allowance.map(|order| order.id);
                    self.open_order(order, sha256, Some(signed), provisional, allowance);
                    self.sync_wanted = true;
                }
                Waiting::SignedConsumption(pending) => self.consumed(*pending, tick, outputs),
                Waiting::Consume { item, quantity, .. } => {
                    // A receipt that came just before may have taken them back.
                    let saved = self.inventory.consume(&item, quantity);
                    outputs.push(Output::Tell(Update::Consumed { item, quantity, saved }));
                }
                Waiting::Receipts(answered) => self.settle(*answered, outputs),
                Waiting::Account(learned) => self.account_learned(&learned),
                Waiting::Purchase(_) => {}
            }
        }
    }

    /// Remembers an order that no final receipt has answered, as the last one of the history.
    pub(super) fn open_order(
        &mut self,
        order: PlacedOrder,
        sha256: Sha256,
        unanswered: Option<Signed>,
        provisional: Option<super::Bundle>,
        allowance: Option<AllowanceId>,
    ) {
        let place = self.next_place();
        self.orders.add(OpenOrder { order, place, sha256, unanswered, provisional, allowance, decided_at: 0 });
    }

    /// Remembers an order of another device that a receipt says is waiting for somebody.
    pub(super) fn open_pending(&mut self, claims: &Receipt) {
        if !claims.status.is_final() && !self.settled.contains_key(&claims.order) {
            self.open_order(PlacedOrder::of(claims), claims.order_sha256, None, None, None);
        }
    }

    fn next_place(&mut self) -> u64 {
        self.next_place += 1;
        self.next_place
    }

    /// What an order gives before its receipt, if it is within an allowance or this game is set to give anything.
    fn provisional(&self, terms: &Terms, allowance: Option<AllowanceUse>, tick: Tick) -> Option<Provisional> {
        let now = self.now(tick);
        let from_now = |grant: &Grant| match grant {
            Grant::Entitlement { entitlement, until: Some(duration) } => {
                let until = Some(now.saturating_add(*duration));
                Grant::Entitlement { entitlement: entitlement.clone(), until }
            }
            other => other.clone(),
        };
        let provisional = self.settings.offline_grants == OfflineGrants::Provisional || allowance.is_some();
        let grants = || terms.grants.iter().map(from_now).collect();
        provisional.then(|| Provisional { order: terms.id, grants: grants(), allowance })
    }

    fn settle(&mut self, answered: Answered, outputs: &mut Vec<Output>) {
        let Answered { keys, receipts, consumptions, own, synced, more, .. } = answered;
        if keys.is_some() {
            self.keys_saved = self.keys.number();
        }
        if synced.cursor < self.cursor {
            self.begin_counting_again();
        }
        self.receipts += receipts.len() as u64;
        own.into_iter().for_each(|stray| self.open_stray(stray));
        consumptions.iter().for_each(|(receipt, _)| self.take_consumption_receipt(receipt));
        for receipt in receipts {
            let claims = &receipt.claims;
            self.open_pending(claims);
            let Some(before) = self.apply(&ReceiptSummary::new(claims, &receipt.token)) else { continue };
            let mut order = before.order.unwrap_or_else(|| PlacedOrder::of(claims));
            order.decide(claims);
            if let Some(open) = self.orders.get_mut(claims.order) {
                open.order = order.clone();
            }
            outputs.push(Output::Tell(Update::Receipt(Box::new(receipt))));
            outputs.push(Output::Tell(Update::Order(order)));
        }
        self.stored();
        self.count_to(synced.cursor, outputs);
        self.withdraw_consumptions(outputs);
        self.server_time = synced.server_time;
        self.inventory.forget_ended(self.server_time);
        if !more {
            self.forget_former_orders();
        }
        self.sync_wanted |= more || self.orders.unanswered().next().is_some();
        if synced.wallet != self.wallet {
            self.wallet.clone_from(&synced.wallet);
            outputs.push(Output::Tell(Update::Wallet(synced.wallet)));
        }
    }

    /// Applies a receipt that is verified and durable. Gives its order as it was before; none if the receipt is not
    /// newer than what decided it.
    pub(super) fn apply(&mut self, receipt: &ReceiptSummary) -> Option<Before> {
        let (id, feed) = (receipt.order, receipt.says.feed);
        self.withheld.remove(&id);
        self.not_put_aside(id);
        if !self.is_news_for(id, feed) {
            self.count_again(receipt);
            return None;
        }
        if !receipt.says.status.is_final()
            && let Some(open) = self.orders.get_mut(id)
        {
            open.unanswered = None;
            open.decided_at = feed;
            return Some(Before { place: open.place, order: Some(open.order.clone()) });
        }
        if let Some(open) = self.orders.remove(id) {
            let bundle = self.replace(receipt, open.provisional.map(|bundle| (bundle, true)));
            let counted = self.count_later(feed, id, bundle, super::Bundle::default());
            self.settled.insert(id, Settled { decided_at: feed, bundle, counted });
            return Some(Before { place: open.place, order: Some(open.order) });
        }
        let given = self.settled.get(&id).map(|settled| (settled.bundle, false));
        let counted = self.settled.get(&id).map_or_else(super::Bundle::default, |settled| settled.counted);
        if let (false, Some((bundle, _))) = (receipt.says.status.is_final(), given) {
            // It says nothing that this version understands, so what was decided stands.
            self.settled.insert(id, Settled { decided_at: feed, bundle, counted });
            return None;
        }
        let bundle = self.replace(receipt, given);
        let counted = self.count_later(feed, id, bundle, counted);
        self.settled.insert(id, Settled { decided_at: feed, bundle, counted });
        Some(Before { place: self.next_place(), order: None })
    }

    /// Puts what a final receipt gives in the place of what its order gave before.
    fn replace(&mut self, receipt: &ReceiptSummary, before: Option<(super::Bundle, bool)>) -> super::Bundle {
        let id = receipt.order;
        if receipt.says.status == Status::Granted {
            let before = before.filter(|_| !seeded(Bug::ReceiptCountsTwice));
            if let Some((bundle, provisional)) = before {
                self.inventory.remove(id, bundle, provisional);
            }
            let bundle = self.inventory.grant(id, &receipt.grants(), false);
            if let Some((before, _)) = before {
                // It may give less than before: a part of the order was refunded.
                self.inventory.forgive(before);
            }
            return bundle;
        }
        if let Some((bundle, provisional)) = before.filter(|_| !seeded(Bug::KeepWhatIsDeclined)) {
            self.inventory.take_back(id, bundle, provisional);
        }
        super::Bundle::default()
    }

    /// Whether a receipt at this place of the feed is newer than what decided its order.
    pub(super) fn is_news_for(&self, order: OrderId, feed: u64) -> bool {
        let open = self.orders.get(order).map(|open| open.decided_at);
        let decided_at = open.or_else(|| self.settled.get(&order).map(|settled| settled.decided_at));
        decided_at.is_none_or(|decided_at| feed > decided_at || seeded(Bug::ReceiptCountsTwice))
    }

    /// Whether a receipt answers the very order that this device signed, or an order that it does not know as open.
    pub(super) fn answers_what_was_signed(&self, order: OrderId, sha256: Sha256) -> bool {
        let signed = self.orders.get(order).map(|open| open.sha256);
        signed.is_none_or(|signed| signed == sha256)
    }
}
