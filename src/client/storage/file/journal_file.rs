//! A journal that is appended to, and written anew when it must be: by compaction, after damage, and when the disk
//! failed in a way that leaves its file not to be trusted.

use std::io;
use std::mem;

use super::reading::{Reader, is_of_the_disk};
use super::{Disk, DiskFile, FileAccess, JOURNAL, Keep, StorageError, failure};
use crate::client::journal::{self, Found, FrameWriter, ReadError, Source};
use crate::client::record::Record;
use crate::client::seeded::{Bug, seeded};

const NEW: &str = "journal.new";
pub(super) const SUSPECT: &str = "journal.suspect";
/// What was damaged, in words, until it was told.
const REPORT: &str = "journal.report";
/// How much is allocated at once, at least and at most, so that most appends change no metadata of the file.
const CHUNK: std::ops::RangeInclusive<u64> = 64 * 1024..=1024 * 1024;
/// How much memory is kept for the next append.
const LARGEST_BUFFER: usize = 256 * 1024;
/// How much is written at once when a journal is written anew. Little in tests, so that theirs take several writes.
const BUFFER: usize = if cfg!(test) { 4 * 1024 } else { 256 * 1024 };
/// How long the word of damage is at most, in bytes.
const LONGEST_REPORT: usize = 4 * 1024;
/// How many damaged parts are kept, so that a failing disk is not filled by what it damages.
const MOST_ASIDE: u32 = 16;

/// An open journal.
#[derive(Debug)]
pub(super) struct JournalFile<F> {
    file: F,
    path: String,
    /// Where the next frame goes: everything before it is durable.
    end: u64,
    /// How long the file is; past `end` it is zeroes.
    allocated: u64,
    frames: FrameWriter,
    /// For the bytes of an append: kept, so that a burst does not ask the system for memory.
    buffer: Vec<u8>,
    trust: Trust,
    /// What was found in it when it was opened, where it is damaged.
    damaged: Option<Found>,
}

/// What an earlier failure left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// Nothing.
    Good,
    /// Making the file durable failed once, so nothing more is written to it; but it ends where it should.
    Ended,
    /// The same, and there may be something after its end.
    Tail,
    /// It is not known whether this file or the one before it will have the name after a crash.
    Name,
}

/// How an append failed.
enum Failure {
    /// Before anything was made durable.
    Write(io::Error),
    /// While it was made durable: who knows what is.
    Sync(io::Error),
}

impl<F: DiskFile> JournalFile<F> {
    /// An empty journal, in place of whatever is there.
    pub(super) fn create<D: Disk<File = F>>(disk: &mut D) -> Result<Self, StorageError> {
        let path = disk.shown(JOURNAL);
        let advice = "check that there is room on the disk and that the folder can be written";
        let new = NewFile::create(disk).and_then(NewFile::finish);
        let new = new.map_err(failure("writing", disk.shown(NEW), advice))?;
        let mut journal = Self {
            file: new.file,
            path,
            end: new.offset,
            allocated: new.offset,
            frames: new.frames,
            buffer: Vec::new(),
            trust: Trust::Name,
            damaged: None,
        };
        disk.rename(NEW, JOURNAL).map_err(failure("renaming", disk.shown(NEW), advice))?;
        sync_names(disk).map_err(failure("making durable", disk.shown(JOURNAL), advice))?;
        journal.trust = Trust::Good;
        Ok(journal)
    }

    /// Goes on with a journal that was read. What was read may still be in the system's cache alone; it is about to
    /// count, so [`JournalFile::wipe`] or [`JournalFile::rewrite`] must make it durable first.
    pub(super) fn resume(mut file: F, found: &Found, path: String) -> Result<Self, StorageError> {
        let length = file.length().map_err(failure("reading", path.clone(), "check the disk"))?;
        let damaged = found.damage.is_some().then(|| found.clone());
        Ok(Self {
            file,
            path,
            end: if damaged.is_some() { length } else { found.end },
            allocated: length.max(found.end),
            frames: FrameWriter::after(found.last_append),
            buffer: Vec::new(),
            trust: Trust::Good,
            damaged,
        })
    }

    /// Overwrites the `torn` bytes at the end with zeroes, so that nothing of them can ever be read again, and makes
    /// durable what was read.
    pub(super) fn wipe(&mut self, torn: u64) -> Result<(), StorageError> {
        if seeded(Bug::TrustTheCache) && torn == 0 || seeded(Bug::LeaveTornAppend) {
            return Ok(());
        }
        let zeroes = vec![0; usize::try_from(torn).unwrap_or(usize::MAX)];
        self.write(&zeroes).map_err(|failed| self.failed("mending", failed))
    }

    /// Appends records, all or none, and returns when they are durable.
    pub(super) fn append<D: Disk<File = F>>(&mut self, disk: &mut D, records: &[Record]) -> Result<(), StorageError> {
        let mut first = None;
        if self.trust == Trust::Good {
            let failed = match self.try_append(records) {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            if matches!(failed, Failure::Write(_)) && self.cut_back() {
                return Err(self.failed("appending to", failed));
            }
            self.trust = Trust::Tail;
            mark_suspect(disk);
            let error = self.failed("appending to", failed);
            tracing::warn!("{error}; writing the journal anew");
            first = Some(error);
        }
        // This file is not to be trusted any more: what is known to be in it goes to a new one, and these with it.
        let Err(error) = self.rewrite(disk, &mut Some, &[], records) else { return Ok(()) };
        let error = first.unwrap_or(error);
        if self.trust == Trust::Tail && self.end_anew(disk) {
            self.trust = Trust::Ended;
        }
        if matches!(self.trust, Trust::Good | Trust::Ended) {
            return Err(error);
        }
        // It may have failed before.
        mark_suspect(disk);
        match error {
            error if seeded(Bug::UncertainIsFailure) => Err(error),
            error => Err(StorageError::Uncertain(Box::new(error))),
        }
    }

    fn try_append(&mut self, records: &[Record]) -> Result<(), Failure> {
        let mut frames = self.frames;
        let mut bytes = mem::take(&mut self.buffer);
        frames.append(records, &mut bytes);
        let length = bytes.len() as u64;
        let written = self.allocate(length).and_then(|()| self.write(&bytes));
        bytes.clear();
        bytes.shrink_to(LARGEST_BUFFER);
        self.buffer = bytes;
        written?;
        self.end += length;
        self.allocated = self.allocated.max(self.end);
        self.frames = frames;
        Ok(())
    }

    /// Makes room for `needed` bytes. Where there is none, the write itself will say so.
    fn allocate(&mut self, needed: u64) -> Result<(), Failure> {
        if self.end + needed <= self.allocated {
            return Ok(());
        }
        // Enough for some more appends like this one.
        let room = needed.saturating_mul(16).clamp(*CHUNK.start(), *CHUNK.end()).max(needed);
        let zeroes = vec![0; usize::try_from(room).unwrap_or(usize::MAX)];
        if self.file.write_all_at(self.end, &zeroes).is_ok() {
            self.file.sync_data().map_err(Failure::Sync)?;
            self.allocated = self.end + room;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if seeded(Bug::ForgetShortWrite) {
            self.file.write_at(self.end, bytes).map_err(Failure::Write)?;
        } else {
            self.file.write_all_at(self.end, bytes).map_err(Failure::Write)?;
        }
        if seeded(Bug::AcknowledgeBeforeSync) {
            return Ok(());
        }
        match self.file.sync_data() {
            Err(_) if seeded(Bug::RetrySync) => self.file.sync_data().map_err(Failure::Sync),
            synced => synced.map_err(Failure::Sync),
        }
    }

    /// Cuts off whatever a failed write left, durably. Says whether that is done.
    fn cut_back(&mut self) -> bool {
        if seeded(Bug::NoCutBack) {
            return true;
        }
        let cut = self.file.set_length(self.end).and_then(|()| self.file.sync_data()).is_ok();
        self.allocated = if cut { self.end } else { self.allocated };
        cut
    }

    /// The same through a handle that no failure was seen on.
    fn end_anew<D: Disk<File = F>>(&mut self, disk: &mut D) -> bool {
        let Ok(Some(file)) = disk.open(JOURNAL, FileAccess::ReadWrite) else { return false };
        self.file = file;
        self.cut_back()
    }

    /// Writes what `keep` gives for each record to a new file, and `closing` and `then` after it; makes it durable, and
    /// puts it in the place of this one. `closing` belongs to what is kept: it stands for what was left out. After an
    /// error what is in this one is still there, in the old form or the new, and nothing of `then` counts.
    pub(super) fn rewrite<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        keep: &mut Keep<'_>,
        closing: &[Record],
        then: &[Record],
    ) -> Result<(), StorageError> {
        let advice = "free some room on the disk, or check it, and try again";
        let written = self.write_new(disk, keep, closing, then);
        let named = written.and_then(|written| self.give_name(disk).map(|()| written));
        let (new, end) = match named {
            Ok(written) => written,
            Err(error) => {
                // What is half written only takes up room.
                let _ = disk.remove(NEW);
                return Err(failure("writing", disk.shown(NEW), advice)(error));
            }
        };
        let (after, frames) = (new.offset, new.frames);
        *self = Self {
            file: new.file,
            path: mem::take(&mut self.path),
            end,
            allocated: after,
            frames: new.kept,
            buffer: mem::take(&mut self.buffer),
            trust: Trust::Name,
            damaged: None,
        };
        if !seeded(Bug::SkipFolderSync) {
            sync_names(disk).map_err(failure("making durable", disk.shown(JOURNAL), advice))?;
        }
        (self.end, self.frames, self.trust) = (after, frames, Trust::Good);
        // If it stays, the next start writes the journal anew once more.
        let _ = disk.remove(SUSPECT);
        Ok(())
    }

    /// Gives the new file this one's name. A call that fails may have done it all the same.
    fn give_name<D: Disk<File = F>>(&mut self, disk: &mut D) -> io::Result<()> {
        if seeded(Bug::RewriteInPlace) {
            return Ok(());
        }
        let Err(error) = disk.rename(NEW, JOURNAL) else { return Ok(()) };
        let is_not_done = matches!(disk.open(NEW, FileAccess::Read), Ok(Some(_)));
        if !is_not_done && !seeded(Bug::KeepReplaced) {
            // Nobody knows which of the two has the name, or whether somebody removed the new one: this one has everything,
            // and is written anew before it is gone on with.
            self.trust = Trust::Name;
        }
        Err(error)
    }

    /// The new file, durable, and where `then` begins in it.
    fn write_new<D: Disk<File = F>>(
        &mut self,
        disk: &mut D,
        keep: &mut Keep<'_>,
        closing: &[Record],
        then: &[Record],
    ) -> io::Result<(NewFile<F>, u64)> {
        let mut new = NewFile::create(disk)?;
        let mut written = Ok(());
        let found = journal::read(&mut Reader::up_to(&mut self.file, self.end), &mut |record| {
            if written.is_ok()
                && let Some(record) = keep(record)
            {
                written = new.append(&[record]);
            }
        });
        written?;
        match found {
            // Of a disk that fails, other parts may be missing than those of which the game was told.
            Ok(found) if self.damaged.as_ref() == Some(&found) => {}
            Ok(found) if self.damaged.is_none() && found.damage.is_none() && found.end == self.end => {}
            Ok(_) | Err(ReadError::Format(_)) => return Err(io::Error::other("the journal is not what it was")),
            Err(ReadError::Io(error)) => return Err(error),
        }
        if !closing.is_empty() {
            new.append(closing)?;
        }
        let end = new.keep();
        if !then.is_empty() {
            new.append(then)?;
        }
        Ok((new.finish()?, end))
    }

    /// Whether it is still the file that it was when it was opened.
    pub(super) fn is_the_same(&self) -> bool {
        self.trust != Trust::Name
    }

    /// Copies what is damaged, from the first bad byte on, to a file of its own, for support to look at.
    pub(super) fn set_aside<D: Disk<File = F>>(&mut self, disk: &mut D, found: &Found) -> Result<String, StorageError> {
        let advice = "check that there is room on the disk";
        let mut number = 1;
        let name = loop {
            let name = format!("journal.damaged-{number}");
            // What cannot be opened is there.
            if matches!(disk.open(&name, FileAccess::Read), Ok(None)) || number == MOST_ASIDE {
                break name;
            }
            number += 1;
        };
        self.copy(disk, &name, found).map_err(|error| {
            let _ = disk.remove(&name);
            failure("writing", disk.shown(&name), advice)(error)
        })?;
        Ok(name)
    }

    fn copy<D: Disk<File = F>>(&mut self, disk: &mut D, name: &str, found: &Found) -> io::Result<()> {
        let mut copy = disk.create(name)?;
        let mut window = vec![0; BUFFER];
        let mut copied = 0;
        while copied < found.torn {
            let left = usize::try_from(found.torn - copied).unwrap_or(usize::MAX).min(BUFFER);
            let read = Reader::new(&mut self.file).read_at(found.end + copied, &mut window[..left])?;
            if read == 0 {
                break;
            }
            copy.write_all_at(copied, &window[..read])?;
            copied += read as u64;
        }
        copy.sync_data()?;
        sync_names(disk)
    }

    fn failed(&self, action: &'static str, failed: Failure) -> StorageError {
        let (Failure::Write(source) | Failure::Sync(source)) = failed;
        failure(action, self.path.clone(), "free some room on the disk, or check it, and try again")(source)
    }
}

/// Leaves word for the next process that what it reads may be in the system's cache alone, and taken for durable there:
/// making the journal durable failed. If even that cannot be said, there is nothing more to be done.
pub(super) fn mark_suspect<D: Disk>(disk: &mut D) {
    let _ = disk.create(SUSPECT);
}

/// Whether the process before left word that what is here is not to be trusted, or may have: who cannot see it must not
/// take it for none.
pub(super) fn is_suspect<D: Disk>(disk: &mut D) -> bool {
    !matches!(disk.open(SUSPECT, FileAccess::Read), Ok(None))
}

/// Leaves word, durably, of damage: this process may end before it has told it, and of a journal that was written anew the
/// next one cannot see it.
pub(super) fn write_report<D: Disk>(disk: &mut D, words: &[String]) -> Result<(), StorageError> {
    if seeded(Bug::ForgetReport) {
        return Ok(());
    }
    let written = disk.create(REPORT).and_then(|mut file| {
        file.write_all_at(0, words.join("\n").as_bytes())?;
        file.sync_data()
    });
    let advice = "check that there is room on the disk";
    written.and_then(|()| sync_names(disk)).map_err(failure("writing", disk.shown(REPORT), advice))
}

/// The word that was left of damage. Where the disk cannot read it, or cannot open it in the last try, other words.
pub(super) fn read_report<D: Disk>(disk: &mut D, is_last_try: bool) -> Result<Option<Vec<String>>, StorageError> {
    let advice = "check that the file can be read";
    let mut bytes = vec![0; LONGEST_REPORT];
    let read = match disk.open(REPORT, FileAccess::Read) {
        Ok(None) => return Ok(None),
        Ok(Some(mut file)) => file.read_full_at(0, &mut bytes),
        Err(error) if is_last_try => Err(error),
        // There may be none: the disk may say so in a while.
        Err(error) => return Err(failure("opening", disk.shown(REPORT), advice)(error)),
    };
    let length = match read {
        Err(error) if is_of_the_disk(&error) => 0,
        read => read.map_err(failure("reading", disk.shown(REPORT), advice))?,
    };
    let mut words: Vec<_> = String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned).collect();
    if words.is_empty() {
        words.push(format!("the journal was damaged; where is not known, since {} is gone", disk.shown(REPORT)));
    }
    Ok(Some(words))
}

/// What was damaged was told. If the word of it stays, it is told again.
pub(super) fn forget_report<D: Disk>(disk: &mut D) {
    let _ = disk.remove(REPORT);
}

/// Makes durable which file has which name. Where that fails the system may have forgotten which of the names it could
/// not write, and a second call that succeeds would say nothing about them: word of that is left, and each file is to be
/// made and named anew.
pub(super) fn sync_names<D: Disk>(disk: &mut D) -> io::Result<()> {
    let synced = disk.sync_folder();
    if synced.is_err() && !seeded(Bug::TrustForgottenNames) {
        mark_suspect(disk);
    }
    synced
}

/// A journal that is being written beside the old one.
struct NewFile<F> {
    file: F,
    offset: u64,
    buffer: Vec<u8>,
    frames: FrameWriter,
    /// The frames as they were when [`NewFile::keep`] was called.
    kept: FrameWriter,
}

impl<F: DiskFile> NewFile<F> {
    fn create<D: Disk<File = F>>(disk: &mut D) -> io::Result<Self> {
        let (frames, kept) = Default::default();
        let name = if seeded(Bug::RewriteInPlace) { JOURNAL } else { NEW };
        Ok(Self { file: disk.create(name)?, offset: 0, buffer: journal::header().to_vec(), frames, kept })
    }

    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        self.frames.append(records, &mut self.buffer);
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    /// Remembers this place, and says where it is.
    fn keep(&mut self) -> u64 {
        self.kept = self.frames;
        self.offset + self.buffer.len() as u64
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(self.offset, &self.buffer)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes it durable.
    fn finish(mut self) -> io::Result<Self> {
        self.flush()?;
        if !seeded(Bug::SkipNewFileSync) {
            self.file.sync_data()?;
        }
        Ok(self)
    }
}
