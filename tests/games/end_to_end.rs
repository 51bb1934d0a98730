//! Games, files, HTTP and a server with a database: everything that is real, together.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::shop::{LossyTransport, Shop};
use bevy::prelude::*;
use bevy_iap::client::{Connection, OrderState};
use bevy_iap::plugin::{ConsumeError, EntitlementsChanged, IapPlugin, PurchaseError, PurchaseUpdated};
use bevy_iap::protocol::{Reason, Status};

#[test]
fn what_is_bought_is_granted_with_a_receipt_that_verifies() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play("save");
    let order = game.buy_until("double_jump", OrderState::Granted);
    assert!(game.store().owns("double_jump"));
    assert_eq!(game.available(), "0.95");
    let receipt = &game.store().receipts()[0];
    assert_eq!((receipt.claims.order, receipt.claims.status), (order, Status::Granted));
    assert_eq!(receipt.claims.amount.to_string(), "0.05 EUR");
    shop.audit();
}

#[test]
fn quantities_and_fractions_of_a_cent_are_exact() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play("save");
    let order = game.store_mut().purchase_many("shield", 7).expect("ordered");
    game.wait_for(order, OrderState::Granted);
    assert_eq!((game.store().quantity("shield"), game.available()), (7, "0.965".to_owned()));
    shop.audit();
}

#[test]
fn pp05_an_order_made_offline_survives_a_restart_and_is_synced() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play_provisional("save");
    game.buy_until("shield", OrderState::Granted);
    game.offline(true);
    let order = game.buy_until("shield", OrderState::Queued);
    assert!(game.order(order).provisional);
    assert_eq!(game.store().quantity("shield"), 2);
    drop(game);

    let mut game = shop.play_provisional("save");
    game.wait_for(order, OrderState::Granted);
    assert!(!game.order(order).provisional);
    assert_eq!((game.store().quantity("shield"), game.store().receipts().len()), (2, 2));
    assert_eq!(game.available(), "0.99");
    shop.audit();
}

#[test]
fn a_game_that_never_reached_a_server_queues_and_settles_later() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play_with(IapPlugin { server: None, ..shop.plugin("save") });
    let order = game.buy_until("shield", OrderState::Queued);
    assert_eq!(*game.store().connection(), Connection::NoServer);
    drop(game);
    let mut game = shop.play("save");
    game.wait_for(order, OrderState::Granted);
    shop.audit();
}

#[test]
fn pp13_a_lost_response_is_retried_with_the_same_bytes_and_charged_once() {
    let shop = Shop::open("1.00EUR");
    // The first two requests enrol and ask for news. The third has the order; its answer is lost, and the next three.
    let transport = Arc::new(LossyTransport::new(&shop.address, 2..6));
    let mut game =
        shop.play_with(IapPlugin { transport: Some(transport.clone()), listen: false, ..shop.plugin("save") });
    game.until("it is online", |store| *store.connection() == Connection::Online);
    game.buy_until("shield", OrderState::Granted);
    assert_eq!((game.available(), game.store().quantity("shield")), ("0.995".to_owned(), 1));
    let bodies = transport.bodies.lock().expect("not poisoned");
    assert!(transport.sent.load(Ordering::SeqCst) >= 7);
    assert!(bodies[2].len() > bodies[1].len(), "the order is in it");
    assert!(bodies[2..7].iter().all(|body| *body == bodies[2]), "every retry sends the same bytes");
    drop(bodies);
    let account = game.store().account().expect("open").clone();
    let granted = shop.server().show(&account).expect("shown").orders.get("granted").copied();
    assert_eq!(granted, Some(1));
    shop.audit();
}

#[test]
fn a_declined_order_never_charges_later() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play("save");
    let order = game.buy_until("mansion", OrderState::Declined);
    assert_eq!(game.order(order).reason, Some(Reason::InsufficientFunds));
    let account = game.store().account().expect("open").clone();
    shop.server().credit(&account, "5000EUR".parse().expect("an amount")).expect("credited");
    drop(game);
    let mut game = shop.play("save");
    game.until("the credit is seen", |store| {
        store.wallet().first().is_some_and(|balance| balance.available.to_string() == "5001")
    });
    assert_eq!(game.order(order).state, OrderState::Declined);
    assert!(!game.store().owns("mansion"));
    shop.audit();
}

#[test]
fn pp06_a_refund_takes_back_what_was_bought_and_gives_the_money_back() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play("save");
    let order = game.buy_until("double_jump", OrderState::Granted);
    shop.server().refund(order).expect("refunded");
    game.store().sync_now();
    game.wait_for(order, OrderState::Refunded);
    assert!(!game.store().owns("double_jump"));
    assert_eq!(game.available(), "1");
    shop.audit();
}

#[test]
fn pp09_what_was_used_up_stays_used_up_after_a_restart() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play("save");
    let order = game.store_mut().purchase_many("shield", 3).expect("ordered");
    game.wait_for(order, OrderState::Granted);
    game.store_mut().consume("shield", 2).expect("used");
    assert_eq!(game.store().quantity("shield"), 1, "at once");
    let error = game.store_mut().consume("shield", 2);
    assert!(matches!(error, Err(ConsumeError::NotEnough { left: 1, .. })), "{error:?}");
    drop(game);
    assert_eq!(shop.play("save").store().quantity("shield"), 1);
}

#[test]
fn two_accounts_never_see_each_others_purchases() {
    let shop = Shop::open("1.00EUR");
    let (mut first, mut second) = (shop.play("first"), shop.play("second"));
    first.buy_until("double_jump", OrderState::Granted);
    second.buy_until("shield", OrderState::Granted);
    second.store().sync_now();
    second.buy_until("shield", OrderState::Granted);
    assert!(!second.store().owns("double_jump"));
    assert_eq!((second.store().receipts().len(), second.available()), (2, "0.99".to_owned()));
    shop.audit();
}

#[test]
fn the_second_copy_on_one_save_folder_reads_and_says_so() {
    let shop = Shop::open("1.00EUR");
    let mut first = shop.play("save");
    first.buy_until("double_jump", OrderState::Granted);
    let mut second = shop.play("save");
    assert!(second.store().owns("double_jump"));
    let error = second.store_mut().purchase("shield").expect_err("it may not write");
    assert!(matches!(&error, PurchaseError::ReadOnly { reason } if reason.contains("another copy")), "{error}");
    second.until("it says so", |store| *store.connection() == Connection::ReadOnly);
    first.buy_until("shield", OrderState::Granted);
    drop((first, second));
    let mut again = shop.play("save");
    again.buy_until("shield", OrderState::Granted);
    shop.audit();
}

#[test]
fn pp08_a_journal_of_another_device_is_refused_whole() {
    let shop = Shop::open("1.00EUR");
    let mut mine = shop.play("mine");
    mine.buy_until("double_jump", OrderState::Granted);
    let mut theirs = shop.play("theirs");
    theirs.buy_until("shield", OrderState::Granted);
    drop((mine, theirs));
    std::fs::copy(shop.save("mine").join("journal.iap"), shop.save("theirs").join("journal.iap")).expect("copied");
    let mut game = crate::shop::Game::start(&shop.folder.path().join("assets"), shop.plugin("theirs"));
    game.until("it is refused", |store| {
        matches!(store.availability(), Err(PurchaseError::Failed { reason }) if reason.contains("belongs to the device"))
    });
    assert!(!game.store().owns("double_jump"));
}

#[test]
fn a_price_tampered_with_in_the_games_catalogue_is_declined() {
    let shop = Shop::open("1.00EUR");
    let cheap = crate::shop::CATALOG.replace("\"0.05\"", "\"0.01\"");
    std::fs::write(shop.folder.path().join("assets/test.catalog.ron"), cheap).expect("written");
    let mut game = shop.play_provisional("save");
    let order = game.buy_until("double_jump", OrderState::Declined);
    assert_eq!(game.order(order).reason, Some(Reason::StaleCatalog));
    assert!(!game.store().owns("double_jump"));
    assert_eq!(game.available(), "1");
    shop.audit();
}

#[test]
fn purchases_that_cannot_be_are_refused_at_once_and_say_why() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play_with(IapPlugin { double_tap: std::time::Duration::from_secs(60), ..shop.plugin("save") });
    let mut store = game.store_mut();
    assert!(matches!(store.purchase("sheild"), Err(PurchaseError::UnknownProduct { .. })));
    assert!(matches!(store.purchase_many("shield", 0), Err(PurchaseError::QuantityOutOfRange { most: 1000, .. })));
    assert!(matches!(store.purchase_many("shield", 1001), Err(PurchaseError::QuantityOutOfRange { .. })));
    assert!(matches!(store.purchase_many("double_jump", 2), Err(PurchaseError::QuantityOutOfRange { most: 1, .. })));
    let order = store.purchase("double_jump").expect("ordered");
    assert!(matches!(store.purchase("double_jump"), Err(PurchaseError::AlreadyOrdered { .. })));
    store.purchase("shield").expect("ordered");
    assert_eq!(store.purchase("shield"), Err(PurchaseError::DoubleTap));
    game.wait_for(order, OrderState::Granted);
    assert_eq!(game.store_mut().purchase("double_jump"), Err(PurchaseError::AlreadyOwned));
    let pass = game.buy_until("day_pass", OrderState::Granted);
    assert_eq!(game.store_mut().purchase("day_pass"), Err(PurchaseError::AlreadyOwned));
    assert!(game.order(pass).state == OrderState::Granted && game.store().owns("day_pass"));
    let dollars = IapPlugin { currency: "USD".parse().expect("a currency"), ..shop.plugin("other") };
    let mut game = shop.play_with(dollars);
    assert!(matches!(game.store_mut().purchase("shield"), Err(PurchaseError::NotSoldIn { .. })));
}

#[derive(Resource, Default)]
struct Heard {
    messages: Vec<OrderState>,
    events: Vec<OrderState>,
    gained: Vec<String>,
}

#[test]
fn news_comes_as_messages_and_as_events_when_the_store_already_knows() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play("save");
    game.app.init_resource::<Heard>();
    game.app.add_systems(Update, |mut news: MessageReader<PurchaseUpdated>, mut heard: ResMut<Heard>| {
        heard.messages.extend(news.read().map(|news| news.state));
    });
    game.app.add_observer(
        |news: On<PurchaseUpdated>, store: Res<bevy_iap::plugin::Store>, mut heard: ResMut<Heard>| {
            assert!(store.order(news.order).is_some_and(|order| order.state >= news.state));
            heard.events.push(news.state);
        },
    );
    game.app.add_observer(|news: On<EntitlementsChanged>, mut heard: ResMut<Heard>| {
        heard.gained.extend(news.gained.iter().map(ToString::to_string));
    });
    game.buy_until("double_jump", OrderState::Granted);
    game.app.update();
    let heard = game.app.world().resource::<Heard>();
    assert_eq!(heard.events.last(), Some(&OrderState::Granted));
    assert_eq!((&heard.messages, &heard.gained), (&heard.events, &vec!["double_jump".to_owned()]));
}

#[test]
fn a_server_that_is_gone_is_told_in_words_and_found_again() {
    let mut shop = Shop::open("1.00EUR");
    let mut game = shop.play("save");
    game.buy_until("shield", OrderState::Granted);
    let address = shop.server().address();
    shop.server.take().expect("runs").stop();
    let order = game.buy_until("shield", OrderState::Sent);
    game.until("the trouble is told", |store| matches!(store.connection(), Connection::Retrying { .. }));
    let mut config =
        bevy_iap::server::ServerConfig::new(shop.save("server"), crate::shop::catalog(crate::shop::CATALOG));
    config.listen = address;
    shop.server = Some(bevy_iap::server::LocalServer::start(config).expect("starts again"));
    game.wait_for(order, OrderState::Granted);
    assert_eq!(*game.store().connection(), Connection::Online);
    shop.audit();
}
