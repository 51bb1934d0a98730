//! A client's life: what it is asked to do, what it told the game, and whether that is still true after whatever
//! happened.

mod damage;
mod truth;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::browser::{Left, SimulatedBrowser};
use super::disk::{Content, SimulatedDisk};
use super::random::Random;
use super::shop::{Shop, game};
use crate::client::machine::{Input, Settings, Terms};
use crate::client::storage::Storage;
use crate::client::storage::file::FileStorage;
use crate::client::storage::web::WebStorage;
use crate::client::{
    AccountWish, Holdings, OrderState, PlacedOrder, Request, Response, Session, Snapshot, Tick, Update,
};
use crate::protocol::{AccountId, ConsumptionId, Currency, KeyId, LinkCode, Micros, Money, OrderId, Sha256};

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Order some shields.
    Buy,
    /// Make three such orders at once.
    BuyThree,
    /// Sync with the server until there is nothing more to say.
    Exchange,
    /// Use up one shield, if there is one.
    Consume,
    /// Write the journal anew.
    Compact,
    /// The process ends and starts again.
    Reopen,
}

impl Act {
    pub(super) const ALL: [Self; 6] =
        [Self::Buy, Self::BuyThree, Self::Exchange, Self::Consume, Self::Compact, Self::Reopen];
}

/// What the game asked for and was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// How many shields each order is to give.
    asked: BTreeMap<OrderId, u32>,
    pub(super) queued: BTreeSet<OrderId>,
    granted: BTreeSet<OrderId>,
    not_saved: BTreeSet<OrderId>,
    /// Those that were queued and follow an order that damage took: the server declines them.
    unfollowed: BTreeSet<OrderId>,
    /// Those that were queued when damage may have taken what they follow: the server may decline them, and charges nothing.
    doubtful: BTreeSet<OrderId>,
    /// The account that each order was ordered for.
    made_for: BTreeMap<OrderId, AccountId>,
    use_asked: u64,
    /// How many shields were used up before this life, and what has used up one since, for which account.
    used_before: u64,
    used: BTreeMap<ConsumptionId, AccountId>,
    /// Whether it was told of damage, by a copy that may write.
    pub(super) damage: bool,
}

impl Told {
    /// What an older version of the game was told: that this order of so many shields is granted, and all but one used up.
    pub(super) fn granted_before(order: OrderId, quantity: u32) -> Self {
        let orders = BTreeSet::from([order]);
        let asked = BTreeMap::from([(order, quantity)]);
        let used = u64::from(quantity) - 1;
        Self { asked, queued: orders.clone(), granted: orders, use_asked: used, used_before: used, ..Self::default() }
    }
}

/// A moment at which a crash can come.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub(super) content: Content,
    pub(super) told: Told,
    pub(super) shop: Shop,
}

/// A client, its disk and its server.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) disk: SimulatedDisk,
    /// What it keeps its journal in instead, if it is a page.
    pub(super) browser: Option<SimulatedBrowser>,
    pub(super) shop: Shop,
    pub(super) told: Told,
    pub(super) session: Option<Session>,
    /// What could not be opened, for another try.
    not_opened: Option<Box<dyn Storage>>,
    pub(super) troubles: Vec<String>,
    request: Option<Request>,
    /// What is being used up.
    using: Option<ConsumptionId>,
    orders: BTreeMap<OrderId, PlacedOrder>,
    holdings: Holdings,
    /// The account that the game was last told.
    known_as: Option<AccountId>,
    elapsed: Duration,
    random: Random,
    moments: Option<Vec<Moment>>,
    /// What must never happen, and did.
    pub(super) wrong: Option<String>,
}

impl Life {
    /// A client that was never started.
    pub(super) fn new(seed: u64) -> Self {
        Self::with(Shop::new(), seed)
    }

    /// The same, with this server.
    pub(super) fn with(shop: Shop, seed: u64) -> Self {
        Self::at(SimulatedDisk::default(), Told::default(), shop, seed)
    }

    fn at(disk: SimulatedDisk, told: Told, shop: Shop, seed: u64) -> Self {
        Self {
            disk,
            browser: None,
            shop,
            told,
            session: None,
            not_opened: None,
            troubles: Vec::new(),
            request: None,
            using: None,
            orders: BTreeMap::new(),
            holdings: Holdings::default(),
            known_as: None,
            elapsed: Duration::ZERO,
            random: Random::new(seed),
            moments: None,
            wrong: None,
        }
    }

    /// A client in a browser, with what was true before it was loaded.
    pub(super) fn in_browser(browser: SimulatedBrowser, told: &Told, shop: &Shop, seed: u64) -> Self {
        let life = Self::at(SimulatedDisk::default(), told.clone(), shop.clone(), seed);
        Self { browser: Some(browser), ..life }
    }

    /// The same client on what a page left that ended.
    pub(super) fn after_page(left: &Left, seed: u64) -> Self {
        Self::in_browser(SimulatedBrowser::of(left.kept.clone()), &left.told, &left.shop, seed)
    }

    /// Begins to remember the moments at which a crash can come.
    pub(super) fn record(&mut self) {
        self.disk.record();
        self.moments = Some(Vec::new());
    }

    pub(super) fn moments(&mut self) -> Vec<Moment> {
        self.moments.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn tick(&mut self) -> Tick {
        self.elapsed += Duration::from_millis(1);
        Tick { elapsed: self.elapsed, unix: self.shop.time, random: self.random.bits() }
    }

    /// Does what is to be done, as far as it can be done now.
    pub(super) fn act(&mut self, act: Act) {
        match act {
            Act::Buy => self.buy(1),
            Act::BuyThree => self.buy(3),
            Act::Exchange => self.exchange(),
            Act::Consume => self.consume(),
            Act::Compact => {
                if let Some(session) = &mut self.session {
                    session.compact_next();
                }
                self.step(vec![Input::TimePassed]);
            }
            Act::Reopen => self.reopen(),
        }
    }

    /// Opens the store, or opens it again in a new process.
    pub(super) fn reopen(&mut self) {
        (self.session, self.not_opened) = (None, None);
        self.disk.process_ended();
        self.browser.iter().for_each(SimulatedBrowser::page_ended);
        self.open();
    }

    /// Opens the store again in the same process where it could not be opened to write, as the worker does after a while.
    pub(super) fn try_again(&mut self) {
        if self.may_write() {
            return;
        }
        let storage = match self.session.take_if(Session::is_worth_reopening) {
            Some(session) => Some(session.close()),
            None => self.not_opened.take(),
        };
        storage.into_iter().for_each(|storage| self.open_storage(storage, Vec::new()));
    }

    /// Another process on the same disk, which is running beside this one.
    pub(super) fn second_process(&self, seed: u64) -> Self {
        Self::at(self.disk.clone(), self.told.clone(), self.shop.clone(), seed)
    }

    /// Opens the store without ending any other process.
    pub(super) fn open_beside(&mut self) {
        self.open();
    }

    /// What another page of the same player was told is true here, too.
    pub(super) fn has_also_heard(&mut self, other: &Told) {
        self.told.asked.extend(other.asked.clone());
        self.told.queued.extend(&other.queued);
        self.told.not_saved.extend(&other.not_saved);
    }

    /// What has become of an order, as far as the game was told.
    pub(super) fn state_of(&self, order: OrderId) -> Option<OrderState> {
        self.orders.get(&order).map(|order| order.state)
    }

    fn open(&mut self) {
        let storage: Box<dyn Storage> = match &self.browser {
            Some(browser) => Box::new(WebStorage::new(browser.page())),
            None => Box::new(FileStorage::on(self.disk.clone())),
        };
        self.open_storage(storage, Vec::new());
    }

    /// Opens a storage, perhaps again; of these orders nobody knew whether they were saved when it was open before.
    fn open_storage(&mut self, storage: Box<dyn Storage>, in_doubt: Vec<PlacedOrder>) {
        self.request = None;
        let mut settings = Settings::new(game(), vec![self.shop.public_key()]);
        settings.poll = Duration::from_secs(1_000_000);
        let (before, tick) = (self.told.clone(), self.tick());
        let opened = at_once(Session::open_settled(settings, storage, tick));
        self.remember(&before);
        match opened {
            Ok((mut session, snapshot)) => {
                let lost = snapshot.lost(in_doubt);
                self.take(snapshot);
                lost.into_iter().for_each(|order| self.hear(Update::Order(order)));
                session.told();
                self.session = Some(session);
                self.step(vec![Input::TimePassed]);
            }
            Err(not_opened) => {
                self.troubles.push(not_opened.trouble);
                self.not_opened = not_opened.try_again.then_some(not_opened.storage);
            }
        }
    }

    fn take(&mut self, snapshot: Snapshot) {
        // What the game is shown as queued is acknowledged by that.
        if snapshot.access.may_write() {
            for order in snapshot.orders.iter().filter(|order| order.state == OrderState::Queued) {
                self.told.queued.insert(order.id);
                self.told.made_for.entry(order.id).or_insert_with(|| snapshot.account.clone());
            }
            let granted = snapshot.orders.iter().filter(|order| order.state == OrderState::Granted);
            self.told.granted.extend(granted.map(|order| order.id));
            self.told.damage |= snapshot.troubles.iter().any(|trouble| trouble.contains("was damaged"));
        }
        self.orders = snapshot.orders.into_iter().map(|order| (order.id, order)).collect();
        self.holdings = snapshot.holdings;
        self.known_as = Some(snapshot.account);
        self.troubles.extend(snapshot.troubles);
    }

    pub(super) fn may_write(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.machine().may_write())
    }

    fn buy(&mut self, count: u32) {
        let inputs = (0..count).map(|_| Input::Purchase(self.terms())).collect();
        self.step(inputs);
    }

    fn terms(&mut self) -> Terms {
        let id = OrderId(self.random.bits());
        let quantity = 1 + u32::from(id.0[0] % 3);
        if self.may_write() {
            self.told.asked.insert(id, quantity);
        }
        Terms {
            id,
            product: "shield".parse().expect("a name"),
            quantity,
            price: price_of(1),
            total: price_of(quantity),
            catalog: Sha256::of("catalog"),
            grants: Vec::new(),
        }
    }

    pub(super) fn left(&self) -> u64 {
        self.holdings.items.get("shield").map_or(0, |quantity| quantity.left)
    }

    fn consume(&mut self) {
        if self.left() > 0 && self.may_write() {
            self.told.use_asked += 1;
            let id = ConsumptionId(self.random.bits());
            self.using = Some(id);
            self.step(vec![Input::Consume { id, item: "shield".parse().expect("a name"), quantity: 1 }]);
            self.using = None;
        }
    }

    /// Goes on with another key, as far as it can be done now.
    pub(super) fn replace_key(&mut self) {
        self.step(vec![Input::Account(AccountWish::ReplaceKey)]);
        self.answer_requests();
    }

    /// Joins another account, as far as it can be done now.
    pub(super) fn join(&mut self) {
        self.ask_to_join();
        self.answer_requests();
    }

    /// Asks to join another account, and sends what comes of it no further.
    pub(super) fn ask_to_join(&mut self) {
        self.step(vec![Input::Account(AccountWish::JoinByCode(LinkCode::new([7; 5])))]);
    }

    /// What was sent is lost on the way to the server, or its answer is on the way back. Says whether anything was sent.
    pub(super) fn lose(&mut self, reaches_the_server: bool) -> bool {
        let Some(request) = self.request.take() else { return false };
        if reaches_the_server {
            let _ = self.ask_the_server(&request);
        }
        self.step(vec![Input::NotAnswered("it was lost".to_owned())]);
        true
    }

    /// The account as the device knows it.
    pub(super) fn account(&self) -> Option<&AccountId> {
        self.session.as_ref().map(|session| session.machine().account())
    }

    /// The device as it is now.
    pub(super) fn device(&self) -> Option<KeyId> {
        self.session.as_ref().map(|session| session.machine().device())
    }

    /// Answers requests until there are none, and lets time pass where the client waits.
    fn exchange(&mut self) {
        self.step(vec![Input::SyncNow]);
        self.answer_requests();
    }

    fn answer_requests(&mut self) {
        for _ in 0..6 {
            if !self.answer_one() {
                return;
            }
        }
    }

    /// Has the server answer what was sent. Says whether anything was.
    pub(super) fn answer_one(&mut self) -> bool {
        let Some(request) = self.request.take() else { return false };
        let Some(response) = self.ask_the_server(&request) else { return false };
        self.step(vec![Input::Answered(response)]);
        true
    }

    fn ask_the_server(&mut self, request: &Request) -> Option<Response> {
        let key = self.session.as_ref()?.machine().public_key();
        match self.shop.answer(request, key) {
            Ok(response) => Some(response),
            Err(wrong) => {
                self.wrong = Some(wrong);
                None
            }
        }
    }

    /// Lets time pass until the client wants to be woken.
    pub(super) fn wait(&mut self) {
        if self.session.is_some() {
            self.try_again();
        }
        let tick = self.tick();
        let wake_at = self.session.as_ref().and_then(|session| session.machine().wake_at(tick));
        self.elapsed = self.elapsed.max(wake_at.unwrap_or_default().min(self.elapsed + Duration::from_secs(60)));
        self.step(vec![Input::TimePassed]);
    }

    fn step(&mut self, inputs: Vec<Input>) {
        if !self.may_write() {
            return;
        }
        let Some(mut session) = self.session.take() else { return };
        let before = self.told.clone();
        let tick = self.tick();
        let step = at_once(session.step_settled(inputs, || tick));
        self.session = Some(session);
        self.remember(&before);
        self.request = step.request.or(self.request.take());
        step.news.into_iter().for_each(|update| self.hear(update));
        self.session.iter_mut().for_each(Session::told);
        if let Some(overtaken) = self.session.take_if(|session| session.is_overtaken()) {
            let in_doubt = overtaken.machine().orders_in_doubt(tick);
            self.open_storage(overtaken.close(), in_doubt);
        }
        if let Some(moments) = &mut self.moments {
            let (told, shop) = (self.told.clone(), self.shop.clone());
            moments.push(Moment { content: self.disk.content(), told, shop });
        }
    }

    /// Remembers the states in which the disk was while `told` was what the game knew.
    fn remember(&mut self, told: &Told) {
        if let Some(browser) = &self.browser {
            browser.remember(told, &self.shop);
        }
        if let Some(moments) = &mut self.moments {
            let shop = &self.shop;
            let recorded = self.disk.recorded().into_iter();
            moments.extend(recorded.map(|content| Moment { content, told: told.clone(), shop: shop.clone() }));
        }
    }

    fn hear(&mut self, update: Update) {
        let account = self.account().cloned();
        match update {
            Update::Order(order) => {
                if let (OrderState::Queued, Some(account)) = (order.state, account) {
                    self.told.made_for.entry(order.id).or_insert(account);
                }
                let Told { unfollowed, doubtful, .. } = &self.told;
                let may_be_declined = unfollowed.contains(&order.id) || doubtful.contains(&order.id);
                match order.state {
                    OrderState::Queued if may_be_declined => {}
                    OrderState::Queued => drop(self.told.queued.insert(order.id)),
                    OrderState::Granted => drop(self.told.granted.insert(order.id)),
                    OrderState::NotSaved => drop(self.told.not_saved.insert(order.id)),
                    _ => {}
                }
                self.orders.insert(order.id, order);
            }
            Update::Account { outcome: Ok(view), .. } if self.known_as.as_ref() != Some(&view.account) => {
                // What is true of the account of now is told after this.
                self.orders.clear();
                self.known_as = Some(view.account);
            }
            Update::Holdings(holdings) => self.holdings = holdings,
            Update::Consumed { saved: true, .. } => self.told.used.extend(self.using.zip(account)),
            Update::Trouble(trouble) => self.troubles.push(trouble),
            _ => {}
        }
    }

    /// Starts the client on what a crash left, with what was true before the crash.
    pub(super) fn after(content: Content, told: &Told, shop: &Shop, seed: u64) -> Self {
        Self::at(SimulatedDisk::of(content), told.clone(), shop.clone(), seed)
    }
}

/// What so many shields cost.
fn price_of(quantity: u32) -> Money {
    Money::new(Micros::new(i64::from(quantity) * 5_000).expect("in range"), Currency::EUR)
}

/// What a future gives that never waits: nothing here does.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing simulated waits"),
    }
}
