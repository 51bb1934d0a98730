//! An endless runner made of shapes and light, with a shop that sells for cents and fractions of a cent.
//!
//! `cargo run --example arcade` opens a window. The store's server runs in the same process, on a port of this
//! machine that nobody else uses, and gives every new player 0.20 EUR. What was bought is kept in `target/arcade`.
//!
//! | key | what it does |
//! | --- | --- |
//! | Space, arrow up, W, click | jump; twice, once the double jump is bought |
//! | Tab | open or close the shop; the game waits meanwhile |
//! | 1 to 5, click on a card | buy; the keys work while running, too |
//! | O | go offline, or back: what is bought meanwhile is yours provisionally |
//!
//! | argument | what it does |
//! | --- | --- |
//! | `--headless` | play without a window; also what happens where there is no display |
//! | `--kills COUNT` | kill the game while it buys, that many times, and compare with the server's books |
//! | `--fresh` | begin with nothing bought, and keep nothing |
//! | `--shot FILE SECONDS` | play by itself, write a picture of the window after that time and leave |
//! | `--script 1.0:tab,2.0:1` | press these keys at these seconds: `tab`, `space`, `o` and `1` to `5` |

mod arguments;
mod game;
mod headless;
mod look;
mod palette;
mod perks;
mod server;
mod shop;
mod shot;
mod strip;

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Termination};

use arguments::{Arguments, Mode, USAGE};
use bevy::prelude::*;
use bevy::window::WindowResolution;
use bevy_iap::prelude::*;
use game::GamePlugin;

/// Where the catalogue lies, wherever the demo is started from.
const ASSETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets");
const CATALOG: &str = "arcade.catalog.ron";

fn main() -> ExitCode {
    let arguments = match Arguments::read(env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(mistake) => {
            eprintln!("{mistake}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match arguments.mode {
        Mode::Headless => return headless::play(),
        Mode::Client(client) => return headless::client(&client),
        Mode::Kills(count) => return headless::kills(count),
        Mode::Window if !has_display() => {
            println!("There is no display here, so the demo plays without a window.");
            return headless::play();
        }
        Mode::Window => {}
    }
    play(arguments).unwrap_or_else(|trouble| {
        eprintln!("The demo cannot run: {trouble}");
        ExitCode::FAILURE
    })
}

fn has_display() -> bool {
    !cfg!(target_os = "linux") || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| env::var_os(name).is_some())
}

/// Starts the server and the game, and ends both when the window is closed.
fn play(arguments: Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let temporary = arguments.fresh.then(tempfile::tempdir).transpose()?;
    let folder = temporary.as_ref().map_or_else(|| PathBuf::from("target/arcade"), |folder| folder.path().to_owned());
    let server = server::start(&folder.join("server"), &Path::new(ASSETS).join(CATALOG), server::WELCOME)?;
    let store = IapPlugin {
        server: Some(ServerAddress { url: server.url(), keys: vec![server.public_key()] }),
        save: Save::Folder(folder.join("save")),
        offline_grants: OfflineGrants::Provisional,
        ..IapPlugin::new("arcade", CATALOG)
    };

    let window = Window { title: "Arcade".into(), resolution: WindowResolution::new(1280, 720), ..default() };
    let window = WindowPlugin { primary_window: Some(window), ..default() };
    let assets = AssetPlugin { file_path: ASSETS.into(), ..default() };
    let mut app = App::new();
    app.add_plugins((DefaultPlugins.set(window).set(assets), GamePlugin, store)).add_plugins((
        perks::plugin,
        shop::plugin,
        strip::plugin,
    ));
    shot::prepare(&mut app, arguments.shot, arguments.script);
    let exit = app.run();
    server.stop();
    Ok(exit.report())
}
