//! Requests that the server holds until there is news.

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bevy_iap::protocol::sync::{SyncRequest, SyncResponse, Wait};
use bevy_iap::protocol::{SecretKey, Token};
use bevy_iap::server::Limits;
use serde_json::json;

use crate::attacks::forgery::{self, RawKey};
use crate::support::{Answer, Device, Shop, get, send_sync, try_send};

/// A request under way, and how long it took to be answered.
type Held = JoinHandle<(Answer, Duration)>;

/// Asks for news beyond what `known` said, for `seconds`.
fn ask(address: SocketAddr, device: &Device, known: &SyncResponse, seconds: u64) -> (Token, Held) {
    let wait = Some(Wait { seconds, wallet: known.wallet.clone() });
    let request = SyncRequest { wait, ..device.request(known.cursor, &[]) };
    let token = request.sign(&device.key).expect("signs");
    let sent = token.clone();
    let held = thread::spawn(move || {
        let started = Instant::now();
        (send_sync(address, &sent), started.elapsed())
    });
    // Long enough for it to be held.
    thread::sleep(Duration::from_millis(300));
    (token, held)
}

fn read(shop: &Shop, device: &Device, (token, held): (Token, Held)) -> (SyncResponse, Duration) {
    let (answer, time) = held.join().expect("it ends");
    assert_eq!(answer.status, 200, "{}", answer.text());
    (device.read(shop.server.public_key(), &token, &answer), time)
}

fn is_at_once(time: Duration) -> bool {
    time < Duration::from_secs(5)
}

#[test]
fn request_that_waits_is_answered_when_its_time_is_over_and_nothing_is_new() {
    let shop = Shop::open();
    let device = shop.device();
    let known = device.sync(&shop, 0, &[]);
    let (response, time) = read(&shop, &device, ask(shop.address(), &device, &known, 1));
    assert!(time >= Duration::from_secs(1), "{time:?}");
    assert_eq!((response.cursor, response.wallet), (known.cursor, known.wallet));
}

#[test]
fn gift_purchase_and_refund_reach_whoever_waits_at_once() {
    let shop = Shop::open();
    let mut device = shop.device();
    let known = device.sync(&shop, 0, &[]);

    let held = ask(shop.address(), &device, &known, 30);
    shop.server.credit(&device.account(), "0.50EUR".parse().expect("an amount")).expect("credits");
    let (credited, time) = read(&shop, &device, held);
    assert!(is_at_once(time) && credited.wallet != known.wallet, "{time:?}");

    // Another process of the same device, as if it were another device of its account.
    let held = ask(shop.address(), &device, &credited, 30);
    let order = device.order("shield", 1);
    let bought = device.receipts(&shop, 0, &[order]);
    let (response, time) = read(&shop, &device, held);
    assert!(is_at_once(time) && response.receipts.len() == 1, "{time:?}");

    let held = ask(shop.address(), &device, &response, 30);
    shop.server.refund(bought[0].order).expect("refunds");
    let (response, time) = read(&shop, &device, held);
    assert!(is_at_once(time) && response.receipts.len() == 1, "{time:?}");
}

#[test]
fn device_that_joins_with_what_it_bought_is_heard_of_at_once() {
    let shop = Shop::open();
    let (host, mut guest) = (shop.device(), shop.device());
    let order = guest.order("double_jump", 1);
    guest.sync(&shop, 0, &[order]);
    let known = host.sync(&shop, 0, &[]);
    let held = ask(shop.address(), &host, &known, 30);
    crate::accounts::join(&shop, &mut guest, &host);
    let (response, time) = read(&shop, &host, held);
    assert!(is_at_once(time) && response.receipts.len() == 1, "{time:?}");
}

#[test]
fn what_another_account_buys_wakes_nobody() {
    let shop = Shop::open();
    let (device, mut other) = (shop.device(), shop.device());
    let known = device.sync(&shop, 0, &[]);
    let held = ask(shop.address(), &device, &known, 2);
    let order = other.order("shield", 1);
    other.sync(&shop, 0, &[order]);
    let (response, time) = read(&shop, &device, held);
    assert!(time >= Duration::from_secs(2) && response.receipts.is_empty(), "{time:?}");
}

#[test]
fn what_another_process_writes_into_the_same_books_is_noticed() {
    let shop = Shop::open();
    let device = shop.device();
    let known = device.sync(&shop, 0, &[]);
    let held = ask(shop.address(), &device, &known, 30);
    let account = device.account().to_string();
    let data = shop.folder.path().to_str().expect("a path in UTF-8");
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_iap-server"))
        .args(["credit", &account, "0.25", "EUR", "--data", data])
        .output()
        .expect("it runs");
    assert!(done.status.success(), "{done:?}");
    let (response, time) = read(&shop, &device, held);
    assert!(is_at_once(time) && response.wallet != known.wallet, "{time:?}");
}

#[test]
fn news_that_is_there_already_is_not_waited_for() {
    let shop = Shop::open();
    let mut device = shop.device();
    let before = device.sync(&shop, 0, &[]);
    let order = device.order("shield", 1);
    let after = device.sync(&shop, 0, &[order]);
    let mut old_wallet = after.clone();
    old_wallet.wallet = before.wallet.clone();
    let mut old_cursor = after.clone();
    old_cursor.cursor = 0;
    // Of books that were restored from an older copy since.
    let mut lost = after.clone();
    lost.cursor = 7;
    for known in [old_wallet, old_cursor, lost] {
        let (_, time) = read(&shop, &device, ask(shop.address(), &device, &known, 30));
        assert!(is_at_once(time), "{known:?}: {time:?}");
    }
}

#[test]
fn orders_are_never_held() {
    let shop = Shop::open();
    let mut device = shop.device();
    let known = device.sync(&shop, 0, &[]);
    let order = device.order("shield", 1);
    let wait = Some(Wait { seconds: 30, wallet: known.wallet.clone() });
    let request = SyncRequest { wait, ..device.request(known.cursor, &[order]) };
    let started = Instant::now();
    let answer = send_sync(shop.address(), &request.sign(&device.key).expect("signs"));
    assert!(answer.status == 200 && is_at_once(started.elapsed()));
}

#[test]
fn request_that_is_large_is_answered_and_not_held() {
    let shop = Shop::open();
    let seed = [9; 32];
    let device = Device { key: SecretKey::from_seed(&seed), ..Device::new() };
    device.enrol(shop.address());
    let known = device.sync(&shop, 0, &[]);
    let wait = Some(Wait { seconds: 30, wallet: known.wallet.clone() });
    let mut claims = forgery::claims(&SyncRequest { wait, ..device.request(known.cursor, &[]) });
    claims["padding"] = json!("a".repeat(20_000));
    let raw = RawKey::new(&seed);
    let token = raw.token(&raw.header("iap-sync+jwt").to_string(), &claims.to_string());
    let started = Instant::now();
    let answer = send_sync(shop.address(), &token);
    assert!(answer.status == 200 && is_at_once(started.elapsed()), "{}: {:?}", answer.status, started.elapsed());
}

#[test]
fn wallet_that_nobody_can_have_is_no_wallet_to_wait_for() {
    let shop = Shop::open();
    let device = shop.device();
    let known = device.sync(&shop, 0, &[]);
    let wait = Some(Wait { seconds: 1, wallet: vec![known.wallet[0]; 257] });
    let request = SyncRequest { wait, ..device.request(known.cursor, &[]) };
    let answer = send_sync(shop.address(), &request.sign(&device.key).expect("signs"));
    answer.assert_refused("/problems/malformed-body", 400);
}

#[test]
fn server_that_stops_lets_all_go_that_wait() {
    let shop = Shop::open();
    let device = shop.device();
    let known = device.sync(&shop, 0, &[]);
    let (_, held) = ask(shop.address(), &device, &known, 30);
    let started = Instant::now();
    let Shop { server, folder: _folder } = shop;
    drop(server);
    let (answer, _) = held.join().expect("it ends");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(is_at_once(started.elapsed()), "{:?}", started.elapsed());
}

#[test]
fn those_that_wait_make_room_for_those_that_buy() {
    let shop = Shop::with(|config| config.limits = Limits { connections: 4, ..Limits::default() });
    let mut device = shop.device();
    let known = device.sync(&shop, 0, &[]);
    let wait = Wait { seconds: 30, wallet: known.wallet.clone() };
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let (address, device, wait) = (shop.address(), device.clone(), wait.clone());
            let cursor = known.cursor;
            thread::spawn(move || {
                let request = SyncRequest { wait: Some(wait), ..device.request(cursor, &[]) };
                let token = request.sign(&device.key).expect("signs");
                let content_type = [("content-type", "application/jose")];
                try_send(address, "POST", "/v1/sync", &content_type, token.as_str().as_bytes())
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(500));
    let started = Instant::now();
    assert_eq!(get(shop.address(), "/healthz").status, 200);
    let order = device.order("shield", 1);
    assert_eq!(device.sync(&shop, 0, &[order]).receipts.len(), 1);
    assert!(is_at_once(started.elapsed()), "{:?}", started.elapsed());
    let answered = waiting.into_iter().filter_map(|waiting| waiting.join().expect("it ends"));
    // Those that were let go by the purchase; the others were told to leave.
    assert!(answered.filter(|answer| answer.status == 200).count() <= 4);
}
