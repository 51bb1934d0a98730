//! A storage in a folder: `device.key`, `journal.iap` and `journal.lock`.
//!
//! One process at a time writes: it holds an exclusive lock on `journal.lock`, a file that is never deleted. Others
//! open read-only. Where the file system has no locks, everybody does.

mod key;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use super::{Access, Opened, Storage, StorageError};
use crate::client::journal::{self, Damage};
use crate::client::record::Record;
use crate::patient_lock;
use crate::protocol::GameId;

/// How much is allocated at once, so that most appends change no metadata of the file.
const CHUNK: usize = 64 * 1024;

/// A storage in a folder of the file system.
#[derive(Debug)]
pub struct FileStorage {
    folder: PathBuf,
    lock: Option<File>,
    file: Option<Journal>,
}

/// An open journal.
#[derive(Debug)]
struct Journal {
    file: File,
    path: PathBuf,
    /// Where the next frame goes.
    end: u64,
    /// How long the file is; past `end` it is zeroes.
    allocated: u64,
}

impl FileStorage {
    /// A storage in `folder`, which is created when it is opened.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), lock: None, file: None }
    }

    /// A storage in the folder where this system keeps a player's data, under the game's name.
    ///
    /// # Errors
    /// The system names no such folder.
    pub fn for_game(game: &GameId) -> Result<Self, StorageError> {
        let base = etcetera::choose_base_strategy().map_err(|_| StorageError::NoDataFolder)?;
        Ok(Self::new(base.data_dir().join("bevy_iap").join(game.as_str().replace(':', "_"))))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes the lock, or says why not.
    fn take_lock(&mut self) -> Result<Access, StorageError> {
        let path = self.folder.join("journal.lock");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = opened.map_err(io("opening", &path, "check that the folder can be written"))?;
        Ok(match patient_lock::try_lock(&lock) {
            Ok(()) => {
                self.lock = Some(lock);
                Access::ReadWrite
            }
            Err(TryLockError::WouldBlock) => {
                Access::ReadOnly("another copy of the game is running with this save; close it to buy here".to_owned())
            }
            Err(TryLockError::Error(error)) => {
                Access::ReadOnly(format!("files cannot be locked here ({error}); move the save to a local disk to buy"))
            }
        })
    }
}

impl Storage for FileStorage {
    fn open(&mut self) -> Result<Opened, StorageError> {
        self.file = None;
        self.lock = None;
        create_folder(&self.folder)?;
        let access = self.take_lock()?;
        let path = self.folder.join("journal.iap");
        let bytes = read_if_there(&path)?;
        let mut found = journal::recover(bytes.as_deref().unwrap_or_default())
            .map_err(|source| StorageError::Format { path: path.display().to_string(), source })?;
        let key = key::open(&self.folder, !found.records.is_empty(), access.may_write())?;

        let mut troubles = Vec::new();
        if access.may_write() {
            let file = match &found.damage {
                Some(damage) => {
                    troubles.push(set_aside(&self.folder, &path, damage)?);
                    // Without its place in the feed, the device asks for everything again, and so gets back what the
                    // damage took.
                    found.records.retain(|record| !matches!(record, Record::Synced(_)));
                    Journal::rewrite(&self.folder, &path, &found.records)?
                }
                None if found.end == 0 => Journal::rewrite(&self.folder, &path, &[])?,
                None => Journal::resume(&path, found.end, found.torn, bytes.map_or(0, |bytes| bytes.len()))?,
            };
            self.file = Some(file);
        }
        Ok(Opened { key, records: found.records, access, troubles })
    }

    fn append(&mut self, records: &[Record]) -> Result<(), StorageError> {
        let Some(journal) = &mut self.file else {
            return Err(match &self.lock {
                Some(_) => StorageError::Poisoned,
                None => StorageError::ReadOnly("it does not hold the lock".to_owned()),
            });
        };
        let mut bytes = Vec::new();
        for record in records {
            journal::write_frame(record, &mut bytes);
        }
        let Err(error) = journal.append(&bytes) else { return Ok(()) };
        if journal.undo().is_err() {
            self.file = None;
            return Err(StorageError::Uncertain(Box::new(error)));
        }
        Err(error)
    }
}

impl Journal {
    /// Goes on writing at `end`, after wiping the `torn` bytes there, so that nothing of them can ever be read again.
    fn resume(path: &Path, end: usize, torn: usize, allocated: usize) -> Result<Self, StorageError> {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let file = opened.map_err(io("opening", path, "check that the file can be written"))?;
        let mut journal = Self { file, path: path.to_owned(), end: to_u64(end), allocated: to_u64(allocated.max(end)) };
        // What was read may still be in the system's cache alone; it is about to count, so it must be durable.
        journal.write(&vec![0; torn]).map_err(journal.failed("mending"))?;
        Ok(journal)
    }

    /// Writes a journal of `records` beside the old one and puts it in its place.
    fn rewrite(folder: &Path, path: &Path, records: &[Record]) -> Result<Self, StorageError> {
        let new_path = path.with_extension("new");
        let mut bytes = journal::header().to_vec();
        for record in records {
            journal::write_frame(record, &mut bytes);
        }
        let written = File::create(&new_path).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        written.map_err(io("writing", &new_path, "check that there is room on the disk"))?;
        fs::rename(&new_path, path).map_err(io("renaming", &new_path, "check that the folder can be written"))?;
        sync_folder(folder)?;
        Self::resume(path, bytes.len(), 0, bytes.len())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.allocate(bytes.len());
        self.write(bytes).map_err(self.failed("appending to"))?;
        self.end += to_u64(bytes.len());
        self.allocated = self.allocated.max(self.end);
        Ok(())
    }

    /// Makes room for `needed` bytes. Where there is none, the write itself will say so.
    fn allocate(&mut self, needed: usize) {
        if self.end + to_u64(needed) <= self.allocated {
            return;
        }
        let room = needed.max(CHUNK);
        let written = self.file.seek(SeekFrom::Start(self.end)).and_then(|_| self.file.write_all(&vec![0; room]));
        self.allocated = match written.and_then(|()| self.file.sync_all()) {
            Ok(()) => self.end + to_u64(room),
            Err(_) => self.end,
        };
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(bytes)?;
        self.file.sync_data()
    }

    /// Cuts off whatever a failed append left, durably.
    fn undo(&mut self) -> std::io::Result<()> {
        self.file.set_len(self.end)?;
        self.allocated = self.end;
        self.file.sync_all()
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(std::io::Error) -> StorageError {
        let path = self.path.clone();
        move |source| io(action, &path, "free some room on the disk, or check it, and try again")(source)
    }
}

/// Copies a damaged journal to a file of its own, for support to look at, and says so.
fn set_aside(folder: &Path, path: &Path, damage: &Damage) -> Result<String, StorageError> {
    let free = (1..).map(|number| folder.join(format!("journal.damaged-{number}"))).find(|copy| !copy.exists());
    let copy = free.unwrap_or_else(|| folder.join("journal.damaged"));
    fs::copy(path, &copy).map_err(io("copying", path, "check that there is room on the disk"))?;
    Ok(format!(
        "the journal was damaged at byte {}; {} records after it were saved, and the damaged file is kept as {}",
        damage.offset,
        damage.salvaged,
        copy.display()
    ))
}

fn create_folder(folder: &Path) -> Result<(), StorageError> {
    fs::create_dir_all(folder).map_err(io("creating the folder", folder, "check that it can be written"))?;
    folder.parent().filter(|parent| parent.exists()).map_or(Ok(()), sync_folder)
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("reading", path, "check that the file can be read")(error)),
    }
}

/// Makes a rename or a new file in `folder` durable. Windows has no such call and needs none.
fn sync_folder(folder: &Path) -> Result<(), StorageError> {
    if cfg!(unix) {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(io("making durable", folder, "check the disk"))?;
    }
    Ok(())
}

fn io(action: &'static str, path: &Path, advice: &'static str) -> impl FnOnce(std::io::Error) -> StorageError {
    let path = path.display().to_string();
    move |source| StorageError::Io { action, path, source, advice }
}

fn to_u64(length: usize) -> u64 {
    // A length of something in memory always fits.
    u64::try_from(length).unwrap_or(u64::MAX)
}
