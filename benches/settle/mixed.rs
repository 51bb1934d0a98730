//! Purchases over HTTP while every batch also holds an order with a bad signature.

use bevy_iap::protocol::Token;
use bevy_iap::protocol::sync::MAX_ORDERS;
use rayon::prelude::*;

use crate::shop::{self, Device};
use crate::table;
use crate::wire::{self, Connection, Request, Shop};

const ROUNDS: usize = 5;
const DEVICES: usize = 32;
const CONNECTIONS: usize = 8;

/// An order with one bit of its signature turned over.
fn forged(device: &mut Device) -> Token {
    let text = device.order("shield").to_string();
    let (signed, signature) = text.rsplit_once('.').expect("three parts");
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    Token::from_text(&format!("{signed}.{first}{}", &signature[1..]))
}

pub fn run() {
    let shop = Shop::open();
    let mut devices = shop::devices(2, DEVICES);
    let mut forgers = shop::devices(3, CONNECTIONS);
    shop.enrol(&devices);
    shop.enrol(&forgers);
    let address = shop.server.address();
    let mut rounds = Vec::new();
    for round in 0..ROUNDS as u64 {
        let mut rate = |place: u64, forging: bool| {
            let cursor = (2 * round + place) * MAX_ORDERS as u64;
            let sign = |device: &mut Device| {
                let orders = device.orders("shield", MAX_ORDERS);
                device.request(cursor, orders)
            };
            let tokens: Vec<Token> = devices.par_iter_mut().map(sign).collect();
            let bad: Vec<Token> = forgers
                .iter_mut()
                .map(|forger| {
                    let mut orders = forger.clone().orders("shield", MAX_ORDERS - 1);
                    orders.push(forged(&mut forger.clone()));
                    forger.request(0, orders)
                })
                .collect();
            let requests = devices.iter().zip(&tokens).map(|(device, token)| Request { device, token: token.clone() });
            let requests = wire::dealt(requests.collect(), CONNECTIONS);
            // A forged request goes with every batch of four good ones.
            std::thread::scope(|scope| {
                if forging {
                    scope.spawn(|| {
                        let mut connection = Connection::open(address);
                        for token in &bad {
                            let (status, _) =
                                connection.post("/v1/sync", "application/jose", token.as_str().as_bytes());
                            assert_eq!(status, 400, "a forged order is refused");
                        }
                    });
                }
                wire::sent(&shop, requests)
            })
        };
        // In turns, so that neither always comes first.
        let (clean, forged) = if round % 2 == 0 {
            let clean = rate(0, false);
            (clean, rate(1, true))
        } else {
            let forged = rate(0, true);
            (rate(1, false), forged)
        };
        rounds.push((forged, clean));
    }
    table::compared("purchases with a bad signature in every batch; floor: with none", &rounds, Some(0.4));
}
