//! The shop's parts, alone in a game's own screen.

use bevy_iap::client::{Connection, OfflineGrants};
use bevy_iap::plugin::{IapPlugin, Store};
use bevy_iap::ui::{Part, Words, balance_label, buy_button_without_price};

use super::screen::Screen;
use crate::shop::Shop;

#[test]
fn wallet_says_what_is_held_for_offline() {
    let shop = Shop::open("1.00EUR");
    let plugin = IapPlugin { offline_grants: OfflineGrants::Allowance, ..shop.plugin("save") };
    let mut screen = Screen::start(&shop, plugin);
    screen.world().spawn(balance_label());
    screen.until("a fifth is set aside", |store| {
        store.offline_allowance().is_some() && store.wallet().first().is_some_and(|it| it.held.value() == 200_000)
    });
    assert_eq!(screen.part(&Part::Balance), "€0.80 · €0.20 held for offline");
    screen.world().resource_mut::<Store>().set_offline(true).expect("heard");
    screen.until("it is offline", |store| *store.connection() == Connection::Offline);
    screen.world().resource_mut::<Store>().purchase("shield").expect("ordered");
    screen.until("less is left", |store| store.offline_allowance().is_some_and(|it| it.left.micros.value() == 195_000));
    assert_eq!(screen.part(&Part::Balance), "€0.80 · €0.20 held, €0.195 of it for offline");
    screen.world().insert_resource(Words::new("ko"));
    screen.frames(3);
    assert_eq!(screen.part(&Part::Balance), "€0.80 · €0.20 보류 (오프라인 €0.195)");
}

#[test]
fn wallet_says_only_that_it_is_held_where_it_is_for_something_else() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::start(&shop, shop.plugin("save"));
    screen.world().spawn(balance_label());
    screen.until("the wallet is heard of", |store| !store.wallet().is_empty());
    assert_eq!(screen.part(&Part::Balance), "€1.00");
    let account = screen.store().account().expect("an account").clone();
    shop.hold_everything(&account);
    screen.store().sync_now();
    screen.until("it is held", |store| store.wallet().first().is_some_and(|it| it.held.value() > 0));
    assert_eq!(screen.part(&Part::Balance), "€0.00 · €1.00 held");
}

#[test]
fn button_without_a_price_tells_it_to_those_who_do_not_see_it() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::start(&shop, shop.plugin("save"));
    screen.until("the shop is ready", |store| store.is_ready());
    screen.world().spawn(buy_button_without_price("shield"));
    screen.frames(3);
    assert_eq!(screen.texts(), ["Hold to buy"]);
    let button = screen.buy_button();
    assert_eq!(screen.control("Buy Shield for €0.005. Hold to confirm."), button);
    screen.ask(accesskit::Action::Click, button);
    assert_eq!(screen.texts(), ["Press once more to buy for €0.005"]);
}
