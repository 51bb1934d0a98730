#![doc = include_str!("../README.md")]
//!
//! # Where things are
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`protocol`] | what a device, a server and anyone else agree on: money, catalogue, orders, receipts, signatures |
//! | `client` | the purchasing client: a state machine without I/O, and the journal, transport and thread that run it |
//! | `plugin` | the Bevy face: `IapPlugin`, `Store`, messages, run conditions |
//! | `ui` | a finished shop, and its parts, on `bevy_ui` |
//! | `dev` | a sandbox without account, device or network, and a panel for developers |
//! | `server` | the store server, and `iap-server`'s command line |
//!
//! # Troubleshooting
//!
//! *Nothing can be bought:* `Store::availability` says why. *An order stays queued:* `Store::connection` says what the
//! last request met. *The catalogue is refused:* `Store::catalog_trouble` has every mistake with its line and column.
//! *A receipt is not believed after the server moved:* the server's key changed; keep all its files of keys when you move,
//! and change keys with `iap-server keys rotate`, which games follow by themselves.
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]

#[cfg(any(feature = "ui", feature = "server"))]
mod calendar;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "dev")]
pub mod dev;
#[cfg(any(all(feature = "client", not(target_family = "wasm")), feature = "server"))]
mod patient_lock;
#[cfg(feature = "plugin")]
pub mod plugin;
pub mod protocol;
#[cfg(feature = "server")]
pub mod server;
#[cfg(all(test, feature = "client", not(target_family = "wasm")))]
mod simulation;
#[cfg(feature = "ui")]
pub mod ui;

/// What a game that sells something usually names.
#[cfg(feature = "plugin")]
pub mod prelude {
    pub use crate::client::{
        AccountTrouble, AccountView, Asked, Connection, OfflineAllowance, OfflineGrants, OrderState, Persistence,
        PlacedOrder, ServerAddress,
    };
    pub use crate::plugin::{
        AccountError, AccountUpdated, CatalogFailed, CatalogLoaded, ConnectionChanged, ConsumeError, ConsumeRefused,
        EntitlementsChanged, IapPlugin, PurchaseError, PurchaseUpdated, Save, Store, StoreOpened, StoreSystems,
        StoreTrouble, WalletChanged, owns, store_ready,
    };
    pub use crate::protocol::{Currency, Money, OrderId, Product, ProductId, ProductKind};
}
