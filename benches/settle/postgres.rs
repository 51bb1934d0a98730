//! The PostgreSQL ledger alone, in batches of a thousand; beside one bare statement for each batch.

use std::time::{Duration, Instant};

use bevy_iap::server::ledger::{PostgresLedger, VerifiedOrder};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use crate::database::{self, Database};
use crate::desk::{self, DEVICES, Desk, TURN};
use crate::shop::{self, Device};
use crate::table;

/// The least that a batch could be: one statement that stores the same signed texts with their ids, a transfer for
/// each, and changes as many wallets. It reads nothing, decides nothing and signs nothing, and has no index but the
/// primary keys.
const BARE: &str = "WITH a AS (INSERT INTO orders SELECT unnest($1::bytea[]), unnest($2::text[]), unnest($3::text[])),
    b AS (INSERT INTO transfers SELECT unnest($1::bytea[]), unnest($4::bigint[])),
    c AS (INSERT INTO receipts SELECT unnest($2::text[]), unnest($4::bigint[]), unnest($3::text[]))
    UPDATE wallets SET balance = balance - 1 FROM unnest($2::text[]) AS buyer (name) WHERE id = buyer.name";
const TABLES: &str = "CREATE TABLE orders (id BYTEA PRIMARY KEY, account TEXT, token TEXT);
    CREATE TABLE transfers (id BYTEA PRIMARY KEY, amount BIGINT);
    CREATE TABLE receipts (account TEXT, feed BIGINT, token TEXT, PRIMARY KEY (account, feed));
    CREATE TABLE wallets (id TEXT PRIMARY KEY, balance BIGINT);";

pub fn run() {
    let Some(database) = database::start() else { return };
    let ledger = PostgresLedger::open(&database.make("ours"), &shop::game()).expect("opens");
    let desk = Desk::of(Box::new(ledger), 20);
    let bare = Bare::open(&database, shop::devices(21, DEVICES));
    let mut both = (desk, bare);
    let rounds = desk::in_turns(&mut both, |(desk, _)| desk.settle(|_| "shield".to_owned()), |(_, bare)| bare.settle());
    table::compared("the PostgreSQL ledger, 1,000 orders a batch; floor: one bare statement", &rounds, Some(0.5));
    let rounds = both.0.hot_beside_spread();
    table::compared("everybody buys one product, on PostgreSQL; floor: 64 products", &rounds, Some(0.95));
}

/// A database with four tables, of which each batch is one statement.
struct Bare {
    runtime: Runtime,
    client: Client,
    devices: Vec<Device>,
    feed: i64,
}

impl Bare {
    fn open(database: &Database, devices: Vec<Device>) -> Self {
        database.make("bare");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let accounts: Vec<&str> = devices.iter().map(|device| device.account.as_str()).collect();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&database.url("bare"), NoTls).await.expect("connects");
            tokio::spawn(connection);
            client.batch_execute(TABLES).await.expect("makes tables");
            let wallets = "INSERT INTO wallets SELECT name, 0 FROM unnest($1::text[]) AS buyer (name)";
            client.execute(wallets, &[&accounts]).await.expect("makes wallets");
            client
        });
        Self { runtime, client, devices, feed: 0 }
    }

    /// Orders a second.
    fn settle(&mut self) -> f64 {
        let batches = shop::batches(&mut self.devices, TURN, |_| "shield".to_owned());
        let mut elapsed = Duration::ZERO;
        for batch in &batches {
            self.feed += 1;
            elapsed += self.runtime.block_on(store(&self.client, batch, self.feed));
        }
        table::rate(TURN * DEVICES, elapsed)
    }
}

async fn store(client: &Client, batch: &[VerifiedOrder], feed: i64) -> Duration {
    let ids: Vec<&[u8]> = batch.iter().map(|order| &order.order().id.0[..]).collect();
    let accounts: Vec<&str> = batch.iter().map(|order| order.order().account.as_str()).collect();
    let tokens: Vec<&str> = batch.iter().map(|order| order.token().as_str()).collect();
    let feeds = vec![feed; batch.len()];
    let statement = client.prepare(BARE).await.expect("prepares");
    let started = Instant::now();
    let changed = client.execute(&statement, &[&ids, &accounts, &tokens, &feeds]).await.expect("does it");
    assert_eq!(changed as usize, batch.len());
    started.elapsed()
}
