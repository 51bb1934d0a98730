//! Ids that are there already: by another server, or without a reason.

use std::thread;
use std::time::{Duration, Instant};

use bevy_iap::protocol::OrderId;
use bevy_iap::server::ledger::{LedgerError, Outcome, VerifiedOrder};

use super::{Till, is_new, order, verified};
use crate::cluster;
use crate::support::Device;

/// Orders with these ids, in this order.
fn numbered<const COUNT: usize>(device: &mut Device, ids: [u8; COUNT]) -> Vec<VerifiedOrder> {
    let mut one = |id: u8| {
        let mut claims = device.claims("shield", 1);
        claims.id = OrderId([id; 16]);
        let token = device.sign(&claims);
        verified(device, token)
    };
    ids.into_iter().map(&mut one).collect()
}

#[test]
fn servers_that_get_the_same_ids_in_opposite_orders_do_not_block_each_other() {
    // Nobody ends a deadlock here before somebody has waited too long for a lock.
    let Some(cluster) = cluster::own("deadlock_timeout=1min") else { return };
    let (url, schema) = cluster.fresh_books();
    let mut devices = Till::at(&url).devices(2);
    let batches = [numbered(&mut devices[0], [1, 5, 9]), numbered(&mut devices[1], [9, 5, 1])];
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let text = cluster.text_url(&schema);
    // Somebody else has the id in the middle, so that both servers come as far as it.
    let other = runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&text, tokio_postgres::NoTls).await.expect("connects");
        tokio::spawn(connection);
        let insert = "BEGIN; INSERT INTO orders (id, account, feed, device, product, quantity, token, sha256, status, \
                      owned, amount, currency, settled_at) VALUES (decode(repeat('05', 16), 'hex'), 'a', 1, 'd', 'p', \
                      1, 't', decode(repeat('00', 32), 'hex'), 'declined', FALSE, 0, 'EUR', 1)";
        client.batch_execute(insert).await.expect("inserts");
        client
    });
    let settling = batches.map(|batch| {
        let mut till = Till::at(&url);
        thread::spawn(move || till.settle(&batch).expect("settles"))
    });
    let end = Instant::now() + Duration::from_secs(20);
    while cluster.admin("SELECT 1 FROM pg_locks WHERE NOT granted").len() < 2 {
        assert!(Instant::now() < end, "both wait");
        thread::sleep(Duration::from_millis(5));
    }
    runtime.block_on(other.batch_execute("ROLLBACK")).expect("rolls back");
    let outcomes = settling.map(|server| server.join().expect("ends"));
    let new = |outcomes: &Vec<Outcome>| outcomes.iter().filter(|outcome| is_new(outcome)).count();
    let refused = |outcomes: &Vec<Outcome>| outcomes.iter().all(|outcome| *outcome == Outcome::Conflict);
    assert_eq!(outcomes.iter().map(new).sum::<usize>(), 3, "each id is used once: {outcomes:?}");
    assert!(outcomes.iter().any(refused), "the other server's were there already: {outcomes:?}");
    Till::at(&url).assert_right();
}

#[test]
fn row_that_is_there_without_a_reason_is_damage_and_not_tried_for_seconds() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, schema) = cluster.fresh_books();
    let mut till = Till::at(&url);
    let mut device = till.devices(1).remove(0);
    let first = order(&mut device, "shield");
    till.settle(&[first]).expect("settles");
    // The place of the next receipt is taken.
    cluster.admin_at(&schema, "UPDATE devices SET feed = 0");
    let second = order(&mut device, "shield");
    let started = Instant::now();
    let error = till.settle(std::slice::from_ref(&second)).expect_err("it is damaged");
    assert!(matches!(error, LedgerError::Damaged(_)), "{error:?}");
    assert!(error.to_string().contains("already exists"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    cluster.admin_at(&schema, "UPDATE devices SET feed = 1");
    assert!(is_new(&till.settle(&[second]).expect("settles")[0]));
    till.assert_right();
}
