//! What was bought, paid or given back elsewhere, noticed by games that are running.

use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy_iap::client::{Connection, OrderState};
use bevy_iap::plugin::{EntitlementsChanged, IapPlugin, PurchaseError, PurchaseUpdated, WalletChanged};
use bevy_iap::protocol::{Money, OrderId};
use bevy_iap::server::ledger::{Credit, Operation, OperationId};

use crate::shop::{Game, Shop};

/// Everything that a game was told.
#[derive(Resource, Default)]
struct Told {
    granted: Vec<OrderId>,
    refunded: Vec<OrderId>,
    gained: Vec<String>,
    lost: Vec<String>,
    items: Vec<String>,
    wallets: Vec<String>,
}

fn listen(
    mut orders: MessageReader<PurchaseUpdated>,
    mut entitlements: MessageReader<EntitlementsChanged>,
    mut wallets: MessageReader<WalletChanged>,
    mut told: ResMut<Told>,
) {
    for news in orders.read() {
        match news.state {
            OrderState::Granted => told.granted.push(news.order),
            OrderState::Refunded => told.refunded.push(news.order),
            _ => {}
        }
    }
    for news in entitlements.read() {
        told.gained.extend(news.gained.iter().map(ToString::to_string));
        told.lost.extend(news.lost.iter().map(ToString::to_string));
        told.items.extend(news.items.iter().map(ToString::to_string));
    }
    told.wallets.extend(wallets.read().flat_map(|news| &news.wallet).map(|balance| balance.available.to_string()));
}

/// A game that asks for news now and then.
fn polling(shop: &Shop, save: &str) -> Game {
    play(shop, IapPlugin { listen: false, poll: Duration::from_millis(50), ..shop.plugin(save) })
}

/// A game whose requests the server holds until there is news.
fn listening(shop: &Shop, save: &str) -> Game {
    play(shop, IapPlugin { listen: true, poll: Duration::from_secs(3_600), ..shop.plugin(save) })
}

/// A game that is running, and has heard all there is so far.
fn play(shop: &Shop, plugin: IapPlugin) -> Game {
    let mut game = shop.play_with(plugin);
    game.until("it is online", |store| *store.connection() == Connection::Online);
    game.app.init_resource::<Told>().add_systems(Update, listen);
    game.app.update();
    *game.app.world_mut().resource_mut::<Told>() = Told::default();
    game
}

/// What the game was told, when all that has come is read.
fn told(game: &mut Game) -> Told {
    game.app.update();
    std::mem::take(&mut *game.app.world_mut().resource_mut::<Told>())
}

#[test]
fn pp17_what_another_machine_bought_is_noticed_by_a_game_that_is_running() {
    let shop = Shop::open("1.00EUR");
    shop.play("first").buy_until("shield", OrderState::Granted);
    shop.copy("first", "second");
    let (mut running, mut other) = (polling(&shop, "first"), polling(&shop, "second"));
    assert!(!running.store().owns("double_jump"));

    let jump = other.buy_until("double_jump", OrderState::Granted);
    let shields = other.store_mut().purchase_many("shield", 3).expect("ordered");
    other.wait_for(shields, OrderState::Granted);
    running.until("it notices", |store| store.owns("double_jump") && store.quantity("shield") == 4);
    running.until("the wallet is right", |store| {
        store.wallet().first().is_some_and(|balance| balance.available.to_string() == "0.93")
    });
    let heard = told(&mut running);
    assert_eq!((heard.granted, heard.gained), (vec![jump, shields], vec!["double_jump".to_owned()]));
    assert!(heard.items.contains(&"shield".to_owned()) && heard.lost.is_empty(), "{:?}", heard.items);
    assert_eq!(heard.wallets.last().map(String::as_str), Some("0.93"));
    assert_eq!(running.store_mut().purchase("double_jump"), Err(PurchaseError::AlreadyOwned));

    shop.server().refund(jump).expect("refunded");
    for game in [&mut running, &mut other] {
        game.until("it notices that too", |store| {
            !store.owns("double_jump") && store.wallet()[0].available.to_string() == "0.98"
        });
        let heard = told(game);
        assert_eq!((heard.refunded, heard.lost), (vec![jump], vec!["double_jump".to_owned()]));
        assert_eq!(game.store().quantity("shield"), 4);
    }
    drop((running, other));

    // Who was not there at the time hears it at the next start.
    shop.copy("first", "third");
    let mut latest = polling(&shop, "second");
    latest.buy_until("day_pass", OrderState::Granted);
    drop(latest);
    let mut third = shop.play("third");
    third.until("it notices", |store| store.owns("day_pass"));
    assert_eq!((third.store().quantity("shield"), third.available()), (4, "0.97".to_owned()));
    shop.audit();
}

#[test]
fn pp17_what_happens_elsewhere_is_heard_by_a_game_that_listens_before_the_server_would_let_it_ask_again() {
    let shop = Shop::open("1.00EUR");
    shop.play("first").buy_until("shield", OrderState::Granted);
    shop.copy("first", "second");
    let (mut running, mut other) = (listening(&shop, "first"), listening(&shop, "second"));
    let begun = Instant::now();
    let jump = other.buy_until("double_jump", OrderState::Granted);
    running.until("it notices", |store| store.owns("double_jump"));
    shop.server().refund(jump).expect("refunded");
    for game in [&mut running, &mut other] {
        game.until("it notices that too", |store| !store.owns("double_jump"));
    }
    // A request is held for 25 seconds where there is no news.
    assert!(begun.elapsed() < Duration::from_secs(20), "after {:?}", begun.elapsed());
    shop.audit();
}

#[test]
fn pp17_money_that_was_paid_elsewhere_is_noticed_and_can_be_spent() {
    let shop = Shop::open("0.01EUR");
    let mut game = polling(&shop, "save");
    let declined = game.buy_until("double_jump", OrderState::Declined);
    told(&mut game);
    let account = game.store().account().expect("open").clone();
    let money: Money = "5EUR".parse().expect("money");
    let credit = Credit::paid(account, money).expect("a good source");
    shop.server().operate(Operation::new(OperationId([1; 16]), credit)).expect("is credited");
    game.until("it notices", |store| store.wallet()[0].available.to_string() == "5.01");
    assert_eq!(told(&mut game).wallets, ["5.01"]);
    assert_eq!(game.order(declined).state, OrderState::Declined);
    game.buy_until("double_jump", OrderState::Granted);
    assert_eq!(game.available(), "4.96");
    shop.audit();
}
