//! How fast it is, roughly: run alone, with `--ignored --nocapture`, on a computer that does nothing else.

use std::time::{Duration, Instant};

use bevy_iap::server::ledger::VerifiedOrder;
use tokio_postgres::{Client, NoTls};

use super::{Till, is_new, orders};
use crate::cluster;

const BATCH: usize = 1_000;
const ROUNDS: usize = 10;

/// The least that a batch could be: one statement that stores as many bytes and changes as many wallets.
const BARE: &str = "WITH a AS (INSERT INTO bare_orders SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[])),
    b AS (INSERT INTO bare_transfers SELECT * FROM unnest($1::bytea[], $4::bigint[])),
    c AS (INSERT INTO bare_receipts SELECT * FROM unnest($2::text[], $4::bigint[], $3::text[]))
    UPDATE bare_wallets SET balance = balance - 1 FROM unnest($2::text[]) AS buyer (name) WHERE id = buyer.name";
const TABLES: &str = "CREATE TABLE bare_orders (id BYTEA PRIMARY KEY, account TEXT, token TEXT);
    CREATE TABLE bare_transfers (id BYTEA PRIMARY KEY, amount BIGINT);
    CREATE TABLE bare_receipts (account TEXT, feed BIGINT, token TEXT, PRIMARY KEY (account, feed));
    CREATE TABLE bare_wallets (id TEXT PRIMARY KEY, balance BIGINT);";

#[test]
#[ignore = "a measurement"]
fn batches_of_a_thousand_beside_one_bare_statement() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, schema) = cluster.fresh_books();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&cluster.text_url(&schema), NoTls).await.expect("connects");
        tokio::spawn(connection);
        client.batch_execute(TABLES).await.expect("makes tables");
        client
    });
    let mut till = Till::at(&url);
    let mut devices = till.devices(BATCH);
    let accounts: Vec<String> = devices.iter().map(|device| device.account().to_string()).collect();
    let wallets = "INSERT INTO bare_wallets SELECT name, 0 FROM unnest($1::text[]) AS buyer (name)";
    runtime.block_on(client.execute(wallets, &[&accounts])).expect("makes wallets");
    let (mut ours, mut bare, mut hot) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        let batch = orders(&mut devices, ["shield", "charm", "gift"][round % 3], 1);
        let started = Instant::now();
        assert!(till.settle(&batch).expect("settles").iter().all(is_new));
        ours += started.elapsed();
        let batch = orders(&mut devices, "shield", 1);
        let started = Instant::now();
        assert!(till.settle(&batch).expect("settles").iter().all(is_new));
        hot += started.elapsed();
        bare += runtime.block_on(one_statement(&client, &batch, round as i64));
    }
    let pace = |time: Duration| (BATCH * ROUNDS) as f64 / time.as_secs_f64();
    println!("three products in turn {:.0}/s, one product {:.0}/s, bare {:.0}/s", pace(ours), pace(hot), pace(bare));
    println!("beside the bare statement: {:.2}", pace(hot) / pace(bare));
}

async fn one_statement(client: &Client, batch: &[VerifiedOrder], round: i64) -> Duration {
    let ids: Vec<Vec<u8>> = batch.iter().map(|order| order.order().id.0.to_vec()).collect();
    let accounts: Vec<&str> = batch.iter().map(|order| order.order().account.as_str()).collect();
    let tokens: Vec<&str> = batch.iter().map(|order| order.token().as_str()).collect();
    let feeds = vec![round; batch.len()];
    let statement = client.prepare(BARE).await.expect("prepares");
    let started = Instant::now();
    let changed = client.execute(&statement, &[&ids, &accounts, &tokens, &feeds]).await.expect("does it");
    assert_eq!(changed as usize, batch.len());
    started.elapsed()
}
