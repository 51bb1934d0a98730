//! Purchases one to a request from many connections at once, on both engines; beside the transactions that pgbench does
//! on the same PostgreSQL from as many connections.

use bevy_iap::protocol::Token;
use bevy_iap::server::Database;
use rayon::prelude::*;

#[cfg(all(unix, feature = "postgres"))]
use crate::database;
use crate::shop::{self, Device};
use crate::table;
use crate::wire::{self, Request, Shop};

/// Connections, also of pgbench.
pub const CONNECTIONS: usize = 64;
const EACH: usize = 200;
const ROUNDS: usize = 3;

/// A shop, and the devices that buy in it.
struct Counter {
    shop: Shop,
    devices: Vec<Device>,
    bought: u64,
}

impl Counter {
    fn open(database: Database, population: u32) -> Self {
        let shop = Shop::open(database);
        let devices = shop::devices(population, CONNECTIONS);
        shop.enrol(&devices);
        Self { shop, devices, bought: 0 }
    }

    /// Purchases a second.
    fn rate(&mut self) -> f64 {
        let bought = self.bought;
        self.bought += EACH as u64;
        let tokens = self.devices.par_iter_mut().map(|device| {
            let one = |number| {
                let order = device.order("shield");
                device.request(bought + number, vec![order])
            };
            (0..EACH as u64).map(one).collect::<Vec<Token>>()
        });
        let tokens: Vec<Vec<Token>> = tokens.collect();
        let hand = |(device, tokens): (_, &Vec<Token>)| tokens.iter().map(|it| Request::good((device, it))).collect();
        wire::sent(&self.shop, self.devices.iter().zip(&tokens).map(hand).collect())
    }
}

const ON_SQLITE: &str = "purchases over HTTP, one a request, 64 connections, on SQLite";

#[cfg(all(unix, feature = "postgres"))]
pub fn run() {
    let Some(database) = database::start() else { return alone() };
    let bench = database::Pgbench::prepare(&database);
    let mut sqlite = Counter::open(Database::Folder, 4);
    let mut postgres = Counter::open(Database::Postgres(database.make("ours")), 7);
    let (mut on_sqlite, mut on_postgres) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // In turns, so that none always comes first.
        let (first, theirs, last) = match round % 2 {
            0 => (sqlite.rate(), bench.rate(), postgres.rate()),
            _ => {
                let postgres = postgres.rate();
                let theirs = bench.rate();
                (sqlite.rate(), theirs, postgres)
            }
        };
        on_sqlite.push((first, theirs));
        on_postgres.push((last, theirs));
    }
    table::compared(&format!("{ON_SQLITE}; floor: pgbench"), &on_sqlite, Some(1.0));
    table::compared("the same on PostgreSQL; floor: pgbench on the same PostgreSQL", &on_postgres, Some(1.0));
}

#[cfg(not(all(unix, feature = "postgres")))]
pub fn run() {
    alone();
}

/// Without anything beside it.
fn alone() {
    let mut sqlite = Counter::open(Database::Folder, 4);
    let mut rates: Vec<f64> = (0..ROUNDS).map(|_| sqlite.rate()).collect();
    rates.sort_unstable_by(f64::total_cmp);
    table::told(ON_SQLITE, &format!("{:.0}/s", rates[ROUNDS / 2]));
}
