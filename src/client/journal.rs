//! The journal's format: how records become bytes, and how bytes that a crash left become records again.
//!
//! A header of 16 bytes, then frames: length, CRC-32C, number of the append, kind, payload. What is not written yet is
//! zeroes. The format is given byte by byte in `docs/journal.md`. Nothing here touches a file.

mod frame;
mod scan;

use thiserror::Error;

pub use frame::FrameWriter;
#[cfg(test)]
pub(crate) use scan::without_zeroes;
pub use scan::{Damage, Found, ReadError, Source, read, read_bytes, recover};

/// The version of the format that this code writes. It reads version 1 as well.
pub const VERSION: u32 = 2;
/// The length of the header, in bytes.
pub const HEADER: usize = 16;
/// The longest payload, in bytes.
pub const MAX_PAYLOAD: usize = 1024 * 1024;

const MAGIC: [u8; 8] = *b"IAPJRNL\0";

/// The bytes at the start of every journal.
pub fn header() -> [u8; HEADER] {
    header_of(VERSION)
}

fn header_of(version: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&version.to_le_bytes());
    let sum = crc32c::crc32c(&header[..12]);
    header[12..].copy_from_slice(&sum.to_le_bytes());
    header
}

/// Why bytes are not a journal that this code can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// They do not begin like a journal, and hold nothing that one would.
    #[error("it does not begin like a journal; put it back from a copy, or move it away to start with an empty one")]
    NotAJournal,
    /// A later version wrote it.
    #[error("it was written in format {0}, and this version of the game reads format {VERSION}; update the game")]
    Newer(u32),
}

fn le_u32(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
}
