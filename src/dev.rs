//! A sandbox: a real store for a game that is being made, with no account, no device and no network; and a panel that
//! shows what it does.
//!
//! [`Sandbox::start`] runs a real server in the game's own process, in a folder of its own, and [`Sandbox::plugin`] gives
//! an [`IapPlugin`] that buys from it over real HTTP, with a real journal. The sandbox only stands between: it can slow
//! the network down or cut it, lose answers, move the device's clock, and do in the server's books what an operator does.
//! [`SandboxControl`] is the handle to all of that, for tests and for the game; [`DevPanelPlugin`] has buttons for it.
//!
//! ```no_run
//! use bevy::prelude::*;
//! use bevy_iap::dev::{DevPanelPlugin, Sandbox};
//! use bevy_iap::ui::ShopPlugin;
//!
//! # fn main() -> Result {
//! let sandbox = Sandbox::start("assets/my_game.catalog.ron", "1.00EUR")?;
//! App::new()
//!     .add_plugins((DefaultPlugins, sandbox.plugin("my_game", "my_game.catalog.ron")))
//!     .add_plugins((ShopPlugin::default(), DevPanelPlugin::default()))
//!     .insert_resource(sandbox.control())
//!     .run();
//! # Ok(())
//! # }
//! ```
//!
//! **Never in a release.** Nothing of this is in a build without the feature `dev`, which no other feature brings. A game
//! that has it hands every player the till: keep it behind a feature of the game's own, which its release does not set. A
//! sandbox or a panel that starts in a build without debug assertions says so in the log.

mod clock;
mod control;
mod network;
mod panel;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, io};

use thiserror::Error;

pub use self::control::{SandboxControl, SandboxOutcome};
pub use self::network::Network;
pub(crate) use self::panel::DevPanelRoot;
pub use self::panel::{DevAction, DevButton, DevLine, DevPanel, DevPanelPlugin};

use self::clock::SandboxClock;
use self::network::SandboxTransport;
use crate::client::clock::random_bits;
use crate::client::transport::http::HttpTransport;
use crate::client::{ServerAddress, TransportError};
use crate::plugin::{IapPlugin, Save};
use crate::protocol::catalog::CatalogError;
use crate::protocol::{Catalog, MoneyError};
use crate::server::{LocalServer, ServerConfig, ServerError};

/// A store of a game's own, for as long as it is kept: the server stops when the sandbox and all its
/// [`SandboxControl`]s are gone.
#[derive(Debug)]
pub struct Sandbox {
    control: SandboxControl,
    http: HttpTransport,
    address: ServerAddress,
    save: PathBuf,
}

impl Sandbox {
    /// A sandbox in a folder that is removed with it: every start has a new player.
    ///
    /// `catalog` is the path of a catalogue, `assets/my_game.catalog.ron`, or the text of one. `welcome` is what each new
    /// account gets, `1.00EUR`.
    ///
    /// # Errors
    /// Why there is no sandbox, in words.
    pub fn start(catalog: &str, welcome: &str) -> Result<Self, SandboxError> {
        Self::start_at(Folder::temporary()?, catalog, welcome)
    }

    /// A sandbox in this folder, which stays: the next start has the same player, with everything that was bought.
    ///
    /// # Errors
    /// Why there is no sandbox, in words.
    pub fn start_in(folder: impl Into<PathBuf>, catalog: &str, welcome: &str) -> Result<Self, SandboxError> {
        Self::start_at(Folder { path: folder.into(), is_temporary: false }, catalog, welcome)
    }

    fn start_at(folder: Folder, catalog: &str, welcome: &str) -> Result<Self, SandboxError> {
        warn_of_release("a sandbox");
        let catalog = read_catalog(catalog)?;
        let welcome = Some(welcome.parse().map_err(SandboxError::Welcome)?);
        let server =
            LocalServer::start(ServerConfig { welcome, ..ServerConfig::new(folder.path.join("server"), catalog) })?;
        let address = ServerAddress { url: server.url(), keys: vec![server.public_key()] };
        let http = HttpTransport::new(&address.url).map_err(SandboxError::Transport)?;
        let save = folder.path.join("save");
        let control = SandboxControl::start(server, folder).map_err(SandboxError::Thread)?;
        Ok(Self { control, http, address, save })
    }

    /// The plugin of a game that buys in this sandbox: its name, and its catalogue's asset path, as for
    /// [`IapPlugin::new`]. The other fields are the game's to set; one game at a time plays on one [`IapPlugin::save`].
    pub fn plugin(&self, game: &str, catalog: &str) -> IapPlugin {
        let transport = SandboxTransport::new(self.http.clone(), &self.address.url, &self.control);
        IapPlugin {
            server: Some(self.address.clone()),
            save: Save::Folder(self.save.clone()),
            transport: Some(Arc::new(transport)),
            clock: Arc::new(SandboxClock::new(&self.control)),
            ..IapPlugin::new(game, catalog)
        }
    }

    /// The handle to everything that can be done here. Insert it as a resource for the [`DevPanelPlugin`].
    pub fn control(&self) -> SandboxControl {
        self.control.clone()
    }

    /// The server. Its methods block: they are for tests, and not for a game's frames.
    pub fn server(&self) -> &LocalServer {
        self.control.server()
    }
}

/// Says that something is where it should not be, if this may be a release.
fn warn_of_release(what: &str) {
    if !cfg!(debug_assertions) {
        tracing::warn!("{what} for developers is in this build: leave the feature `dev` of `bevy_iap` out of releases");
    }
}

/// A catalogue from a file, or from its own text.
fn read_catalog(catalog: &str) -> Result<Catalog, SandboxError> {
    if !catalog.trim_end().ends_with(".ron") {
        return Ok(Catalog::parse("sandbox.catalog.ron", catalog)?);
    }
    let text = fs::read_to_string(catalog)
        .map_err(|source| SandboxError::CatalogFile { path: Path::new(catalog).to_owned(), source })?;
    Ok(Catalog::parse(catalog, &text)?)
}

/// The folder of a sandbox. It is let go of last, when nothing is open in it.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    is_temporary: bool,
}

impl Folder {
    fn temporary() -> Result<Self, SandboxError> {
        let failed = |path: &Path, source| SandboxError::Folder { path: path.to_owned(), source };
        let parent = std::env::temp_dir();
        let Some(bits) = random_bits() else {
            return Err(failed(&parent, io::Error::other("the system's random source failed")));
        };
        let path = parent.join(format!("bevy_iap-sandbox-{:032x}", u128::from_be_bytes(bits)));
        // Not with its parents: nobody else's folder is taken for it.
        fs::create_dir(&path).map_err(|source| failed(&path, source))?;
        Ok(Self { path, is_temporary: true })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!("the sandbox's folder `{}` stays: {error}", self.path.display());
        }
    }
}

/// Why there is no sandbox.
#[derive(Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The catalogue cannot be read.
    #[error("the catalogue `{}` cannot be read: {source}; write a path from the folder that the game runs in", path.display())]
    CatalogFile {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The catalogue is not one: every mistake with its line and column.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The welcome credit is no amount.
    #[error("the welcome credit: {0}")]
    Welcome(MoneyError),
    /// There is no temporary folder to be had.
    #[error("the folder `{}` cannot be made: {source}; pass one that can be written to `Sandbox::start_in`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The server does not start.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The server cannot be asked over HTTP.
    #[error(transparent)]
    Transport(TransportError),
    /// The operating system gave no thread.
    #[error("the sandbox's thread could not be started: {0}")]
    Thread(io::Error),
}

/// As `Display`: it is what `main` shows of an error that it returns.
impl fmt::Debug for SandboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
