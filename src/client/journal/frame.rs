//! One frame: a record with its length, its sum, the number of its append, and its kind.

use bytes::Bytes;

use super::{MAX_PAYLOAD, le_u32};
use crate::client::record::Record;
use crate::client::seeded::{Bug, seeded};

/// Set in the byte of the kind of the last frame of an append.
const LAST: u8 = 0x80;

/// Which frames a journal holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Length and CRC-32C (four bytes each, little-endian), and kind (one byte).
    V1,
    /// The same with the number of the append (four bytes, little-endian) before the kind.
    V2,
}

impl Format {
    pub(super) fn head(self) -> usize {
        match self {
            Self::V1 => 9,
            Self::V2 => 13,
        }
    }
}

/// A frame that was read.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) record: Record,
    /// The number of the append it was written in; always 0 in format 1.
    pub(super) append: u32,
    /// Whether it is the last of that append; always in format 1.
    pub(super) last: bool,
    /// How long it is, in bytes.
    pub(super) length: usize,
}

/// How many bytes the frame at the start of `bytes` says it has, if it says so in a way that can be.
pub(super) fn length(format: Format, bytes: &[u8]) -> Option<usize> {
    let size = usize::try_from(le_u32(bytes.get(..4)?)).ok()?;
    (1..=MAX_PAYLOAD).contains(&size).then_some(format.head() + size)
}

/// The frame at this place of `bytes`, if there is a valid one. What is long in its record shares them.
pub(super) fn read(format: Format, bytes: &Bytes, start: usize) -> Option<Frame> {
    let length = length(format, bytes.get(start..)?)?;
    let frame = bytes.get(start..start + length)?;
    let (head, payload) = frame.split_at(format.head());
    let kind = head[format.head() - 1];
    if sum_of(frame) != le_u32(&head[4..8]) && !seeded(Bug::SkipChecksum) {
        return None;
    }
    let (record, append, last) = match format {
        Format::V1 => (Record::read_unsealed(kind, payload)?, 0, true),
        Format::V2 => {
            let record = Record::read(kind & !LAST, bytes.slice_ref(payload))?;
            (record, le_u32(&head[8..12]), kind & LAST != 0)
        }
    };
    Some(Frame { record, append, last, length })
}

/// The sum of all of a frame but the four bytes that hold it.
fn sum_of(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), &frame[8..])
}

/// Writes appends as frames, and numbers them.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameWriter {
    appends: u32,
}

impl FrameWriter {
    /// A writer that goes on after the append of this number.
    pub fn after(append: u32) -> Self {
        Self { appends: append }
    }

    /// The bytes of one append.
    pub fn append(&mut self, records: &[Record], bytes: &mut Vec<u8>) {
        self.appends = self.appends.wrapping_add(1);
        let dropped = usize::from(seeded(Bug::DropLastOfAppend) && records.len() > 1);
        let records = &records[..records.len() - dropped];
        for (place, record) in records.iter().enumerate() {
            let start = bytes.len();
            let payload = start + Format::V2.head();
            bytes.resize(payload, 0);
            record.write_payload(bytes);
            let last = if place + 1 == records.len() { LAST } else { 0 };
            // No record is near the limit of its length: an answer has one, and its receipts have their own.
            let length = u32::try_from(bytes.len() - payload).unwrap_or(u32::MAX).to_le_bytes();
            let [a, b, c, d] = self.appends.to_le_bytes();
            let numbered = [a, b, c, d, record.kind() | last];
            bytes[start..start + 4].copy_from_slice(&length);
            bytes[start + 8..payload].copy_from_slice(&numbered);
            let sum = sum_of(&bytes[start..]).to_le_bytes();
            bytes[start + 4..start + 8].copy_from_slice(&sum);
        }
    }
}
