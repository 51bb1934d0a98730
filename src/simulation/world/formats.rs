//! A journal as an older version of the game has left it: of format 1, which knew no seals and no numbers of appends.

use crate::client::journal::recover;
use crate::client::record::Record;

/// Writes a journal as format 1 does, unless it is damaged. Says whether it did.
pub(super) fn as_format_1(journal: &mut Vec<u8>) -> bool {
    let Ok((records, found)) = recover(journal) else { return false };
    if found.damage.is_some() || records.is_empty() {
        return false;
    }
    let mut older = b"IAPJRNL\0\x01\0\0\0".to_vec();
    older.extend_from_slice(&crc32c::crc32c(&older).to_le_bytes());
    for record in &records {
        let mut payload = Vec::new();
        match record {
            Record::Order(signed) | Record::Receipt(signed) => {
                payload.extend_from_slice(signed.token().as_str().as_bytes());
            }
            other => other.write_payload(&mut payload),
        }
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
        let sum = crc32c::crc32c_append(crc32c::crc32c(&length), &[&[record.kind()], &payload[..]].concat());
        older.extend_from_slice(&length);
        older.extend_from_slice(&sum.to_le_bytes());
        older.push(record.kind());
        older.extend_from_slice(&payload);
    }
    *journal = older;
    true
}
