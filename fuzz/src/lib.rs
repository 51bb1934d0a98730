//! The fuzz targets, and what they share: the parties of the worked example in `docs/protocol.md`, tokens over anything
//! at all, and that document's rules written a second time, to be compared with the crate's.

pub mod json;
pub mod machine;
pub mod model;
pub mod parties;
pub mod targets;

pub use json::Json;
pub use model::Kind;
pub use parties::{PARTIES, Parties, forge};
