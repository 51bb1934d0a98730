//! Any bytes as a journal, read exactly as `docs/journal.md` says.
//!
//! The first byte chooses. `s`: steps that make a journal, since no fuzzer guesses a checksum; see `made`. `o`: the
//! same in the old format 1. Anything else: the bytes after it are the file.

use bevy_iap::client::journal::{self, Damage, Found, FrameWriter, HEADER, MAX_PAYLOAD, VERSION, recover};
use bevy_iap::client::record::Synced;
use bevy_iap::client::{Record, Signed};
use bevy_iap::protocol::Token;

/// Set in the byte of the kind of the last frame of an append.
const LAST: u8 = 0x80;

/// Tries these bytes.
///
/// # Panics
/// The crate broke a promise.
pub fn run(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let made = match first {
        b's' => made(rest, VERSION),
        b'o' => made(rest, 1),
        _ => rest.to_vec(),
    };
    check(&made);
    // And as a crash would leave it, somewhere.
    let cut = rest.iter().fold(rest.len(), |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    check_cut(&made, cut % (made.len() + 1));
}

/// A journal with a right header, and then, step by step: `f`, a kind, a length and a payload is a frame with the right
/// sum, and `F` the same as the last one of an append; `n` and a number skips that many appends; `z` and a number are
/// zeroes; `x`, a distance from the end and bits are damage; `c` and a number cut the end.
fn made(mut steps: &[u8], version: u32) -> Vec<u8> {
    let mut bytes = header(version).to_vec();
    let mut append = 1_u32;
    loop {
        steps = match *steps {
            [step @ (b'f' | b'F'), kind, low, high, ref rest @ ..] => {
                let size = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
                let (payload, rest) = rest.split_at(size);
                let last = if step == b'F' && version > 1 { LAST } else { 0 };
                let number = if version > 1 { &append.to_le_bytes()[..] } else { &[] };
                let numbered = [number, &[kind | last]].concat();
                let length = u32::try_from(size).expect("two bytes").to_le_bytes();
                bytes.extend_from_slice(&length);
                bytes.extend_from_slice(&sum(&[&length, &numbered, payload]));
                bytes.extend_from_slice(&numbered);
                bytes.extend_from_slice(payload);
                append = append.wrapping_add(u32::from(step == b'F'));
                rest
            }
            [b'n', count, ref rest @ ..] => {
                append = append.wrapping_add(count.into());
                rest
            }
            [b'z', count, ref rest @ ..] => {
                bytes.resize(bytes.len() + usize::from(count), 0);
                rest
            }
            [b'x', low, high, bits, ref rest @ ..] => {
                let back = usize::from(u16::from_le_bytes([low, high])) % bytes.len();
                let place = bytes.len() - 1 - back;
                bytes[place] ^= bits;
                rest
            }
            [b'c', count, ref rest @ ..] => {
                bytes.truncate(bytes.len().saturating_sub(count.into()).max(1));
                rest
            }
            [_, ref rest @ ..] => rest,
            [] => return bytes,
        };
    }
}

fn header(version: u32) -> [u8; HEADER] {
    let mut header = journal::header();
    header[8..12].copy_from_slice(&version.to_le_bytes());
    let sum = sum(&[&header[..12]]);
    header[12..].copy_from_slice(&sum);
    header
}

/// The CRC-32C, bit by bit.
fn sum(parts: &[&[u8]]) -> [u8; 4] {
    let sum = parts.iter().copied().flatten().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 })
    });
    (!sum).to_le_bytes()
}

/// A frame that was read.
struct Frame {
    record: Record,
    append: u32,
    is_last: bool,
    end: usize,
}

/// The frame at `offset`, in this version of the format.
fn frame(version: u32, bytes: &[u8], offset: usize) -> Option<Frame> {
    let head = if version == 1 { 9 } else { 13 };
    let start = bytes.get(offset..offset + head)?;
    let size = usize::try_from(u32::from_le_bytes(*start.first_chunk()?)).ok()?;
    let payload = bytes.get(offset + head..)?.get(..size).filter(|_| (1..=MAX_PAYLOAD).contains(&size))?;
    if sum(&[&start[..4], &start[8..], payload]) != start[4..8] {
        return None;
    }
    let (kind, end) = (start[head - 1], offset + head + size);
    if version > 1 {
        let append = u32::from_le_bytes(*start[8..].first_chunk()?);
        let record = Record::read(kind & !LAST, payload.to_vec().into())?;
        return Some(Frame { record, append, is_last: kind & LAST != 0, end });
    }
    let text = || std::str::from_utf8(payload).ok().map(|text| Signed::from(Token::from_text(text)));
    let record = match kind {
        2 => text().map(Record::Order),
        3 => text().map(Record::Receipt),
        kind => Record::read(kind, payload.to_vec().into()),
    };
    Some(Frame { record: record?, append: 0, is_last: true, end })
}

/// Every valid frame from `offset` on, wherever it starts.
fn salvaged(version: u32, bytes: &[u8], mut offset: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    while offset < bytes.len() {
        match frame(version, bytes, offset) {
            Some(frame) => {
                offset = frame.end;
                frames.push(frame);
            }
            None => offset += 1,
        }
    }
    frames
}

/// What is in a journal, or `None` if the bytes are none.
fn expected(bytes: &[u8]) -> Option<(Vec<Record>, Found)> {
    let written = &bytes[..bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)];
    let Some(version) = (1..=VERSION).find(|&version| bytes.starts_with(&header(version))) else {
        let claimed = bytes.get(8..12).map_or(0, |claimed| u32::from_le_bytes(*claimed.first_chunk().expect("four")));
        if journal::header().starts_with(written) {
            return Some((Vec::new(), Found::default()));
        }
        if bytes.starts_with(&header(claimed)) {
            return None;
        }
        let versions = [VERSION, 1].into_iter();
        let frames = versions.map(|version| salvaged(version, written, 0)).find(|frames| !frames.is_empty())?;
        let damage = Damage { salvaged: frames.len() as u64 };
        let found = Found { version: VERSION, torn: written.len() as u64, damage: Some(damage), ..Found::default() };
        return Some((after_damage(frames, 0), found));
    };
    let (mut records, mut end, mut last_append, mut is_unfinished) = (Vec::new(), HEADER, 0u32, false);
    let next = |last_append: u32| if version > 1 { last_append.wrapping_add(1) } else { 0 };
    while let Some(frame) = frame(version, bytes, end).filter(|frame| frame.append == next(last_append)) {
        records.push(frame.record);
        end = frame.end;
        is_unfinished = !frame.is_last;
        last_append = if frame.is_last { frame.append } else { last_append };
    }
    let torn = written.len().saturating_sub(end) as u64;
    let frames = salvaged(version, &bytes[..written.len().max(end)], end);
    // What is left of the last append is not damage. The old format does not number its appends, so that nothing tells.
    let is_damage = frames.iter().any(|frame| version == 1 || frame.append != next(last_append));
    let damage = is_damage.then_some(Damage { salvaged: frames.len() as u64 });
    let torn_records = if is_damage { 0 } else { frames.len() as u64 };
    if is_damage {
        let cursor = records.iter().rev().find_map(cursor).unwrap_or_default();
        records.extend(after_damage(frames, cursor));
    }
    let end = end as u64;
    let unreadable = Vec::new();
    Some((records, Found { version, end, last_append, is_unfinished, torn, torn_records, damage, unreadable }))
}

/// The place in the feed that a record says: in that of another account, perhaps, it is the beginning.
fn cursor(record: &Record) -> Option<u64> {
    match record {
        Record::Synced(synced) => Some(synced.cursor),
        Record::Counted(counted) => Some(counted.feed),
        Record::Account(_) => Some(0),
        _ => None,
    }
}

/// What a sync said besides its receipts vouches for some that may be gone, so the place in the feed is that of before;
/// unless an account was joined since.
fn after_damage(frames: Vec<Frame>, before: u64) -> Vec<Record> {
    let joined = frames.iter().position(|frame| matches!(frame.record, Record::Account(_)));
    let kept = |(place, frame): (usize, Frame)| match frame.record {
        Record::Synced(synced) => {
            let cursor = if joined.is_some_and(|joined| joined < place) { 0 } else { before };
            Some(Record::Synced(Synced { cursor, ..synced }))
        }
        Record::Counted(_) => None,
        record => Some(record),
    };
    frames.into_iter().enumerate().filter_map(kept).collect()
}

fn check(bytes: &[u8]) {
    let found = recover(bytes);
    assert_eq!(found.as_ref().ok(), expected(bytes).as_ref());
    let Ok((records, _)) = found else { return };
    let mut rewritten = journal::header().to_vec();
    let last_append = u32::from(!records.is_empty());
    FrameWriter::default().append(&records, &mut rewritten);
    let whole = Found { version: VERSION, end: rewritten.len() as u64, last_append, ..Found::default() };
    assert_eq!(recover(&rewritten), Ok((records, whole)));
}

/// A journal that was cut short holds the first of its records, and no others, as long as no payload holds a frame:
/// those of the client never do.
fn check_cut(bytes: &[u8], cut: usize) {
    let Ok((records, whole)) = recover(bytes) else { return };
    let hides_a_frame = |record: &Record| {
        let mut payload = Vec::new();
        record.write_payload(&mut payload);
        (1..=VERSION).any(|version| !salvaged(version, &payload, 0).is_empty())
    };
    let is_whole = whole.damage.is_none() && whole.torn == 0 && whole.version == VERSION;
    if !is_whole || records.iter().any(hides_a_frame) {
        return;
    }
    check(&bytes[..cut]);
    let (left, found) = recover(&bytes[..cut]).expect("a crash makes no other file of it");
    assert!(found.damage.is_none() && records.starts_with(&left));
    assert!((cut as u64) < whole.end || left == records);
}
