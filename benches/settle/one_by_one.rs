//! Purchases one to a request from many connections at once.

use bevy_iap::protocol::Token;
use rayon::prelude::*;

use crate::shop;
use crate::table;
use crate::wire::{self, Request, Shop};

const CONNECTIONS: usize = 64;
const EACH: usize = 100;
const ROUNDS: usize = 3;

pub fn run() {
    let shop = Shop::open();
    let mut devices = shop::devices(4, CONNECTIONS);
    shop.enrol(&devices);
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let tokens: Vec<Vec<Token>> = devices
            .par_iter_mut()
            .map(|device| {
                let one = |number: usize| {
                    let order = device.order("shield");
                    device.request((round * EACH + number) as u64, vec![order])
                };
                (0..EACH).map(one).collect()
            })
            .collect();
        let hand = |(device, tokens): (_, Vec<Token>)| {
            tokens.into_iter().map(|token| Request { device, token }).collect::<Vec<_>>()
        };
        rounds.push(wire::sent(&shop, devices.iter().zip(tokens).map(hand).collect()));
    }
    rounds.sort_unstable_by(f64::total_cmp);
    table::told("purchases over HTTP, one a request, 64 connections, on SQLite", &format!("{:.0}/s", rounds[1]));
}
