//! A game on a device of a world: the real client on its simulated disk, and everything that it ever told the game.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::goods::game;
use super::store::{BEGINNING, Said};
use crate::client::machine::{Input, Settings, Terms};
use crate::client::storage::file::FileStorage;
use crate::client::{
    Holdings, OfflineAllowance, OfflineGrants, OrderState, PlacedOrder, Request, Session, SignedReceipt, Snapshot,
    Tick, Update,
};
use crate::protocol::sync::Balance;
use crate::protocol::{AccountId, ConsumptionId, OrderId, PublicKey, SecretKey};
use crate::simulation::disk::{Content, SimulatedDisk};
use crate::simulation::random::Random;

/// How long a storage that could not be opened to write is left alone, in milliseconds.
const REOPENING: u64 = 2_000;

/// What the game asked for and was told, which must stay true.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) asked: BTreeSet<OrderId>,
    pub(super) queued: BTreeSet<OrderId>,
    pub(super) not_saved: BTreeSet<OrderId>,
    /// Orders that were on their way to the disk when the save was copied: the copy may have them, whatever becomes of them
    /// here.
    pub(super) in_a_copy: BTreeSet<OrderId>,
    granted: BTreeSet<OrderId>,
    declined: BTreeSet<OrderId>,
    /// Orders that were given before their receipt, and when, by the world's clock in milliseconds.
    pub(super) given: BTreeMap<OrderId, u64>,
    /// The same, and those that were found given when the game started.
    pub(super) ever_given: BTreeSet<OrderId>,
    /// What was said to be used up.
    pub(super) used: BTreeSet<ConsumptionId>,
}

impl Told {
    /// The save is copied, with whatever was written of orders that nobody knows to be saved yet.
    pub(super) fn save_is_copied(&mut self) {
        let undecided = |id: &&OrderId| !self.queued.contains(id) && !self.not_saved.contains(id);
        self.in_a_copy = self.asked.iter().filter(undecided).chain(&self.in_a_copy).copied().collect();
    }
}

/// What the game would show, from the messages that it heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) orders: BTreeMap<OrderId, OrderState>,
    pub(super) holdings: Holdings,
    pub(super) wallet: Vec<Balance>,
    pub(super) allowance: Option<OfflineAllowance>,
}

/// The device that a client runs on. Copies of a save are the same device.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) key: SecretKey,
    pub(super) account: AccountId,
    /// Whether its save was ever copied or put back: then its chain may fork.
    pub(super) copied: bool,
    /// Whether its clock was ever changed.
    pub(super) clock_set: bool,
    /// Whether it has ever had a disk that lost what it had said to be written.
    pub(super) disk_lost: bool,
}

/// How a version of the game is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) grants: OfflineGrants,
    pub(super) catalog: u8,
}

/// A running game, or one that is closed.
pub(super) struct Client {
    pub(super) device: usize,
    pub(super) account: AccountId,
    server: PublicKey,
    pub(super) version: Version,
    pub(super) disk: SimulatedDisk,
    pub(super) session: Option<Session>,
    /// Which start of the process this is: what comes for another one is lost.
    pub(super) process: u64,
    started: u64,
    /// How much the device's clock is ahead, in seconds.
    pub(super) clock: i64,
    pub(super) random: Random,
    pub(super) told: Told,
    pub(super) view: View,
    /// The number of the request that waits for its answer, and of the next one.
    pub(super) waits_for: Option<u64>,
    pub(super) requests: u64,
    pub(super) offline: bool,
    pub(super) kept: Option<(Content, Told)>,
    reopen_at: Option<u64>,
    pub(super) wake_at: Option<u64>,
    pub(super) troubles: Vec<String>,
    /// Whether the last thing used up is safe.
    use_saved: bool,
    /// How often what was used up was given back, since there was less of it.
    pub(super) refused: u64,
    /// What must never happen, and did.
    pub(super) wrong: Option<String>,
}

impl Client {
    /// A game that was never started, on a device whose key is there.
    pub(super) fn new(device: usize, of: &Device, server: PublicKey, disk: SimulatedDisk, random: Random) -> Self {
        Self {
            device,
            account: of.account.clone(),
            server,
            version: Version { grants: OfflineGrants::Allowance, catalog: 0 },
            disk,
            session: None,
            process: 0,
            started: 0,
            clock: 0,
            random,
            told: Told::default(),
            view: View::default(),
            waits_for: None,
            requests: 0,
            offline: false,
            kept: None,
            reopen_at: None,
            wake_at: None,
            troubles: Vec::new(),
            use_saved: false,
            refused: 0,
            wrong: None,
        }
    }

    fn tick(&mut self, now: u64) -> Tick {
        let unix = BEGINNING + i64::try_from(now / 1_000).unwrap_or(i64::MAX) + self.clock;
        Tick { elapsed: Duration::from_millis(now - self.started), unix, random: self.random.bits() }
    }

    fn wrong(&mut self, what: impl FnOnce() -> String) {
        if self.wrong.is_none() {
            self.wrong = Some(what());
        }
    }

    pub(super) fn may_write(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.machine().may_write())
    }

    /// The process ends, and nothing that comes for it is heard.
    pub(super) fn close(&mut self) {
        self.session = None;
        self.disk.process_ended();
        self.process += 1;
        self.waits_for = None;
        self.wake_at = None;
        self.reopen_at = None;
    }

    /// A process starts. Gives the request that it begins with.
    pub(super) fn start(&mut self, now: u64, said: &Said) -> Option<Request> {
        self.close();
        self.started = now;
        self.open(now, said)
    }

    fn open(&mut self, now: u64, said: &Said) -> Option<Request> {
        let mut settings = Settings::new(game(), vec![self.server]);
        settings.offline_grants = self.version.grants;
        settings.offline = self.offline;
        settings.poll = Duration::from_secs(6 * 3_600);
        let tick = self.tick(now);
        match Session::open(settings, Box::new(FileStorage::on(self.disk.clone())), tick) {
            Ok((session, snapshot)) => {
                let may_write = session.machine().may_write();
                self.session = Some(session);
                self.reopen_at = (!may_write).then(|| now + REOPENING);
                self.take(snapshot, said);
                self.step(vec![Input::TimePassed], now, said)
            }
            Err(not_opened) => {
                self.troubles.push(not_opened.trouble);
                self.disk.process_ended();
                self.reopen_at = Some(now + REOPENING);
                self.wake_at = self.reopen_at;
                None
            }
        }
    }

    /// The moment has come that it wanted to be woken at.
    pub(super) fn wake(&mut self, now: u64, said: &Said) -> Option<Request> {
        if self.reopen_at.is_some_and(|at| at <= now) {
            let worth = self.session.as_mut().is_none_or(Session::is_worth_reopening);
            if worth {
                self.session = None;
                self.disk.process_ended();
                return self.open(now, said);
            }
            self.reopen_at = Some(now + REOPENING);
        }
        self.step(vec![Input::TimePassed], now, said)
    }

    /// Puts inputs into the client. Gives the request that comes of them.
    pub(super) fn step(&mut self, inputs: Vec<Input>, now: u64, said: &Said) -> Option<Request> {
        let tick = self.tick(now);
        let session = self.session.as_mut()?;
        let step = session.step(inputs, || tick);
        let wake_at = session.machine().wake_at(tick);
        let wake_at = wake_at.map(|at| self.started + u64::try_from(at.as_millis()).unwrap_or(u64::MAX) + 1);
        self.wake_at = [wake_at.map(|at| at.max(now + 1)), self.reopen_at].into_iter().flatten().min();
        step.news.into_iter().for_each(|update| self.hear(update, now, said));
        self.session.iter_mut().for_each(Session::told);
        step.request
    }

    pub(super) fn buy(&mut self, terms: Vec<Terms>, now: u64, said: &Said) -> Option<Request> {
        if !self.may_write() {
            return None;
        }
        self.told.asked.extend(terms.iter().map(|terms| terms.id));
        self.step(terms.into_iter().map(Input::Purchase).collect(), now, said)
    }

    /// Uses up one of an item, if there is one.
    pub(super) fn consume(&mut self, now: u64, said: &Said) -> Option<Request> {
        let item = self.view.holdings.items.iter().find(|(_, quantity)| quantity.left > 0)?.0.clone();
        if !self.may_write() {
            return None;
        }
        let id = ConsumptionId(self.random.bits());
        self.use_saved = false;
        let request = self.step(vec![Input::Consume { id, item, quantity: 1 }], now, said);
        if std::mem::take(&mut self.use_saved) {
            self.told.used.insert(id);
        }
        request
    }

    fn take(&mut self, snapshot: Snapshot, said: &Said) {
        if snapshot.account != self.account {
            self.wrong(|| format!("it opened the account {}", snapshot.account));
        }
        let damaged = snapshot.troubles.iter().find(|it| it.contains("was damaged") || it.contains("believed"));
        if let Some(damaged) = damaged.cloned() {
            self.wrong(|| format!("a crash was taken for damage: {damaged}"));
        }
        let orders: BTreeMap<_, _> = snapshot.orders.iter().map(|order| (order.id, order.state)).collect();
        if snapshot.access.may_write() {
            let lost = self.told.queued.iter().find(|id| !orders.contains_key(id)).copied();
            if let Some(lost) = lost {
                self.wrong(|| format!("the order {lost} was queued, and is lost"));
            }
            for order in &snapshot.orders {
                self.hear_order(order, None, said);
            }
        }
        for receipt in &snapshot.receipts {
            self.hear_receipt(receipt, said);
        }
        let (holdings, wallet, allowance) = (snapshot.holdings, snapshot.wallet, snapshot.allowance);
        self.troubles.extend(snapshot.troubles);
        self.view = View { orders, holdings, wallet, allowance };
    }

    fn hear(&mut self, update: Update, now: u64, said: &Said) {
        match update {
            Update::Order(order) => {
                self.hear_order(&order, Some(now), said);
                self.view.orders.insert(order.id, order.state);
            }
            Update::Receipt(receipt) => self.hear_receipt(&receipt, said),
            Update::Holdings(holdings) => self.view.holdings = holdings,
            Update::Consumed { saved, .. } => self.use_saved = saved,
            Update::ConsumeRefused { .. } => self.refused += 1,
            Update::Wallet(wallet) => self.view.wallet = wallet,
            Update::Allowance(allowance) => self.view.allowance = allowance,
            Update::Trouble(trouble) => self.troubles.push(trouble),
            _ => {}
        }
    }

    /// Checks what is said of an order against what was said of it before.
    fn hear_order(&mut self, order: &PlacedOrder, now: Option<u64>, said: &Said) {
        let id = order.id;
        let told = &mut self.told;
        let wrong = match order.state {
            OrderState::NotSaved if told.queued.contains(&id) => Some("was queued, and is said not to be saved"),
            OrderState::NotSaved => {
                told.not_saved.insert(id);
                None
            }
            _ if told.not_saved.contains(&id) && !told.in_a_copy.contains(&id) => {
                Some("was said not to be saved, and is there")
            }
            OrderState::Queued if !told.asked.contains(&id) => Some("is queued, and was never asked for"),
            OrderState::Queued if told.granted.contains(&id) => Some("was granted, and is queued again"),
            OrderState::Queued => {
                told.queued.insert(id);
                told.ever_given.extend(order.provisional.then_some(id));
                let given_at = now.filter(|_| order.provisional);
                told.given.extend(given_at.map(|now| (id, now)));
                let truth = |now: u64| BEGINNING + i64::try_from(now / 1_000).unwrap_or(i64::MAX);
                let ended = |now| self.view.allowance.is_some_and(|allowance| truth(now) > allowance.until);
                let knows = self.clock == 0 && self.version.grants == OfflineGrants::Allowance;
                given_at.filter(|now| knows && ended(*now)).map(|_| "was given after the end of its allowance")
            }
            OrderState::Granted if told.declined.contains(&id) => Some("was declined, and is granted"),
            OrderState::Granted if !said.was_granted(&self.account, id) => {
                Some("is granted, and the server never said so")
            }
            OrderState::Granted if order.provisional => Some("is granted, and provisional"),
            OrderState::Granted => {
                told.granted.insert(id);
                None
            }
            OrderState::Declined if told.granted.contains(&id) => Some("was granted, and is declined"),
            OrderState::Declined => {
                told.declined.insert(id);
                None
            }
            OrderState::Unverified => Some("is not believed"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            self.wrong(|| format!("the order {id} {wrong}"));
        }
    }

    /// A receipt counts only if the server has said it, in this place of this account's feed.
    fn hear_receipt(&mut self, receipt: &SignedReceipt, said: &Said) {
        let SignedReceipt { claims, token } = receipt;
        if claims.account != self.account {
            self.wrong(|| format!("it has a receipt of the account {}", claims.account));
        } else if said.at(&self.account, claims.feed) != Some(token) {
            self.wrong(|| format!("it has a receipt for the order {} that the server never gave", claims.order));
        }
    }
}
