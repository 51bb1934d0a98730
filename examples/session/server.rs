//! The store's server, in the game's own process: a demo that needs no account, no device and no network.

use std::error::Error;
use std::fs;
use std::path::Path;

pub(crate) use crate::CATALOG;
use bevy_iap::protocol::Catalog;
use bevy_iap::server::{Limits, LocalServer, ServerConfig};

/// Where the catalogue lies, wherever the demo is started from.
pub const ASSETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets");
/// What every new player finds in the wallet.
pub const WELCOME: &str = "0.20EUR";

/// Starts the server with its books in `folder`. It sells what is in the
/// `catalog` file, and gives every new player `welcome`.
pub fn start(folder: &Path, catalog: &Path, welcome: &str) -> Result<LocalServer, Box<dyn Error>> {
    let catalog = Catalog::parse(&catalog.to_string_lossy(), &fs::read_to_string(catalog)?)?;
    // The game that is killed buys faster than any player would, and need not wait for it.
    let limits = Limits { orders_per_device: None, ..Limits::default() };
    let config = ServerConfig { welcome: Some(welcome.parse()?), limits, ..ServerConfig::new(folder, catalog) };
    Ok(LocalServer::start(config)?)
}
