//! The server of a world: the real one on one of its engines, its operator, and what it was ever seen to say.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::goods::{catalog, game};
use crate::protocol::envelope::claims_of_stored;
use crate::protocol::sync::SyncResponse;
use crate::protocol::{
    AccountId, Currency, FeedReceipt, KeyId, KeyList, ListedKey, Micros, Money, OrderId, PublicKey, Reason, Receipt,
    SecretKey, Sha256, Status, Token, UnixSeconds,
};
use crate::server::ledger::operation::{FreezeDevice, Hold, Post, RefundCredit, RefundOrder, ThawDevice, Void};
use crate::server::ledger::{
    Action, AllowanceRules, Answer, Credit, Ledger, ModelLedger, OperateError, Operation, OperationId, SqliteLedger,
};
use crate::server::simulated::{Answered, Arrived, Keys, SetClock, SetUp, SimulatedServer};

/// What the server's clock shows when a world begins.
pub(super) const BEGINNING: UnixSeconds = 1_700_000_000;
/// What a new account gets, in micros.
const WELCOME: i64 = 200_000;
const DAY: UnixSeconds = 86_400;

/// How much devices may spend offline: little and not for long, so that everything about it ends soon.
pub(super) const ALLOWANCES: AllowanceRules =
    AllowanceRules { percent: 40, most: Micros::MAX, days: 2, grace_days: 2, orders: 8 };

/// What keeps the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Model,
    Sqlite,
}

/// The server, its books and its operator.
pub(super) struct Store {
    engine: Engine,
    folder: Option<tempfile::TempDir>,
    server: Option<SimulatedServer>,
    /// The books while the server is down, where they are in memory.
    books: Option<Box<dyn Ledger>>,
    clock: Arc<SetClock>,
    pub(super) catalog: u8,
    /// Which catalogue was sold from, and since when.
    pub(super) sold: Vec<(UnixSeconds, u8)>,
    root: SecretKey,
    keys: Keys,
    listed: Vec<ListedKey>,
    /// A key that was revoked, and the number of the list that says so.
    pub(super) stolen: Option<(SecretKey, u64)>,
    seed: u64,
    starts: u64,
    pub(super) said: Said,
    pub(super) operator: Operator,
}

/// Every receipt that was ever in an answer.
#[derive(Debug, Default)]
pub(super) struct Said {
    feeds: BTreeMap<AccountId, BTreeMap<u64, (Token, FeedReceipt)>>,
    tokens: HashSet<Token>,
    /// The orders that were granted at first, in the order in which that was said.
    granted: Vec<OrderId>,
    declined: BTreeSet<OrderId>,
}

/// What the operator has done.
#[derive(Debug, Default)]
pub(super) struct Operator {
    operations: u64,
    pub(super) credits: Vec<OperationId>,
    pub(super) holds: Vec<OperationId>,
    /// What came into each wallet from outside, less what went back there, in micros.
    pub(super) paid_in: BTreeMap<AccountId, i64>,
    /// What was taken of each wallet by holds that were posted.
    pub(super) posted: BTreeMap<AccountId, i64>,
    pub(super) charged_back: BTreeSet<AccountId>,
    pub(super) froze: BTreeSet<KeyId>,
}

impl Store {
    pub(super) fn open(engine: Engine, seed: u64) -> Self {
        let root = SecretKey::from_seed(&Sha256::of(format!("root {seed}")).0);
        let keys = Keys { root: root.public(), key: root.clone(), span: 0..UnixSeconds::MAX, list: None };
        let clock = Arc::new(SetClock::default());
        clock.set(BEGINNING);
        let folder = (engine == Engine::Sqlite).then(|| {
            // In memory, where there is such a place: every commit is synced.
            let memory = std::path::Path::new("/dev/shm");
            let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
            folder.expect("a temporary folder")
        });
        let mut store = Self {
            engine,
            folder,
            server: None,
            books: (engine == Engine::Model).then(|| Box::new(ModelLedger::new(game())) as Box<dyn Ledger>),
            clock,
            catalog: 0,
            sold: vec![(BEGINNING, 0)],
            root,
            keys,
            listed: Vec::new(),
            stolen: None,
            seed,
            starts: 0,
            said: Said::default(),
            operator: Operator::default(),
        };
        store.start();
        store
    }

    pub(super) fn root(&self) -> PublicKey {
        self.root.public()
    }

    /// Starts the server, if it is not running.
    pub(super) fn start(&mut self) {
        if self.server.is_some() {
            return;
        }
        let books = match (self.books.take(), &self.folder) {
            (Some(books), _) => books,
            (None, Some(folder)) => {
                let path = folder.path().join("store.sqlite");
                Box::new(SqliteLedger::open(&path, &game()).expect("the books open"))
            }
            (None, None) => unreachable!("the books are in memory or in a folder"),
        };
        self.starts += 1;
        let set_up = SetUp {
            catalog: catalog(self.catalog),
            keys: self.keys.clone(),
            clock: Arc::clone(&self.clock),
            welcome: Some(euros(WELCOME)),
            allowances: ALLOWANCES,
            seed: self.seed ^ (self.starts << 32),
        };
        self.server = Some(SimulatedServer::start(books, set_up));
    }

    /// Ends the server's process.
    pub(super) fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            self.books = Some(server.stop()).filter(|_| self.engine == Engine::Model);
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.server.is_some()
    }

    pub(super) fn sell(&mut self, version: u8) {
        self.catalog = version % 2;
        self.sold.push((self.now(), self.catalog));
    }

    pub(super) fn set_clock(&self, now: UnixSeconds) {
        self.clock.set(now);
    }

    pub(super) fn now(&self) -> UnixSeconds {
        use crate::server::clock::Clock as _;
        self.clock.now()
    }

    /// The server, which is running.
    pub(super) fn server(&mut self) -> &mut SimulatedServer {
        self.start();
        self.server.as_mut().expect("it was just started")
    }

    /// Makes a new signing key; the last one counts for another day, unless it is revoked.
    pub(super) fn rotate(&mut self, revoke: bool) {
        let now = self.now();
        if revoke && self.listed.is_empty() {
            // A root cannot revoke itself: another key takes its place first.
            self.rotate(false);
        }
        if self.listed.is_empty() {
            self.listed.push(ListedKey::new(self.root.public(), 0, now));
        }
        let last = self.listed.last_mut().expect("there is one");
        last.until = last.until.min(now + DAY);
        last.revoked_at = revoke.then_some(now);
        let key = SecretKey::from_seed(&Sha256::of(format!("key {} {}", self.seed, self.listed.len())).0);
        let span = now - 300..now + 90 * DAY;
        self.listed.push(ListedKey::new(key.public(), span.start, span.end));
        let number = self.number() + 1;
        let keys = self.listed.clone();
        let list = KeyList { root: self.root.id(), game: game(), issued_at: now, number, keys };
        let list = list.sign(&self.root).expect("signs");
        let before = std::mem::replace(&mut self.keys, Keys { root: self.root.public(), key, span, list: Some(list) });
        if revoke {
            self.stolen = Some((before.key, number));
        }
        if let Some(server) = &self.server {
            server.change_keys(&self.keys);
        }
    }

    fn number(&self) -> u64 {
        self.keys.list.as_ref().map_or(0, |list| claims_of_stored::<KeyList>(list).expect("a list").number)
    }

    /// Sees to it that the key that signs is in its time.
    pub(super) fn renew(&mut self) {
        if self.now() >= self.keys.span.end - DAY {
            self.rotate(false);
        }
    }

    /// Lets the server answer what arrived at about the same time, and remembers what it says.
    pub(super) fn answer(&mut self, arrived: &[Arrived]) -> Result<Vec<Answered>, String> {
        let Some(server) = &mut self.server else { return Err("it is down".to_owned()) };
        let answers = server.answer(arrived);
        let keys = server.keys();
        for (arrived, answer) in arrived.iter().zip(&answers) {
            if arrived.path == "/v1/sync" && answer.status == 200 {
                let token = answer_in(&answer.body).ok_or("an answer is no text")?;
                let response: SyncResponse = claims_of_stored(&token).map_err(|error| error.to_string())?;
                for receipt in &response.receipts {
                    if self.said.tokens.contains(receipt) {
                        continue;
                    }
                    let vouched = keys.trusted().vouched();
                    let claims = FeedReceipt::verify_for(receipt, &vouched, &game(), &response.account)
                        .map_err(|error| format!("a receipt in an answer does not verify: {error}"))?;
                    self.said.hear(&response.account, receipt, claims)?;
                }
            }
            if arrived.path == "/v1/devices" && answer.status == 201 {
                let body: serde_json::Value =
                    serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
                let account: AccountId =
                    body["account"].as_str().unwrap_or_default().parse().map_err(|_| "no account was opened")?;
                *self.operator.paid_in.entry(account).or_default() += WELCOME;
            }
        }
        Ok(answers)
    }

    /// Does something as the operator, under a new id, twice: it must be done once. Gives nothing if it is refused.
    pub(super) fn operate(&mut self, action: impl Into<Action>) -> Result<Option<(OperationId, Answer)>, String> {
        self.operator.operations += 1;
        let id = format!("operation {} {}", self.seed, self.operator.operations);
        let id = OperationId(*Sha256::of(id).0.first_chunk().expect("32 bytes"));
        let operation = Operation::new(id, action);
        let server = self.server();
        let done = server.operate(operation.clone());
        let again = server.operate(operation.clone());
        match (done, again) {
            (Ok(answer), Ok(again)) if answer == again => Ok(Some((id, answer))),
            (Err(OperateError::Refused(refused)), Err(OperateError::Refused(again))) if refused == again => Ok(None),
            (done, again) => Err(format!("{operation:?} came to {done:?}, and again to {again:?}")),
        }
    }

    pub(super) fn credit(&mut self, account: AccountId, cents: u8) -> Result<(), String> {
        let money = euros(i64::from(cents) * 10_000);
        let credit = Credit::paid(account.clone(), money).map_err(|error| error.to_string())?;
        if let Some((id, _)) = self.operate(credit)? {
            self.operator.credits.push(id);
            *self.operator.paid_in.entry(account).or_default() += money.micros.value();
        }
        Ok(())
    }

    /// Gives a credit back to where it came from, spent or not. Says whether it was.
    pub(super) fn charge_back(&mut self, nth: u16) -> Result<bool, String> {
        let Some(credit) = pick(&self.operator.credits, nth) else { return Ok(false) };
        let action = RefundCredit { credit, amount: None, only_unspent: false, forced: true };
        let Some((_, Answer::Wallet { account, money, .. })) = self.operate(action)? else { return Ok(false) };
        self.operator.charged_back.insert(account.clone());
        *self.operator.paid_in.entry(account).or_default() -= money.micros.value();
        Ok(true)
    }

    /// Refunds an order that was granted, or one of what it was for. Says whether it did.
    pub(super) fn refund(&mut self, nth: u16, one: bool) -> Result<bool, String> {
        let Some(order) = pick(&self.said.granted, nth) else { return Ok(false) };
        Ok(self.operate(RefundOrder { order, quantity: one.then_some(1) })?.is_some())
    }

    pub(super) fn hold(&mut self, account: AccountId, cents: u8) -> Result<bool, String> {
        let expires_at = self.now() + DAY;
        let done = self.operate(Hold { account, money: euros(i64::from(cents) * 10_000), expires_at })?;
        self.operator.holds.extend(done.iter().map(|(id, _)| *id));
        Ok(done.is_some())
    }

    pub(super) fn end_hold(&mut self, nth: u16, post: bool) -> Result<bool, String> {
        let Some(hold) = pick(&self.operator.holds, nth) else { return Ok(false) };
        let done = match post {
            true => self.operate(Post { hold, amount: None })?,
            false => self.operate(Void { hold })?,
        };
        if let (true, Some((_, Answer::Wallet { account, money, .. }))) = (post, &done) {
            *self.operator.posted.entry(account.clone()).or_default() += money.micros.value();
        }
        Ok(done.is_some())
    }

    pub(super) fn freeze(&mut self, device: KeyId) -> Result<bool, String> {
        let done = self.operate(FreezeDevice { device })?.is_some();
        if done {
            self.operator.froze.insert(device);
        }
        Ok(done)
    }

    pub(super) fn thaw(&mut self, device: KeyId) -> Result<bool, String> {
        Ok(self.operate(ThawDevice { device })?.is_some())
    }
}

impl Said {
    /// Takes a receipt that verifies: the feed never says two things in one place, and a declined order stays declined.
    fn hear(&mut self, account: &AccountId, token: &Token, receipt: FeedReceipt) -> Result<(), String> {
        let (feed, place) = (self.feeds.entry(account.clone()).or_default(), receipt.feed());
        if let Some((known, _)) = feed.insert(place, (token.clone(), receipt.clone())) {
            return match known == *token {
                true => Ok(()),
                false => Err(format!("the feed of {account} says two things in the place {place}")),
            };
        }
        self.tokens.insert(token.clone());
        let FeedReceipt::Order(claims) = receipt else { return Ok(()) };
        let order = claims.order;
        if self.declined.contains(&order) {
            return Err(format!("the order {order} was declined, and is {:?}", claims.status));
        }
        match claims.status {
            Status::Declined => drop(self.declined.insert(order)),
            Status::Granted if claims.reason.is_none() => self.granted.push(order),
            _ => {}
        }
        Ok(())
    }

    /// What was said in a place of a feed.
    pub(super) fn at(&self, account: &AccountId, feed: u64) -> Option<&Token> {
        self.feeds.get(account)?.get(&feed).map(|(token, _)| token)
    }

    /// The receipts of orders in a feed, in its order.
    fn orders(&self, account: &AccountId) -> impl Iterator<Item = &Receipt> {
        self.feeds.get(account).into_iter().flat_map(BTreeMap::values).filter_map(|(_, receipt)| match receipt {
            FeedReceipt::Order(claims) => Some(claims),
            FeedReceipt::Consumption(_) => None,
        })
    }

    /// Whether an order was ever granted to an account.
    pub(super) fn was_granted(&self, account: &AccountId, order: OrderId) -> bool {
        self.orders(account).any(|claims| claims.order == order && claims.status == Status::Granted)
    }

    /// How an order was decided at first, and why.
    pub(super) fn decided(&self, order: OrderId) -> Option<(Status, Option<Reason>)> {
        let mut all = self.feeds.keys().flat_map(|account| self.orders(account));
        all.find(|claims| claims.order == order).map(|claims| (claims.status, claims.reason))
    }

    /// The orders that were granted, in the order in which that was said.
    pub(super) fn granted(&self) -> &[OrderId] {
        &self.granted
    }
}

/// The last line of an answer: a list of keys may be before it.
pub(super) fn answer_in(body: &[u8]) -> Option<Token> {
    let text = std::str::from_utf8(body).ok()?;
    Some(Token::from_text(text.rsplit('\n').next().unwrap_or(text)))
}

pub(super) fn euros(micros: i64) -> Money {
    Money::new(Micros::new(micros).expect("in range"), Currency::EUR)
}

pub(super) fn pick<T: Copy>(all: &[T], nth: u16) -> Option<T> {
    (!all.is_empty()).then(|| all[usize::from(nth) % all.len()])
}
