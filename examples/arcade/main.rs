//! An endless runner made of shapes and light, with a shop that sells for cents and fractions of a cent.
//!
//! `cargo run --example arcade` opens a window. The store's server runs in the same process, on a port of this
//! machine that nobody else uses, and gives every new player 0.20 EUR. What was bought is kept in `target/arcade`.
//! `--fresh` begins with nothing bought, and keeps nothing. `tools/web serve` has the same game in a browser.
//!
//! `shop.rs` is the whole shop, as far as the game has to do with it. In `game.rs` and `runner.rs`, what was bought is
//! asked of the `Store` where it matters. `../session` is no part of the game: it starts it on a desktop or in a page,
//! plays without a window, and takes pictures.

#[cfg_attr(not(target_family = "wasm"), path = "../session/desktop.rs")]
#[cfg_attr(target_family = "wasm", path = "../session/page.rs")]
mod device;
mod game;
mod light;
mod runner;
mod screens;
mod shop;
mod sound;
#[path = "../session/told.rs"]
mod told;
mod words;

use std::process::ExitCode;

use bevy::asset::AssetMetaCheck;
use bevy::prelude::*;
use bevy_iap::prelude::*;
use game::Run;

/// The catalogue's asset path.
const CATALOG: &str = "arcade.catalog.ron";

fn main() -> ExitCode {
    device::start()
}

/// The game, with its assets in a folder, with a store, and with the best score so far.
fn game(assets: &str, store: IapPlugin, best: u32) -> App {
    let window = Window {
        title: "Neon Dusk".into(),
        // In a page: the canvas to draw on, as large as what it is in.
        canvas: Some("#arcade".into()),
        fit_canvas_to_parent: true,
        ..default()
    };
    let window = WindowPlugin { primary_window: Some(window), ..default() };
    // There are no files beside the assets that say how to load them: a page need not ask for each.
    let assets = AssetPlugin { file_path: assets.into(), meta_check: AssetMetaCheck::Never, ..default() };
    let mut app = App::new();
    app.add_plugins((DefaultPlugins.set(window).set(assets), store))
        .add_plugins((shop::plugin, screens::plugin, light::plugin, game::plugin, sound::plugin))
        .insert_resource(Run::after_best(best));
    app
}
