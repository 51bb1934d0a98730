//! Where the focus goes: by a gamepad's stick, and back to the game when the shop is closed.

use std::time::Duration;

use bevy::input_focus::{FocusCause, InputFocus, InputFocusVisible};
use bevy::prelude::*;
use bevy::ui_widgets::Button;
use bevy_iap::ui::{Control, ShopCommand, Skin};

use super::screen::Screen;
use crate::shop::Shop;

/// The game with the shop closed, and with two buttons of its own, of which the second has the focus.
fn game(shop: &Shop) -> (Screen, [Entity; 2]) {
    let mut screen = Screen::start(shop, shop.plugin("save"));
    screen.until("the shop is ready", |store| store.is_ready());
    let button = || (Skin::Button, Button, Control, Node { width: px(100), height: px(40), ..default() });
    let buttons = [screen.world().spawn(button()).id(), screen.world().spawn(button()).id()];
    screen.world().resource_mut::<InputFocusVisible>().0 = true;
    screen.world().resource_mut::<InputFocus>().set(buttons[1], FocusCause::Navigated);
    screen.frames(3);
    (screen, buttons)
}

#[test]
fn closed_shop_gives_the_focus_back_to_what_had_it() {
    let shop = Shop::open("1.00EUR");
    let (mut screen, [_, second]) = game(&shop);
    for close in [KeyCode::Escape, KeyCode::Enter] {
        screen.command(ShopCommand::Open);
        assert_ne!(screen.focus(), Some(second), "the shop has it while it is open");
        // A click hides the focus, which was seen before.
        screen.click("Shield.");
        screen.press_key(KeyCode::Escape);
        if close == KeyCode::Enter {
            let button = screen.control("Close");
            screen.world().resource_mut::<InputFocus>().set(button, FocusCause::Navigated);
        }
        screen.press_key(close);
        assert!(screen.texts().is_empty(), "{:?}", screen.texts());
        assert_eq!(screen.focus(), Some(second), "{close:?}");
        assert!(screen.world().get::<Outline>(second).is_some(), "and it is seen");
    }
}

#[test]
fn focus_that_the_game_has_moved_meanwhile_stays_where_it_is() {
    let shop = Shop::open("1.00EUR");
    let (mut screen, [first, _]) = game(&shop);
    screen.command(ShopCommand::Open);
    screen.world().resource_mut::<InputFocus>().set(first, FocusCause::Navigated);
    screen.command(ShopCommand::Close);
    assert_eq!(screen.focus(), Some(first));
}

#[test]
fn focus_of_what_is_gone_is_nobodys() {
    let shop = Shop::open("1.00EUR");
    let (mut screen, [_, second]) = game(&shop);
    screen.command(ShopCommand::Open);
    screen.world().despawn(second);
    screen.command(ShopCommand::Close);
    assert_eq!(screen.focus(), None);
}

#[test]
fn gamepads_stick_moves_the_focus_once_for_each_push() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::open(&shop, shop.plugin("save"));
    let gamepad = screen.connect_gamepad();
    let [jump, shield, pass] = ["Double jump.", "Shield.", "Day pass."].map(|label| screen.control(label));
    assert_eq!(screen.focus(), Some(jump));
    screen.left_stick(gamepad, 0.3, 0.0);
    assert_eq!(screen.focus(), Some(jump), "a stick that is not quite at rest moves nothing");
    screen.left_stick(gamepad, 0.9, 0.2);
    assert_eq!(screen.focus(), Some(shield));
    screen.pass(Duration::from_secs(2));
    screen.left_stick(gamepad, 0.6, 0.2);
    screen.left_stick(gamepad, 0.9, 0.2);
    assert_eq!(screen.focus(), Some(shield), "it was not let go of");
    screen.left_stick(gamepad, 0.1, 0.0);
    screen.left_stick(gamepad, 1.0, 0.0);
    assert_eq!(screen.focus(), Some(pass));
    screen.left_stick(gamepad, 0.0, 0.0);
    screen.left_stick(gamepad, -0.9, 0.2);
    assert_eq!(screen.focus(), Some(shield));
    screen.left_stick(gamepad, 0.0, 0.0);
    screen.left_stick(gamepad, 0.2, 0.9);
    let above = screen.focus().expect("something");
    assert!([jump, shield, pass].iter().all(|card| *card != above), "up is to the header");
    screen.left_stick(gamepad, 0.0, 0.0);
    screen.left_stick(gamepad, 0.2, -0.9);
    assert_ne!(screen.focus(), Some(above), "and down is back");
}

#[test]
fn push_that_began_before_the_page_was_there_moves_nothing() {
    let shop = Shop::open("1.00EUR");
    let (mut screen, _) = game(&shop);
    let gamepad = screen.connect_gamepad();
    screen.left_stick(gamepad, 0.0, 0.0);
    screen.command(ShopCommand::Open);
    screen.command(ShopCommand::Close);
    // Who runs to the right, and opens the shop.
    screen.world().resource_mut::<InputFocus>().clear();
    screen.left_stick(gamepad, 1.0, 0.0);
    screen.command(ShopCommand::Open);
    screen.pass(Duration::from_secs(1));
    let jump = screen.control("Double jump.");
    assert_eq!(screen.focus(), Some(jump));
    screen.left_stick(gamepad, 0.0, 0.0);
    screen.left_stick(gamepad, 1.0, 0.0);
    let shield = screen.control("Shield.");
    assert_eq!(screen.focus(), Some(shield));
}
