//! The purchasing client: a state machine without I/O, and the adapters that run it.
//!
//! [`machine`] decides everything: it numbers and signs orders, says what to append and what to send, and what the
//! game should hear. [`storage`] makes what it says durable (a [`Session`] is the two together), [`transport`] carries
//! what it sends, and [`worker`] runs them on a thread of their own, with two queues to the game: commands in, updates
//! out. Nothing here knows an
//! engine; [`crate::plugin`] is one user of it.

pub mod account;
pub mod clock;
pub mod inventory;
pub mod journal;
pub mod machine;
pub mod record;
mod seal;
pub(crate) mod seeded;
mod session;
mod sleep;
pub mod storage;
pub mod transport;
pub mod view;
pub mod worker;

pub use account::{AccountTrouble, AccountView, AccountWish, Asked};
pub use clock::{Clock, SystemClock, Tick};
pub use inventory::{Holdings, Ownership, Quantity};
pub use machine::{Input, Machine, Output, Settings};
pub use record::{Record, Signed};
pub use session::{Session, Step};
pub use storage::{Access, Persistence, Storage, StorageError};
pub use transport::{Request, Response, ServerAddress, Transport, TransportError};
pub use view::{
    Connection, OfflineAllowance, OfflineGrants, OrderState, PlacedOrder, RECENT, SignedReceipt, Snapshot, Update,
};
pub use worker::Client;

/// What may be handed from thread to thread, where there are threads: anything that is [`Send`], and in a browser anything.
#[cfg(not(target_family = "wasm"))]
pub trait MaybeSend: Send {}
#[cfg(not(target_family = "wasm"))]
impl<T: Send + ?Sized> MaybeSend for T {}

/// What may be handed from thread to thread, where there are threads: anything that is [`Send`], and in a browser anything.
#[cfg(target_family = "wasm")]
pub trait MaybeSend {}
#[cfg(target_family = "wasm")]
impl<T: ?Sized> MaybeSend for T {}
