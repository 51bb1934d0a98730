//! The game on a desktop, with the store's server in the same process.

#[path = "headless.rs"]
mod session;
#[path = "shot.rs"]
mod shot;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Termination};

use bevy::prelude::*;
use bevy_iap::prelude::*;
use session::server::{self, ASSETS, WELCOME};

use crate::CATALOG;
use crate::game::BestBeaten;

/// Does what the arguments ask for.
pub fn start() -> ExitCode {
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
    let store = IapPlugin {
        server: Some(ServerAddress { url: server.url(), keys: vec![server.public_key()] }),
        save: Save::Folder(folder.join("save")),
        offline_grants: OfflineGrants::Provisional,
        ..IapPlugin::new("arcade", CATALOG)
    };
    let best_file = folder.join("save/best");
    let best = fs::read_to_string(&best_file).ok().and_then(|best| best.trim().parse().ok());
    let mut app = crate::game(ASSETS, store, best.unwrap_or_default());
    app.add_observer(move |beaten: On<BestBeaten>| {
        let written = fs::write(&best_file, beaten.0.to_string());
        written.unwrap_or_else(|error| warn!("the best score is not kept in {}: {error}", best_file.display()));
    });
    shot::prepare(&mut app, arguments)?;
    let exit = app.run();
    server.stop();
    Ok(exit.report())
}
