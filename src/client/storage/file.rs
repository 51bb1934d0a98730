//! A storage in a folder: `device.key`, `journal.iap` and `journal.lock`.
//!
//! One process at a time writes: it holds an exclusive lock on `journal.lock`, a file that is never deleted. Others
//! open read-only. Where the file system has no locks, everybody does, and so does who could not mend what a crash or
//! the disk did to the journal.

mod journal_file;
mod key;
mod reading;

use etcetera::BaseStrategy;
use std::io;
use std::mem;
use std::path::Path;

use self::journal_file::{JournalFile, forget_report, is_suspect, mark_suspect, read_report, sync_names, write_report};
use self::reading::Reader;
use super::disk::{Disk, DiskFile, FileAccess, Folder, Locking};
use super::{Access, Keep, Keychain, Opened, Replay, Storage, StorageError, keep_after_damage, no_journal};
use crate::client::journal::{self, Found, HEADER, ReadError, Source, VERSION};
use crate::client::record::Record;
use crate::client::seeded::{Bug, seeded};
use crate::protocol::{GameId, SecretKey};

pub(crate) const JOURNAL: &str = "journal.iap";
const LOCK: &str = "journal.lock";

/// A storage in a folder of the file system, or of another disk.
#[derive(Debug)]
pub struct FileStorage<D: Disk = Folder> {
    disk: D,
    lock: Option<D::Lock>,
    journal: Option<JournalFile<D::File>>,
    why_read_only: Option<WhyReadOnly>,
    /// Whether something failed when it was opened last: the system may take names for durable that are not.
    are_names_in_doubt: bool,
    /// Whether the last try to open it could not find out whether there is word of damage.
    is_report_unread: bool,
    keychain: Option<Box<dyn Keychain>>,
    /// Whether this process has put the key into the keychain: it stays in the file until the next one finds it there.
    is_key_in_keychain_since_now: bool,
}

/// Why a copy of the game may only look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WhyReadOnly {
    /// Another one writes.
    Elsewhere,
    /// There are no locks, or the folder cannot be written.
    NoLock,
    /// The journal could not be mended.
    NotMended,
}

impl FileStorage {
    /// A storage in `folder`, which is created when it is opened.
    pub fn new(folder: impl Into<std::path::PathBuf>) -> Self {
        Self::on(Folder::new(folder))
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
        self.disk.path()
    }
}

impl<D: Disk> FileStorage<D> {
    /// A storage on any disk.
    pub fn on(disk: D) -> Self {
        Self {
            disk,
            lock: None,
            journal: None,
            why_read_only: None,
            are_names_in_doubt: false,
            is_report_unread: false,
            keychain: None,
            is_key_in_keychain_since_now: false,
        }
    }

    /// The same storage, which keeps the device's key in `keychain`. One that is in the file is moved there; where that
    /// cannot be, it stays in the file.
    #[must_use]
    pub fn with_keychain(self, keychain: Box<dyn Keychain>) -> Self {
        Self { keychain: Some(keychain), ..self }
    }

    /// Takes the lock, or says why not.
    fn take_lock(&mut self) -> (Access, Option<io::Error>) {
        self.lock = None;
        self.why_read_only = None;
        match self.disk.lock(LOCK) {
            Locking::Held(lock) => {
                self.lock = Some(lock);
                (Access::ReadWrite, None)
            }
            Locking::Elsewhere if seeded(Bug::ForgetLock) => (Access::ReadWrite, None),
            Locking::Elsewhere => {
                self.why_read_only = Some(WhyReadOnly::Elsewhere);
                let words = "another copy of the game is running with this save; close it to buy here";
                (Access::ReadOnly(words.to_owned()), None)
            }
            Locking::Impossible(error) => {
                self.why_read_only = Some(WhyReadOnly::NoLock);
                let words = format!("files cannot be locked here ({error}); move the save to a local disk to buy");
                (Access::ReadOnly(words), Some(error))
            }
        }
    }

    /// Opens the journal for reading, and for writing if that is allowed.
    fn open_journal(&mut self, access: &mut Access) -> Result<Option<D::File>, StorageError> {
        let failed = failure("opening", self.disk.shown(JOURNAL), "check that the file can be read");
        if access.may_write() {
            match self.disk.open(JOURNAL, FileAccess::ReadWrite) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    *access = self.read_only(&format!("{} cannot be written ({error})", self.disk.shown(JOURNAL)));
                }
                opened => return opened.map_err(failed),
            }
        }
        self.disk.open(JOURNAL, FileAccess::Read).map_err(failed)
    }

    fn read_only(&mut self, trouble: &str) -> Access {
        self.why_read_only = Some(WhyReadOnly::NotMended);
        Access::ReadOnly(trouble.to_owned())
    }

    /// Makes the journal one that can be appended to: an empty one is made, a torn append wiped, a damaged or older
    /// journal written anew. What is in it is durable afterwards. `was_reported`: whether an earlier process has left word of
    /// damage, which is not this one's to remove where mending fails.
    fn mend(
        &mut self,
        file: Option<D::File>,
        found: Found,
        was_reported: bool,
        troubles: &mut Vec<String>,
    ) -> Result<(), StorageError> {
        let mut is_in_doubt = self.are_names_in_doubt && !seeded(Bug::TrustForgottenNames);
        is_in_doubt |= is_suspect(&mut self.disk);
        if is_in_doubt {
            key::name_anew(&mut self.disk)?;
        }
        let (Some(file), false) = (file, found.version == 0) else {
            self.journal = Some(JournalFile::create(&mut self.disk)?);
            return Ok(());
        };
        let mut journal = JournalFile::resume(file, &found, self.disk.shown(JOURNAL))?;
        let aside = match (found.damage.is_some(), found.torn_records > 0) {
            (true, _) => Some(journal.set_aside(&mut self.disk, &found)?),
            // Nothing of it was acknowledged, unless a bit rotted in it: it is kept if there is room.
            (false, true) => journal.set_aside(&mut self.disk, &found).inspect_err(|_| is_in_doubt = true).ok(),
            (false, false) => None,
        };
        let where_kept =
            aside.iter().map(|name| format!("the bytes from there on are kept as {}", self.disk.shown(name)));
        troubles.extend(where_kept.collect::<Vec<_>>());
        let is_damaged = found.damage.is_some();
        let is_sound = !is_damaged && found.version == VERSION && !found.is_unfinished;
        if !is_sound || is_in_doubt {
            let reported = if is_damaged { write_report(&mut self.disk, troubles) } else { Ok(()) };
            let keep: &mut Keep<'_> = if is_damaged { &mut keep_after_damage } else { &mut Some };
            let rewritten = reported.and_then(|()| journal.rewrite(&mut self.disk, keep, &[], &[]));
            if let Err(error) = rewritten {
                // The next try finds the damage, and says so; unless the disk can read it then.
                if journal.is_the_same() {
                    aside.iter().for_each(|name| drop(self.disk.remove(name)));
                    if is_damaged && !was_reported {
                        forget_report(&mut self.disk);
                    }
                }
                return Err(error);
            }
        } else if let Err(error) = journal.wipe(found.torn) {
            mark_suspect(&mut self.disk);
            tracing::warn!("{error}; writing the journal anew");
            journal.rewrite(&mut self.disk, &mut Some, &[], &[])?;
        } else {
            // Whoever made the file may have been cut short before its name was durable.
            let failed = failure("making durable", self.disk.shown(JOURNAL), "check the disk");
            sync_names(&mut self.disk).map_err(failed)?;
        }
        self.journal = Some(journal);
        Ok(())
    }
}

impl<D: Disk> Storage for FileStorage<D> {
    fn open(&mut self, replay: &mut Replay<'_>) -> Result<Opened, StorageError> {
        self.journal = None;
        let advice = "check that it can be written";
        self.disk.create_folder().map_err(failure("creating the folder", self.disk.shown(""), advice))?;
        let (mut access, no_lock) = self.take_lock();
        let mut file = self.open_journal(&mut access)?;
        let key = key::read(&mut self.disk, self.keychain.as_deref())?;
        let had_key = key.is_some();
        let key = match (key, no_lock) {
            (Some(key), _) => key,
            (None, Some(error)) => return Err(failure("locking", self.disk.shown(LOCK), advice)(error)),
            (None, None) => match &access {
                _ if has_records(file.as_mut()).map_err(self.reading())? => {
                    return Err(StorageError::KeyMissing { path: self.disk.shown(key::KEY) });
                }
                Access::ReadWrite => key::make(&mut self.disk).inspect_err(|_| self.are_names_in_doubt = true)?,
                // Another copy may be about to make one.
                Access::ReadOnly(why) => return Err(StorageError::ReadOnly(why.clone())),
            },
        };
        if access.may_write()
            && !self.is_key_in_keychain_since_now
            && let Some(keychain) = &self.keychain
        {
            match key::move_to_keychain(&mut self.disk, &**keychain) {
                Ok(now) => self.is_key_in_keychain_since_now = now,
                Err(trouble) => tracing::info!("the device key stays in {}: {trouble}", self.disk.shown(key::KEY)),
            }
        }

        let found = match &mut file {
            Some(file) => {
                let mut reader = Reader::new(file);
                let found = journal::read(&mut reader, &mut |it| replay(&key, it));
                reader.was_unreadable().map_or(found, |error| Err(error.into()))
            }
            None => Ok(Found::default()),
        };
        let found = found.map_err(|error| match error {
            ReadError::Io(error) => self.reading()(error),
            ReadError::Format(source) => StorageError::Format { path: self.disk.shown(JOURNAL), source },
        })?;
        // An earlier process may have mended damage and ended before it had told it.
        let report = match access.may_write() {
            true => read_report(&mut self.disk, mem::replace(&mut self.is_report_unread, true))?,
            false => None,
        };
        self.is_report_unread = false;
        let is_damaged = access.may_write() && (found.damage.is_some() || report.is_some());
        let mut troubles = Vec::new();
        // Who only looks may look while another copy writes, and takes for damage what is none.
        if access.may_write() {
            let was_reported = report.is_some();
            troubles.extend(report.into_iter().flatten());
            let mut new: Vec<_> =
                found.trouble().into_iter().chain((had_key && found.version == 0).then(no_journal)).collect();
            new.retain(|trouble| !troubles.contains(trouble));
            // Damage that could not be mended is told by the try that mends it.
            let unmended = if is_damaged { Vec::new() } else { new.clone() };
            troubles.extend(new);
            let mended = self.mend(file, found, was_reported, &mut troubles);
            self.are_names_in_doubt = mended.is_err();
            if let Err(error) = mended {
                access = self.read_only(&error.to_string());
                troubles = if seeded(Bug::TellUnmended) { troubles } else { unmended };
            }
        }
        let is_damaged = is_damaged && access.may_write();
        Ok(Opened { key, access, is_damaged, troubles })
    }

    fn reported(&mut self) {
        forget_report(&mut self.disk);
    }

    fn append(&mut self, records: &[Record]) -> Result<(), StorageError> {
        self.writable()?.append(records)
    }

    fn compact(&mut self, keep: &mut Keep<'_>, closing: &[Record]) -> Result<(), StorageError> {
        self.writable()?.compact(keep, closing)
    }

    fn next_key(&mut self) -> Result<Option<SecretKey>, StorageError> {
        key::read_next(&mut self.disk)
    }

    fn make_next_key(&mut self) -> Result<SecretKey, StorageError> {
        key::make_next(self.writable()?.disk)
    }

    fn take_next_key(&mut self) -> Result<(), StorageError> {
        let keychain = self.keychain.take();
        let taken = self.writable().and_then(|writable| key::take_next(writable.disk, keychain.as_deref()));
        self.keychain = keychain;
        taken
    }

    fn is_worth_reopening(&mut self) -> bool {
        match self.why_read_only {
            // A lock that cannot be had may be one that cannot be had now.
            Some(WhyReadOnly::Elsewhere | WhyReadOnly::NoLock) => matches!(self.disk.lock(LOCK), Locking::Held(_)),
            Some(WhyReadOnly::NotMended) => true,
            None => false,
        }
    }
}

impl<D: Disk> FileStorage<D> {
    fn reading(&self) -> impl FnOnce(io::Error) -> StorageError + use<D> {
        failure("reading", self.disk.shown(JOURNAL), "check that the file can be read")
    }

    fn writable(&mut self) -> Result<Writable<'_, D>, StorageError> {
        match &mut self.journal {
            Some(journal) => Ok(Writable { disk: &mut self.disk, journal }),
            None => Err(StorageError::ReadOnly("it was opened to look only".to_owned())),
        }
    }
}

/// A journal that may be written, and the disk it is on.
struct Writable<'a, D: Disk> {
    disk: &'a mut D,
    journal: &'a mut JournalFile<D::File>,
}

impl<D: Disk> Writable<'_, D> {
    fn append(self, records: &[Record]) -> Result<(), StorageError> {
        self.journal.append(self.disk, records)
    }

    fn compact(self, keep: &mut Keep<'_>, closing: &[Record]) -> Result<(), StorageError> {
        self.journal.rewrite(self.disk, keep, closing, &[])
    }
}

/// Whether a journal holds anything: its device's key was made before it.
fn has_records<F: DiskFile>(file: Option<&mut F>) -> io::Result<bool> {
    let Some(file) = file else { return Ok(false) };
    let mut start = [0; HEADER + 4];
    let length = Reader::new(file).read_at(0, &mut start)?;
    Ok(length > HEADER && start[HEADER..].iter().any(|&byte| byte != 0))
}

fn failure(action: &'static str, path: String, advice: &'static str) -> impl FnOnce(io::Error) -> StorageError {
    move |source| StorageError::Io { action, path, source, advice }
}
