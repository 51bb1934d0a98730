//! A disk in memory that knows what is durable: it gives every state that a crash may leave, and fails when told to.
//!
//! A write, a new length, a new name are live at once, and durable only when they were made so. Until then a crash
//! keeps any of them and loses any other, in any order, and may tear a write at any byte.

mod crash;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64ct::{Base64UrlUnpadded, Encoding};
pub(super) use crash::Thoroughness;

use crate::client::storage::disk::{Disk, DiskFile, FileAccess, Locking};
use crate::protocol::SecretKey;

/// A disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    content: Content,
    /// How many processes hold the lock: one, unless the lock is forgotten.
    locked: bool,
    /// The disk's state after each call that changed it, if it is being recorded.
    recording: Option<Vec<Content>>,
    calls: u64,
    fault: Option<Fault>,
    /// How often the fault struck.
    struck: u64,
}

/// What is on the disk, live and durable.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    files: Vec<Contents>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changed_names: Vec<NameChange>,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    live: Vec<u8>,
    durable: Vec<u8>,
    changes: Vec<Change>,
}

/// A change of a file that is not durable.
#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

/// A change of the folder that is not durable.
#[derive(Clone, Debug)]
enum NameChange {
    Made(String, usize),
    Renamed(String, String, usize),
    Removed(String),
}

/// A call that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The number of the call, counted from 0.
    pub(super) call: u64,
    pub(super) kind: FaultKind,
    /// Whether every later call fails as well, until the disk is healed.
    pub(super) for_ever: bool,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// EIO: a write may have written half.
    Broken,
    /// ENOSPC: nothing can be made longer, or made.
    Full,
    /// EDQUOT.
    Quota,
    /// EACCES.
    Denied,
    /// A write writes less than all; for ever: nothing.
    Short,
    /// EINTR.
    Interrupted,
    /// Making durable fails, and what was written is taken for written from then on: it is in the cache, and will
    /// never reach the disk ("fsyncgate").
    SyncLost,
}

impl FaultKind {
    pub(super) const ALL: [Self; 7] =
        [Self::Broken, Self::Full, Self::Quota, Self::Denied, Self::Short, Self::Interrupted, Self::SyncLost];

    fn error(self) -> io::Error {
        let code = match self {
            Self::Broken | Self::SyncLost => 5,
            Self::Full => 28,
            Self::Quota => 122,
            Self::Denied => 13,
            Self::Interrupted => 4,
            Self::Short => return io::ErrorKind::WriteZero.into(),
        };
        io::Error::from_raw_os_error(code)
    }
}

/// What a call does, for a fault to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Read,
    Write,
    Sync,
    Make,
    Other,
}

impl SimulatedDisk {
    /// A disk as a crash left it: everything on it is durable, and nobody holds the lock.
    pub(super) fn of(content: Content) -> Self {
        let state = State { content, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to record the disk's state after each change.
    pub(super) fn record(&self) {
        self.state().recording = Some(Vec::new());
    }

    /// What was recorded since the last time.
    pub(super) fn recorded(&self) -> Vec<Content> {
        self.state().recording.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Ends the record, and gives what is in it.
    pub(super) fn end_record(&self) -> Vec<Content> {
        self.state().recording.take().unwrap_or_default()
    }

    /// The state now.
    pub(super) fn content(&self) -> Content {
        self.state().content.clone()
    }

    /// How many calls there were.
    pub(super) fn calls(&self) -> u64 {
        self.state().calls
    }

    pub(super) fn fail(&self, fault: Fault) {
        let mut state = self.state();
        (state.fault, state.struck) = (Some(fault), 0);
    }

    /// Nothing fails any more. Says how many calls failed.
    pub(super) fn heal(&self) -> u64 {
        let mut state = self.state();
        state.fault = None;
        state.struck
    }

    /// The process is gone, and the machine goes on: nothing is lost, and the lock is free.
    pub(super) fn process_ended(&self) {
        self.state().locked = false;
    }

    fn call<T>(&self, call: Call, act: impl FnOnce(&mut State, Option<FaultKind>) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        let number = state.calls;
        state.calls += 1;
        let fault = state.fault.filter(|fault| number == fault.call || (fault.for_ever && number > fault.call));
        let fault = fault.map(|fault| fault.kind).filter(|kind| match kind {
            FaultKind::Broken | FaultKind::Interrupted => true,
            FaultKind::Full | FaultKind::Quota => matches!(call, Call::Write | Call::Make | Call::Sync),
            FaultKind::Denied => call != Call::Read,
            FaultKind::Short => call == Call::Write,
            FaultKind::SyncLost => call == Call::Sync,
        });
        state.struck += u64::from(fault.is_some());
        let result = act(&mut state, fault);
        if call != Call::Read {
            let content = state.recording.is_some().then(|| state.content.clone());
            if let (Some(recording), Some(content)) = (&mut state.recording, content) {
                recording.push(content);
            }
        }
        result
    }
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;
    type Lock = SimulatedLock;

    fn create_folder(&mut self) -> io::Result<()> {
        self.call(Call::Other, |_, fault| fault.map_or(Ok(()), |kind| Err(kind.error())))
    }

    fn lock(&mut self, _: &str) -> Locking<SimulatedLock> {
        let mut state = self.state();
        if std::mem::replace(&mut state.locked, true) {
            return Locking::Elsewhere;
        }
        Locking::Held(SimulatedLock(self.clone()))
    }

    fn open(&mut self, name: &str, _: FileAccess) -> io::Result<Option<SimulatedFile>> {
        let found = self.call(Call::Read, |state, fault| match fault {
            Some(kind) => Err(kind.error()),
            None => Ok(state.content.names.get(name).copied()),
        })?;
        Ok(found.map(|file| SimulatedFile { disk: self.clone(), file }))
    }

    fn create(&mut self, name: &str) -> io::Result<SimulatedFile> {
        let file = self.call(Call::Make, |state, fault| {
            if let Some(kind) = fault {
                return Err(kind.error());
            }
            let content = &mut state.content;
            if let Some(&file) = content.names.get(name) {
                content.files[file].live.clear();
                content.files[file].changes.push(Change::Length(0));
                return Ok(file);
            }
            let file = content.files.len();
            content.files.push(Contents::default());
            content.names.insert(name.to_owned(), file);
            content.changed_names.push(NameChange::Made(name.to_owned(), file));
            Ok(file)
        })?;
        Ok(SimulatedFile { disk: self.clone(), file })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.call(Call::Other, |state, fault| {
            if let Some(kind) = fault {
                return Err(kind.error());
            }
            let content = &mut state.content;
            let file = content.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            content.names.insert(to.to_owned(), file);
            content.changed_names.push(NameChange::Renamed(from.to_owned(), to.to_owned(), file));
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.call(Call::Other, |state, fault| {
            if let Some(kind) = fault {
                return Err(kind.error());
            }
            let content = &mut state.content;
            content.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
            content.changed_names.push(NameChange::Removed(name.to_owned()));
            Ok(())
        })
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.call(Call::Sync, |state, fault| {
            // Names are in the file system's own journal: it does not take them for written when they are not.
            if let Some(kind) = fault {
                return Err(kind.error());
            }
            let content = &mut state.content;
            for change in std::mem::take(&mut content.changed_names) {
                change.make(&mut content.durable_names);
            }
            Ok(())
        })
    }

    fn shown(&self, name: &str) -> String {
        format!("save/{name}")
    }
}

/// The lock of a process. A process that is killed never drops it: [`SimulatedDisk::process_ended`] does.
#[derive(Debug)]
pub(super) struct SimulatedLock(SimulatedDisk);

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

/// An open file.
#[derive(Clone, Debug)]
pub(super) struct SimulatedFile {
    disk: SimulatedDisk,
    file: usize,
}

impl DiskFile for SimulatedFile {
    fn length(&mut self) -> io::Result<u64> {
        self.disk.call(Call::Read, |state, fault| match fault {
            Some(kind) => Err(kind.error()),
            None => Ok(state.content.files[self.file].live.len() as u64),
        })
    }

    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.disk.call(Call::Read, |state, fault| {
            if let Some(kind) = fault {
                return Err(kind.error());
            }
            let live = &state.content.files[self.file].live;
            let from = usize::try_from(offset).ok().and_then(|offset| live.get(offset..)).unwrap_or_default();
            let length = from.len().min(bytes.len());
            bytes[..length].copy_from_slice(&from[..length]);
            Ok(length)
        })
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.disk.call(Call::Write, |state, fault| {
            let offset = usize::try_from(offset).map_err(|_| FaultKind::Full.error())?;
            let for_ever = state.fault.is_some_and(|fault| fault.for_ever);
            let file = &mut state.content.files[self.file];
            let longer = offset + bytes.len() > file.live.len();
            let written = match fault {
                None => bytes.len(),
                Some(FaultKind::Short) if for_ever => 0,
                Some(FaultKind::Short | FaultKind::Broken) => bytes.len() / 2,
                // What is allocated already can be written on a full disk.
                Some(FaultKind::Full | FaultKind::Quota) if !longer => bytes.len(),
                Some(FaultKind::Full | FaultKind::Quota) => file.live.len().saturating_sub(offset).min(bytes.len()),
                Some(_) => 0,
            };
            file.change(Change::Write { offset, bytes: bytes[..written].to_vec() });
            match fault {
                None | Some(FaultKind::Short) => Ok(written),
                Some(FaultKind::Full | FaultKind::Quota) if !longer => Ok(written),
                Some(kind) => Err(kind.error()),
            }
        })
    }

    fn set_length(&mut self, length: u64) -> io::Result<()> {
        self.disk.call(Call::Other, |state, fault| {
            if let Some(kind) = fault {
                return Err(kind.error());
            }
            let length = usize::try_from(length).map_err(|_| FaultKind::Full.error())?;
            state.content.files[self.file].change(Change::Length(length));
            Ok(())
        })
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.disk.call(Call::Sync, |state, fault| {
            let file = &mut state.content.files[self.file];
            // A disk that is full has room for what is allocated. What makes the file longer may be allocated only now.
            let longer = file.live.len() > file.durable.len();
            let fault = fault.filter(|kind| longer || !matches!(kind, FaultKind::Full | FaultKind::Quota));
            if let Some(kind) = fault {
                if kind == FaultKind::SyncLost {
                    file.changes.clear();
                }
                return Err(kind.error());
            }
            for change in std::mem::take(&mut file.changes) {
                change.make(&mut file.durable);
            }
            Ok(())
        })
    }
}

impl Contents {
    fn change(&mut self, change: Change) {
        change.make(&mut self.live);
        self.changes.push(change);
    }
}

impl Change {
    fn make(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes: written } => {
                bytes.resize(bytes.len().max(offset + written.len()), 0);
                bytes[*offset..offset + written.len()].copy_from_slice(written);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }
}

impl NameChange {
    fn make(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Made(name, file) => drop(names.insert(name.clone(), *file)),
            Self::Renamed(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Removed(name) => drop(names.remove(name)),
        }
    }
}

impl Content {
    /// A folder in which there is a device's key, and nothing else.
    pub(super) fn with_key(key: &SecretKey) -> Self {
        let mut content = Self::default();
        content.make("device.key");
        let line = format!("{}\n", Base64UrlUnpadded::encode_string(key.seed()));
        content.rot("device.key", |bytes| bytes.extend_from_slice(line.as_bytes()));
        content
    }

    /// The files as another program reads and copies them.
    pub(super) fn copied(&self) -> Self {
        let mut copy = Self::default();
        for (name, &file) in &self.names {
            copy.make(name);
            copy.rot(name, |bytes| bytes.clone_from(&self.files[file].live));
        }
        copy
    }

    /// The bytes of a file.
    pub(super) fn file(&self, name: &str) -> Option<&[u8]> {
        self.names.get(name).map(|&file| &self.files[file].live[..])
    }

    /// What was written to a file is in the cache, taken for durable there, and will never reach the disk.
    pub(super) fn forget_changes(&mut self, name: &str) {
        self.files[self.names[name]].changes.clear();
    }

    /// Makes an empty file, durably.
    pub(super) fn make(&mut self, name: &str) {
        self.names.insert(name.to_owned(), self.files.len());
        self.durable_names.insert(name.to_owned(), self.files.len());
        self.files.push(Contents::default());
    }

    /// Changes the bytes of a file where they lie, as rot and other programs do.
    pub(super) fn rot(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let file = &mut self.files[self.names[name]];
        change(&mut file.live);
        file.durable = file.live.clone();
    }
}
