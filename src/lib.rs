//! In-app purchases for Bevy games.
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]

pub mod protocol;

#[cfg(feature = "server")]
pub mod server;
