//! The client's state machine, driven by a script against a server that signs whatever the script says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bevy_iap::client::machine::{Input, Output, Terms};
use bevy_iap::client::storage::Opened;
use bevy_iap::client::{
    Access, Holdings, Machine, OfflineGrants, OrderState, Record, Request, Response, Settings, Signed, Tick, Update,
};
use bevy_iap::protocol::sync::{MAX_ORDERS, SyncRequest};
use bevy_iap::protocol::{ConsumptionId, Grant, ItemId, Money, Order, OrderId, Receipt, Sha256, Status, Token};

use crate::model::Kind;
use crate::parties::{PARTIES, Party, forge};

/// The most steps of one script: what takes more is found by many short ones sooner.
const MAX_STEPS: usize = 48;
const NOW: i64 = 1_767_225_600;

/// Runs a script, one step per line, the first letter of which says what happens:
///
/// | step | what happens |
/// | --- | --- |
/// | `b1 shield` | the game buys order 1 to 9, of this name |
/// | `c shield` | the game uses up one of what it has |
/// | `d`, `D`, `U` | the append under way is durable, or fails, or nobody knows |
/// | `C` | the journal is written anew, without what is needed no longer |
/// | `S`, `B` | the seals in the journal are taken away, or broken |
/// | `n` | the request under way is not answered |
/// | `u404 {…}` | it is answered with this status and body, unsigned |
/// | `r{…}`, `x{…}` | the server, or a stranger, signs a receipt with these claims |
/// | `a{…}`, `w{…}` | the server, or a stranger, answers with these claims |
/// | `s`, `o`, `O` | ask now; go offline; come back |
/// | `t` | time passes until the machine wants to be woken |
/// | `R` | the process ends without a word and starts again |
///
/// In claims, `@1` to `@9` are the digests of the orders and `#1` to `#9` their ids; `@q` is the digest of the request
/// under way, `@r` are the receipts signed since the last answer, `@s` is the server and `@c` the account.
///
/// # Panics
/// The machine broke one of its promises.
pub fn script(steps: &[u8], provisional: bool) {
    let mut world = World::open(Vec::new(), provisional, false);
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

struct World {
    machine: Machine,
    provisional: bool,
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
    /// What was ordered, by every purchase that was asked for.
    ordered: BTreeMap<OrderId, Grant>,
    /// The tokens of the orders that are durable.
    orders: BTreeMap<OrderId, Token>,
    /// Everything that the server signed as a receipt.
    signed: Vec<Token>,
    /// What of it verifies, and grants something.
    believed: Vec<Receipt>,
    /// The orders that it speaks of.
    answered: BTreeSet<OrderId>,
    /// Those of `signed` and of a stranger's that go into the next answer.
    receipts: Vec<Token>,
    elapsed: Duration,
    ticks: u64,
}

impl World {
    fn open(records: Vec<Record>, provisional: bool, tampered: bool) -> Self {
        let mut settings = Settings::new(PARTIES.game.clone(), vec![PARTIES.server.public()]);
        if provisional {
            settings.offline_grants = OfflineGrants::Provisional;
        }
        let opened =
            Opened { key: PARTIES.device.clone(), access: Access::ReadWrite, troubles: Vec::new(), is_damaged: false };
        let tick = Tick { elapsed: Duration::ZERO, unix: NOW, random: [0; 16] };
        let mut opening = Machine::opening(settings, PARTIES.device.clone());
        records.iter().cloned().for_each(|record| opening.replay(record));
        let (machine, snapshot, first) = opening.finish(opened, tick).expect("it is this device's journal");
        assert!(snapshot.troubles.is_empty() || tampered, "{:?}", snapshot.troubles);
        Self {
            machine,
            provisional,
            records: records.into_iter().chain(first).collect(),
            appending: None,
            uncertain: false,
            tampered,
            request: None,
            holdings: snapshot.holdings,
            states: snapshot.orders.iter().map(|order| (order.id, order.state)).collect(),
            ordered: BTreeMap::new(),
            orders: BTreeMap::new(),
            signed: Vec::new(),
            believed: Vec::new(),
            answered: BTreeSet::new(),
            receipts: Vec::new(),
            elapsed: Duration::ZERO,
            ticks: 0,
        }
    }

    fn tick(&self) -> Tick {
        let seconds = i64::try_from(self.elapsed.as_secs()).unwrap_or(i64::MAX);
        let mut random = [0; 16];
        random[..8].copy_from_slice(&self.ticks.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        Tick { elapsed: self.elapsed, unix: NOW.saturating_add(seconds), random }
    }

    fn step(&mut self, step: &[u8]) {
        let Some((&first, rest)) = step.split_first() else { return };
        let name = || std::str::from_utf8(rest).unwrap_or_default().trim_start();
        match first {
            b'b' => self.buy(rest),
            b'c' => {
                if let Ok(item) = name().parse::<ItemId>()
                    && self.holdings.items.contains_key(&item)
                    && self.appending.is_none()
                {
                    let id = ConsumptionId(self.tick().random);
                    self.input(Input::Consume { id, item, quantity: 1 });
                }
            }
            b'd' => self.durable(),
            b'D' => self.not_durable(),
            b'U' => self.not_known_whether_durable(),
            b'C' => self.compact(),
            b'S' => self.change_seals(Vec::clear),
            b'B' => {
                self.change_seals(|seal| seal.iter_mut().for_each(|byte| *byte ^= 1));
                self.tampered = true;
            }
            b'n' => self.not_answered(),
            b'u' => self.answer_unsigned(rest),
            b'r' => {
                let token = self.sign(Kind::Receipt, rest, Party::Server);
                let keys = [PARTIES.server.public()];
                let verified = Receipt::verify_for(&token, &keys, &PARTIES.game, &PARTIES.account).ok();
                self.answered.extend(verified.iter().map(|receipt| receipt.order));
                self.believed.extend(verified.filter(|receipt| receipt.status == Status::Granted));
                self.signed.push(token.clone());
                self.receipts.push(token);
            }
            b'x' => {
                let token = self.sign(Kind::Receipt, rest, Party::Stranger);
                self.receipts.push(token);
            }
            b'a' | b'w' => {
                let signer = if first == b'a' { Party::Server } else { Party::Stranger };
                let token = self.sign(Kind::Response, rest, signer);
                self.receipts.clear();
                let before = self.records.len();
                self.answer(Response { status: 200, retry_after: None, body: token.as_str().as_bytes().to_vec() });
                assert!(signer == Party::Server || self.records.len() == before);
            }
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
        let Ok(name) = std::str::from_utf8(name).unwrap_or_default().trim_start().parse::<ItemId>() else { return };
        let id = order_id(*number);
        let grant = match number % 3 {
            0 => Grant::Entitlement { entitlement: name.as_str().parse().expect("a name"), until: None },
            quantity => Grant::Item { item: name.clone(), quantity: quantity.into() },
        };
        // An id is 128 random bits: no game asks for one twice, and no server knows it before.
        if self.ordered.contains_key(&id) || self.answered.contains(&id) {
            return;
        }
        self.ordered.insert(id, grant.clone());
        let price: Money = "0.005 EUR".parse().expect("an amount");
        self.input(Input::Purchase(Terms {
            id,
            product: name.as_str().parse().expect("a name"),
            quantity: 1,
            price,
            total: price,
            catalog: Sha256::of("catalog"),
            grants: vec![grant],
        }));
    }

    fn answer_unsigned(&mut self, rest: &[u8]) {
        let digits = rest.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
        let status = std::str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse().ok()).unwrap_or(500);
        let body = rest[digits..].trim_ascii_start().to_vec();
        let enrolling = self.request.as_ref().is_some_and(|request| request.path == "/v1/devices");
        let (states, holdings, appending) = (self.states.clone(), self.holdings.clone(), self.appending.clone());
        let uncertain = self.uncertain;
        self.answer(Response { status, retry_after: Some(Duration::from_secs(status.into())), body });
        // An order's fate changes on a signed receipt and on nothing else.
        let open = |state: &OrderState| matches!(state, OrderState::Queued | OrderState::Sent);
        for (id, state) in &states {
            let now = self.states.get(id);
            assert!(now == Some(state) || (open(state) && now.is_some_and(open)), "{state:?} became {now:?}");
        }
        assert_eq!(self.holdings, holdings, "enrolling: {enrolling}");
        // What nobody knows to be durable may be tried again at any time.
        assert!(self.appending == appending || uncertain);
    }

    /// Answers the request under way, if there is one.
    fn answer(&mut self, response: Response) {
        if self.request.take().is_some() {
            self.input(Input::Answered(response));
        }
    }

    fn durable(&mut self) {
        if let Some(mut records) = self.appending.take() {
            for record in records.iter() {
                if let Record::Order(signed) = record {
                    let (token, key) = (signed.token(), PARTIES.device.public());
                    let order = Order::verify(&token, key, &PARTIES.account, &PARTIES.game).expect("it signed it");
                    self.orders.insert(order.id, token);
                }
            }
            self.records.append(&mut records);
            self.input(Input::Appended);
        }
    }

    fn not_durable(&mut self) {
        if self.appending.take().is_some() {
            self.input(Input::AppendFailed("the disk is full".to_owned()));
        }
    }

    fn not_known_whether_durable(&mut self) {
        if self.appending.take().is_some() {
            self.uncertain = true;
            self.input(Input::AppendUncertain("the disk does not answer".to_owned()));
        }
    }

    /// Writes the journal anew, as a storage would.
    fn compact(&mut self) {
        if self.appending.is_none() && !self.uncertain {
            let kept = std::mem::take(&mut self.records).into_iter().filter_map(|record| self.machine.keep(record));
            self.records = kept.chain(self.machine.closing_records(self.tick())).collect();
            self.input(Input::Compacted);
        }
    }

    fn change_seals(&mut self, change: impl Fn(&mut Vec<u8>)) {
        for record in &mut self.records {
            if let Record::Order(signed) | Record::Receipt(signed) = record {
                let mut seal = signed.seal().to_vec();
                change(&mut seal);
                *signed = Signed::new(&seal, signed.token().as_str());
            }
        }
    }

    fn not_answered(&mut self) {
        if self.request.take().is_some() {
            self.input(Input::NotAnswered("the network is gone".to_owned()));
        }
    }

    fn restart(&mut self) {
        let settled = self.appending.is_none() && !self.uncertain;
        let mut next = Self::open(self.records.clone(), self.provisional, self.tampered);
        if settled {
            assert_eq!(next.holdings.items, self.holdings.items, "items after a restart");
            let rights = |holdings: &Holdings| -> BTreeSet<_> {
                let endless = holdings.entitlements.iter().filter(|(_, right)| right.until.is_none());
                endless.map(|(name, right)| (name.clone(), right.provisional)).collect()
            };
            assert_eq!(rights(&next.holdings), rights(&self.holdings), "rights without an end after a restart");
        }
        for (id, before) in &self.states {
            let expected = match before {
                OrderState::Placed | OrderState::NotSaved => continue,
                OrderState::Sent => OrderState::Queued,
                state => *state,
            };
            assert_eq!(next.states.get(id), Some(&expected), "the order {id} after a restart");
        }
        next.ordered = std::mem::take(&mut self.ordered);
        next.orders = std::mem::take(&mut self.orders);
        next.signed = std::mem::take(&mut self.signed);
        next.believed = std::mem::take(&mut self.believed);
        next.answered = std::mem::take(&mut self.answered);
        // An append that was under way may have become durable or not; here, not.
        *self = next;
        self.input(Input::TimePassed);
        if self.request.as_ref().is_some_and(|request| request.path == "/v1/devices") {
            self.answer(Response { status: 200, ..Response::default() });
        }
    }

    fn sign(&self, kind: Kind, claims: &[u8], signer: Party) -> Token {
        let claims = String::from_utf8_lossy(claims);
        let mut filled = String::new();
        let mut rest = claims.as_ref();
        while let Some(at) = rest.find(['@', '#']) {
            filled.push_str(&rest[..at]);
            let mut characters = rest[at..].chars();
            let found = (characters.next().unwrap_or_default(), characters.next().unwrap_or_default());
            rest = characters.as_str();
            match found {
                ('#', number @ '1'..='9') => filled.push_str(&order_id(number as u8).to_string()),
                ('@', number @ '1'..='9') => filled.push_str(&self.order_sha256(order_id(number as u8)).to_string()),
                ('@', 'q') => filled.push_str(&self.request_sha256().to_string()),
                ('@', 'r') => {
                    let tokens: Vec<_> = self.receipts.iter().map(|token| format!("\"{token}\"")).collect();
                    filled.push_str(&tokens.join(","));
                }
                ('@', 's') => filled.push_str(&PARTIES.server.id().to_string()),
                ('@', 'c') => filled.push_str(PARTIES.account.as_str()),
                (first, second) => filled.extend([first, second]),
            }
        }
        filled.push_str(rest);
        // A stranger signs in the server's name.
        forge(Party::Server.header(kind).as_bytes(), filled.as_bytes(), signer)
    }

    fn order_sha256(&self, id: OrderId) -> Sha256 {
        self.orders.get(&id).map_or_else(|| Sha256::of("no such order"), Token::sha256)
    }

    fn request_sha256(&self) -> Sha256 {
        Sha256::of(self.request.as_ref().map_or(&[][..], |request| &*request.body))
    }

    fn input(&mut self, input: Input) {
        self.ticks += 1;
        self.elapsed += Duration::from_secs(1);
        let outputs = self.machine.handle(input, self.tick());
        let mut compact = false;
        for output in outputs {
            match output {
                Output::Append(records) => {
                    assert!(self.appending.is_none(), "one append at a time");
                    for record in records.iter() {
                        if let Record::Receipt(signed) = record {
                            assert!(self.signed.contains(&signed.token()), "only the server signs receipts");
                        }
                    }
                    self.appending = Some(records.to_vec());
                    self.uncertain = false;
                }
                Output::Send(request) => {
                    assert!(self.request.is_none(), "one request at a time");
                    if request.path == "/v1/sync" {
                        self.check_request(&request);
                    }
                    self.request = Some(request);
                }
                Output::Compact => compact = true,
                Output::Tell(Update::Order(order)) => drop(self.states.insert(order.id, order.state)),
                Output::Tell(Update::Holdings(holdings)) => self.holdings = holdings,
                Output::Tell(Update::Receipt(receipt)) => assert!(self.signed.contains(&receipt.token)),
                _ => {}
            }
        }
        if compact {
            self.compact();
        }
    }

    /// What is sent is signed, within the limits, and was made durable before.
    fn check_request(&self, request: &Request) {
        let token = Token::from_text(std::str::from_utf8(&request.body).expect("a token is text"));
        let request = SyncRequest::verify(&token, PARTIES.device.public(), &PARTIES.account, &PARTIES.game)
            .expect("the machine signed it");
        assert!(request.orders.len() <= MAX_ORDERS);
        for order in &request.orders {
            let is_durable = self.orders.values().any(|token| token == order);
            assert!(is_durable, "an order was sent before it was durable");
        }
    }

    /// Everything that is owned is backed by a receipt that verifies, or by an order of this device where the game is
    /// set to grant before it.
    fn check(&self) {
        let ids: BTreeSet<_> =
            self.believed.iter().map(|receipt| receipt.order).chain(self.ordered.keys().copied()).collect();
        let provisional = |id: &OrderId| self.ordered.get(id).filter(|_| self.provisional).into_iter();
        for (item, quantity) in &self.holdings.items {
            let given = |grants: &mut dyn Iterator<Item = &Grant>| {
                grants.fold(0_u64, |sum, grant| match grant {
                    Grant::Item { item: found, quantity } if found == item => sum.saturating_add(*quantity),
                    _ => sum,
                })
            };
            let most = ids.iter().fold(0_u64, |sum, id| {
                let receipts = self.believed.iter().filter(|receipt| receipt.order == *id);
                let most = receipts.map(|receipt| given(&mut receipt.grants.iter())).max().unwrap_or(0);
                sum.saturating_add(most.max(given(&mut provisional(id))))
            });
            assert!(quantity.left <= most, "{item}: {quantity:?}, and {most} were given");
            assert!(self.provisional || quantity.provisional == 0);
        }
        for (name, right) in &self.holdings.entitlements {
            let is_it = |grant: &Grant| matches!(grant, Grant::Entitlement { entitlement, .. } if entitlement == name);
            let by_receipt = self.believed.iter().any(|receipt| receipt.grants.iter().any(is_it));
            let by_order = ids.iter().flat_map(provisional).any(is_it);
            assert!(if right.provisional { by_order } else { by_receipt }, "{name} was never given");
        }
        for (id, state) in &self.states {
            let is_granted = self.believed.iter().any(|receipt| receipt.order == *id);
            assert!(*state != OrderState::Granted || is_granted, "the order {id} was never granted");
        }
    }
}

/// The id of order `1` to `9`, by its digit.
fn order_id(digit: u8) -> OrderId {
    OrderId([digit; 16])
}
