//! The Bevy face of the client: a plugin, a [`Store`] resource, and news as messages and as events.
//!
//! The worker's updates are taken in [`StoreSystems::Receive`], which runs in `PreUpdate` in frames in which there are
//! any; in all others the plugin's systems do not run. What a message says is already in the [`Store`] when it is
//! read, and stays there for whoever missed it.

mod catalog_asset;
mod conditions;
mod messages;
mod receive;
#[cfg(feature = "reflect")]
mod reflect;
mod store;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bevy::app::{App, Plugin, PreUpdate};
use bevy::ecs::schedule::{IntoScheduleConfigs, SystemSet};

pub use catalog_asset::{CatalogAsset, CatalogLoader};
pub use conditions::{owns, store_ready};
pub use messages::{
    AccountUpdated, CatalogFailed, CatalogLoaded, ConnectionChanged, ConsumeRefused, EntitlementsChanged,
    PurchaseUpdated, StoreOpened, StoreTrouble, WalletChanged,
};
pub use store::{AccountError, ConsumeError, PurchaseError, Store};

use crate::client::machine::Settings;
#[cfg(not(target_family = "wasm"))]
use crate::client::storage::file::FileStorage;
use crate::client::storage::memory::MemoryStorage;
#[cfg(target_family = "wasm")]
use crate::client::storage::web::{IndexedDb, WebStorage};
use crate::client::{Client, Clock, OfflineGrants, ServerAddress, Storage, SystemClock, Transport};
use crate::protocol::{Currency, GameId};

/// In-app purchases for this app. Add it after the asset plugin (`DefaultPlugins` has that).
///
/// ```no_run
/// use bevy::prelude::*;
/// use bevy_iap::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = ServerAddress::new("https://store.example.com", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")?;
/// App::new().add_plugins((
///     DefaultPlugins,
///     IapPlugin { server: Some(server), ..IapPlugin::new("my_game", "my_game.catalog.ron") },
/// ));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct IapPlugin {
    /// The game's name: the same as in its catalogue.
    pub game: String,
    /// The catalogue's asset path.
    pub catalog: String,
    /// The server. None (the default): orders are queued, and stay so.
    pub server: Option<ServerAddress>,
    /// The currency to buy in. EUR by default.
    pub currency: Currency,
    /// When what was ordered is given. By default at once within the allowance that the server set aside for this device,
    /// and with the receipt otherwise.
    pub offline_grants: OfflineGrants,
    /// Whether to begin offline, and send nothing until [`Store::set_offline`] says so. False by default.
    pub offline: bool,
    /// Where the key and the journal are kept. In the player's data folder by default.
    pub save: Save,
    /// Whether the device's key is kept in the keychain of the operating system, with [`Save::PlayerFolder`] and
    /// [`Save::Folder`]. A key that is in the file is moved there, and stays in the file where there is no keychain. False
    /// by default.
    #[cfg(feature = "keychain")]
    pub keychain: bool,
    /// A product bought again within this time is taken for a double tap. A quarter of a second by default.
    pub double_tap: Duration,
    /// Whether to hear at once of what happens elsewhere: a gift, a refund, a purchase on another device. True by
    /// default.
    ///
    /// While there is nothing else to send, the server then holds a request until there is news, for 25 seconds at most,
    /// and is asked again. That is one open connection and one small request in 25 seconds for each running game. On a
    /// phone it keeps the radio awake: nothing beside a screen that is on, but set it to false for a game that goes on
    /// in the background, or have that go offline with [`Store::set_offline`].
    pub listen: bool,
    /// How long after a sync to ask the server for news by itself, where it is not listened to, or does not hold
    /// requests. Five minutes by default.
    pub poll: Duration,
    /// Another way to the server than HTTP. None by default.
    pub transport: Option<Arc<dyn Transport>>,
    /// Time and randomness. The system's by default.
    pub clock: Arc<dyn Clock>,
}

/// Where a game's purchases are kept on the device.
#[derive(Clone, Debug, Default)]
pub enum Save {
    /// In the folder that the system has for a player's data, under the game's name; in a browser, in a database of that
    /// name.
    #[default]
    PlayerFolder,
    /// In this folder; in a browser, in a database of this name.
    Folder(PathBuf),
    /// In memory alone: gone with the process. For tests.
    Memory(MemoryStorage),
}

impl IapPlugin {
    /// The usual settings for a game and its catalogue.
    pub fn new(game: &str, catalog: &str) -> Self {
        Self {
            game: game.to_owned(),
            catalog: catalog.to_owned(),
            server: None,
            currency: Currency::EUR,
            offline_grants: OfflineGrants::default(),
            offline: false,
            save: Save::default(),
            #[cfg(feature = "keychain")]
            keychain: false,
            double_tap: Duration::from_millis(250),
            listen: true,
            poll: Duration::from_secs(300),
            transport: None,
            clock: Arc::new(SystemClock::default()),
        }
    }

    /// Starts the client, or says in words why it cannot.
    fn start(&self) -> Result<Client, String> {
        let game: GameId = self.game.parse().map_err(|error| format!("{error}"))?;
        let storage = self.storage(&game)?;
        let keys = self.server.as_ref().map_or_else(Vec::new, |server| server.keys.clone());
        let Self { offline_grants, currency, offline, listen, poll, .. } = *self;
        let settings = Settings { offline_grants, currency, offline, listen, poll, ..Settings::new(game, keys) };
        Client::start(settings, storage, self.transport()?, self.clock.clone())
            .map_err(|error| format!("the purchasing client cannot be started: {error}"))
    }

    #[cfg(not(target_family = "wasm"))]
    fn storage(&self, game: &GameId) -> Result<Box<dyn Storage>, String> {
        Ok(match &self.save {
            Save::PlayerFolder => self.keep_key(FileStorage::for_game(game).map_err(|error| error.to_string())?),
            Save::Folder(folder) => self.keep_key(FileStorage::new(folder)),
            Save::Memory(memory) => Box::new(memory.clone()),
        })
    }

    #[cfg(target_family = "wasm")]
    fn storage(&self, game: &GameId) -> Result<Box<dyn Storage>, String> {
        Ok(match &self.save {
            Save::PlayerFolder => Box::new(WebStorage::new(IndexedDb::for_game(game))),
            Save::Folder(folder) => Box::new(WebStorage::new(IndexedDb::new(&folder.to_string_lossy()))),
            Save::Memory(memory) => Box::new(memory.clone()),
        })
    }

    /// The storage, with the place for the device's key that is set.
    #[cfg(not(target_family = "wasm"))]
    fn keep_key(&self, storage: FileStorage) -> Box<dyn Storage> {
        #[cfg(feature = "keychain")]
        if self.keychain {
            return Box::new(storage.with_keychain(Box::new(crate::client::storage::keychain::SystemKeychain)));
        }
        Box::new(storage)
    }

    fn transport(&self) -> Result<Option<Arc<dyn Transport>>, String> {
        if self.transport.is_some() {
            return match self.server {
                Some(_) => Ok(self.transport.clone()),
                None => Err("a `transport` is set, but no `server` whose key could be believed".to_owned()),
            };
        }
        match &self.server {
            #[cfg(feature = "http")]
            Some(server) => match crate::client::transport::http::HttpTransport::new(&server.url) {
                Ok(transport) => Ok(Some(Arc::new(transport))),
                Err(error) => Err(error.to_string()),
            },
            #[cfg(not(feature = "http"))]
            Some(_) => Err("a server is set, but neither the feature `http` nor a `transport`".to_owned()),
            None => Ok(None),
        }
    }
}

impl Plugin for IapPlugin {
    fn build(&self, app: &mut App) {
        let client = self.start();
        if let Err(trouble) = &client {
            tracing::error!("nothing can be bought: {trouble}");
        }
        #[cfg(feature = "reflect")]
        reflect::register(app);
        messages::register(app);
        app.insert_resource(Store::new(client, self));
        app.configure_sets(PreUpdate, (StoreSystems::Catalog, StoreSystems::Receive).chain());
        app.add_systems(PreUpdate, receive::receive.in_set(StoreSystems::Receive).run_if(receive::has_news));
        catalog_asset::register(app, &self.game, &self.catalog);
    }
}

/// The plugin's systems, for ordering against them. All run in `PreUpdate`.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreSystems {
    /// A catalogue that was loaded or changed on disk is taken over, or refused.
    Catalog,
    /// The worker's updates are put into the [`Store`], messages written and events triggered.
    Receive,
}
