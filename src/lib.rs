//! In-app purchases for Bevy games.
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]

#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "plugin")]
pub mod plugin;
pub mod protocol;
#[cfg(feature = "server")]
pub mod server;

/// What a game that sells something usually names.
#[cfg(feature = "plugin")]
pub mod prelude {
    pub use crate::client::{Connection, OfflineGrants, OrderState, PlacedOrder, ServerAddress};
    pub use crate::plugin::{
        CatalogFailed, CatalogLoaded, ConnectionChanged, ConsumeError, EntitlementsChanged, IapPlugin, PurchaseError,
        PurchaseUpdated, Save, Store, StoreSystems, StoreTrouble, WalletChanged, owns, store_ready,
    };
    pub use crate::protocol::{Currency, Money, OrderId};
}
