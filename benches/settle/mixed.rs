//! Purchases over HTTP while every batch also meets an order with a bad signature.

use bevy_iap::protocol::Token;
use bevy_iap::protocol::sync::MAX_ORDERS;
use bevy_iap::server::Database;
use rayon::prelude::*;

use crate::shop::{self, Device};
use crate::table;
use crate::wire::{self, Request, Shop};

const ROUNDS: usize = 5;
const DEVICES: usize = 32;
const CONNECTIONS: usize = 8;
/// What the server tells of how many batches there were.
const BATCHES: &str = "iap_batch_orders_count";

/// An order with one bit of its signature turned over.
fn forged(device: &mut Device) -> Token {
    let text = device.order("shield").to_string();
    let (signed, signature) = text.rsplit_once('.').expect("three parts");
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    Token::from_text(&format!("{signed}.{first}{}", &signature[1..]))
}

pub fn run() {
    let shop = Shop::open(Database::Folder);
    let mut devices = shop::devices(2, DEVICES);
    let mut forgers = shop::devices(3, DEVICES);
    shop.enrol(&devices);
    shop.enrol(&forgers);
    let (mut rounds, mut refused, mut batches) = (Vec::new(), 0, 0);
    for round in 0..ROUNDS as u64 {
        let mut rate = |place: u64, forging: bool| {
            let cursor = (2 * round + place) * MAX_ORDERS as u64;
            let sign = |device: &mut Device| {
                let orders = device.orders("shield", MAX_ORDERS);
                device.request(cursor, orders)
            };
            let tokens: Vec<Token> = devices.par_iter_mut().map(sign).collect();
            // The last of many orders, so that all others were verified in vain.
            let bad = |forger: &mut Device| {
                let mut orders = forger.clone().orders("shield", MAX_ORDERS - 1);
                orders.push(forged(&mut forger.clone()));
                forger.request(0, orders)
            };
            let bad: Vec<Token> = forgers.par_iter_mut().map(bad).collect();
            let good = devices.iter().zip(&tokens).map(Request::good);
            let bad = forgers.iter().zip(&bad).map(|pair| Request { forged: true, ..Request::good(pair) });
            // One before each good request, so that there are at least as many as there can be batches.
            let pairs = good.zip(bad).map(|(good, bad)| if forging { vec![bad, good] } else { vec![good] });
            let hands = wire::dealt(pairs.collect(), CONNECTIONS);
            let before = shop.metric(BATCHES);
            let rate = wire::sent(&shop, hands.into_iter().map(|hand| hand.into_iter().flatten().collect()).collect());
            if forging {
                refused += DEVICES as u64;
                batches += shop.metric(BATCHES) - before;
            }
            rate
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
    assert!(refused >= batches, "{batches} batches met {refused} bad signatures");
    table::compared("purchases with a bad signature for every batch; floor: with none", &rounds, Some(0.4));
    table::told("bad signatures that were refused, for each batch", &format!("{refused}/{batches}"));
}
