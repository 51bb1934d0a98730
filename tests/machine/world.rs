//! One machine, a journal that is a vector, and a server that signs whatever a test wants.

use std::collections::BTreeMap;
use std::time::Duration;

use bevy_iap::client::machine::{Input, Opening, Output, Terms};
use bevy_iap::client::storage::Opened;
use bevy_iap::client::{
    Access, Connection, Holdings, Machine, OfflineGrants, OrderState, PlacedOrder, Record, Request, Response, Settings,
    Tick, Update,
};
use bevy_iap::protocol::sync::{ChainHead, SyncRequest, SyncResponse};
use bevy_iap::protocol::{
    Consumption, ConsumptionId, ConsumptionReceipt, ConsumptionStatus, Currency, GameId, Grant, Micros, Money, Order,
    OrderId, Receipt, ReceiptId, SecretKey, Sha256, Status, Token,
};

/// The server's clock, in every test.
pub const SERVER_TIME: i64 = 1_700_000_000;

pub struct World {
    pub machine: Machine,
    pub key: SecretKey,
    pub next_key: Option<SecretKey>,
    pub server: SecretKey,
    pub policy: OfflineGrants,
    pub elapsed: Duration,
    pub unix: i64,
    pub random_byte: u8,
    pub records: Vec<Record>,
    pending: Vec<Record>,
    pub request: Option<Request>,
    pub orders: BTreeMap<OrderId, PlacedOrder>,
    /// The orders' ids as the snapshot gave them.
    pub history: Vec<OrderId>,
    pub holdings: Holdings,
    pub connection: Connection,
    pub updates: Vec<Update>,
    pub receipts: usize,
    pub troubles: Vec<String>,
    feed: u64,
    /// What the server says is the last order of this device.
    pub head: Option<ChainHead>,
}

pub fn order_id(number: u8) -> OrderId {
    OrderId([number; 16])
}

pub fn game() -> GameId {
    "test_game".parse().expect("a name")
}

impl World {
    /// A device that is enrolled, with its first sync answered by nothing.
    pub fn new(policy: OfflineGrants) -> Self {
        Self::set(policy, |_| {})
    }

    /// The same, with other settings.
    pub fn set(policy: OfflineGrants, set: impl FnOnce(&mut Settings)) -> Self {
        let (key, server) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
        let mut world = Self::open_with(SERVER_TIME, policy, key, None, server, Vec::new(), set);
        assert_eq!(world.path(), "/v1/devices");
        world.input(Input::Answered(Response { status: 201, ..Response::default() }));
        world.answer(&[]);
        world
    }

    fn open_at(unix: i64, policy: OfflineGrants, key: SecretKey, server: SecretKey, records: Vec<Record>) -> Self {
        Self::open_with(unix, policy, key, None, server, records, |_| {})
    }

    fn open_with(
        unix: i64,
        policy: OfflineGrants,
        key: SecretKey,
        next_key: Option<SecretKey>,
        server: SecretKey,
        records: Vec<Record>,
        set: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut settings = Settings::new(game(), vec![server.public()]);
        settings.offline_grants = policy;
        set(&mut settings);
        let opened = Opened { key: key.clone(), access: Access::ReadWrite, is_damaged: false, troubles: Vec::new() };
        let tick = Tick { elapsed: Duration::ZERO, unix, random: [1; 16] };
        let read = |mut opening: Opening| {
            records.iter().cloned().for_each(|record| opening.replay(record));
            opening
        };
        let mut opening = read(Machine::opening(settings.clone(), key.clone()));
        if let Some(better) = opening.keys_to_read_it_with() {
            opening = read(Machine::opening_with(settings, key.clone(), better));
        }
        next_key.into_iter().for_each(|key| opening.next_key(key));
        let (machine, snapshot, first) = opening.finish(opened, tick).expect("opens");
        let mut world = Self {
            machine,
            key,
            next_key: None,
            server,
            policy,
            elapsed: Duration::ZERO,
            unix,
            random_byte: 1,
            records: records.into_iter().chain(first).collect(),
            pending: Vec::new(),
            request: None,
            history: snapshot.orders.iter().map(|order| order.id).collect(),
            orders: snapshot.orders.into_iter().map(|order| (order.id, order)).collect(),
            holdings: snapshot.holdings,
            connection: Connection::NoServer,
            updates: Vec::new(),
            receipts: snapshot.receipts.len(),
            troubles: snapshot.troubles,
            feed: 0,
            head: None,
        };
        world.input(Input::TimePassed);
        world
    }

    /// The process ends without a word and starts again.
    pub fn restart(self) -> Self {
        self.restart_at(0)
    }

    /// The same, with the device's clock so many seconds from the server's.
    pub fn restart_at(self, off: i64) -> Self {
        let feed = self.feed;
        let mut world = Self::open_at(SERVER_TIME + off, self.policy, self.key, self.server, self.records);
        world.feed = feed;
        world
    }

    /// The same, with a key beside the device's that may take its place.
    pub fn restart_with_next_key(self, next_key: Option<SecretKey>) -> Self {
        let Self { policy, key, server, records, .. } = self;
        let mut world = Self::open_with(SERVER_TIME, policy, key, next_key.clone(), server, records, |_| {});
        world.next_key = next_key;
        world
    }

    fn tick(&self) -> Tick {
        Tick { elapsed: self.elapsed, unix: self.unix, random: [self.random_byte; 16] }
    }

    pub fn wake_at(&self) -> Option<Duration> {
        self.machine.wake_at(self.tick())
    }

    /// Time passes until the machine wants to be woken.
    pub fn wait(&mut self) -> Vec<Output> {
        self.elapsed = self.elapsed.max(self.wake_at().unwrap_or_default());
        self.input(Input::TimePassed)
    }

    pub fn consumption(number: u8, item: &str, quantity: u64) -> Input {
        Input::Consume { id: ConsumptionId([number; 16]), item: item.parse().expect("a name"), quantity }
    }

    /// Uses items up, and makes it durable.
    pub fn consume(&mut self, number: u8, item: &str, quantity: u64) {
        self.input(Self::consumption(number, item, quantity));
        self.input(Input::Appended);
    }

    /// The consumptions in the journal, as signed.
    pub fn consumptions(&self) -> Vec<(Consumption, Token)> {
        let signed = self.records.iter().filter_map(|record| match record {
            Record::Consumption(token) => Some(token.clone()),
            _ => None,
        });
        let account = self.machine.account();
        let verify = |token: &Token| Consumption::verify(token, self.key.public(), account, &game()).expect("verifies");
        signed.map(|token| (verify(&token), token)).collect()
    }

    /// What the server says of a consumption in the journal, or else of another device's, as `change` makes it.
    pub fn consumption_receipt(&self, number: u8, feed: u64, change: impl FnOnce(&mut ConsumptionReceipt)) -> Token {
        let id = ConsumptionId([number; 16]);
        let own = self.consumptions().into_iter().find(|(consumption, _)| consumption.id == id);
        let mut receipt = ConsumptionReceipt {
            id: ReceiptId([number ^ 0x80; 16]),
            server: self.server.id(),
            game: game(),
            account: self.machine.account().clone(),
            issued_at: SERVER_TIME,
            feed,
            consumption: id,
            consumption_sha256: own.as_ref().map_or(Sha256::of("another"), |(_, token)| token.sha256()),
            device: self.key.id(),
            item: own.as_ref().map_or("shield".parse().expect("a name"), |(own, _)| own.item.clone()),
            quantity: own.as_ref().map_or(1, |(own, _)| own.quantity),
            status: ConsumptionStatus::Consumed,
            reason: None,
        };
        change(&mut receipt);
        receipt.sign(&self.server).expect("signs")
    }

    pub fn purchase(number: u8, product: &str) -> Input {
        let price = Money::new(Micros::new(5_000).expect("in range"), Currency::EUR);
        let grant = match product {
            "pass" => Grant::Entitlement { entitlement: "pass".parse().expect("a name"), until: Some(3_600) },
            item => Grant::Item { item: item.parse().expect("a name"), quantity: 1 },
        };
        Input::Purchase(Terms {
            id: order_id(number),
            product: product.parse().expect("a name"),
            quantity: 1,
            price,
            total: price,
            catalog: Sha256::of("catalog"),
            grants: vec![grant],
        })
    }

    /// Buys, and makes it durable.
    pub fn buy(&mut self, number: u8, product: &str) {
        self.input(Self::purchase(number, product));
        self.input(Input::Appended);
    }

    /// Puts an input in, and makes every append but an order's durable.
    pub fn input(&mut self, input: Input) -> Vec<Output> {
        let outputs = self.input_undurable(input.clone());
        let answered = matches!(input, Input::Answered(_));
        if answered && outputs.iter().any(|output| matches!(output, Output::Append(_))) {
            self.input(Input::Appended);
        }
        let is_not_saved =
            |output: &Output| matches!(output, Output::Tell(Update::Order(it)) if it.state == OrderState::NotSaved);
        if outputs.iter().any(is_not_saved) {
            self.is_heard();
        }
        outputs
    }

    /// The game has heard everything.
    pub fn is_heard(&mut self) {
        self.machine.told();
        self.input_undurable(Input::TimePassed);
    }

    pub fn input_undurable(&mut self, input: Input) -> Vec<Output> {
        match &input {
            Input::Appended => self.records.append(&mut self.pending),
            Input::AppendFailed(_) => self.pending.clear(),
            _ => {}
        }
        let outputs = self.machine.handle(input, self.tick());
        for output in &outputs {
            match output {
                Output::Append(records) => self.pending.extend_from_slice(records),
                Output::Send(request) => self.request = Some(request.clone()),
                Output::Abandon => self.request = None,
                Output::Tell(update) => self.hear(update.clone()),
                Output::Compact => self.compact(),
                Output::MakeNextKey => self.next_key = Some(SecretKey::from_seed(&[9; 32])),
                Output::TakeNextKey => self.key = self.next_key.take().expect("a next key"),
                other => panic!("an output that the tests do not know: {other:?}"),
            }
        }
        outputs
    }

    /// Writes the journal anew, as a storage would.
    pub fn compact(&mut self) {
        let kept = std::mem::take(&mut self.records).into_iter().filter_map(self.machine.keeping());
        self.records = kept.chain(self.machine.closing_records(self.tick())).collect();
        self.machine.handle(Input::Compacted, self.tick());
    }

    fn hear(&mut self, update: Update) {
        match update.clone() {
            Update::Order(order) => drop(self.orders.insert(order.id, order)),
            Update::Holdings(holdings) => self.holdings = holdings,
            Update::Connection(connection) => self.connection = connection,
            Update::Receipt(_) => self.receipts += 1,
            _ => {}
        }
        self.updates.push(update);
    }

    pub fn state(&self, number: u8) -> Option<OrderState> {
        self.orders.get(&order_id(number)).map(|order| order.state)
    }

    pub fn left(&self, item: &str) -> u64 {
        self.holdings.items.get(item).map_or(0, |quantity| quantity.left)
    }

    pub fn owns(&self, right: &str) -> bool {
        self.holdings.entitlements.contains_key(right)
    }

    pub fn path(&self) -> &'static str {
        self.request.as_ref().expect("a request").path
    }

    pub fn request_token(&self) -> Token {
        let body = &self.request.as_ref().expect("a request").body;
        Token::from_text(std::str::from_utf8(body).expect("text"))
    }

    /// The sync under way, verified as a server would.
    pub fn sync_request(&self) -> SyncRequest {
        let account = self.machine.account();
        SyncRequest::verify(&self.request_token(), self.key.public(), account, &game()).expect("verifies")
    }

    pub fn last_order_token(&self) -> Token {
        let mut orders = self.records.iter().filter_map(|record| match record {
            Record::Order(signed) => Some(signed.token()),
            _ => None,
        });
        orders.next_back().expect("an order")
    }

    pub fn last_order(&self) -> Order {
        let account = self.machine.account();
        Order::verify(&self.last_order_token(), self.key.public(), account, &game()).expect("verifies")
    }

    /// A receipt as `change` makes it, signed by `signer`.
    pub fn receipt_with(&self, number: u8, change: impl FnOnce(&mut Receipt), signer: &SecretKey) -> Token {
        let signed = self.records.iter().find_map(|record| match record {
            Record::Order(signed) => {
                let token = signed.token();
                let order = Order::verify(&token, self.key.public(), self.machine.account(), &game()).ok()?;
                (order.id == order_id(number)).then(|| (order.product, token.sha256()))
            }
            _ => None,
        });
        let (product, order_sha256) = signed.unwrap_or_else(|| ("shield".parse().expect("a name"), Sha256::of("none")));
        let grant = match product.as_str() {
            "pass" => {
                Grant::Entitlement { entitlement: "pass".parse().expect("a name"), until: Some(SERVER_TIME + 3_600) }
            }
            item => Grant::Item { item: item.parse().expect("a name"), quantity: 1 },
        };
        let mut receipt = Receipt {
            id: ReceiptId([number; 16]),
            server: signer.id(),
            game: game(),
            account: self.machine.account().clone(),
            issued_at: SERVER_TIME,
            feed: u64::from(number),
            order: order_id(number),
            order_sha256,
            status: Status::Granted,
            reason: None,
            product,
            quantity: 1,
            amount: Money::new(Micros::new(5_000).expect("in range"), Currency::EUR),
            grants: vec![grant],
        };
        change(&mut receipt);
        receipt.sign(signer).expect("signs")
    }

    pub fn receipt(&self, number: u8, status: Status, feed: u64) -> Token {
        let change = |receipt: &mut Receipt| {
            receipt.id = ReceiptId([number.wrapping_add(u8::try_from(feed).expect("small") * 16); 16]);
            receipt.status = status;
            receipt.feed = feed;
        };
        self.receipt_with(number, change, &self.server)
    }

    /// An answer with one receipt that `change` made wrong.
    pub fn forged(&self, change: impl FnOnce(&mut Receipt)) -> Response {
        self.respond(vec![self.receipt_with(1, change, &self.server)], 1)
    }

    /// A good answer with these receipts.
    pub fn response(&mut self, receipts: &[(u8, Status)]) -> Response {
        let change = |status| {
            move |receipt: &mut Receipt| {
                receipt.status = status;
                if status == Status::Declined {
                    receipt.grants.clear();
                }
            }
        };
        let tokens: Vec<_> =
            receipts.iter().map(|&(number, status)| self.receipt_with(number, change(status), &self.server)).collect();
        self.feed = self.feed.max(receipts.iter().map(|&(number, _)| u64::from(number)).max().unwrap_or(0));
        self.respond(tokens, self.feed)
    }

    pub fn respond(&self, receipts: Vec<Token>, cursor: u64) -> Response {
        self.with_answer(|answer| {
            answer.receipts = receipts;
            answer.cursor = cursor;
        })
    }

    pub fn with_answer(&self, change: impl FnOnce(&mut SyncResponse)) -> Response {
        let mut answer = self.plain_answer(&self.server, Vec::new());
        change(&mut answer);
        wrap(&answer, &self.server)
    }

    /// What `signer` answers, as `change` makes it.
    pub fn with_answer_of(&self, signer: &SecretKey, change: impl FnOnce(&mut SyncResponse)) -> Response {
        let mut answer = self.plain_answer(signer, Vec::new());
        change(&mut answer);
        wrap(&answer, signer)
    }

    pub fn with_key(&self, signer: &SecretKey, receipts: &[Token]) -> Response {
        wrap(&self.plain_answer(signer, receipts.to_vec()), signer)
    }

    fn plain_answer(&self, signer: &SecretKey, receipts: Vec<Token>) -> SyncResponse {
        SyncResponse {
            server: signer.id(),
            account: self.machine.account().clone(),
            game: game(),
            issued_at: SERVER_TIME,
            request_sha256: self.request_token().sha256(),
            receipts,
            cursor: self.feed,
            more: false,
            wallet: Vec::new(),
            chain: self.head,
            catalog: Sha256::of("catalog"),
            allowances: Vec::new(),
            consumed_sequence: 0,
        }
    }

    /// Grants the last order, at this place of the feed.
    pub fn answer_last(&mut self, feed: u64) {
        let (order, sha256) = (self.last_order(), self.last_order_token().sha256());
        let change = |receipt: &mut Receipt| {
            receipt.id = ReceiptId(order.id.0);
            (receipt.order, receipt.order_sha256, receipt.feed) = (order.id, sha256, feed);
            receipt.product = order.product.clone();
        };
        let receipt = self.receipt_with(0, change, &self.server);
        let response = self.respond(vec![receipt], feed);
        self.input(Input::Answered(response));
    }

    pub fn answer(&mut self, receipts: &[(u8, Status)]) {
        let response = self.response(receipts);
        self.input(Input::Answered(response));
    }
}

fn wrap(answer: &SyncResponse, signer: &SecretKey) -> Response {
    let token = answer.sign(signer).expect("signs");
    Response { status: 200, retry_after: None, body: token.as_str().as_bytes().to_vec() }
}
