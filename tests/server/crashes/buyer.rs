//! A device that buys without end, and asks again until it is answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bevy_iap::protocol::sync::SyncResponse;
use bevy_iap::protocol::{Allowance, AllowanceRequest, AllowanceUse, Currency, Micros, PublicKey, Receipt, Token};

use super::answered::Answered;
use crate::random::Random;
use crate::support::{Answer, Device, game, try_send};

/// How long a server may be away before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Buyer {
    address: SocketAddr,
    server: PublicKey,
    random: Random,
    device: Device,
    /// The latest orders, which are sent again now and then.
    latest: Vec<Token>,
    cursor: u64,
    /// The allowance that it makes orders within, what they have spent of it, and how many they are.
    allowance: Option<(Allowance, i64, u64)>,
    answered: Answered,
}

impl Buyer {
    pub fn new(address: SocketAddr, server: PublicKey, seed: u64) -> Self {
        let device = Device::new();
        let answered = Answered::of(device.account().to_string());
        let (random, latest, cursor, allowance) = (Random::new(seed), Vec::new(), 0, None);
        Self { address, server, random, device, latest, cursor, allowance, answered }
    }

    pub fn buy_until(mut self, ending: &AtomicBool) -> Answered {
        self.until_answered(|buyer| {
            let enrolment = bevy_iap::protocol::sync::Enrolment::sign(&buyer.device.key, &game(), 0).expect("signs");
            let body = serde_json::to_vec(&enrolment).expect("serialises");
            try_send(buyer.address, "POST", "/v1/devices", &[("content-type", "application/json")], &body)
        });
        while !ending.load(Ordering::Relaxed) {
            self.buy();
        }
        self.answered
    }

    /// Sends some orders, new ones and now and then old ones too, until they are answered.
    fn buy(&mut self) {
        let mut orders = Vec::new();
        if self.random.below(4) == 0 {
            orders.clone_from(&self.latest);
            self.answered.replayed += orders.len();
        }
        self.latest.clear();
        for _ in 0..self.random.up_to(4) {
            let product = ["shield", "gift", "palace", "double_jump"][self.random.up_to(4) - 1];
            let mut claims = self.device.claims(product, 1);
            claims.allowance = self.spend(claims.price.micros.value());
            let token = self.device.sign(&claims);
            self.answered.sends(claims.id, &token);
            if claims.allowance.is_some() {
                self.answered.is_covered(claims.id);
            }
            self.latest.push(token);
        }
        orders.extend(self.latest.iter().cloned());
        let mut request = self.device.request(self.cursor, &orders);
        if self.random.below(2) == 0 {
            let current = self.allowance.as_ref().map(|(allowance, ..)| allowance.id);
            request.allowance = Some(AllowanceRequest { current, currency: Currency::EUR });
        }
        let request = request.sign(&self.device.key).expect("signs");
        let answer = self.until_answered(|buyer| {
            let body = request.as_str().as_bytes();
            try_send(buyer.address, "POST", "/v1/sync", &[("content-type", "application/jose")], body)
        });
        self.hear(&request, &answer);
    }

    /// What an order of a price says of the allowance, if that covers it.
    fn spend(&mut self, price: i64) -> Option<AllowanceUse> {
        let (allowance, spent, orders) = self.allowance.as_mut()?;
        if price == 0 || *spent + price > allowance.total.micros.value() || *orders >= allowance.orders {
            return None;
        }
        (*spent, *orders) = (*spent + price, *orders + 1);
        Some(AllowanceUse { id: allowance.id, spent: Micros::new(*spent).expect("in range"), orders: *orders })
    }

    fn until_answered(&mut self, ask: impl Fn(&Self) -> Option<Answer>) -> Answer {
        let started = Instant::now();
        loop {
            match ask(self) {
                Some(answer) if (200..300).contains(&answer.status) => return answer,
                Some(answer) if answer.status < 500 => panic!("refused: {}", answer.text()),
                _ => self.answered.asked_again += 1,
            }
            assert!(started.elapsed() < PATIENCE, "the server does not come back");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn hear(&mut self, request: &Token, answer: &Answer) {
        let token = Token::from_text(answer.text());
        let (keys, account) = ([self.server], self.device.account());
        let response = SyncResponse::verify(&token, &keys, &account, &game(), request).expect("the answer verifies");
        for token in &response.receipts {
            let receipt = Receipt::verify_for(token, &keys, &game(), &account).expect("the receipt verifies");
            self.answered.hears(receipt, token);
        }
        self.cursor = response.cursor;
        let euros = response.wallet.iter().find(|balance| balance.currency.code() == "EUR");
        self.answered.wallet = euros.map_or(0, |balance| balance.available.value() + balance.held.value());
        for token in &response.allowances {
            let given = Allowance::verify(token, &keys, &game(), &account, self.device.id()).expect("verifies");
            self.allowance = Some((given, 0, 0));
        }
    }
}
