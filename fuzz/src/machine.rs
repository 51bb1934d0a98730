//! The client's state machine, driven by a script against a server that signs whatever the script says.

mod checks;
mod disk;
mod feed;
mod spending;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bevy_iap::client::account::AccountWish;
use bevy_iap::client::machine::{Input, Output, Terms};
use bevy_iap::client::{Holdings, Machine, OfflineGrants, OrderState, Record, Request, Response, Tick, Update};
use bevy_iap::protocol::{
    AccountId, ConsumptionId, DeviceName, Grant, ItemId, KeyId, Money, OrderId, SecretKey, Sha256, Token,
};

use crate::model::Kind;
use crate::parties::{PARTIES, Party};
use feed::Feed;
use spending::Spending;
use store::{Asker, Store};

/// The most steps of one script: what takes more is found by many short ones sooner.
const MAX_STEPS: usize = 64;
const NOW: i64 = 1_767_225_600;

/// Runs a script, one step per line, the first letter of which says what happens:
///
/// | step | what happens |
/// | --- | --- |
/// | `b1 shield` | the game buys order 1 to 9, of this name |
/// | `c shield` | the game uses up one of what it has |
/// | `Ad`, `Al`, `Aj CODE`, `As TOKEN`, `An NAME`, `Ar`, `AR`, `Ak` | the player asks for the devices, or for a link code; joins by one, or signs in; names this device; revokes this one, or another; replaces its key |
/// | `d`, `D`, `U` | the append under way is durable, or fails, or nobody knows |
/// | `F` | the next thing that is done with a key file fails |
/// | `C` | the journal is written anew, without what is needed no longer |
/// | `S`, `B` | the seals in the journal are taken away, or broken |
/// | `n` | the request under way is not answered |
/// | `u404 {…}` | it is answered with this status and body, unsigned |
/// | `r{…}`, `e{…}` | a receipt of an order, or of a consumption, is signed for the next answer |
/// | `l{…}`, `k{…}` | an allowance is signed for the next answer; or a list of keys, that comes before it |
/// | `a{…}`, `q{…}` | a sync, or a question about the account, is answered |
/// | `s`, `o`, `O` | ask now; go offline; come back |
/// | `t` | time passes until the machine wants to be woken |
/// | `R` | the process ends without a word and starts again |
///
/// Claims are signed by the server with the key that the game pins; with `+` before them by one that only a list may
/// name, and with `!` by a stranger in the server's name. In them, `@1` to `@9` are the digests of the orders and `#1` to
/// `#9` their ids; `%1` to `%9` and `$1` to `$9` the same of what was used up; `@q` is the digest of the request under
/// way; `@r` are the receipts and `@l` the allowances that were signed since the last answer; `@s` is the server, `@c` the
/// account, `@C` the catalogue, `@d` the device, `@D` the one whose key is to take its place; `@t` is the server with its
/// other key, `@x` and `@y` are its two public keys.
///
/// # Panics
/// The machine broke one of its promises.
pub fn script(steps: &[u8], offline_grants: OfflineGrants, listen: bool) {
    let game = Game { offline_grants, listen };
    let mut world = World::open(game, Vec::new(), PARTIES.device.clone(), None, false);
    world.input(Input::TimePassed);
    // Enrolled, so that a script begins where it matters.
    world.answer(Response { status: 201, ..Response::default() });
    for step in steps.split(|&byte| byte == b'\n').take(MAX_STEPS) {
        world.step(step);
        world.check();
    }
    world.restart();
    world.check();
}

/// How the game is set.
#[derive(Clone, Copy)]
struct Game {
    offline_grants: OfflineGrants,
    listen: bool,
}

struct World {
    machine: Machine,
    game: Game,
    key: SecretKey,
    next_key: Option<SecretKey>,
    /// Whether the next thing that is done with a key file fails.
    key_fails: bool,
    records: Vec<Record>,
    /// The records of the append under way.
    appending: Option<Vec<Record>>,
    /// Whether it is not known what became of the last append, which is tried again before any other.
    uncertain: bool,
    /// Whether seals in the journal were broken.
    tampered: bool,
    request: Option<Request>,
    holdings: Holdings,
    /// What the game heard last of each order.
    states: BTreeMap<OrderId, OrderState>,
    /// What the last input brought.
    heard: Heard,
    /// When the server was heard last, by its own clock.
    server_time: i64,
    store: Store,
    told: Told,
    elapsed: Duration,
    ticks: u64,
}

/// What is known of what this device has done, whatever it remembers of it.
#[derive(Default)]
struct Told {
    /// What was ordered, by every purchase that was asked for.
    ordered: BTreeMap<OrderId, Grant>,
    /// The tokens of the orders that are durable.
    orders: BTreeMap<OrderId, Token>,
    /// The orders that wait for their answer, by their digests, and the place in the feed of what was last said of them.
    open: BTreeMap<OrderId, (Sha256, u64)>,
    /// Those that are decided.
    settled: BTreeSet<OrderId>,
    /// Those that the server spoke of before they were signed. Their ids are random, so that no server can.
    foretold: BTreeSet<OrderId>,
    /// The orders that were made within an allowance.
    covered: BTreeSet<OrderId>,
    /// How often something was used up.
    consumptions: u8,
    /// What was used up, once that is durable.
    consumed: BTreeMap<ConsumptionId, Token>,
    /// What the account's feed says.
    feed: Feed,
    /// The allowance that is spent.
    spending: Option<Spending>,
    /// Where an answer has put this device.
    places: BTreeSet<(AccountId, KeyId)>,
    /// What was asked about the account.
    questions: BTreeSet<String>,
    /// The last request of a sync.
    last_sync: Option<Token>,
    /// The account that the game was told of.
    account: Option<AccountId>,
    /// How many keys were made.
    keys: u8,
}

/// What an input brought that only a believed answer may.
#[derive(Default)]
struct Heard {
    /// The server's clock.
    clock: bool,
    /// That what was asked about the account came about.
    account: bool,
    /// What was used up and is safe.
    saved: Vec<ItemId>,
    /// A wallet, a receipt, an allowance, or something of the server's to be made durable.
    news: bool,
}

impl World {
    fn tick(&self) -> Tick {
        let seconds = i64::try_from(self.elapsed.as_secs()).unwrap_or(i64::MAX);
        let mut random = [0; 16];
        random[..8].copy_from_slice(&self.ticks.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        Tick { elapsed: self.elapsed, unix: NOW.saturating_add(seconds), random }
    }

    fn step(&mut self, step: &[u8]) {
        let Some((&first, rest)) = step.split_first() else { return };
        match first {
            b'b' => self.buy(rest),
            b'c' => self.consume(rest),
            b'A' => self.ask(rest),
            b'd' => self.durable(),
            b'D' => self.not_durable(),
            b'U' => self.not_known_whether_durable(),
            b'F' => self.key_fails = true,
            b'C' => self.write_anew().into_iter().for_each(|done| self.input(done)),
            b'S' => self.change_seals(Vec::clear),
            b'B' => {
                self.change_seals(|seal| seal.iter_mut().for_each(|byte| *byte ^= 1));
                self.tampered = true;
            }
            b'n' => self.not_answered(),
            b'u' => self.answer_unsigned(rest),
            b'r' => {
                let token = self.sign(Kind::Receipt, rest);
                self.store.next.receipts.push(token);
            }
            b'e' => {
                let token = self.sign(Kind::ConsumptionReceipt, rest);
                self.store.next.receipts.push(token);
            }
            b'l' => {
                let token = self.sign(Kind::Allowance, rest);
                self.store.next.allowances.push(token);
            }
            b'k' => self.store.next.list = Some(self.sign(Kind::Keys, rest)),
            b'a' => self.answer_signed(Kind::Response, rest),
            b'q' => self.answer_signed(Kind::Answer, rest),
            b's' => self.input(Input::SyncNow),
            b'o' => self.input(Input::SetOffline(true)),
            b'O' => self.input(Input::SetOffline(false)),
            b't' => {
                let wake = self.machine.wake_at(self.tick()).unwrap_or_default();
                // A day at most: what lies beyond is some right's end, at the end of time.
                self.elapsed = self.elapsed.max(wake.min(self.elapsed + Duration::from_secs(86_400)));
                self.input(Input::TimePassed);
            }
            b'R' => self.restart(),
            _ => {}
        }
    }

    fn buy(&mut self, rest: &[u8]) {
        let Some((number @ b'1'..=b'9', name)) = rest.split_first() else { return };
        let Ok(name) = word(name).parse::<ItemId>() else { return };
        let id = order_id(*number);
        let grant = match number % 3 {
            0 => Grant::Entitlement { entitlement: name.as_str().parse().expect("a name"), until: None },
            quantity => Grant::Item { item: name.clone(), quantity: quantity.into() },
        };
        // An id is 128 random bits: no game asks for one twice, and no server knows it before.
        if self.told.ordered.contains_key(&id) || self.store.answered().contains(&id) {
            return;
        }
        self.told.ordered.insert(id, grant.clone());
        let price: Money = "0.005 EUR".parse().expect("an amount");
        self.input(Input::Purchase(Terms {
            id,
            product: name.as_str().parse().expect("a name"),
            quantity: 1,
            price,
            total: price,
            catalog: catalog(),
            grants: vec![grant],
        }));
    }

    fn consume(&mut self, rest: &[u8]) {
        let Ok(item) = word(rest).parse::<ItemId>() else { return };
        if self.holdings.items.contains_key(&item) && self.told.consumptions < 9 {
            self.told.consumptions += 1;
            let id = consumption_id(self.told.consumptions);
            self.input(Input::Consume { id, item, quantity: 1 });
        }
    }

    fn ask(&mut self, rest: &[u8]) {
        let Some((first, rest)) = rest.split_first() else { return };
        let wish = match (first, word(rest)) {
            (b'd', _) => Some(AccountWish::Devices),
            (b'l', _) => Some(AccountWish::LinkCode),
            (b'j', code) => code.parse().ok().map(AccountWish::JoinByCode),
            (b's', token) => Some(AccountWish::SignIn(token.to_owned())),
            (b'n', "") => Some(AccountWish::NameDevice { device: self.machine.device(), name: None }),
            (b'n', name) => DeviceName::new(name)
                .ok()
                .map(|name| AccountWish::NameDevice { device: self.machine.device(), name: Some(name) }),
            (b'r', _) => Some(AccountWish::RevokeDevice(self.machine.device())),
            (b'R', _) => Some(AccountWish::RevokeDevice(PARTIES.stranger.id())),
            (b'k', _) => Some(AccountWish::ReplaceKey),
            _ => None,
        };
        wish.into_iter().for_each(|wish| self.input(Input::Account(wish)));
    }

    /// Signs claims for the next answer, or as one.
    fn sign(&mut self, kind: Kind, rest: &[u8]) -> Token {
        let (signer, claims) = match rest.split_first() {
            Some((b'+', claims)) => (Party::Signing, claims),
            Some((b'!', claims)) => (Party::Stranger, claims),
            _ => (Party::Server, rest),
        };
        let claims = self.fill(&String::from_utf8_lossy(claims));
        self.store.sign(kind, &claims, signer)
    }

    fn fill(&self, mut claims: &str) -> String {
        let list = |tokens: &[Token]| {
            let tokens: Vec<_> = tokens.iter().map(|token| format!("\"{token}\"")).collect();
            tokens.join(",")
        };
        let mut filled = String::new();
        while let Some(at) = claims.find(['@', '#', '%', '$']) {
            filled.push_str(&claims[..at]);
            let mut characters = claims[at..].chars();
            let found = (characters.next().unwrap_or_default(), characters.next().unwrap_or_default());
            claims = characters.as_str();
            let number = u8::try_from(found.1).unwrap_or_default();
            let next = || self.next_key.as_ref().map_or(self.machine.device(), SecretKey::id);
            let digest = |token: Option<&Token>| token.map_or_else(|| Sha256::of("no such text"), Token::sha256);
            filled.push_str(&match found {
                ('#', '1'..='9') => order_id(number).to_string(),
                ('@', '1'..='9') => digest(self.told.orders.get(&order_id(number))).to_string(),
                ('$', '1'..='9') => consumption_id(number - b'0').to_string(),
                ('%', '1'..='9') => digest(self.told.consumed.get(&consumption_id(number - b'0'))).to_string(),
                ('@', 'q') => Sha256::of(self.request.as_ref().map_or(&[][..], |request| &*request.body)).to_string(),
                ('@', 'r') => list(&self.store.next.receipts),
                ('@', 'l') => list(&self.store.next.allowances),
                ('@', 's') => PARTIES.server.id().to_string(),
                ('@', 't') => PARTIES.signing.id().to_string(),
                ('@', 'x') => PARTIES.server.public().to_string(),
                ('@', 'y') => PARTIES.signing.public().to_string(),
                ('@', 'c') => self.machine.account().to_string(),
                ('@', 'C') => catalog().to_string(),
                ('@', 'd') => self.machine.device().to_string(),
                ('@', 'D') => next().to_string(),
                (first, second) => String::from_iter([first, second]),
            });
        }
        filled.push_str(claims);
        filled
    }

    fn answer_signed(&mut self, kind: Kind, rest: &[u8]) {
        let token = self.sign(kind, rest);
        let next = std::mem::take(&mut self.store.next);
        let body = match &next.list {
            Some(list) => format!("{list}\n{token}"),
            None => token.to_string(),
        };
        let Some(request) = self.request.clone() else { return };
        // A list is taken first, whatever comes of the rest; where that is refused, nothing of the rest counts.
        let is_asked = request.path != "/v1/devices";
        let has_right_list = next.list.as_ref().is_none_or(|list| is_asked && self.store.learn(list));
        let asker = Asker {
            request: &request,
            account: self.machine.account().to_string(),
            device: self.machine.device(),
            heard: self.server_time,
            open: &self.told.open,
            ordered: &self.told.ordered,
            consumed: &self.told.consumed,
            feed: &self.told.feed,
        };
        let verdict = match kind {
            Kind::Answer if has_right_list && self.store.is_right_answer(&token, &asker) => {
                self.told.note_place(&token);
                None
            }
            Kind::Response if has_right_list => self.store.is_right_response(&token, &asker),
            _ => Some(false),
        };
        let response = Response { status: 200, retry_after: None, body: body.into_bytes() };
        match verdict {
            Some(false) => self.disbelieve(response),
            _ => self.answer(response),
        }
        assert!(verdict != Some(true) || self.heard.clock, "a right answer was not believed: {token}");
    }

    fn answer_unsigned(&mut self, rest: &[u8]) {
        let digits = rest.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
        let status = std::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse().ok()).unwrap_or(500);
        let body = rest[digits..].trim_ascii_start().to_vec();
        self.disbelieve(Response { status, retry_after: Some(Duration::from_secs(status.into())), body });
    }

    /// Answers the request under way, if there is one.
    fn answer(&mut self, response: Response) {
        if self.request.take().is_some() {
            self.input(Input::Answered(response));
        }
    }

    fn not_answered(&mut self) {
        if self.request.take().is_some() {
            self.input(Input::NotAnswered("the network is gone".to_owned()));
        }
    }

    fn input(&mut self, input: Input) {
        self.heard = Heard::default();
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.ticks += 1;
            self.elapsed += Duration::from_secs(1);
            self.machine.told();
            let outputs = self.machine.handle(input, self.tick());
            // It is told last, but everything else rests on it.
            let mut clocks = outputs.iter().filter_map(|output| match output {
                Output::Tell(Update::ServerClock(clock)) => Some(clock.unix),
                _ => None,
            });
            if let Some(clock) = clocks.next_back() {
                (self.server_time, self.heard.clock) = (clock, true);
            }
            outputs.into_iter().for_each(|output| self.output(output, &mut inputs));
        }
    }

    fn output(&mut self, output: Output, inputs: &mut Vec<Input>) {
        match output {
            Output::Append(records) => {
                assert!(self.appending.is_none(), "one append at a time");
                self.check_records(&records);
                self.appending = Some(records.to_vec());
                self.uncertain = false;
            }
            Output::Compact => inputs.extend(self.write_anew()),
            Output::MakeNextKey => inputs.push(Input::NextKeyMade(self.make_key())),
            Output::TakeNextKey => inputs.push(Input::NextKeyTaken(self.take_key())),
            Output::Send(request) => {
                let waits = self.request.take().is_none_or(|request| request.hold > Duration::ZERO);
                assert!(waits, "one request at a time, unless it only waits for news");
                self.check_request(&request);
                self.request = Some(request);
            }
            Output::Abandon => self.request = None,
            Output::Tell(Update::Order(order)) => drop(self.states.insert(order.id, order.state)),
            Output::Tell(Update::Holdings(holdings)) => self.holdings = holdings,
            Output::Tell(Update::Receipt(receipt)) => {
                self.heard.news = true;
                assert!(self.store.has_signed(&receipt.token, Kind::Receipt));
            }
            Output::Tell(Update::Account { outcome: Ok(view), .. }) => {
                self.heard.account = true;
                if self.told.account.as_ref() != Some(&view.account) {
                    // Nothing that was told of orders is true any more; what is, is told after this.
                    self.states.clear();
                    self.told.account = Some(view.account);
                }
            }
            Output::Tell(Update::Consumed { item, saved: true, .. }) => self.heard.saved.push(item),
            Output::Tell(Update::ConsumeRefused { item, .. }) => self.told.feed.give_up(&item),
            Output::Tell(Update::Wallet(_) | Update::Allowance(_)) => self.heard.news = true,
            _ => {}
        }
    }
}

fn word(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default().trim()
}

/// The catalogue that the game buys from.
fn catalog() -> Sha256 {
    Sha256::of("catalog")
}

/// The id of order `1` to `9`, by its digit.
fn order_id(digit: u8) -> OrderId {
    OrderId([digit; 16])
}

/// The id of what was used up first, second and so on.
fn consumption_id(number: u8) -> ConsumptionId {
    ConsumptionId([0xc0 + number; 16])
}
