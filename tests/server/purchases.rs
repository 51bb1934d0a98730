//! Buying: what is granted, what is declined, and that nothing is charged twice.

use std::thread;

use bevy_iap::protocol::{Grant, Reason, Status};

use crate::support::{Device, Shop, send_sync};

#[test]
fn purchase_is_charged_once_and_answered_with_a_receipt_that_verifies() {
    let shop = Shop::open();
    let mut device = shop.device();
    let order = device.order("shield", 3);
    let receipts = device.receipts(&shop, 0, std::slice::from_ref(&order));
    assert_eq!(receipts.len(), 1);
    let receipt = &receipts[0];
    assert_eq!((receipt.status, receipt.feed, receipt.order_sha256), (Status::Granted, 1, order.sha256()));
    assert_eq!(receipt.amount.to_string(), "0.015 EUR");
    assert!(matches!(&receipt.grants[..], [Grant::Item { quantity: 3, .. }]));
    assert_eq!(device.euros(&shop), 985_000);
    assert!(shop.server.audit().expect("audits").is_clean());
}

#[test]
fn repeated_order_gets_the_same_bytes_and_is_charged_once() {
    let shop = Shop::open();
    let mut device = shop.device();
    let order = device.order("shield", 1);
    let first = device.sync(&shop, 0, std::slice::from_ref(&order));
    for cursor in [0, 1, u64::MAX] {
        let again = device.sync(&shop, cursor, &[order.clone(), order.clone()]);
        assert_eq!(again.receipts, first.receipts);
        assert_eq!(again.cursor, 1);
    }
    assert_eq!(device.euros(&shop), 995_000);
}

#[test]
fn request_whose_answer_was_lost_can_be_sent_again_as_it_was() {
    let shop = Shop::open();
    let mut device = shop.device();
    let order = device.order("double_jump", 1);
    let request = device.request(0, &[order]).sign(&device.key).expect("signs");
    let first = send_sync(shop.address(), &request);
    let second = send_sync(shop.address(), &request);
    let read = |answer| device.read(shop.server.public_key(), &request, answer).receipts;
    assert_eq!(read(&first), read(&second));
    assert_eq!(device.euros(&shop), 950_000);
}

#[test]
fn identical_orders_on_many_connections_are_charged_once() {
    let shop = Shop::open();
    let mut device = shop.device();
    let order = device.order("shield", 10);
    let answers: Vec<_> = thread::scope(|scope| {
        let sync = || device.sync(&shop, 0, std::slice::from_ref(&order)).receipts;
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(sync)).collect();
        threads.into_iter().map(|thread| thread.join().expect("answers")).collect()
    });
    assert!(answers.iter().all(|receipts| *receipts == answers[0] && receipts.len() == 1));
    assert_eq!(device.euros(&shop), 950_000);
}

#[test]
fn declined_order_never_charges_later() {
    let shop = Shop::open();
    let mut device = shop.device();
    let order = device.order("palace", 1);
    let declined = device.receipts(&shop, 0, std::slice::from_ref(&order));
    assert_eq!((declined[0].status, declined[0].reason), (Status::Declined, Some(Reason::InsufficientFunds)));
    shop.server.credit(&device.account(), "5000EUR".parse().expect("money")).expect("credits");
    assert_eq!(device.receipts(&shop, 0, &[order]), declined);
    assert_eq!(device.euros(&shop), 5_001_000_000);
    let again = device.order("palace", 1);
    assert_eq!(device.receipts(&shop, 1, &[again])[0].status, Status::Granted);
}

#[test]
fn order_under_a_used_id_changes_nothing() {
    let shop = Shop::open();
    let mut device = shop.device();
    let claims = device.claims("shield", 1);
    let first = device.sign(&claims);
    device.sync(&shop, 0, &[first]);
    let mut other = device.claims("shield", 2);
    other.id = claims.id;
    let other = device.sign(&other);
    let request = device.request(1, &[other]).sign(&device.key).expect("signs");
    send_sync(shop.address(), &request).assert_refused("/problems/order-conflict", 422);
    let mut stranger = shop.device();
    let mut theirs = stranger.claims("shield", 1);
    theirs.id = claims.id;
    let theirs = stranger.sign(&theirs);
    let request = stranger.request(0, &[theirs]).sign(&stranger.key).expect("signs");
    send_sync(shop.address(), &request).assert_refused("/problems/order-conflict", 422);
    assert_eq!((device.euros(&shop), stranger.euros(&shop)), (995_000, 1_000_000));
    assert!(shop.server.audit().expect("audits").is_clean());
}

#[test]
fn feed_is_read_in_pages_without_gaps_or_repeats() {
    let shop = Shop::open();
    let mut device = shop.device();
    let mut sent = 0;
    for count in [200, 200, 199] {
        let orders: Vec<_> = (0..count).map(|_| device.order("gift", 1)).collect();
        let response = device.sync(&shop, sent, &orders);
        sent += u64::try_from(count).expect("few");
        assert_eq!((response.receipts.len(), response.more), (count, false));
    }
    // A place past the end is one in books that were lost: the feed is read from its beginning.
    let lost = device.sync(&shop, 10_000, &[]);
    assert_eq!((lost.cursor, lost.more), (256, true));
    let (mut cursor, mut feeds) = (0, Vec::new());
    loop {
        let response = device.sync(&shop, cursor, &[]);
        feeds.extend(device.receipts(&shop, cursor, &[]).iter().map(|receipt| receipt.feed));
        cursor = response.cursor;
        assert_eq!(feeds.last(), Some(&cursor));
        if !response.more {
            break;
        }
    }
    assert_eq!(feeds, (1..=sent).collect::<Vec<_>>());
}

#[test]
fn enrolling_again_changes_nothing() {
    let shop = Shop::open();
    let device = Device::new();
    let first = device.enrol(shop.address());
    let second = device.enrol(shop.address());
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(first.body, second.body);
    let expected = format!(r#"{{"account":"{0}","device":"{0}"}}"#, device.account());
    assert_eq!(first.text(), expected);
    assert_eq!(device.euros(&shop), 1_000_000);
}
