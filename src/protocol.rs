//! What a device, a server and anyone else agree on: money, the catalogue, orders, receipts and how they are signed.
//!
//! Nothing here does I/O, reads a clock or knows an engine. A game's own back end that only wants to verify a receipt
//! depends on `bevy_iap` without default features and gets this module alone.
//!
//! The formats are written down byte by byte in `docs/protocol.md`.

pub mod account;
pub mod allowance;
pub(crate) mod base64url;
pub mod catalog;
pub mod consumption;
mod count;
pub mod digest;
pub mod envelope;
pub mod keys;
pub mod money;
pub mod name;
pub mod order;
pub mod problem;
pub mod receipt;
pub mod server_keys;
pub mod shares;
pub mod sync;
pub(crate) mod text;

pub use account::{AccountAsk, AccountRequest, AccountResponse, DeviceEntry, DeviceName, LinkCode};
pub use allowance::{Allowance, AllowanceError, AllowanceRequest, AllowanceUse};
pub use catalog::{Catalog, CatalogError, Product, ProductKind};
pub use consumption::{Consumption, ConsumptionReason, ConsumptionReceipt, ConsumptionStatus, FeedReceipt};
pub use digest::Sha256;
pub use envelope::{EnvelopeError, Token};
pub use keys::{Jwk, JwkSet, KeyError, KeyId, PublicKey, SecretKey, TrustError, TrustedKeys};
pub use money::{Currency, Micros, Money, MoneyError};
pub use name::{
    AccountId, AllowanceId, ConsumptionId, CreatorId, EntitlementId, GameId, GroupId, ItemId, LanguageId, NameError,
    OrderId, PolicyId, ProductId, ReceiptId, SourceId,
};
pub use order::{Order, OrderError};
pub use problem::ProblemType;
pub use receipt::{Grant, Reason, Receipt, ReceiptError, Status};
pub use server_keys::{KeyList, KeyListError, ListedKey, ServerKeys};
pub use shares::Share;

/// Seconds since 1970-01-01 00:00 UTC, as in the `iat` claim of a JWT (RFC 7519, section 2, `NumericDate`), whole.
pub type UnixSeconds = i64;
