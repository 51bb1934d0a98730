//! What people complain about in other stores, one promise each.

use std::sync::Arc;

use bevy::prelude::*;
use bevy_iap::client::transport::Response;
use bevy_iap::client::transport::memory::MemoryTransport;
use bevy_iap::client::{Connection, OrderState};
use bevy_iap::plugin::{IapPlugin, PurchaseError, PurchaseUpdated};

use crate::crash::{self, Moment};
use crate::shop::{Game, LossyTransport, Shop};

/// How often the game heard that an order is granted.
#[derive(Resource, Default)]
struct Granted(usize);

fn count_grants(game: &mut Game) {
    game.app.init_resource::<Granted>().add_systems(
        Update,
        |mut news: MessageReader<PurchaseUpdated>, mut granted: ResMut<Granted>| {
            granted.0 += news.read().filter(|news| news.state == OrderState::Granted).count();
        },
    );
}

/// How many orders of the game's account the server's books say are granted.
fn granted_in_the_books(shop: &Shop, game: &Game) -> u64 {
    let account = game.store().account().expect("open");
    shop.server().show(account).expect("shown").orders.get("granted").copied().unwrap_or_default()
}

/// Waits for everything to be answered that a killed game bought, and checks that it was delivered, and charged once.
fn is_delivered(shop: &Shop, game: &mut Game) {
    game.until("everything is answered", |store| store.orders().all(|order| order.state == OrderState::Granted));
    assert!(game.store().owns("double_jump"));
    assert_eq!((game.store().quantity("shield"), game.available()), (1, "0.945".to_owned()));
    assert_eq!((game.store().orders().count(), granted_in_the_books(shop, game)), (2, 2));
    shop.audit();
}

#[test]
fn pp01_what_was_paid_for_before_a_crash_is_delivered_after_it() {
    crash::be_killed();
    let shop = Shop::open("1.00EUR");
    for moment in [Moment::Queued, Moment::Answered, Moment::Granted] {
        let save = format!("{moment:?}");
        let test = "promises::pp01_what_was_paid_for_before_a_crash_is_delivered_after_it";
        let account = crash::kill_at(moment, &shop, &save, test);
        let paid = shop.server().show(&account).is_ok_and(|account| account.orders.get("granted") == Some(&2));
        assert_eq!(paid, moment != Moment::Queued, "{moment:?}");
        // The player only starts the game again.
        is_delivered(&shop, &mut shop.play(&save));
    }
}

#[test]
fn pp02_one_purchase_is_given_once_though_its_receipt_is_sent_up_to_twenty_times() {
    let shop = Shop::open("1.00EUR");
    for deliveries in [2, 3, 5, 10, 20] {
        // The first two requests enrol and ask for news. The third has the order.
        let transport = Arc::new(LossyTransport::new(&shop.address, 2..deliveries + 1));
        let plugin = shop.plugin(&format!("save-{deliveries}"));
        let mut game = shop.play_with(IapPlugin { transport: Some(transport.clone()), listen: false, ..plugin });
        count_grants(&mut game);
        game.until("it is online", |store| *store.connection() == Connection::Online);
        let order = game.buy_until("shield", OrderState::Sent);
        game.until("it is granted", |store| {
            // Without waiting for the time between two tries.
            store.sync_now();
            store.order(order).is_some_and(|order| order.state == OrderState::Granted)
        });
        let bodies = transport.bodies.lock().expect("not poisoned").clone();
        assert!(bodies[2].len() > bodies[1].len(), "the order is in it");
        let sent = bodies.iter().filter(|body| **body == bodies[2]).count();
        assert_eq!(sent, deliveries, "each time it is answered with the same receipt");
        game.store().sync_now();
        game.buy_until("day_pass", OrderState::Granted);
        game.app.update();
        assert_eq!(game.app.world().resource::<Granted>().0, 2, "one message for each order");
        assert_eq!((game.store().quantity("shield"), game.store().receipts().len()), (1, 2));
        assert_eq!((game.available(), granted_in_the_books(&shop, &game)), ("0.985".to_owned(), 2));
    }
    shop.audit();
}

#[test]
fn pp02_a_purchase_is_not_delivered_again_at_twenty_later_starts() {
    let shop = Shop::open("1.00EUR");
    shop.play("save").buy_until("shield", OrderState::Granted);
    for start in 0..20 {
        if start % 5 == 4 {
            // With the key alone, the device gets the whole feed anew.
            shop.keep_only_the_key("save");
        }
        let mut game = shop.play("save");
        count_grants(&mut game);
        game.until("it is online", |store| *store.connection() == Connection::Online);
        game.until("the shield is there", |store| store.quantity("shield") > 0);
        game.app.update();
        assert_eq!((game.store().quantity("shield"), game.store().orders().count()), (1, 1));
        let told = game.app.world().resource::<Granted>().0;
        assert!(told <= usize::from(start % 5 == 4), "told {told} times at start {start}");
        assert_eq!(granted_in_the_books(&shop, &game), 1);
    }
    shop.audit();
}

/// A player who bought one of everything, and three shields, of which one was used up.
fn everything(shop: &Shop) {
    let mut game = shop.play("save");
    game.buy_until("double_jump", OrderState::Granted);
    game.buy_until("day_pass", OrderState::Granted);
    let order = game.store_mut().purchase_many("shield", 3).expect("ordered");
    game.wait_for(order, OrderState::Granted);
    game.store_mut().consume("shield", 1).expect("used");
}

fn has_everything(game: &Game, shields: u64) {
    let store = game.store();
    assert!(store.owns("double_jump") && store.owns("day_pass"), "{store:#?}");
    assert_eq!((store.quantity("shield"), game.available()), (shields, "0.925".to_owned()));
}

#[test]
fn pp04_what_was_bought_is_owned_without_a_server_however_often_the_game_starts() {
    let mut shop = Shop::open("1.00EUR");
    everything(&shop);
    shop.server.take().expect("runs").stop();
    for _ in 0..5 {
        let mut game = shop.play("save");
        has_everything(&game, 2);
        game.until("it is told", |store| matches!(store.connection(), Connection::Retrying { .. }));
        has_everything(&game, 2);
    }
}

#[test]
fn pp04_no_answer_that_is_not_signed_takes_anything_away() {
    let shop = Shop::open("1.00EUR");
    everything(&shop);
    let problem = |kind: &str| format!(r#"{{"type":"{kind}","title":"no","status":404,"detail":"no"}}"#);
    let unknown_device = problem(bevy_iap::protocol::ProblemType::UnknownDevice.as_str());
    for (status, body) in [
        (200, String::new()),
        (200, r#"{"receipts":[],"wallet":[],"cursor":0}"#.to_owned()),
        (200, "<html>sign in to use this network</html>".to_owned()),
        (302, String::new()),
        (401, problem("about:blank")),
        (404, unknown_device),
        (410, "gone".to_owned()),
        (503, String::new()),
    ] {
        let answer = Response { status, body: body.clone().into_bytes(), ..Response::default() };
        let transport = Arc::new(MemoryTransport::new(move |_| Ok(answer.clone())));
        let mut game = shop.play_with(IapPlugin { transport: Some(transport), ..shop.plugin("save") });
        game.until("it is told", |store| matches!(store.connection(), Connection::Retrying { .. }));
        has_everything(&game, 2);
    }
    has_everything(&shop.play("save"), 2);
}

#[test]
fn pp04_a_server_that_lost_its_books_takes_nothing_away() {
    let mut shop = Shop::open("1.00EUR");
    everything(&shop);
    shop.restart_server_after(|data| {
        for file in ["store.sqlite", "store.sqlite-wal", "store.sqlite-shm"] {
            // The last two are there only while somebody uses the first.
            let _ = std::fs::remove_file(data.join(file));
        }
    });
    for start in 1..=2 {
        let mut game = shop.play("save");
        game.until("it is online", |store| *store.connection() == Connection::Online);
        assert!(game.store().owns("double_jump") && game.store().owns("day_pass"));
        assert_eq!(game.store().quantity("shield"), 2 + start, "also what was used, of which only the books knew");
        // The books begin anew, and so does the device's chain in them: the first order hears of it.
        let bought = |game: &mut Game| {
            let order = game.store_mut().purchase("shield").expect("ordered");
            game.until("it is answered", |store| store.order(order).is_some_and(|order| !order.state.is_open()));
            game.order(order).state == OrderState::Granted
        };
        assert!(bought(&mut game) || bought(&mut game), "it goes on buying");
    }
    shop.audit();
}

#[test]
fn pp05_consumables_bought_offline_are_used_offline_and_charged_once() {
    let shop = Shop::open("1.00EUR");
    let offline = IapPlugin {
        offline: true,
        offline_grants: bevy_iap::client::OfflineGrants::Provisional,
        ..shop.plugin("save")
    };
    let mut game = shop.play_with(offline.clone());
    let order = game.store_mut().purchase_many("shield", 3).expect("ordered");
    game.wait_for(order, OrderState::Queued);
    game.buy_until("shield", OrderState::Queued);
    game.store_mut().consume("shield", 2).expect("used");
    drop(game);

    let mut game = shop.play_with(offline);
    assert_eq!(game.store().quantity("shield"), 2, "at the next start, still offline");
    game.store_mut().consume("shield", 1).expect("used");
    game.offline(false);
    game.until("everything is answered", |store| store.orders().all(|order| order.state == OrderState::Granted));
    assert!(game.store().orders().all(|order| !order.provisional));
    assert_eq!((game.store().quantity("shield"), game.available()), (1, "0.98".to_owned()));
    assert_eq!(granted_in_the_books(&shop, &game), 2);
    drop(game);
    assert_eq!(shop.play("save").store().quantity("shield"), 1);
    shop.audit();
}

#[test]
fn pp05_a_consumable_given_offline_is_taken_back_if_it_cannot_be_paid() {
    let shop = Shop::open("0.01EUR");
    let mut game = shop.play_provisional("save");
    game.until("it is online", |store| *store.connection() == Connection::Online);
    game.offline(true);
    let order = game.store_mut().purchase_many("shield", 3).expect("ordered");
    game.wait_for(order, OrderState::Queued);
    game.store_mut().consume("shield", 1).expect("used");
    game.offline(false);
    game.wait_for(order, OrderState::Declined);
    assert_eq!((game.store().quantity("shield"), game.available()), (0, "0.01".to_owned()));
    // What was used of it is no debt on what is paid for.
    game.buy_until("shield", OrderState::Granted);
    assert_eq!((game.store().quantity("shield"), game.available()), (1, "0.005".to_owned()));
    shop.audit();
}

#[test]
fn pp09_a_reinstall_that_kept_the_save_has_the_consumables_that_were_left() {
    let mut shop = Shop::open("1.00EUR");
    everything(&shop);
    // The program and its files are new, and there is no network for the first start.
    std::fs::rename(shop.save("assets"), shop.save("old assets")).expect("moved");
    std::fs::create_dir(shop.save("assets")).expect("a folder");
    std::fs::write(shop.save("assets").join("test.catalog.ron"), crate::shop::CATALOG).expect("a file");
    shop.server.take().expect("runs").stop();
    has_everything(&shop.play("save"), 2);
}

#[test]
fn pp09_a_reinstall_with_an_older_backup_gets_the_consumables_bought_since() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play("save");
    let order = game.store_mut().purchase_many("shield", 3).expect("ordered");
    game.wait_for(order, OrderState::Granted);
    game.store_mut().consume("shield", 1).expect("used");
    drop(game);
    shop.copy("save", "backup");
    let mut game = shop.play("save");
    let order = game.store_mut().purchase_many("shield", 4).expect("ordered");
    game.wait_for(order, OrderState::Granted);
    game.buy_until("double_jump", OrderState::Granted);
    drop(game);

    shop.copy("backup", "save");
    let mut game = shop.play("save");
    game.until("it is all there", |store| store.quantity("shield") == 6 && store.owns("double_jump"));
    assert_eq!((game.available(), granted_in_the_books(&shop, &game)), ("0.915".to_owned(), 3));
    shop.audit();
}

#[test]
fn pp09_the_devices_key_alone_brings_everything_back() {
    let shop = Shop::open("1.00EUR");
    everything(&shop);
    shop.keep_only_the_key("save");
    let mut game = shop.play("save");
    game.until("it is all there", |store| store.receipts().len() == 3);
    // The server does not know what was used up, so that is back as well.
    has_everything(&game, 3);
    game.buy_until("shield", OrderState::Granted);
    assert_eq!((game.store().quantity("shield"), game.available()), (4, "0.92".to_owned()));
    shop.audit();
}

#[test]
fn pp09_what_the_server_knows_to_be_used_up_stays_so_with_the_devices_key_alone() {
    let shop = Shop::open("1.00EUR");
    everything(&shop);
    let mut game = shop.play("save");
    let account = game.store().account().expect("it is open").clone();
    game.until("the server has heard of it", |_| {
        let summary = shop.server().show(&account).expect("an account");
        summary.consumptions.values().map(|numbers| numbers.decided()).sum::<u64>() == 1
    });
    drop(game);
    shop.keep_only_the_key("save");
    let mut game = shop.play("save");
    game.until("it is all there", |store| store.receipts().len() == 3 && store.quantity("shield") == 2);
    has_everything(&game, 2);
    game.store_mut().consume("shield", 2).expect("there are two");
    assert!(game.store_mut().consume("shield", 1).is_err());
    shop.audit();
}

#[test]
fn pp13_a_double_tap_is_one_order_and_one_charge() {
    let shop = Shop::open("1.00EUR");
    let plugin = IapPlugin { double_tap: std::time::Duration::from_secs(600), ..shop.plugin("save") };
    let mut game = shop.play_with(plugin);
    let shield = game.store_mut().purchase("shield").expect("ordered");
    for _ in 0..5 {
        assert_eq!(game.store_mut().purchase("shield"), Err(PurchaseError::DoubleTap));
    }
    let jump = game.store_mut().purchase("double_jump").expect("ordered");
    for _ in 0..5 {
        let again = game.store_mut().purchase("double_jump");
        assert_eq!(again, Err(PurchaseError::AlreadyOrdered { order: jump }));
    }
    game.wait_for(shield, OrderState::Granted);
    game.wait_for(jump, OrderState::Granted);
    assert_eq!(game.store_mut().purchase("double_jump"), Err(PurchaseError::AlreadyOwned));
    assert_eq!((game.store().quantity("shield"), game.available()), (1, "0.945".to_owned()));
    assert_eq!((game.store().orders().count(), granted_in_the_books(&shop, &game)), (2, 2));
    shop.audit();
}

#[test]
fn pp13_buying_again_after_a_crash_charges_an_unlock_once() {
    crash::be_killed();
    let shop = Shop::open("1.00EUR");
    for moment in [Moment::Queued, Moment::Answered] {
        let save = format!("{moment:?}");
        crash::kill_at(moment, &shop, &save, "promises::pp13_buying_again_after_a_crash_charges_an_unlock_once");
        let mut game = shop.play(&save);
        // The player does not know how far it came, and tries again at once.
        let again = game.store_mut().purchase("double_jump").expect_err("it was ordered");
        assert!(matches!(again, PurchaseError::AlreadyOrdered { .. } | PurchaseError::AlreadyOwned), "{again}");
        is_delivered(&shop, &mut game);
    }
}
