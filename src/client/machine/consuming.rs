//! Using items up: each consumption is signed and numbered, counts as soon as it is durable, and is pending until the
//! server's answer stands in the feed within the cursor.
//!
//! How many items there are by the feed is counted in the feed's order, as the server counts: receipts that come ahead
//! of their place, as the answers to orders can, give at once, but wait here to be counted.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::appending::{Batch, Waiting};
use super::{Bundle, Machine, Output, Tick};
use crate::client::record::{Counted, Record};
use crate::client::seal::ReceiptSummary;
use crate::client::seeded::{Bug, seeded};
use crate::client::view::Update;
use crate::protocol::consumption::{ConsumptionReceipt, ConsumptionStatus, MAX_CONSUMPTIONS};
use crate::protocol::{Consumption, ConsumptionId, ItemId, OrderId, Status, Token, envelope};

/// How long a consumption waits for others before it is sent.
const GATHER: Duration = Duration::from_secs(10);

/// The consumptions that are not answered yet, and the number of the last one.
#[derive(Debug, Default)]
pub(super) struct Consumptions {
    /// The highest number that this device has signed, or that the server says it has.
    pub(super) last: u64,
    /// Oldest first. Answers come in this order too, so that it is mostly the first one that goes.
    pending: VecDeque<Pending>,
}

/// A consumption without an answer.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) id: ConsumptionId,
    item: ItemId,
    quantity: u64,
    token: Token,
}

impl Pending {
    pub(super) fn new(consumption: &Consumption, token: Token) -> Self {
        let Consumption { id, item, quantity, .. } = consumption.clone();
        Self { id, item, quantity, token }
    }

    /// What the game is told if it could not be made durable.
    pub(super) fn not_saved(self) -> Update {
        Update::Consumed { item: self.item, quantity: self.quantity, saved: false }
    }
}

impl Consumptions {
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// All of them, oldest first.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Token> {
        self.pending.iter().map(|pending| &pending.token)
    }

    /// The first ones, which go into one request.
    pub(super) fn to_send(&self) -> impl Iterator<Item = &Token> {
        self.pending().take(MAX_CONSUMPTIONS)
    }

    /// The last one that goes into one request.
    pub(super) fn last_to_send(&self) -> Option<ConsumptionId> {
        self.pending.iter().take(MAX_CONSUMPTIONS).next_back().map(|pending| pending.id)
    }

    /// Whether there are others than those that were sent up to this one, and if so, whether that was a full request.
    fn unsent_after(&self, sent: Option<ConsumptionId>) -> Option<bool> {
        let after = sent.and_then(|sent| self.pending.iter().position(|pending| pending.id == sent));
        let sent = after.map_or(0, |place| place + 1);
        (self.pending.len() > sent).then_some(sent >= MAX_CONSUMPTIONS)
    }
}

/// What a receipt says about items, until it is counted at its place in the feed. Small: while a game starts there is one
/// for each of its receipts.
#[derive(Clone, Debug)]
pub(super) enum Uncounted {
    /// What an order gives from then on.
    Order(OrderId, Bundle),
    /// What became of a consumption.
    Consumption(Box<Answer>),
}

/// What became of a consumption.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    id: ConsumptionId,
    item: ItemId,
    quantity: u64,
    consumed: bool,
}

impl Uncounted {
    fn consumption(receipt: &ConsumptionReceipt) -> Self {
        let ConsumptionReceipt { consumption: id, item, quantity, status, .. } = receipt.clone();
        Self::Consumption(Box::new(Answer { id, item, quantity, consumed: status == ConsumptionStatus::Consumed }))
    }

    fn is_order(&self, order: OrderId) -> bool {
        matches!(self, Self::Order(known, _) if *known == order)
    }

    fn is_consumption(&self, consumption: ConsumptionId) -> bool {
        matches!(self, Self::Consumption(answer) if answer.id == consumption)
    }
}

impl Machine {
    /// Adds to a batch what it takes for a consumption to become durable. Without a server nobody would ever answer it,
    /// so then it only counts here.
    pub(super) fn prepare_consumption(
        &self,
        (id, item, quantity): (ConsumptionId, ItemId, u64),
        batch: &mut Batch,
        tick: Tick,
    ) -> Result<Waiting, Update> {
        let used = batch.used.entry(item.clone()).or_default();
        let refused = Update::Consumed { item: item.clone(), quantity, saved: false };
        if self.is_account_unknown() || self.inventory.left(&item) < used.saturating_add(quantity) {
            return Err(refused);
        }
        let consumption = Consumption {
            id,
            device: self.device,
            account: self.account.clone(),
            game: self.settings.game.clone(),
            issued_at: tick.unix,
            sequence: batch.consumed.saturating_add(1),
            item,
            quantity,
        };
        let Ok(token) = consumption.sign(&self.key) else { return Err(refused) };
        *used = used.saturating_add(quantity);
        batch.consumed = consumption.sequence;
        batch.records.push(Record::Consumption(token.clone()));
        Ok(Waiting::SignedConsumption(Box::new(Pending::new(&consumption, token))))
    }

    /// A consumption is durable: now, and only now, it counts.
    pub(super) fn consumed(&mut self, pending: Pending, tick: Tick, outputs: &mut Vec<Output>) {
        let (item, quantity) = (pending.item.clone(), pending.quantity);
        let saved = self.add_pending(pending);
        outputs.push(Output::Tell(Update::Consumed { item, quantity, saved }));
        self.next_poll = self.next_poll.min(tick.elapsed.saturating_add(GATHER));
    }

    /// Waits for the answer to a consumption; not to one that a receipt which came just before has left nothing for.
    pub(super) fn add_pending(&mut self, pending: Pending) -> bool {
        let enough = self.inventory.left(&pending.item) >= pending.quantity;
        if enough {
            self.inventory.set_pending(&pending.item, |sum| sum.saturating_add(pending.quantity));
            self.consumptions.pending.push_back(pending);
        }
        enough
    }

    /// Takes back the latest consumptions without an answer for which there is not enough any more: what they used was
    /// taken back, and they must be no debt on what is bought next. If the server has consumed one all the same, the feed
    /// says so.
    pub(super) fn withdraw_consumptions(&mut self, outputs: &mut Vec<Output>) {
        for item in self.inventory.overdrawn() {
            let left = &mut self.consumptions.pending;
            while self.inventory.is_overdrawn(&item)
                && let Some(pending) = left.iter().rposition(|it| it.item == item).and_then(|place| left.remove(place))
            {
                self.inventory.set_pending(&item, |sum| sum.saturating_sub(pending.quantity));
                let (item, quantity) = (item.clone(), pending.quantity);
                outputs.push(Output::Tell(Update::ConsumeRefused { item, quantity }));
            }
        }
    }

    /// Forgets those pending consumptions that nobody should be sent. Gives what to tell of each.
    pub(super) fn drop_pending(&mut self, mut is_bad: impl FnMut(&Token) -> bool) -> Vec<Update> {
        let (bad, good): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.consumptions.pending).into_iter().partition(|pending| is_bad(&pending.token));
        self.consumptions.pending = good;
        for pending in &bad {
            self.inventory.set_pending(&pending.item, |sum| sum.saturating_sub(pending.quantity));
        }
        bad.into_iter().map(|Pending { item, quantity, .. }| Update::ConsumeRefused { item, quantity }).collect()
    }

    /// Asks for another sync soon where consumptions wait that were in none, and at once where they did not fit.
    pub(super) fn send_the_rest(&mut self, sent: Option<ConsumptionId>, tick: Tick) {
        if let Some(full) = self.consumptions.unsent_after(sent) {
            let wait = if full { Duration::ZERO } else { GATHER };
            self.next_poll = self.next_poll.min(tick.elapsed.saturating_add(wait));
        }
    }

    /// Whether a receipt says something about items that is not counted yet nor waits to be, in an answer that goes on
    /// from this place of the feed.
    fn is_uncounted(&self, from: u64, feed: u64, is_it: impl Fn(&Uncounted) -> bool) -> bool {
        let begins_again = from < self.cursor;
        feed > from && (begins_again || !self.uncounted.iter().any(|(place, known)| *place == feed && is_it(known)))
    }

    pub(super) fn is_uncounted_order(&self, from: u64, feed: u64, order: OrderId) -> bool {
        self.is_uncounted(from, feed, |known| known.is_order(order))
    }

    pub(super) fn is_uncounted_consumption(&self, from: u64, receipt: &ConsumptionReceipt) -> bool {
        self.is_uncounted(from, receipt.feed, |known| known.is_consumption(receipt.consumption))
    }

    /// Whether a receipt in the journal stands at a place that the cursor has not passed.
    pub(super) fn is_waiting_to_be_counted(&self, receipt: &ConsumptionReceipt) -> bool {
        let is_it =
            |(feed, known): &(u64, Uncounted)| *feed == receipt.feed && known.is_consumption(receipt.consumption);
        self.uncounted.iter().any(is_it)
    }

    /// Whether a receipt answers the very consumption that this device signed, or one that is not pending here.
    pub(super) fn answers_what_was_consumed(&self, receipt: &ConsumptionReceipt) -> bool {
        let own = self.consumptions.pending.iter().find(|pending| pending.id == receipt.consumption);
        own.is_none_or(|pending| pending.token.sha256() == receipt.consumption_sha256)
    }

    /// Takes what a receipt of an order gives, to be counted at its place; at once, where that was passed. Gives what is
    /// counted of the order now.
    pub(super) fn count_later(&mut self, feed: u64, order: OrderId, bundle: Bundle, counted: Bundle) -> Bundle {
        if feed <= self.cursor {
            self.inventory.count(counted, bundle);
            return bundle;
        }
        self.uncounted.push((feed, Uncounted::Order(order, bundle)));
        counted
    }

    /// Takes a receipt that changes no order, since it came before, but is to be counted again: the feed began again.
    pub(super) fn count_again(&mut self, receipt: &ReceiptSummary) {
        let (feed, id) = (receipt.says.feed, receipt.order);
        if feed <= self.cursor {
            return;
        }
        let bundle = match receipt.says.status {
            Status::Granted => self.inventory.bundle_of(&receipt.grants()),
            _ if receipt.says.status.is_final() => Bundle::default(),
            _ => return,
        };
        self.uncounted.push((feed, Uncounted::Order(id, bundle)));
    }

    pub(super) fn take_consumption_receipt(&mut self, receipt: &ConsumptionReceipt) {
        if receipt.feed > self.cursor {
            self.uncounted.push((receipt.feed, Uncounted::consumption(receipt)));
        }
    }

    /// The feed is read from its beginning once more: the books behind it were lost, and older ones put back.
    pub(super) fn begin_counting_again(&mut self) {
        self.cursor = 0;
        self.uncounted.clear();
        self.inventory.begin_counting_again();
        self.settled.values_mut().for_each(|settled| settled.counted = Bundle::default());
    }

    /// Moves the cursor on, and counts what stands up to it in the feed.
    pub(super) fn count_to(&mut self, cursor: u64, outputs: &mut Vec<Output>) {
        self.cursor = cursor;
        if self.uncounted.is_empty() {
            return;
        }
        if self.counts_at_once() {
            // After a start there can be one for each receipt: the room for them is given back, too.
            self.uncounted = Vec::new();
            self.inventory.count_all_given();
            self.settled.values_mut().for_each(|settled| settled.counted = settled.bundle);
            return;
        }
        self.uncounted.sort_by_key(|(feed, _)| *feed);
        let later = self.uncounted.partition_point(|(feed, _)| *feed <= cursor);
        let later = self.uncounted.split_off(later);
        let mut passed = std::mem::replace(&mut self.uncounted, later).into_iter().peekable();
        while let Some((feed, uncounted)) = passed.next() {
            // Of two at one place the one that came later stands there: it is the same, or the feed began again.
            if passed.peek().is_none_or(|(next, _)| *next != feed) {
                self.count(uncounted, outputs);
            }
        }
    }

    /// Whether everything is within the cursor, and nothing was ever used up: then the order makes no difference. A
    /// journal that was written anew begins with all of its receipts.
    fn counts_at_once(&self) -> bool {
        let plain =
            |(feed, uncounted): &(u64, Uncounted)| *feed <= self.cursor && matches!(uncounted, Uncounted::Order(..));
        self.uncounted.len() == self.settled.len()
            && self.inventory.consumed().next().is_none()
            && self.uncounted.iter().all(plain)
    }

    fn count(&mut self, uncounted: Uncounted, outputs: &mut Vec<Output>) {
        match uncounted {
            Uncounted::Order(order, bundle) => {
                if let Some(settled) = self.settled.get_mut(&order) {
                    self.inventory.count(settled.counted, bundle);
                    settled.counted = bundle;
                }
            }
            Uncounted::Consumption(answer) => {
                let Answer { id, item, quantity, consumed } = *answer;
                if consumed {
                    self.inventory.count_consumed(&item, quantity);
                }
                let own = self.consumptions.pending.iter().position(|pending| pending.id == id);
                if let Some(pending) = own.and_then(|place| self.consumptions.pending.remove(place)) {
                    self.inventory.set_pending(&pending.item, |sum| sum.saturating_sub(pending.quantity));
                    if !consumed {
                        outputs.push(Output::Tell(Update::ConsumeRefused { item, quantity }));
                    }
                }
            }
        }
    }

    /// What is counted, as a journal that is written anew says it; none if nothing was ever used up.
    pub(super) fn counted(&self) -> Option<Counted> {
        if seeded(Bug::CompactConsumed) {
            return None;
        }
        let used: BTreeMap<ItemId, u64> =
            self.inventory.consumed().map(|(item, quantity)| (item.clone(), quantity)).collect();
        let consumed_sequence = self.consumptions.last;
        let counted = Counted { feed: self.cursor, used, consumed_sequence };
        (consumed_sequence > 0 || !counted.used.is_empty()).then_some(counted)
    }

    /// Takes over what a journal says is counted.
    pub(super) fn take_counted(&mut self, counted: Counted) {
        let Counted { feed, used, consumed_sequence } = counted;
        if feed < self.cursor {
            self.begin_counting_again();
        }
        // What was decided then was told then.
        self.count_to(feed, &mut Vec::new());
        self.inventory.set_consumed(used);
        self.consumptions.last = self.consumptions.last.max(consumed_sequence);
    }
}

/// What a journal says of consumptions. It is not verified, but what is to be sent: these records give nothing, and
/// whoever changes them could as well take them out.
impl Machine {
    pub(super) fn replay_consumption(&mut self, token: Token) {
        let Ok(consumption) = envelope::claims_of_stored::<Consumption>(&token) else { return };
        self.consumptions.last = self.consumptions.last.max(consumption.sequence);
        // Where there was not enough, the game was told so then.
        let _ = self.add_pending(Pending::new(&consumption, token));
    }

    pub(super) fn replay_consumption_receipt(&mut self, token: &Token) {
        if let Ok(receipt) = envelope::claims_of_stored::<ConsumptionReceipt>(token) {
            self.take_consumption_receipt(&receipt);
        }
    }

    /// Forgets consumptions that the server would refuse, and with them every request that they are in; says so.
    pub(super) fn drop_bad_consumptions(&mut self) -> Option<String> {
        let (key, account, game) = (self.key.public(), self.account.clone(), self.settings.game.clone());
        let bad = self.drop_pending(|token| Consumption::verify(token, key, &account, &game).is_err()).len();
        (bad > 0).then(|| format!("{bad} consumptions in the journal are not believed"))
    }
}
