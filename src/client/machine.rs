//! The purchasing client as a state machine: inputs in, outputs out, and no I/O, clock or random source inside.
//!
//! An order's way: [`Input::Purchase`] waits in a queue; when the journal is free, it is numbered, chained to the
//! device's previous order, signed, and asked to be appended ([`Output::Append`]); when that is durable
//! ([`Input::Appended`]) it is *queued*, and goes into the next sync ([`Output::Send`]). A response that verifies puts
//! its receipts into the same queue, and only when they are durable do they change anything. One append and one
//! request are under way at most. The same inputs give the same outputs.

mod account;
mod allowance;
mod appending;
mod compacting;
mod consuming;
mod listening;
mod not_saved;
mod opening;
mod orders;
mod syncing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use account::Membership;
use allowance::Spending;
use appending::{Appending, Waiting};
use consuming::{Consumptions, Uncounted};
pub use opening::Opening;
use orders::OpenOrders;
use syncing::Link;

use super::account::AccountWish;
use super::clock::Tick;
use super::inventory::{Bundle, Holdings, Inventory};
use super::record::Record;
use super::seal::Sealer;
use super::storage::Access;
use super::transport::{Request, Response};
use super::view::{Connection, OfflineAllowance, OfflineGrants, OrderState, PlacedOrder, SignedReceipt, Update};
use crate::protocol::sync::{Balance, ChainHead};
use crate::protocol::{
    AccountId, ConsumptionId, Currency, GameId, Grant, ItemId, KeyId, Money, OrderId, ProductId, PublicKey, SecretKey,
    ServerKeys, Sha256, UnixSeconds,
};

/// How far the device's clock may be behind the server's time before it is taken for wrong, in seconds.
const CLOCK_TOLERANCE: UnixSeconds = 300;
/// How often it is looked whether a wrong clock was set right.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(10);

/// What the machine is set to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The game.
    pub game: GameId,
    /// The server keys that the game pins; none where no server is set.
    pub server_keys: Vec<PublicKey>,
    /// When what was ordered is given.
    pub offline_grants: OfflineGrants,
    /// The currency in which to spend offline.
    pub currency: Currency,
    /// Whether to begin offline: to send nothing until [`Input::SetOffline`] says so.
    pub offline: bool,
    /// Whether to have the server hold the answer to an idle poll until there is news, and to ask again at once.
    pub listen: bool,
    /// How long after a sync to ask again for news; of a server that does not hold its answers, at the latest.
    pub poll: Duration,
    /// The longest wait before the first retry; it doubles with each one (AWS Architecture Blog, "Exponential Backoff
    /// and Jitter", full jitter).
    pub first_retry: Duration,
    /// The longest wait before any retry.
    pub longest_retry: Duration,
}

impl Settings {
    /// The usual settings for a game with a server of these keys.
    pub fn new(game: GameId, server_keys: Vec<PublicKey>) -> Self {
        Self {
            game,
            server_keys,
            offline_grants: OfflineGrants::default(),
            currency: Currency::EUR,
            offline: false,
            listen: false,
            poll: Duration::from_secs(300),
            first_retry: Duration::from_millis(500),
            longest_retry: Duration::from_secs(60),
        }
    }
}

/// What to buy, as the player saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The order's id.
    pub id: OrderId,
    /// The product.
    pub product: ProductId,
    /// How many.
    pub quantity: u32,
    /// The price of one.
    pub price: Money,
    /// The price of all.
    pub total: Money,
    /// The catalogue that the price is from.
    pub catalog: Sha256,
    /// What the catalogue says it gives, for granting before the receipt. Times count from the Unix epoch.
    pub grants: Vec<Grant>,
}

/// What happens to the machine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// The game wants to buy.
    Purchase(Terms),
    /// The game uses up items.
    Consume {
        /// The consumption's id: 128 random bits.
        id: ConsumptionId,
        /// The item.
        item: ItemId,
        /// How many.
        quantity: u64,
    },
    /// The player asks something about the account.
    Account(AccountWish),
    /// The key is made that [`Output::MakeNextKey`] asked for, or, in words, why not.
    NextKeyMade(Result<SecretKey, String>),
    /// What [`Output::TakeNextKey`] asked for is done, or, in words, why not.
    NextKeyTaken(Result<(), String>),
    /// The last append is durable.
    Appended,
    /// The last append failed, and nothing of it is in the journal.
    AppendFailed(String),
    /// The last append failed, and it is not known what of it is in the journal.
    AppendUncertain(String),
    /// The journal was written anew.
    Compacted,
    /// It could not be, and is as it was.
    CompactionFailed(String),
    /// The last request was answered.
    Answered(Response),
    /// The last request was not answered.
    NotAnswered(String),
    /// Ask the server now.
    SyncNow,
    /// Stop asking the server, or start again.
    SetOffline(bool),
    /// Time passed: the moment that [`Machine::wake_at`] named has come.
    TimePassed,
}

/// What the machine wants done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Output {
    /// Append these records, make them durable, and say so.
    Append(Arc<[Record]>),
    /// Write the journal anew from what [`Machine::keeping`] gives, and [`Machine::closing_records`] after it; say so.
    Compact,
    /// Have a key that may take the place of the device's, durably, and say so.
    MakeNextKey,
    /// Put that key into the place of the device's, durably, and say so.
    TakeNextKey,
    /// Send this request, and say what came of it. One that is under way is given up for it.
    Send(Request),
    /// Let go of the request under way: its answer is not wanted.
    Abandon,
    /// Tell the game.
    Tell(Update),
}

/// The purchasing client's state.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    key: SecretKey,
    device: KeyId,
    account: AccountId,
    access: Access,
    membership: Membership,

    /// The server keys to believe, as the newest list says.
    keys: ServerKeys,
    /// The number of the newest list that is in the journal.
    keys_saved: u64,
    sealer: Sealer,
    /// The orders that no final receipt has answered.
    orders: OpenOrders,
    /// All others: of each, only what a later receipt for it could need.
    settled: BTreeMap<OrderId, Settled>,
    inventory: Inventory,
    consumptions: Consumptions,
    /// What receipts say about items at places of the feed that the cursor has not passed.
    uncounted: Vec<(u64, Uncounted)>,
    told: Holdings,
    /// What the device may spend offline.
    allowance: Option<Spending>,
    told_allowance: Option<OfflineAllowance>,
    wallet: Vec<Balance>,
    /// The device's last durable order, or the one that the server told it to follow.
    chain: Option<ChainHead>,
    cursor: u64,
    /// The time of the last answer that is in the journal.
    server_time: UnixSeconds,
    /// The server's clock, once an answer was believed since the start.
    server_clock: Option<ServerClock>,
    told_clock: Option<ServerClock>,
    /// Whether the game was told that the device's clock is wrong.
    told_untrusted: bool,

    waiting: VecDeque<Waiting>,
    appending: Option<Appending>,
    /// The place in the history of the next order.
    next_place: u64,
    /// The orders of receipts in the journal that are not believed, and that no other receipt has decided since.
    withheld: BTreeSet<OrderId>,
    /// How many records are in the journal, and how many of them are receipts.
    records: u64,
    receipts: u64,
    /// Whether the journal is to be written anew however little there is to leave out.
    pub(super) compaction_wanted: bool,
    /// How many records there must be before it is written anew, after that failed.
    no_compaction_before: u64,

    link: Link,
    connection: Connection,
    offline: bool,
    enrolled: bool,
    sync_wanted: bool,
    next_poll: Duration,
    /// How many idle polls in a row the server has not held.
    unheld: u32,
    failures: u32,
}

/// What the server's clock showed, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerClock {
    /// The time that the server signed.
    pub unix: UnixSeconds,
    /// When it was heard, measured like [`Tick::elapsed`].
    pub heard: Duration,
    /// What the device's clock showed then.
    pub device: UnixSeconds,
}

impl ServerClock {
    /// The server's time at `tick`. While a device sleeps, its measure of time may rest, and its clock does not: what
    /// has advanced more counts.
    pub fn now(self, tick: Tick) -> UnixSeconds {
        let since = tick.elapsed.saturating_sub(self.heard).as_secs();
        let since = UnixSeconds::try_from(since).unwrap_or(UnixSeconds::MAX);
        self.unix.saturating_add(since.max(tick.unix.saturating_sub(self.device)))
    }
}

/// An order that a final receipt answered. There can be a million of them, so each is small.
#[derive(Clone, Copy, Debug)]
struct Settled {
    /// The feed's place of the receipt that decided its state.
    decided_at: u64,
    /// The items that it gave.
    bundle: Bundle,
    /// Those of them that are counted, up to the cursor.
    counted: Bundle,
}

impl Machine {
    /// This device.
    pub fn device(&self) -> KeyId {
        self.device
    }

    /// Its public key.
    pub fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    /// Its account.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// Whether the game set it offline.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// Whether this copy of the game may write.
    pub fn may_write(&self) -> bool {
        self.access.may_write()
    }

    /// Takes an input, and says what to do now.
    pub fn handle(&mut self, input: Input, tick: Tick) -> Vec<Output> {
        self.handle_all([input], tick)
    }

    /// Takes inputs that came together, and says what to do now: orders among them share one append.
    pub fn handle_all(&mut self, inputs: impl IntoIterator<Item = Input>, tick: Tick) -> Vec<Output> {
        let mut outputs = Vec::new();
        for input in inputs {
            self.take(input, tick, &mut outputs);
        }
        self.append_next(tick, &mut outputs);
        self.compact_next(&mut outputs);
        self.send_next(tick, &mut outputs);
        outputs.append(&mut self.membership.news);
        self.tell_holdings(tick, &mut outputs);
        self.tell_connection(&mut outputs);
        self.tell_clock(tick, &mut outputs);
        self.tell_allowance(&mut outputs);
        outputs
    }

    fn take(&mut self, input: Input, tick: Tick, outputs: &mut Vec<Output>) {
        match input {
            Input::Purchase(terms) => self.waiting.push_back(Waiting::Purchase(Box::new(terms))),
            Input::Consume { id, item, quantity } => {
                self.waiting.push_back(Waiting::Consume { id, item, quantity });
            }
            Input::Account(wish) => self.ask(wish),
            Input::NextKeyMade(made) => self.next_key_made(made),
            Input::NextKeyTaken(taken) => self.next_key_taken(taken),
            Input::Appended => self.appended(tick, outputs),
            Input::AppendFailed(trouble) => self.append_failed(&trouble, tick, outputs),
            Input::AppendUncertain(trouble) => self.append_uncertain(&trouble, tick, outputs),
            Input::Compacted => self.compacted(),
            Input::CompactionFailed(trouble) => self.compaction_failed(trouble, outputs),
            Input::Answered(response) => self.answered(&response, tick),
            Input::NotAnswered(trouble) => self.not_answered(&trouble, tick),
            Input::SyncNow => self.sync_now(),
            Input::SetOffline(offline) => {
                self.offline = offline;
                if offline {
                    self.asking_offline();
                    self.stop_waiting(outputs);
                }
                self.sync_now();
            }
            Input::TimePassed => {}
        }
    }

    /// When to come back with [`Input::TimePassed`], if nothing happens before; measured like [`Tick::elapsed`].
    pub fn wake_at(&self, tick: Tick) -> Option<Duration> {
        let seconds =
            |until: UnixSeconds| Duration::from_secs(until.saturating_sub(self.now(tick)).max(1).unsigned_abs());
        let end_of_a_right = self.inventory.next_end(self.now(tick)).map(|until| tick.elapsed + seconds(until));
        // Nobody tells when the clock is set right.
        let look_at_clock = self.is_clock_untrusted(tick).then(|| tick.elapsed + LOOK_AT_CLOCK);
        [end_of_a_right, look_at_clock, self.next_send(), self.next_append()].into_iter().flatten().min()
    }

    /// The present by the server's clock; before its first answer, by the device's, but never before the last time that
    /// the server signed and what has passed since the start.
    fn now(&self, tick: Tick) -> UnixSeconds {
        match self.server_clock {
            Some(clock) => clock.now(tick),
            None => {
                let running = UnixSeconds::try_from(tick.elapsed.as_secs()).unwrap_or(UnixSeconds::MAX);
                tick.unix.max(self.server_time.saturating_add(running))
            }
        }
    }

    /// The last time that the server was heard to say, which is not gone back on by a key that has ended since.
    fn heard(&self) -> UnixSeconds {
        self.server_clock.map_or(self.server_time, |clock| clock.unix)
    }

    /// Whether the device's clock shows a time that was over when the server last signed one, and nothing better is
    /// known since the start: somebody set it back, or it stopped.
    pub fn is_clock_untrusted(&self, tick: Tick) -> bool {
        let shown = tick.unix.saturating_add(CLOCK_TOLERANCE);
        self.server_clock.is_none() && shown < self.server_time
    }

    /// What is owned now. Rights for a time rest while nobody knows what time it is: they neither end nor last longer
    /// by a clock that is wrong.
    fn holdings_now(&self, tick: Tick) -> Holdings {
        self.inventory.holdings((!self.is_clock_untrusted(tick)).then(|| self.now(tick)))
    }

    /// Changes an order and tells the game.
    fn update(&mut self, id: OrderId, outputs: &mut Vec<Output>, change: impl FnOnce(&mut PlacedOrder)) {
        if let Some(open) = self.orders.get_mut(id) {
            change(&mut open.order);
            outputs.push(Output::Tell(Update::Order(open.order.clone())));
        }
    }

    fn tell_holdings(&mut self, tick: Tick, outputs: &mut Vec<Output>) {
        let holdings = self.holdings_now(tick);
        if holdings != self.told {
            self.told = holdings.clone();
            // Before whatever speaks of an order, so that who hears of it finds its grants there.
            let first_news = outputs.iter().position(|output| matches!(output, Output::Tell(_)));
            outputs.insert(first_news.unwrap_or(outputs.len()), Output::Tell(Update::Holdings(holdings)));
        }
    }

    fn tell_allowance(&mut self, outputs: &mut Vec<Output>) {
        let allowance = self.offline_allowance();
        if allowance != self.told_allowance {
            self.told_allowance = allowance;
            outputs.push(Output::Tell(Update::Allowance(allowance)));
        }
    }

    fn tell_clock(&mut self, tick: Tick, outputs: &mut Vec<Output>) {
        let untrusted = self.is_clock_untrusted(tick);
        if self.told_untrusted != untrusted {
            self.told_untrusted = untrusted;
            outputs.push(Output::Tell(Update::ClockUntrusted(untrusted)));
        }
        if self.told_clock != self.server_clock {
            self.told_clock = self.server_clock;
            outputs.extend(self.server_clock.map(|clock| Output::Tell(Update::ServerClock(clock))));
        }
    }

    fn tell_connection(&mut self, outputs: &mut Vec<Output>) {
        let connection = self.connection_now();
        if connection != self.connection {
            self.connection = connection.clone();
            outputs.push(Output::Tell(Update::Connection(connection)));
        }
    }
}
