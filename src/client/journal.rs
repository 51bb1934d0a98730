//! The journal's format: how records become bytes, and how bytes that a crash left become records again.
//!
//! A header of 16 bytes, then frames: length, CRC-32C, kind, payload. What is not written yet is zeroes. The format is
//! given byte by byte in `docs/journal.md`. Nothing here touches a file.

use thiserror::Error;

use super::record::Record;

/// The version of the format that this code writes.
pub const VERSION: u32 = 1;
/// The length of the header, in bytes.
pub const HEADER: usize = 16;
/// The longest payload, in bytes.
pub const MAX_PAYLOAD: usize = 1024 * 1024;

const MAGIC: [u8; 8] = *b"IAPJRNL\0";
/// Length and CRC-32C (four bytes each, little-endian), and kind (one byte).
const FRAME: usize = 9;

/// The bytes at the start of every journal.
pub fn header() -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let sum = crc32c::crc32c(&header[..12]);
    header[12..].copy_from_slice(&sum.to_le_bytes());
    header
}

/// Appends a record's frame to `bytes`.
pub fn write_frame(record: &Record, bytes: &mut Vec<u8>) {
    let payload = record.payload();
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&frame_sum(length, record.kind(), &payload).to_le_bytes());
    bytes.push(record.kind());
    bytes.extend_from_slice(&payload);
}

fn frame_sum(length: [u8; 4], kind: u8, payload: &[u8]) -> u32 {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&length), &[kind]);
    crc32c::crc32c_append(sum, payload)
}

/// What was found in the bytes of a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Where the next frame goes: the end of the longest valid prefix.
    pub end: usize,
    /// How many bytes past `end` are not zero: a frame that a crash cut short, never acknowledged.
    pub torn: usize,
    /// Damage in the middle, with valid frames after it.
    pub damage: Option<Damage>,
}

/// Bytes in the middle of a journal that are no frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it starts.
    pub offset: usize,
    /// How many records were found after it; they are in [`Recovered::records`] as well.
    pub salvaged: usize,
}

/// Why bytes are not a journal that this code can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// They do not begin like a journal.
    #[error("it does not begin like a journal; put it back from a copy, or move it away to start with an empty one")]
    NotAJournal,
    /// A later version wrote it.
    #[error("it was written in format {0}, and this version of the game reads format {VERSION}; update the game")]
    Newer(u32),
}

/// Reads a journal, keeping the longest valid prefix and whatever is valid after damage in the middle.
///
/// A header that a crash cut short, with nothing after it, is an empty journal.
///
/// # Errors
/// The bytes are not a journal, or a newer one; they must be left as they are.
pub fn recover(bytes: &[u8]) -> Result<Recovered, FormatError> {
    let expected = header();
    if bytes.len() < HEADER || bytes[..HEADER] != expected {
        let start = &bytes[..bytes.len().min(HEADER)];
        let cut = start.iter().zip(&expected).take_while(|(found, wanted)| found == wanted).count();
        if bytes[cut..].iter().all(|&byte| byte == 0) {
            return Ok(Recovered::default());
        }
        if start.len() == HEADER && start[..8] == MAGIC {
            let version = le_u32(&start[8..12]);
            let sum_is_right = crc32c::crc32c(&start[..12]) == le_u32(&start[12..]);
            return Err(if sum_is_right { FormatError::Newer(version) } else { FormatError::NotAJournal });
        }
        return Err(FormatError::NotAJournal);
    }

    let mut found = Recovered { end: HEADER, ..Recovered::default() };
    while let Some((record, next)) = frame_at(bytes, found.end) {
        found.records.push(record);
        found.end = next;
    }
    let rest = &bytes[found.end.min(bytes.len())..];
    found.torn = rest.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let salvaged = salvage(&bytes[..found.end + found.torn], found.end + 1);
    if !salvaged.is_empty() {
        found.damage = Some(Damage { offset: found.end, salvaged: salvaged.len() });
        found.records.extend(salvaged);
    }
    Ok(found)
}

/// The record whose frame starts at `offset`, and where the next one would start.
fn frame_at(bytes: &[u8], offset: usize) -> Option<(Record, usize)> {
    let frame = bytes.get(offset..offset.checked_add(FRAME)?)?;
    let length: [u8; 4] = frame[..4].try_into().ok()?;
    let size = usize::try_from(u32::from_le_bytes(length)).ok()?;
    if size == 0 || size > MAX_PAYLOAD {
        return None;
    }
    let next = offset + FRAME + size;
    let payload = bytes.get(offset + FRAME..next)?;
    if frame_sum(length, frame[8], payload) != le_u32(&frame[4..8]) {
        return None;
    }
    Some((Record::read(frame[8], payload)?, next))
}

/// Every valid frame from `offset` on, wherever it starts.
fn salvage(bytes: &[u8], mut offset: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while offset + FRAME < bytes.len() {
        match frame_at(bytes, offset) {
            Some((record, next)) => {
                records.push(record);
                offset = next;
            }
            None => offset += 1,
        }
    }
    records
}

fn le_u32(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Token;

    fn order(text: &str) -> Record {
        Record::Order(Token::from_text(text))
    }

    fn journal(records: &[Record]) -> Vec<u8> {
        let mut bytes = header().to_vec();
        for record in records {
            write_frame(record, &mut bytes);
        }
        bytes
    }

    #[test]
    fn a_journal_cut_at_every_byte_of_its_last_record_opens() {
        let kept = journal(&[order("first"), order("second")]);
        let whole = journal(&[order("first"), order("second"), order("third")]);
        for cut in kept.len()..whole.len() {
            for tail in [0, 7, 100] {
                let mut bytes = whole[..cut].to_vec();
                bytes.resize(cut + tail, 0);
                let found = recover(&bytes).expect("opens");
                assert_eq!(found.records, [order("first"), order("second")], "cut at {cut}");
                assert_eq!((found.end, found.damage), (kept.len(), None), "cut at {cut}");
            }
        }
        assert_eq!(recover(&whole).expect("opens").records.len(), 3);
    }

    #[test]
    fn a_header_cut_short_is_an_empty_journal() {
        for cut in 0..HEADER {
            assert_eq!(recover(&header()[..cut]), Ok(Recovered::default()), "cut at {cut}");
        }
    }

    #[test]
    fn damage_in_the_middle_is_reported_and_the_rest_salvaged() {
        let mut bytes = journal(&[order("first"), order("second"), order("third")]);
        let second = journal(&[order("first")]).len();
        bytes[second + FRAME] ^= 1;
        let found = recover(&bytes).expect("opens");
        assert_eq!(found.records, [order("first"), order("third")]);
        assert_eq!(found.damage, Some(Damage { offset: second, salvaged: 1 }));
    }

    #[test]
    fn a_file_of_another_kind_and_a_newer_version_are_refused() {
        assert_eq!(recover(b"PNG, perhaps, or anything else"), Err(FormatError::NotAJournal));
        let mut newer = header();
        newer[8] = 9;
        let sum = crc32c::crc32c(&newer[..12]).to_le_bytes();
        newer[12..].copy_from_slice(&sum);
        assert_eq!(recover(&newer), Err(FormatError::Newer(9)));
    }
}
