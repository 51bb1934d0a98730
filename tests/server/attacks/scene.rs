//! Where attacks take place: a real shop, somebody who attacks it, somebody who must not feel it, and what has to hold
//! when it is over.

use std::collections::{BTreeMap, BTreeSet};

use bevy_iap::protocol::sync::{SyncRequest, SyncResponse};
use bevy_iap::protocol::{
    AccountId, Catalog, FeedReceipt, Grant, KeyId, Order, ProductKind, PublicKey, Receipt, SecretKey, ServerKeys,
    Status, Token,
};
use bevy_iap::server::ServerConfig;
use bevy_iap::server::ledger::AccountSummary;

use super::forgery::RawKey;
use super::items::left;
use crate::support::{Answer, Device, Shop, catalog, fresh_id, game, send_sync};

/// What every new account gets, in micros of a euro.
pub const WELCOME: i64 = 1_000_000;

/// A shop under attack.
pub struct Scene {
    pub shop: Shop,
    /// Who attacks: a device that is enrolled, in the hands of somebody who has rewritten its client.
    pub attacker: Device,
    /// The attacker's key, to sign what no client would.
    pub raw: RawKey,
    /// Somebody who has bought, and was declined, before it began.
    pub other: Device,
    /// The keys that players' games pin.
    pub roots: Vec<PublicKey>,
    /// Every catalogue that the server ever sold from.
    pub catalogs: Vec<Catalog>,
    /// What the wallet of each account of the attackers was given, less what was taken from it by the operator.
    given: BTreeMap<AccountId, i64>,
    /// Whoever belongs to the attackers.
    crew: Vec<Device>,
    /// The accounts that may owe something in the end: a credit of theirs was charged back.
    owing: BTreeSet<AccountId>,
    before: (Vec<Token>, AccountSummary),
}

/// Runs an attack on a new shop, and checks what it came to.
pub fn attack(attempt: impl FnOnce(&mut Scene)) {
    attack_on(|_| {}, attempt);
}

/// The same on a shop with other settings.
pub fn attack_on(configure: impl FnOnce(&mut ServerConfig), attempt: impl FnOnce(&mut Scene)) {
    let mut scene = Scene::open(configure);
    attempt(&mut scene);
    scene.check();
}

impl Scene {
    pub fn open(configure: impl FnOnce(&mut ServerConfig)) -> Self {
        let shop = Shop::with(configure);
        let mut other = shop.device();
        let orders = [other.order("double_jump", 1), other.order("shield", 3), other.order("palace", 1)];
        other.sync(&shop, 0, &orders);
        let (attacker, raw) = attacker();
        assert_eq!(attacker.enrol(shop.address()).status, 201);
        let given = BTreeMap::from([(attacker.account(), WELCOME)]);
        let (crew, catalogs) = (vec![attacker.clone()], vec![catalog()]);
        let roots = vec![shop.server.public_key()];
        let before = (Vec::new(), shop.server.show(&other.account()).expect("is there"));
        let owing = BTreeSet::new();
        let mut scene = Self { shop, attacker, raw, other, roots, catalogs, given, crew, owing, before };
        scene.before.0 = feed(&scene, &scene.other).0;
        scene
    }

    /// Another device of the attackers, with an account of its own.
    pub fn accomplice(&mut self) -> Device {
        let device = self.shop.device();
        self.joins(&device, WELCOME);
        device
    }

    /// A device of the attackers was enrolled, and its wallet was given so much.
    pub fn joins(&mut self, device: &Device, given: i64) {
        self.given.insert(device.account(), given);
        self.crew.push(device.clone());
    }

    /// The operator has put so many micros into an attacker's wallet, or has taken them from it.
    pub fn moved(&mut self, account: &AccountId, micros: i64) {
        *self.given.get_mut(account).expect("an account of the attackers") += micros;
    }

    /// An attacker's account was charged back, so it may owe something.
    pub fn may_owe(&mut self, account: &AccountId) {
        self.owing.insert(account.clone());
    }

    /// Sends a request that the attacker signs, with orders.
    pub fn send(&self, orders: &[Token]) -> Answer {
        send_sync(self.shop.address(), &self.attacker.request(0, orders).sign(&self.attacker.key).expect("signs"))
    }

    /// Orders as the attacker's client would, but for what `forge` makes of the order.
    pub fn buy(&mut self, product: &str, forge: impl FnOnce(&mut Order)) -> Receipt {
        let mut claims = self.attacker.claims(product, 1);
        forge(&mut claims);
        let order = self.attacker.sign(&claims);
        self.answer_to(&order)
    }

    /// Sends one order of the attacker, and reads the receipt that answers it.
    pub fn answer_to(&self, order: &Token) -> Receipt {
        let (response, keys) = read(self, &self.attacker, &self.attacker.request(0, std::slice::from_ref(order)));
        let verify = |token: &Token| {
            Receipt::verify_for(token, &keys.all(), &game(), &self.attacker.account()).expect("verifies")
        };
        let mut receipts = response.receipts.iter().map(verify);
        receipts.find(|receipt| receipt.order_sha256 == order.sha256()).expect("it is answered")
    }

    /// How the attacker's wallet stands, in micros of a euro.
    pub fn euros(&self) -> i64 {
        self.attacker.euros(&self.shop)
    }

    /// What has to hold whatever was tried: nothing that is granted was not paid for or free, nobody's receipts are
    /// anybody else's, the other player is where they were and can go on buying, and the books are right.
    pub fn check(mut self) {
        let mut orders = BTreeMap::new();
        for device in &self.crew {
            self.check_account(device, &mut orders);
        }
        let (tokens, receipts) = feed(&self, &self.other);
        let summary = self.shop.server.show(&self.other.account()).expect("is there");
        assert_eq!((tokens, summary), self.before, "the other player feels it");
        for receipt in receipts {
            assert_eq!(orders.insert(receipt.order, self.other.account()), None, "an order of the other player's");
        }
        let order = self.other.order("shield", 1);
        let request = self.other.request(0, std::slice::from_ref(&order));
        let (response, keys) = read(&self, &self.other, &request);
        let bought = response.receipts.first().map(|token| Receipt::verify(token, &keys.all(), &game()));
        let bought = bought.expect("it is answered").expect("verifies");
        assert_eq!(
            (bought.status, bought.order_sha256),
            (Status::Granted, order.sha256()),
            "the other player cannot go on"
        );
        let report = self.shop.server.audit().expect("audits");
        assert!(report.is_clean(), "{report}");
    }

    /// Checks that an account of the attackers has what its wallet has paid for, to the micro, and nothing else.
    fn check_account(&self, device: &Device, orders: &mut BTreeMap<bevy_iap::protocol::OrderId, AccountId>) {
        let account = device.account();
        let (_, receipts) = whole_feed(self, device);
        let mut latest = BTreeMap::new();
        for (place, receipt) in (1..).zip(&receipts) {
            assert_eq!(receipt.feed(), place, "a place in the feed is missing, or there twice");
            if let FeedReceipt::Order(receipt) = receipt {
                latest.insert(receipt.order, receipt);
            }
        }
        left(&receipts);
        let mut paid: BTreeMap<&str, i64> = BTreeMap::new();
        let (mut unlocks, mut passes) = (BTreeSet::new(), BTreeSet::new());
        for (order, receipt) in latest {
            let earlier = orders.insert(order, account.clone());
            assert!(earlier.is_none_or(|earlier| earlier == account), "two accounts have a receipt for one order");
            if receipt.status != Status::Granted {
                let given = receipt.status == Status::Declined && !receipt.grants.is_empty();
                assert!(!given, "a declined order gives something: {receipt:?}");
                continue;
            }
            let priced = |catalog: &Catalog| {
                let (_, product) = catalog.product(receipt.product.as_str())?;
                let price = product.price(receipt.amount.currency)?.checked_mul(receipt.quantity)?;
                let right = price == receipt.amount
                    && (1..=product.max_quantity()).contains(&receipt.quantity)
                    && product.grants(receipt.quantity, receipt.issued_at) == receipt.grants;
                right.then_some(product.kind)
            };
            let kind = self.catalogs.iter().find_map(priced).expect("an unpaid grant: it is no catalogue's");
            *paid.entry(receipt.amount.currency.code()).or_default() += receipt.amount.micros.value();
            match kind {
                ProductKind::Unlock => assert!(unlocks.insert(&receipt.product), "an unlock is there twice"),
                ProductKind::Pass { .. } => {
                    let until = |grant: &Grant| match grant {
                        Grant::Entitlement { until, .. } => *until,
                        Grant::Item { .. } => None,
                    };
                    let end = receipt.grants.iter().find_map(until).expect("it ends");
                    passes.insert((&receipt.product, receipt.issued_at, end));
                }
                ProductKind::Consumable => {}
            }
        }
        for (one, next) in passes.iter().zip(passes.iter().skip(1)) {
            assert!(one.0 != next.0 || one.2 <= next.1, "a pass began before the last one had ended");
        }
        let wallet = self.shop.server.show(&account).expect("is there").wallet;
        let mut held: BTreeMap<&str, i64> = BTreeMap::new();
        for balance in &wallet {
            let available = balance.available.value();
            assert!(available >= 0 || self.owing.contains(&account), "a wallet is below zero: {balance:?}");
            held.insert(balance.currency.code(), available + balance.held.value());
        }
        let currencies: BTreeSet<&str> = paid.keys().chain(held.keys()).copied().collect();
        for currency in currencies {
            let given = if currency == "EUR" { self.given[&account] } else { 0 };
            let of = |sums: &BTreeMap<&str, i64>| sums.get(currency).copied().unwrap_or_default();
            assert_eq!(given - of(&paid), of(&held), "what {currency} was given, less what was paid for");
        }
    }
}

/// A device whose key can sign anything.
pub fn attacker() -> (Device, RawKey) {
    let mut seed = [0x0b; 32];
    seed[..16].copy_from_slice(&fresh_id());
    (Device { key: SecretKey::from_seed(&seed), chain: None }, RawKey::new(&seed))
}

/// An account's whole feed: what was signed, and what it says of orders. Every receipt in it is the account's own.
pub fn feed(scene: &Scene, device: &Device) -> (Vec<Token>, Vec<Receipt>) {
    let (tokens, receipts) = whole_feed(scene, device);
    let of_orders = receipts.into_iter().filter_map(|receipt| match receipt {
        FeedReceipt::Order(receipt) => Some(receipt),
        FeedReceipt::Consumption(_) => None,
    });
    (tokens, of_orders.collect())
}

/// The same with what it says of consumptions.
pub fn whole_feed(scene: &Scene, device: &Device) -> (Vec<Token>, Vec<FeedReceipt>) {
    let (mut tokens, mut receipts, mut cursor) = (Vec::new(), Vec::new(), 0);
    loop {
        let request = device.request(cursor, &[]);
        let (response, keys) = read(scene, device, &request);
        let verify = |token: &Token| {
            FeedReceipt::verify_for(token, &keys.all(), &game(), &device.account()).expect("a receipt of another")
        };
        receipts.extend(response.receipts.iter().map(verify));
        tokens.extend(response.receipts);
        cursor = response.cursor;
        if !response.more {
            return (tokens, receipts);
        }
    }
}

/// Sends a request, and reads the answer as a client does that pins the server's roots.
pub fn read(scene: &Scene, device: &Device, request: &SyncRequest) -> (SyncResponse, ServerKeys) {
    let token = request.sign(&device.key).expect("signs");
    let answer = send_sync(scene.shop.address(), &token);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut keys = ServerKeys::pinned(scene.roots.iter().copied());
    let text = match answer.text().split_once('\n') {
        Some((list, rest)) => {
            keys.learn(&Token::from_text(list), &game()).expect("a list of keys");
            rest
        }
        None => answer.text(),
    };
    let (account, token_of) = (device.account(), Token::from_text(text));
    let response = SyncResponse::verify(&token_of, &keys.as_of(0), &account, &game(), &token).expect("it counts");
    (response, keys)
}

/// Whether the books know a device.
pub fn is_enrolled(shop: &Shop, key: KeyId) -> bool {
    shop.server.show(&key.guest_account()).is_ok()
}
