//! A device that buys without end, and asks again until it is answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bevy_iap::protocol::sync::SyncResponse;
use bevy_iap::protocol::{PublicKey, Receipt, Token};

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
    answered: Answered,
}

impl Buyer {
    pub fn new(address: SocketAddr, server: PublicKey, seed: u64) -> Self {
        let device = Device::new();
        let answered = Answered::of(device.account().to_string());
        Self { address, server, random: Random::new(seed), device, latest: Vec::new(), cursor: 0, answered }
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
            let claims = self.device.claims(product, 1);
            let token = self.device.sign(&claims);
            self.answered.sends(claims.id, &token);
            self.latest.push(token);
        }
        orders.extend(self.latest.iter().cloned());
        let request = self.device.request(self.cursor, &orders).sign(&self.device.key).expect("signs");
        let answer = self.until_answered(|buyer| {
            let body = request.as_str().as_bytes();
            try_send(buyer.address, "POST", "/v1/sync", &[("content-type", "application/jose")], body)
        });
        self.hear(&request, &answer);
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
        self.answered.wallet = euros.map_or(0, |balance| balance.available.value());
    }
}
