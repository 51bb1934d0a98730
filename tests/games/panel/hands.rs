//! The shop by mouse, touch, keyboard, gamepad and screen reader: each alone buys, and none by a stray press.

use std::time::Duration;

use bevy::a11y::AccessibilityNode;
use bevy::input::ButtonState;
use bevy::input::touch::TouchPhase;
use bevy::input_focus::tab_navigation::TabIndex;
use bevy::prelude::*;
use bevy::ui::InteractionDisabled;
use bevy_iap::client::OrderState;
use bevy_iap::ui::{Announcer, ShopCommand, ShopSettings};

use super::screen::Screen;
use crate::shop::Shop;

/// Longer than a button must be held.
const HELD: Duration = Duration::from_millis(900);
/// Shorter.
const TAPPED: Duration = Duration::from_millis(120);

fn orders(screen: &Screen) -> usize {
    screen.store().orders().count()
}

fn shield() -> ShopCommand {
    ShopCommand::Show("shield".parse().expect("a name"))
}

fn is_granted(screen: &mut Screen) {
    screen.until("the receipt", |store| store.orders().any(|order| order.state == OrderState::Granted));
    screen.assert_shows("It is yours. The receipt is verified.");
}

#[test]
fn product_is_bought_by_mouse_alone() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::open(&shop, shop.plugin("save"));
    screen.click("Shield.");
    let button = screen.buy_button();
    let at = screen.place(button);
    screen.point(at);
    screen.mouse(ButtonState::Pressed);
    screen.pass(TAPPED);
    screen.mouse(ButtonState::Released);
    screen.pass(HELD);
    assert_eq!(orders(&screen), 0, "a click is no purchase");
    screen.mouse(ButtonState::Pressed);
    screen.pass(TAPPED);
    screen.point(Vec2::new(5.0, 700.0));
    screen.pass(HELD);
    assert_eq!(orders(&screen), 0, "who moves away does not buy");
    screen.mouse(ButtonState::Released);
    screen.point(at);
    screen.mouse(ButtonState::Pressed);
    screen.pass(HELD);
    screen.pass(HELD);
    screen.mouse(ButtonState::Released);
    assert_eq!(orders(&screen), 1, "once, however long it is held");
    is_granted(&mut screen);
    screen.click("Close");
    assert!(screen.texts().is_empty(), "{:?}", screen.texts());
}

#[test]
fn product_is_bought_by_touch_alone() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::open(&shop, shop.plugin("save"));
    let card = screen.control("Shield.");
    let at = screen.place(card);
    screen.touch(TouchPhase::Started, at);
    screen.touch(TouchPhase::Ended, at);
    let button = screen.buy_button();
    let at = screen.place(button);
    screen.touch(TouchPhase::Started, at);
    screen.pass(TAPPED);
    screen.touch(TouchPhase::Ended, at);
    screen.pass(HELD);
    assert_eq!(orders(&screen), 0, "a tap is no purchase");
    screen.touch(TouchPhase::Started, at);
    screen.pass(HELD);
    screen.touch(TouchPhase::Ended, at);
    is_granted(&mut screen);
}

#[test]
fn finger_that_draws_the_page_along_presses_nothing() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::open(&shop, shop.plugin("save"));
    screen.world().resource_mut::<ShopSettings>().text_scale = 2.0;
    screen.resize(360.0, 640.0);
    screen.frames(3);
    let scrolled = |screen: &mut Screen| {
        let world = screen.world();
        let mut pages = world.query_filtered::<&ScrollPosition, With<bevy::ui_widgets::ScrollArea>>();
        pages.single(world).expect("one page").y
    };
    let card = screen.control("Shield.");
    let at = screen.place(card);
    screen.touch(TouchPhase::Started, at);
    for moved in 1..=10 {
        screen.touch(TouchPhase::Moved, at - Vec2::Y * 10.0 * moved as f32);
    }
    screen.touch(TouchPhase::Ended, at - Vec2::Y * 100.0);
    assert!(scrolled(&mut screen) > 50.0, "the page has moved by {}", scrolled(&mut screen));
    screen.assert_shows("Double jump");
    assert_eq!(orders(&screen), 0);
}

#[test]
fn product_is_bought_by_keyboard_alone() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::open(&shop, shop.plugin("save"));
    let first = screen.focus().expect("the first product has the focus");
    assert_eq!(screen.control("Double jump."), first);
    screen.press_key(KeyCode::ArrowRight);
    let shield = screen.control("Shield.");
    assert_eq!(screen.focus(), Some(shield));
    assert!(screen.world().get::<Outline>(shield).is_some(), "the focus is seen");
    screen.press_key(KeyCode::Enter);
    let button = screen.buy_button();
    assert_eq!(screen.focus(), Some(button));
    screen.key(KeyCode::Enter, ButtonState::Pressed);
    screen.pass(TAPPED);
    screen.key(KeyCode::Enter, ButtonState::Released);
    screen.pass(HELD);
    assert_eq!(orders(&screen), 0, "a press is no purchase");
    screen.key(KeyCode::Enter, ButtonState::Pressed);
    screen.pass(HELD);
    screen.key(KeyCode::Enter, ButtonState::Released);
    is_granted(&mut screen);
    screen.press_key(KeyCode::Escape);
    screen.assert_shows("Double jump");
    screen.press_key(KeyCode::Tab);
    assert!(screen.focus().is_some());
    screen.press_key(KeyCode::Escape);
    assert!(screen.texts().is_empty(), "{:?}", screen.texts());
}

#[test]
fn key_that_was_pressed_before_the_button_was_there_does_not_buy() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::open(&shop, shop.plugin("save"));
    screen.press_key(KeyCode::ArrowRight);
    screen.key(KeyCode::Enter, ButtonState::Pressed);
    screen.pass(HELD);
    screen.pass(HELD);
    assert_eq!(orders(&screen), 0, "the press that opened the page is not one that buys");
}

#[test]
fn product_is_bought_by_gamepad_alone() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::open(&shop, shop.plugin("save"));
    let gamepad = screen.connect_gamepad();
    let press = |screen: &mut Screen, button| {
        screen.gamepad_button(gamepad, button, 1.0);
        screen.gamepad_button(gamepad, button, 0.0);
    };
    press(&mut screen, GamepadButton::DPadRight);
    screen.gamepad_button(gamepad, GamepadButton::South, 1.0);
    screen.pass(HELD);
    assert_eq!(orders(&screen), 0, "the press that opened the page is not one that buys");
    screen.gamepad_button(gamepad, GamepadButton::South, 0.0);
    screen.gamepad_button(gamepad, GamepadButton::South, 1.0);
    screen.pass(TAPPED);
    screen.gamepad_button(gamepad, GamepadButton::South, 0.0);
    screen.pass(HELD);
    assert_eq!(orders(&screen), 0, "a press is no purchase");
    screen.gamepad_button(gamepad, GamepadButton::South, 1.0);
    screen.pass(HELD);
    screen.gamepad_button(gamepad, GamepadButton::South, 0.0);
    is_granted(&mut screen);
    press(&mut screen, GamepadButton::East);
    screen.assert_shows("Double jump");
}

#[test]
fn product_is_bought_with_a_screen_reader_by_two_presses() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::open(&shop, shop.plugin("save"));
    let card = screen.control("Shield. €0.005.");
    screen.ask(accesskit::Action::Click, card);
    let button = screen.control("Buy Shield for €0.005. Hold to confirm.");
    screen.ask(accesskit::Action::Focus, button);
    assert_eq!(screen.focus(), Some(button));
    screen.ask(accesskit::Action::Click, button);
    assert_eq!(orders(&screen), 0, "one press asks");
    assert_eq!(screen.control("Press once more to buy for €0.005"), button);
    screen.pass(Duration::from_secs(6));
    screen.ask(accesskit::Action::Click, button);
    assert_eq!(orders(&screen), 0, "a second press much later is a first one again");
    screen.ask(accesskit::Action::Click, button);
    assert_eq!(orders(&screen), 1);
    is_granted(&mut screen);
    let world = screen.world();
    let mut announcers = world.query_filtered::<&AccessibilityNode, With<Announcer>>();
    let announcer = announcers.single(world).expect("one");
    assert_eq!(announcer.live(), Some(accesskit::Live::Polite));
    assert_eq!(announcer.value(), Some("Shield: It is yours. The receipt is verified."));
}

#[test]
fn every_control_and_every_text_has_a_role_and_a_name() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::open(&shop, shop.plugin("save"));
    let pages = [ShopCommand::Open, shield(), ShopCommand::ShowPurchases];
    for page in pages {
        screen.command(page.clone());
        let world = screen.world();
        let mut controls = world.query_filtered::<Option<&AccessibilityNode>, With<TabIndex>>();
        let named = controls.iter(world).inspect(|node| {
            let node = node.expect("a control that a screen reader knows");
            assert_eq!(node.role(), accesskit::Role::Button, "{page:?}");
            assert!(node.label().is_some_and(|label| !label.is_empty()), "{page:?}: a control has no name");
        });
        assert!(named.count() >= 2, "{page:?}");
        let mut texts = world.query::<(&bevy_iap::ui::Part, &Text, &AccessibilityNode)>();
        for (part, text, node) in texts.iter(world) {
            assert_eq!(node.role(), accesskit::Role::Label, "{part:?}");
            assert_eq!(node.value().unwrap_or_default(), text.0, "{part:?}");
        }
    }
}

#[test]
fn what_is_owned_cannot_be_bought_again_and_says_so() {
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::open(&shop, shop.plugin("save"));
    let order = screen.world().resource_mut::<bevy_iap::plugin::Store>().purchase("double_jump").expect("ordered");
    screen.until("the receipt", |store| store.order(order).is_some_and(|it| it.state == OrderState::Granted));
    screen.command(ShopCommand::Show("double_jump".parse().expect("a name")));
    let button = screen.buy_button();
    assert!(screen.world().get::<InteractionDisabled>(button).is_some());
    assert_eq!(screen.part(&bevy_iap::ui::Part::Buy("double_jump".to_owned())), "Yours");
    screen.key(KeyCode::Enter, ButtonState::Pressed);
    screen.pass(HELD);
    assert_eq!(orders(&screen), 1);
}
