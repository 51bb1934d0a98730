//! Spending offline: what was set aside is given at once and honoured, and clocks and lost answers change nothing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bevy_iap::client::journal::{HEADER, recover};
use bevy_iap::client::{Clock, Connection, OfflineGrants, OrderState, Record, SystemClock, Tick};
use bevy_iap::plugin::IapPlugin;
use bevy_iap::protocol::{JwkSet, Receipt, Status, UnixSeconds};
use bevy_iap::server::clock::Clock as ServerClock;
use bevy_iap::server::{LocalServer, ServerConfig};

use crate::shop::{CATALOG, Shop, catalog};

/// The device's clock, which a player sets as they like.
#[derive(Debug, Default)]
struct SetClock {
    system: SystemClock,
    off: AtomicI64,
}

impl Clock for SetClock {
    fn tick(&self) -> Tick {
        let tick = self.system.tick();
        Tick { unix: tick.unix + self.off.load(Ordering::Relaxed), ..tick }
    }
}

/// The server's clock, which a test moves on.
#[derive(Debug, Default)]
struct MovedClock(AtomicI64);

impl ServerClock for MovedClock {
    fn now(&self) -> UnixSeconds {
        bevy_iap::server::clock::SystemClock.now() + self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn pp11_a_clock_that_was_set_back_neither_extends_nor_breaks_a_pass() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play("save");
    game.buy_until("day_pass", OrderState::Granted);
    game.buy_until("shield", OrderState::Granted);
    drop(game);

    let clock = Arc::new(SetClock::default());
    clock.off.store(-30 * 86_400, Ordering::Relaxed);
    let offline = IapPlugin { clock: clock.clone(), offline: true, ..shop.plugin("save") };
    let mut game = shop.play_with(offline);
    game.until("the clock is found wrong", |store| !store.is_clock_trusted());
    assert!(!game.store().owns("day_pass"), "nobody knows whether it is over");
    assert_eq!(game.store().quantity("shield"), 1);
    game.store_mut().set_offline(false).expect("heard");
    game.until("the server says what time it is", |store| store.is_clock_trusted() && store.owns("day_pass"));
    drop(game);

    clock.off.store(0, Ordering::Relaxed);
    let mut game = shop.play_with(IapPlugin { clock: clock.clone(), offline: true, ..shop.plugin("save") });
    game.until("it is open", |store| store.owns("day_pass"));
    assert!(game.store().is_clock_trusted());
    assert!(game.store().time_left("day_pass").is_some_and(|left| left <= Duration::from_secs(86_400)));
}

#[test]
fn pp03_nothing_is_taken_back_because_the_game_did_not_acknowledge_it_in_time() {
    let clock = Arc::new(MovedClock::default());
    let mut shop = Shop::open("1.00EUR");
    shop.server.take().expect("runs").stop();
    let mut config = ServerConfig::new(shop.save("server"), catalog(CATALOG));
    config.listen = shop.address.url.trim_start_matches("http://").parse().expect("an address");
    config.welcome = Some("1.00EUR".parse().expect("an amount"));
    config.clock = clock.clone();
    shop.server = Some(LocalServer::start(config).expect("starts again"));

    // The game is gone as soon as the server has settled the order, and never hears of it.
    let mut game = shop.play("save");
    game.until("it is online", |store| *store.connection() == Connection::Online);
    let account = game.store().account().expect("open").clone();
    let order = game.store_mut().purchase("double_jump").expect("ordered");
    game.until("the server has it", |_| {
        shop.server().show(&account).is_ok_and(|account| account.orders.get("granted") == Some(&1))
    });
    drop(game);
    for days in [3, 30, 365] {
        clock.0.store(days * 86_400, Ordering::Relaxed);
        let summary = shop.server().show(&account).expect("shown");
        assert_eq!((summary.orders.get("granted"), summary.orders.get("refunded")), (Some(&1), None));
    }
    let mut game = shop.play("save");
    game.wait_for(order, OrderState::Granted);
    assert!(game.store().owns("double_jump"));
    shop.audit();
}

#[test]
fn pp21_the_receipt_is_the_very_text_that_the_server_signed_and_verifies_with_its_published_keys() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play("save");
    let order = game.buy_until("shield", OrderState::Granted);
    let shown = &game.store().receipts()[0];

    let address = shop.server().address();
    let mut stream = TcpStream::connect(address).expect("connects");
    let request = format!("GET /.well-known/jwks.json HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("asks");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("is answered");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let keys = serde_json::from_str::<JwkSet>(body).expect("a key set").public_keys();

    let game_id = "test_game".parse().expect("a name");
    let verified = Receipt::verify(&shown.token, &keys, &game_id).expect("whoever has the keys can verify it");
    assert_eq!((verified.order, verified.status), (order, Status::Granted));
    assert_eq!(Some(&verified.account), game.store().account());
    assert_eq!(verified, shown.claims);
}

#[test]
fn what_is_ordered_offline_within_the_allowance_is_given_at_once_and_honoured_though_the_wallet_is_spent_meanwhile() {
    let shop = Shop::open("1.00EUR");
    let allowance = || IapPlugin { offline_grants: OfflineGrants::Allowance, ..shop.plugin("save") };
    let mut game = shop.play_with(allowance());
    game.until("something is set aside", |store| store.offline_allowance().is_some());
    let set_aside = game.store().offline_allowance().expect("set aside");
    assert_eq!(set_aside.left.to_string(), "0.20 EUR", "a fifth of the wallet");
    game.until("the wallet says so", |store| store.wallet().first().is_some_and(|it| it.held.value() == 200_000));
    assert_eq!(game.available(), "0.8");
    game.offline(true);
    let jump = game.buy_until("double_jump", OrderState::Queued);
    let shields: Vec<_> = (0..30).map(|_| game.buy_until("shield", OrderState::Queued)).collect();
    assert!(game.store().owns("double_jump"));
    assert_eq!(game.store().quantity("shield"), 30, "0.05 and 30 times 0.005 are 0.20");
    let beyond = game.buy_until("shield", OrderState::Queued);
    assert_eq!(game.store().quantity("shield"), 30, "one more waits");
    drop(game);

    // Everything that can be spent is taken for something else.
    let mut game = shop.play_with(IapPlugin { offline: true, ..allowance() });
    assert_eq!((game.store().owns("double_jump"), game.store().quantity("shield")), (true, 30), "after a restart too");
    let account = game.store().account().expect("open").clone();
    shop.hold_everything(&account);
    game.store_mut().set_offline(false).expect("heard");
    game.wait_for(beyond, OrderState::Declined);
    for order in [jump].into_iter().chain(shields) {
        game.wait_for(order, OrderState::Granted);
    }
    assert_eq!((game.store().owns("double_jump"), game.store().quantity("shield")), (true, 30));
    shop.audit();
}

#[test]
fn device_whose_journal_was_damaged_is_not_taken_for_a_copy_and_goes_on_spending_offline() {
    let shop = Shop::open("1.00EUR");
    let allowance = || IapPlugin { offline_grants: OfflineGrants::Allowance, ..shop.plugin("save") };
    let mut game = shop.play_with(allowance());
    game.until("something is set aside", |store| store.offline_allowance().is_some());
    for _ in 0..3 {
        game.buy_until("shield", OrderState::Granted);
    }
    drop(game);
    // The last order is damaged, and its receipt is not: the next one would be signed in its place.
    let journal = shop.save("save").join("journal.iap");
    let mut bytes = fs::read(&journal).expect("read");
    let order = last_order(&bytes);
    bytes[order + 200] ^= 1;
    fs::write(&journal, &bytes).expect("written");

    let mut game = shop.play_with(IapPlugin { offline: true, ..allowance() });
    assert_eq!((game.store().quantity("shield"), game.store().offline_allowance()), (3, None));
    let doubtful = game.buy_until("shield", OrderState::Queued);
    assert_eq!(game.store().quantity("shield"), 3, "nobody knows how much is spent");
    game.store_mut().set_offline(false).expect("heard");
    game.wait_for(doubtful, OrderState::Declined);
    game.until("something is set aside", |store| store.offline_allowance().is_some());
    game.buy_until("shield", OrderState::Granted);
    game.offline(true);
    game.buy_until("shield", OrderState::Queued);
    assert_eq!(game.store().quantity("shield"), 5, "what is within the allowance is given at once");
    game.store_mut().set_offline(false).expect("heard");
    game.until("it is granted", |store| {
        store.receipts().iter().filter(|it| it.claims.status == Status::Granted).count() == 5
    });
    shop.audit();
}

/// Where the last order begins in a journal.
fn last_order(journal: &[u8]) -> usize {
    let (records, _) = recover(journal).expect("a journal");
    let mut place = HEADER;
    let mut last = None;
    for record in records {
        if matches!(record, Record::Order(_)) {
            last = Some(place);
        }
        let length = journal[place..].first_chunk().map_or(0, |length| u32::from_le_bytes(*length));
        place += 13 + length as usize;
    }
    last.expect("an order")
}
