//! Reading a journal from its first byte to its last: the longest valid prefix, and whatever is valid after damage.
//!
//! The bytes come through a window, so that a journal of any length is read in little memory. Only what follows a bad
//! place is read whole.

use std::{io, mem};

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::frame::{self, Format, Frame};
use super::{FormatError, HEADER, MAGIC, header_of, le_u32};
use crate::client::record::{Counted, Record, Synced};
use crate::client::seeded::{Bug, seeded};

/// How much is read at once, in bytes.
const WINDOW: usize = 64 * 1024;

/// What was found in a journal besides its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The version of its format; 0 if it has none yet, because a crash cut its making short.
    pub version: u32,
    /// Where the next frame goes: the end of the longest valid prefix.
    pub end: u64,
    /// The number of the last append that is whole before `end`. One that is not is gone on with under its number.
    pub last_append: u32,
    /// Whether the last append before `end` lacks its last frame.
    pub is_unfinished: bool,
    /// How many bytes after `end` are not known to be zeroes: an append that a crash cut short, or damage.
    pub torn: u64,
    /// How many whole records of the last append are after a hole in it.
    pub torn_records: u64,
    /// What was found after bytes that are no frame, where only damage can leave it.
    pub damage: Option<Damage>,
    /// Where the sectors of it begin that the disk cannot read. That is damage, whatever they held.
    pub unreadable: Vec<u64>,
}

/// Where the bytes of a journal are read from.
pub trait Source {
    /// Reads at `offset`; fewer bytes than asked for only at the end.
    ///
    /// # Errors
    /// They cannot be read.
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// Where the sectors begin that could not be read so far, and of which something else was given.
    fn unreadable(&self) -> Vec<u64> {
        Vec::new()
    }
}

impl Source for &[u8] {
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let length = from.len().min(bytes.len());
        bytes[..length].copy_from_slice(&from[..length]);
        Ok(length)
    }
}

impl Found {
    /// What is to be said of a journal that is not as it was left.
    pub fn trouble(&self) -> Option<String> {
        let Self { end, torn, .. } = self;
        match self.damage {
            Some(damage) => {
                let unreadable = match self.unreadable.len() {
                    0 => String::new(),
                    sectors => format!(", where the disk cannot read {sectors} sectors"),
                };
                let salvaged = damage.salvaged;
                Some(format!(
                    "the journal was damaged at byte {end}{unreadable}; {salvaged} records after it were saved"
                ))
            }
            None if *torn > 0 && self.version > 0 => Some(format!(
                "the last write to the journal was cut short at byte {end}, by a crash or by the disk; what it was to \
                 hold was not saved"
            )),
            None => None,
        }
    }
}

/// Valid frames of several appends, or of another than the next, after bytes that are no frame: something that was
/// durable was damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// How many records were found after them.
    pub salvaged: u64,
}

/// Why a journal cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not a journal, or a newer one; it must be left as it is.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// Reads a journal from `source`, and hands every record to `each`, in order: those of the longest valid prefix, and
/// those after damage. The latter say no place in the feed that is after the last one before the damage, since they vouch
/// for receipts that may be gone. What is left of the last append after a hole in it is not damage: a crash can leave it,
/// and its orders would follow one that is lost.
///
/// A header that a crash cut short, with nothing after it, is an empty journal. One that is damaged is damage like any
/// other, as long as a valid frame is found.
///
/// # Errors
/// The bytes cannot be read, are no journal, or a newer one's.
pub fn read(source: &mut dyn Source, each: &mut dyn FnMut(Record)) -> Result<Found, ReadError> {
    let mut start = [0; HEADER];
    let length = source.read_at(0, &mut start)?;
    let version = match version(&start[..length])? {
        Some(version) => version,
        None => {
            let rest = rest(source, 0)?;
            let wanted = header_of(super::VERSION);
            let begun = wanted.iter().zip(&start).take_while(|(wanted, found)| wanted == found).count();
            if rest.len() <= begun {
                return Ok(Found::default());
            }
            let salvaged = [Format::V2, Format::V1].map(|format| salvage(format, &rest));
            let salvaged = salvaged.into_iter().find(|salvaged| !salvaged.is_empty()).unwrap_or_default();
            let (torn, unreadable) = (rest.len() as u64, source.unreadable());
            if salvaged.is_empty() && unreadable.is_empty() {
                return Err(FormatError::NotAJournal.into());
            }
            let damage = Some(hand_on(salvaged, 0, each));
            return Ok(Found { version: super::VERSION, torn, damage, unreadable, ..Found::default() });
        }
    };
    let format = if version == 1 { Format::V1 } else { Format::V2 };
    let mut window = Window::default();
    let (mut end, mut last_append) = (HEADER as u64, 0u32);
    let (mut is_unfinished, mut cursor) = (false, 0);
    while let Some(frame) = window.frame(format, end, source)? {
        if format == Format::V2 && frame.append != last_append.wrapping_add(1) {
            break;
        }
        is_unfinished = !frame.last;
        end += frame.length as u64;
        last_append = if frame.last { frame.append } else { last_append };
        cursor = cursor_after(&frame.record).unwrap_or(cursor);
        each(frame.record);
    }
    let rest = rest(source, end)?;
    let salvaged = salvage(format, &rest);
    let next = last_append.wrapping_add(1);
    let (torn, unreadable) = (rest.len() as u64, source.unreadable());
    let found = Found { version, end, last_append, is_unfinished, torn, unreadable, ..Found::default() };
    if seeded(Bug::StopAtDamage) {
        return Ok(found);
    }
    let is_later = |frame: &Frame| format == Format::V1 || frame.append != next;
    if found.unreadable.is_empty() && !salvaged.iter().any(is_later) {
        return Ok(Found { torn_records: salvaged.len() as u64, ..found });
    }
    Ok(Found { damage: Some(hand_on(salvaged, cursor, each)), ..found })
}

/// [`read`], from bytes in memory.
///
/// # Errors
/// They are no journal, or a newer one's.
pub fn read_bytes(mut bytes: &[u8], each: &mut dyn FnMut(Record)) -> Result<Found, FormatError> {
    match read(&mut bytes, each) {
        Ok(found) => Ok(found),
        Err(ReadError::Format(error)) => Err(error),
        // Memory is always read; if it were not, it would be no journal.
        Err(ReadError::Io(_)) => Err(FormatError::NotAJournal),
    }
}

/// [`read_bytes`], with the records in a list.
///
/// # Errors
/// As [`read_bytes`].
pub fn recover(bytes: &[u8]) -> Result<(Vec<Record>, Found), FormatError> {
    let mut records = Vec::new();
    let found = read_bytes(bytes, &mut |record| records.push(record))?;
    Ok((records, found))
}

/// The version that the header says, or `None` if it says none.
fn version(start: &[u8]) -> Result<Option<u32>, FormatError> {
    if start.len() < HEADER || start[..8] != MAGIC || crc32c::crc32c(&start[..12]) != le_u32(&start[12..]) {
        return Ok(None);
    }
    match le_u32(&start[8..12]) {
        version @ 1..=super::VERSION => Ok(Some(version)),
        newer => Err(FormatError::Newer(newer)),
    }
}

/// All bytes from `offset` to the last that is not zero.
fn rest(source: &mut dyn Source, offset: u64) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    let mut window = vec![0; WINDOW];
    let mut zeroes = 0;
    loop {
        let length = source.read_at(offset + bytes.len() as u64 + zeroes as u64, &mut window)?;
        if length == 0 {
            return Ok(bytes.into());
        }
        let written = without_zeroes(&window[..length]);
        if written.is_empty() {
            zeroes += length;
        } else {
            bytes.resize(bytes.len() + zeroes, 0);
            bytes.extend_from_slice(written);
            zeroes = length - written.len();
        }
    }
}

/// The bytes up to the last that is not zero. There can be a megabyte of zeroes, so they are passed over in pieces.
pub(crate) fn without_zeroes(bytes: &[u8]) -> &[u8] {
    const ZEROES: &[u8; 256] = &[0; 256];
    let mut rest = bytes;
    while let Some((before, ZEROES)) = rest.split_last_chunk() {
        rest = before;
    }
    let end = rest.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &rest[..end]
}

/// Every valid frame, wherever it starts.
fn salvage(format: Format, bytes: &Bytes) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut offset = 0;
    while offset + format.head() < bytes.len() {
        match frame::read(format, bytes, offset) {
            Some(frame) => {
                offset += frame.length;
                frames.push(frame);
            }
            None => offset += 1,
        }
    }
    frames
}

/// The place in the feed that a record says.
fn cursor_after(record: &Record) -> Option<u64> {
    match record {
        Record::Synced(Synced { cursor, .. }) | Record::Counted(Counted { feed: cursor, .. }) => Some(*cursor),
        // Perhaps of another account, whose feed begins there.
        Record::Account(_) => Some(0),
        _ => None,
    }
}

/// Hands on what was found after damage; the last place in the feed before that is `cursor`.
fn hand_on(salvaged: Vec<Frame>, mut cursor: u64, each: &mut dyn FnMut(Record)) -> Damage {
    let damage = Damage { salvaged: salvaged.len() as u64 };
    let mut without_cursor = |record| match record {
        record if seeded(Bug::KeepCursorAfterDamage) => Some(record),
        Record::Synced(_) if seeded(Bug::ForgetChainAfterDamage) => None,
        Record::Synced(synced) => Some(Record::Synced(Synced { cursor, ..synced })),
        Record::Counted(_) => None,
        record => {
            cursor = cursor_after(&record).unwrap_or(cursor);
            Some(record)
        }
    };
    salvaged.into_iter().filter_map(|frame| without_cursor(frame.record)).for_each(each);
    damage
}

/// The part of a journal that is in memory while its frames are read one after the other.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    /// The frame at `offset`, if there is a valid one.
    fn frame(&mut self, format: Format, offset: u64, source: &mut dyn Source) -> io::Result<Option<Frame>> {
        let mut place = self.place(offset);
        if self.bytes.len() < place + format.head() {
            self.fill(offset, WINDOW, source)?;
            place = 0;
        }
        let Some(length) = frame::length(format, &self.bytes[place..]) else { return Ok(None) };
        if self.bytes.len() < place + length {
            self.fill(offset, length.max(WINDOW), source)?;
            place = 0;
        }
        Ok(frame::read(format, &self.bytes, place))
    }

    /// Where the byte at `offset` is, or the end.
    fn place(&self, offset: u64) -> usize {
        let place = offset.checked_sub(self.start).and_then(|place| usize::try_from(place).ok());
        place.map_or(self.bytes.len(), |place| place.min(self.bytes.len()))
    }

    /// Reads what is at `offset`, so that it begins there.
    fn fill(&mut self, offset: u64, length: usize, source: &mut dyn Source) -> io::Result<()> {
        // Where something was kept of what was read, it stays in memory, and this goes elsewhere: to memory that the
        // system gives as zeroes, which need not be cleared.
        let mut bytes = match mem::take(&mut self.bytes).try_into_mut() {
            Ok(mut bytes) => {
                bytes.resize(length, 0);
                bytes
            }
            Err(_) => BytesMut::zeroed(length),
        };
        let filled = source.read_at(offset, &mut bytes)?;
        bytes.truncate(filled);
        (self.start, self.bytes) = (offset, bytes.freeze());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::journal::{FrameWriter, header};
    use crate::protocol::Token;

    fn order(text: &str) -> Record {
        Record::Order(Token::from_text(text).into())
    }

    /// A journal of these appends, and where each begins.
    fn journal(appends: &[&[Record]]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut frames) = (header().to_vec(), FrameWriter::default());
        let mut starts = Vec::new();
        for append in appends {
            starts.push(bytes.len());
            frames.append(append, &mut bytes);
        }
        (bytes, starts)
    }

    #[test]
    fn a_journal_cut_at_every_byte_of_its_last_record_opens() {
        let (whole, starts) = journal(&[&[order("first")], &[order("second")], &[order("third")]]);
        for cut in starts[2]..whole.len() {
            for tail in [0, 7, 100, WINDOW] {
                let mut bytes = whole[..cut].to_vec();
                bytes.resize(cut + tail, 0);
                let (records, found) = recover(&bytes).expect("opens");
                assert_eq!(records, [order("first"), order("second")], "cut at {cut}");
                assert_eq!((found.end, found.damage, found.last_append), (starts[2] as u64, None, 2), "cut at {cut}");
            }
        }
        assert_eq!(recover(&whole).expect("opens").0.len(), 3);
    }

    #[test]
    fn a_header_cut_short_is_an_empty_journal() {
        for cut in 0..HEADER {
            assert_eq!(recover(&header()[..cut]), Ok((Vec::new(), Found::default())), "cut at {cut}");
        }
    }

    #[test]
    fn damage_in_the_middle_is_reported_and_the_rest_salvaged() {
        let (whole, starts) = journal(&[&[order("first")], &[order("second")], &[order("third")], &[order("fourth")]]);
        for at in starts[1]..starts[2] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            let (records, found) = recover(&bytes).expect("opens");
            assert_eq!(records, [order("first"), order("third"), order("fourth")], "at {at}");
            let damage = Some(Damage { salvaged: 2 });
            assert_eq!((found.end, found.damage), (starts[1] as u64, damage), "at {at}");
        }
    }

    #[test]
    fn a_hole_in_the_last_append_is_told_from_damage_before_it() {
        let (mut bytes, starts) = journal(&[&[order("first")], &[order("second"), order("third")]]);
        bytes[starts[1] + 14] ^= 1;
        let (records, found) = recover(&bytes).expect("opens");
        assert_eq!((records, found.damage), (vec![order("first")], None));
        assert_eq!((found.end, found.end + found.torn), (starts[1] as u64, bytes.len() as u64));

        let (mut bytes, starts) = journal(&[&[order("first"), order("second")], &[order("third")]]);
        bytes[starts[1] - 1] ^= 1;
        let (records, found) = recover(&bytes).expect("opens");
        assert_eq!((records, found.damage), (vec![order("first"), order("third")], Some(Damage { salvaged: 1 })));
    }

    #[test]
    fn an_append_that_was_cut_short_after_its_first_record_is_gone_on_with() {
        let (mut bytes, starts) = journal(&[&[order("first")], &[order("second"), order("third")]]);
        bytes.truncate(starts[1] + frame::length(Format::V2, &bytes[starts[1]..]).expect("a frame"));
        let (records, found) = recover(&bytes).expect("opens");
        assert_eq!((records.len(), found.last_append, found.end), (2, 1, bytes.len() as u64));
        FrameWriter::after(found.last_append).append(&[order("fourth")], &mut bytes);
        let (records, found) = recover(&bytes).expect("opens");
        assert_eq!((records.len(), found.last_append, found.damage), (3, 2, None));
    }

    #[test]
    fn an_append_that_is_missing_between_two_is_damage() {
        let (whole, starts) = journal(&[&[order("first")], &[order("second")], &[order("third")]]);
        let bytes = [&whole[..starts[1]], &whole[starts[2]..]].concat();
        let (records, found) = recover(&bytes).expect("opens");
        assert_eq!(records, [order("first"), order("third")]);
        assert!(found.damage.is_some());
    }

    #[test]
    fn a_damaged_header_is_damage_like_any_other() {
        let (whole, _) = journal(&[&[order("first")], &[order("second")]]);
        for at in 0..HEADER {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            let (records, found) = recover(&bytes).expect("opens");
            assert_eq!(records, [order("first"), order("second")], "at {at}");
            assert_eq!((found.end, found.damage.map(|damage| damage.salvaged)), (0, Some(2)), "at {at}");
        }
    }

    /// The answer that says that the device belongs to another account; what it says does not matter here.
    #[test]
    fn place_in_the_feed_of_one_account_is_not_taken_for_one_in_the_feed_of_another() {
        let synced = |cursor| {
            let (wallet, server_time) = (Vec::new(), 0);
            Record::Synced(Synced { cursor, wallet, server_time, follow: None, consumed_sequence: None })
        };
        let account = Record::Account(Token::from_text("another account"));
        let (first, second) = (order("first"), order("second"));
        let appends: [&[Record]; 6] =
            [&[synced(50)], &[account], &[first], &[second, synced(60)], &[order("third")], &[synced(70)]];
        let (whole, starts) = journal(&appends);
        // The damage is before the account, after it, and after what was synced there.
        for (damaged, cursors) in [(0, [0, 0].as_slice()), (2, &[50, 0, 0]), (4, &[50, 60, 60])] {
            let mut bytes = whole.clone();
            bytes[starts[damaged] + 14] ^= 1;
            let (records, found) = recover(&bytes).expect("opens");
            let told = |record: &Record| match record {
                Record::Synced(synced) => Some(synced.cursor),
                _ => None,
            };
            assert_eq!(records.iter().filter_map(told).collect::<Vec<_>>(), cursors, "{damaged}");
            assert!(found.damage.is_some(), "{damaged}");
        }
    }

    #[test]
    fn journal_whose_beginning_cannot_be_read_is_damaged_and_not_another_file() {
        struct Unreadable(Vec<u8>);
        impl Source for Unreadable {
            fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
                self.0.as_slice().read_at(offset, bytes)
            }

            fn unreadable(&self) -> Vec<u64> {
                vec![0]
            }
        }
        let mut source = Unreadable([vec![0xFF; 4096], vec![0; 4096]].concat());
        let found = read(&mut source, &mut |record| panic!("{record:?}")).expect("a journal");
        assert_eq!((found.version, found.torn, found.unreadable), (super::super::VERSION, 4096, vec![0]));
        assert_eq!(found.damage, Some(Damage { salvaged: 0 }));
    }

    #[test]
    fn a_long_journal_is_read_through_a_short_window() {
        let long = "x".repeat(super::super::MAX_PAYLOAD - 2);
        let appends: Vec<Vec<Record>> =
            (0..400).map(|number| vec![order(&format!("{number} {}", &long[..number * 20])), order("end")]).collect();
        let mut appends: Vec<&[Record]> = appends.iter().map(Vec::as_slice).collect();
        let longest = [order(&long)];
        appends.insert(200, &longest);
        let (bytes, _) = journal(&appends);
        let (records, found) = recover(&bytes).expect("opens");
        assert_eq!(records, appends.concat());
        assert_eq!((found.end, found.last_append), (bytes.len() as u64, 401));
    }

    #[test]
    fn format_1_is_read() {
        let bytes = include_bytes!("../../../tests/journals/format-1.iap");
        let (records, found) = recover(bytes).expect("opens");
        let kinds: Vec<_> = records.iter().map(Record::kind).collect();
        assert_eq!((kinds, found.version, found.end, found.damage), (vec![1, 2, 6, 3, 5, 4], 1, 1832, None));
    }

    #[test]
    fn a_file_of_another_kind_and_a_newer_version_are_refused() {
        assert_eq!(recover(b"PNG, perhaps, or anything else"), Err(FormatError::NotAJournal));
        assert_eq!(recover(&header_of(9)), Err(FormatError::Newer(9)));
        let mut newer = header_of(3).to_vec();
        newer.extend_from_slice(&journal(&[&[order("first")]]).0[HEADER..]);
        assert_eq!(recover(&newer), Err(FormatError::Newer(3)));
    }
}
