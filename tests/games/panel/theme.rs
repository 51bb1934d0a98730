//! The look of the shop, from a file that is changed while the game runs.

use std::fs;

use bevy::prelude::*;
use bevy_iap::ui::{ShopCommand, Skin, Theme};

use super::log;
use super::screen::Screen;
use crate::shop::Shop;

/// The ground of the panel, as it is drawn.
fn ground(screen: &mut Screen) -> Color {
    let world = screen.world();
    let mut boxes = world.query::<(&Skin, &BackgroundColor)>();
    boxes.iter(world).find(|(skin, _)| **skin == Skin::Panel).map(|(_, ground)| ground.0).expect("a panel")
}

fn is(color: &str) -> impl FnMut(&mut Screen) -> bool {
    let color = Color::from(Srgba::hex(color).expect("a colour"));
    move |screen| ground(screen) == color
}

/// What the shop says of a file that it does not take.
fn refusals(file: &str) -> Vec<String> {
    let lines = log::lines_with("the shop keeps its last theme").into_iter();
    lines.filter(|line| line.contains(file)).collect()
}

#[test]
fn theme_follows_its_file_and_a_broken_one_keeps_the_last_good_and_says_why() {
    log::listen();
    let shop = Shop::open("1.00EUR");
    let file = shop.folder.path().join("assets/followed.theme.ron");
    fs::write(&file, "Theme(colors: (panel: \"#102030\"))").expect("written");
    let mut screen = Screen::start_with_theme(&shop, shop.plugin("save"), Some("followed.theme.ron"));
    screen.until("the shop is ready", |store| store.is_ready());
    screen.command(ShopCommand::Open);
    screen.wait("the theme is loaded", is("#102030"));

    fs::write(&file, "Theme(colors: (panel: \"#203010\"), text: (title: 40.0))").expect("written");
    screen.wait("the theme is reloaded", is("#203010"));
    assert_eq!(screen.world().resource::<Theme>().text.title, 40.0);

    fs::write(&file, "Theme(colors: (panel: \"blue\"))").expect("written");
    screen.wait("the theme is refused", |_| !refusals("followed.theme.ron").is_empty());
    let why = refusals("followed.theme.ron").join(" ");
    assert!(why.contains("1:24-1:29: \"blue\" is not a colour"), "it says where and why: {why}");
    assert!(is("#203010")(&mut screen), "the last good one stays");

    fs::write(&file, "Theme(colors: (panel: \"#301020\"))").expect("written");
    screen.wait("the theme is mended", is("#301020"));
    assert_eq!(screen.world().resource::<Theme>().text, Theme::default().text, "and has nothing of the one before");
}

#[test]
fn broken_file_takes_nothing_from_a_theme_that_the_game_has_set() {
    log::listen();
    let shop = Shop::open("1.00EUR");
    let file = shop.folder.path().join("assets/beside.theme.ron");
    fs::write(&file, "Theme(colors: (panel: \"#102030\"))").expect("written");
    let mut screen = Screen::start_with_theme(&shop, shop.plugin("save"), Some("beside.theme.ron"));
    screen.until("the shop is ready", |store| store.is_ready());
    screen.command(ShopCommand::Open);
    screen.wait("the theme is loaded", is("#102030"));
    let own = Color::from(Srgba::hex("#0a0b0c").expect("a colour"));
    screen.world().resource_mut::<Theme>().colors.panel = own;
    fs::write(&file, "Theme(space: -1.0)").expect("written");
    screen.wait("the theme is refused", |_| !refusals("beside.theme.ron").is_empty());
    let why = refusals("beside.theme.ron").join(" ");
    assert!(why.contains("the theme's `space` is out of range"), "{why}");
    assert!(is("#0a0b0c")(&mut screen));
}

#[test]
fn theme_that_is_hard_to_read_is_told_of_once() {
    log::listen();
    let shop = Shop::open("1.00EUR");
    let mut screen = Screen::open(&shop, shop.plugin("save"));
    let told = || log::lines_with("`text on card` of 1.0").len();
    assert_eq!(told(), 0);
    let mut theme = screen.world().resource_mut::<Theme>();
    theme.colors.text = theme.colors.card;
    screen.frames(3);
    assert_eq!(told(), 1);
    for radius in [1.0, 2.0, 3.0] {
        screen.world().resource_mut::<Theme>().radius = radius;
        screen.frames(2);
    }
    assert_eq!(told(), 1, "not for each change of it");
}
