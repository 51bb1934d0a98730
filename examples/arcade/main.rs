//! An endless runner made of shapes and light, with a shop that sells for cents and fractions of a cent.
//!
//! `cargo run --example arcade` opens a window. The store's server runs in the same process, on a port of this
//! machine that nobody else uses, and gives every new player 0.20 EUR. What was bought is kept in `target/arcade`.
//! `--fresh` begins with nothing bought, and keeps nothing.
//!
//! `shop.rs` is the whole shop, as far as the game has to do with it. In `game.rs` and `runner.rs`, what was bought is
//! asked of the `Store` where it matters. `../session` is no part of the game: it plays without a window and takes
//! pictures.

mod game;
mod light;
mod runner;
mod screens;
#[path = "../session/headless.rs"]
mod session;
mod shop;
#[path = "../session/shot.rs"]
mod shot;
mod sound;
mod words;

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Termination};

use bevy::prelude::*;
use bevy_iap::prelude::*;
use game::Run;
use session::server::{self, ASSETS, CATALOG, WELCOME};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    session::asked_for(&arguments).unwrap_or_else(|| {
        play(&arguments).unwrap_or_else(|trouble| {
            eprintln!("The demo cannot run: {trouble}");
            ExitCode::FAILURE
        })
    })
}

/// Starts the server and the game, and ends both when the window is closed.
fn play(arguments: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let is_fresh = arguments.iter().any(|argument| argument == "--fresh");
    let temporary = is_fresh.then(tempfile::tempdir).transpose()?;
    let folder = temporary.as_ref().map_or_else(|| PathBuf::from("target/arcade"), |folder| folder.path().to_owned());
    let server = server::start(&folder.join("server"), &Path::new(ASSETS).join(CATALOG), WELCOME)?;

    let window = Window { title: "Neon Dusk".into(), ..default() };
    let window = WindowPlugin { primary_window: Some(window), ..default() };
    let assets = AssetPlugin { file_path: ASSETS.into(), ..default() };
    let store = IapPlugin {
        server: Some(ServerAddress { url: server.url(), keys: vec![server.public_key()] }),
        save: Save::Folder(folder.join("save")),
        offline_grants: OfflineGrants::Provisional,
        ..IapPlugin::new("arcade", CATALOG)
    };
    let mut app = App::new();
    app.add_plugins((DefaultPlugins.set(window).set(assets), store))
        .add_plugins((shop::plugin, screens::plugin, light::plugin, game::plugin, sound::plugin))
        .insert_resource(Run::with_best_of(folder.join("save/best")));
    shot::prepare(&mut app, arguments)?;
    let exit = app.run();
    server.stop();
    Ok(exit.report())
}
