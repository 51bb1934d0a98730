//! The catalogue as a file that a game loads: taken over, reloaded, or refused with its mistakes told.

use std::fs;
use std::path::Path;

use crate::shop::Game;
use bevy::asset::AssetPlugin;
use bevy::prelude::*;
use bevy_iap::client::storage::memory::MemoryStorage;
use bevy_iap::plugin::{CatalogFailed, CatalogLoaded, IapPlugin, PurchaseError, Save};

#[derive(Resource, Default)]
struct Heard {
    loaded: usize,
    failed: Vec<String>,
}

fn game(folder: &Path) -> Game {
    let plugin =
        IapPlugin { save: Save::Memory(MemoryStorage::default()), ..IapPlugin::new("test_game", "test.catalog.ron") };
    let mut app = App::new();
    let assets = AssetPlugin {
        file_path: folder.display().to_string(),
        watch_for_changes_override: Some(true),
        ..AssetPlugin::default()
    };
    app.add_plugins((TaskPoolPlugin::default(), assets, plugin)).init_resource::<Heard>();
    app.add_observer(|_: On<CatalogLoaded>, mut heard: ResMut<Heard>| heard.loaded += 1);
    app.add_systems(Update, |mut news: MessageReader<CatalogFailed>, mut heard: ResMut<Heard>| {
        heard.failed.extend(news.read().map(|news| news.reason.clone()));
    });
    app.finish();
    app.cleanup();
    Game { app }
}

fn refused(text: &str) -> (Game, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("test.catalog.ron"), text).expect("written");
    let mut game = game(folder.path());
    game.until("it is refused", |store| store.catalog_trouble().is_some());
    let reason = game.store().catalog_trouble().expect("refused").to_owned();
    (game, reason)
}

#[test]
fn broken_ron_is_told_with_file_line_and_column() {
    let (mut game, reason) =
        refused("Catalog(\n    game: \"test_game\",\n    products: {\n        \"shield\" Consumable()\n    }\n)");
    assert!(reason.starts_with("test.catalog.ron:4:"), "{reason}");
    game.until("it can say why", |store| store.account().is_some());
    let error = game.store_mut().purchase("shield");
    assert!(matches!(&error, Err(PurchaseError::CatalogFailed { reason: told }) if *told == reason), "{error:?}");
    assert_eq!(game.app.world().resource::<Heard>().failed, [reason]);
}

#[test]
fn an_unknown_currency_and_a_negative_price_are_told_together() {
    let text = crate::shop::CATALOG
        .replace("{ \"EUR\": \"0.05\" }", "{ \"EURO\": \"0.05\" }")
        .replace("\"0.005\"", "\"-0.005\"");
    let (_, reason) = refused(&text);
    assert!(reason.contains(r#"product "double_jump": "EURO" is not an ISO 4217 currency code"#), "{reason}");
    assert!(reason.contains(r#"product "shield": price "-0.005" is negative (write 0.005)"#), "{reason}");
}

#[test]
fn pp14_a_catalogue_that_is_not_there_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut game = game(folder.path());
    game.until("it is refused", |store| store.catalog_trouble().is_some());
    assert!(game.store().catalog_trouble().expect("refused").contains("test.catalog.ron"));
}

#[test]
fn a_catalogue_of_another_game_is_refused() {
    let (_, reason) = refused(&crate::shop::CATALOG.replace("test_game", "other_game"));
    assert!(reason.contains("other_game") && reason.contains("test_game"), "{reason}");
}

#[test]
fn a_change_on_disk_is_taken_over_and_a_bad_one_keeps_the_last_good() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("test.catalog.ron");
    fs::write(&file, crate::shop::CATALOG).expect("written");
    let mut game = game(folder.path());
    let price = |store: &bevy_iap::plugin::Store| store.price("shield").map(|price| price.to_string());
    game.until("it is loaded", |store| price(store).as_deref() == Some("0.005 EUR"));

    fs::write(&file, crate::shop::CATALOG.replace("0.005", "0.007")).expect("written");
    game.until("it is reloaded", |store| price(store).as_deref() == Some("0.007 EUR"));

    fs::write(&file, crate::shop::CATALOG.replace("0.005", "0,009")).expect("written");
    game.until("it is refused", |store| store.catalog_trouble().is_some());
    assert_eq!(price(game.store()).as_deref(), Some("0.007 EUR"), "the last good one stays");
    assert!(game.store().catalog_trouble().expect("refused").contains("(write 0.009)"));

    fs::write(&file, crate::shop::CATALOG.replace("0.005", "0.009")).expect("written");
    game.until("it is mended", |store| price(store).as_deref() == Some("0.009 EUR"));
    assert_eq!(game.store().catalog_trouble(), None);
    assert!(game.app.world().resource::<Heard>().loaded >= 3);
}
