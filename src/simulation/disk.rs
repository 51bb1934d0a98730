//! A disk in memory that knows what is durable: it gives every state that a crash may leave, and fails when told to.
//!
//! A write, a new length, a new name are live at once, and durable only when they were made so. Until then a crash
//! keeps any of them and loses any other, in any order, and may tear a write at any byte.

mod content;
mod crash;
mod fault;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) use content::Content;
use content::{Change, Contents};
pub(super) use crash::Thoroughness;
pub(super) use fault::{Call, Fault, FaultKind, Struck};

use crate::client::storage::disk::{Disk, DiskFile, FileAccess, Locking};

/// A disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    content: Content,
    /// Whether a process holds the lock.
    locked: bool,
    has_lock_file: bool,
    /// The disk's state after each call that changed it, if it is being recorded.
    recording: Option<Vec<Content>>,
    /// All calls so far.
    calls: Vec<Call>,
    faults: Vec<Fault>,
    struck: Struck,
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
        self.state().calls.len() as u64
    }

    /// All calls that there were, in order.
    pub(super) fn all_calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Fails from now on in this way, and in no other.
    pub(super) fn fail(&self, fault: Fault) {
        self.state().faults = vec![fault];
    }

    /// Fails in this way besides.
    pub(super) fn fail_too(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// What has failed since the disk was last healed.
    pub(super) fn struck(&self) -> Struck {
        self.state().struck.clone()
    }

    /// Nothing fails any more. Says what has failed.
    pub(super) fn heal(&self) -> Struck {
        let mut state = self.state();
        state.faults.clear();
        std::mem::take(&mut state.struck)
    }

    /// The process is gone, and the machine goes on: nothing is lost, and the lock is free.
    pub(super) fn process_ended(&self) {
        self.state().locked = false;
    }

    fn call<T>(&self, call: Call, act: impl FnOnce(&mut Content, Option<Fault>) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state();
        let number = state.calls.len() as u64;
        state.calls.push(call);
        let fault = state.faults.iter().copied().find(|fault| fault.strikes(number, call));
        if let Some(fault) = fault {
            *state.struck.entry((fault.kind, call)).or_default() += 1;
        }
        let result = act(&mut state.content, fault);
        if call.is_change() {
            let content = state.recording.is_some().then(|| state.content.clone());
            if let (Some(recording), Some(content)) = (&mut state.recording, content) {
                recording.push(content);
            }
        }
        result
    }
}

/// Does what a call is to do, unless it fails; one that fails unheard does it all the same.
fn done<T>(fault: Option<Fault>, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match fault {
        Some(Fault { kind: FaultKind::Unheard, .. }) => act().and_then(|_| Err(FaultKind::Unheard.error())),
        fault => none(fault).and_then(|()| act()),
    }
}

/// The error of a call that fails and does nothing.
fn none(fault: Option<Fault>) -> io::Result<()> {
    fault.map_or(Ok(()), |fault| Err(fault.kind.error()))
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;
    type Lock = SimulatedLock;

    fn create_folder(&mut self) -> io::Result<()> {
        self.call(Call::MakeFolder, |_, fault| none(fault))
    }

    fn lock(&mut self, _: &str) -> Locking<SimulatedLock> {
        let call = if self.state().has_lock_file { Call::Lock } else { Call::MakeLock };
        let is_free = self.call(call, |_, fault| match fault.map(|fault| fault.kind) {
            Some(FaultKind::LockedElsewhere) => Ok(false),
            _ => none(fault).map(|()| true),
        });
        let mut state = self.state();
        match is_free {
            Err(error) => return Locking::Impossible(error),
            Ok(false) => return Locking::Elsewhere,
            Ok(true) => state.has_lock_file = true,
        }
        if std::mem::replace(&mut state.locked, true) {
            return Locking::Elsewhere;
        }
        Locking::Held(SimulatedLock(self.clone()))
    }

    fn open(&mut self, name: &str, _: FileAccess) -> io::Result<Option<SimulatedFile>> {
        let found = self.call(Call::Open, |content, fault| {
            none(fault)?;
            Ok(content.names.get(name).copied())
        })?;
        Ok(found.map(|file| SimulatedFile { disk: self.clone(), file }))
    }

    fn create(&mut self, name: &str) -> io::Result<SimulatedFile> {
        let file = self.call(Call::MakeFile, |content, fault| done(fault, || Ok(content.create(name))))?;
        Ok(SimulatedFile { disk: self.clone(), file })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.call(Call::Rename, |content, fault| match fault.map(|fault| fault.kind) {
            Some(FaultKind::TakenAway) if from == "journal.new" => {
                content.remove(from)?;
                Err(FaultKind::TakenAway.error())
            }
            _ => done(fault, || content.rename(from, to)),
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.call(Call::Remove, |content, fault| done(fault, || content.remove(name)))
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.call(Call::SyncFolder, |content, fault| {
            match fault.map(|fault| fault.kind) {
                None | Some(FaultKind::Unheard) => content.sync_names(),
                Some(FaultKind::SyncLost) => content.forget_names(),
                Some(_) => {}
            }
            none(fault)
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

impl SimulatedFile {
    /// Asks something of the file as it is now.
    fn ask<T>(&self, what: impl FnOnce(&Contents) -> T) -> T {
        what(&self.disk.state().content.files[self.file])
    }
}

impl DiskFile for SimulatedFile {
    fn length(&mut self) -> io::Result<u64> {
        self.disk.call(Call::Read, |content, fault| {
            none(fault)?;
            Ok(content.files[self.file].live.len() as u64)
        })
    }

    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.disk.call(Call::Read, |content, fault| {
            none(fault)?;
            let Contents { live, unreadable, .. } = &content.files[self.file];
            let asked = usize::try_from(offset).unwrap_or(usize::MAX);
            if asked < unreadable.end && unreadable.start < asked.saturating_add(bytes.len()) {
                return Err(FaultKind::Broken.error());
            }
            let from = usize::try_from(offset).ok().and_then(|offset| live.get(offset..)).unwrap_or_default();
            let length = from.len().min(bytes.len());
            bytes[..length].copy_from_slice(&from[..length]);
            Ok(length)
        })
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let offset = usize::try_from(offset).map_err(|_| FaultKind::Full.error())?;
        let is_longer = self.ask(|file| offset + bytes.len() > file.live.len());
        let call = if is_longer { Call::Extend } else { Call::Overwrite };
        self.disk.call(call, |content, fault| {
            let file = &mut content.files[self.file];
            let written = match fault.map(|fault| (fault.kind, fault.for_ever)) {
                None | Some((FaultKind::Unheard, _)) => bytes.len(),
                Some((FaultKind::Broken, _) | (FaultKind::Short, false)) => bytes.len() / 2,
                // What is allocated already can be written on a full disk.
                Some((FaultKind::Full | FaultKind::Quota, _)) => file.live.len().saturating_sub(offset),
                Some(_) => 0,
            };
            file.change(Change::Write { offset, bytes: bytes[..written].to_vec() });
            match fault.map(|fault| fault.kind) {
                None | Some(FaultKind::Short) => Ok(written),
                Some(kind) => Err(kind.error()),
            }
        })
    }

    fn set_length(&mut self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(|_| FaultKind::Full.error())?;
        let is_longer = self.ask(|file| length > file.live.len());
        let call = if is_longer { Call::Lengthen } else { Call::Shorten };
        self.disk.call(call, |content, fault| {
            done(fault, || {
                content.files[self.file].change(Change::Length(length));
                Ok(())
            })
        })
    }

    fn sync_data(&mut self) -> io::Result<()> {
        // A disk that is full has room for what is allocated. What makes the file longer may be allocated only now.
        let call = if self.ask(Contents::is_longer) { Call::SyncLonger } else { Call::Sync };
        self.disk.call(call, |content, fault| {
            let file = &mut content.files[self.file];
            match fault.map(|fault| fault.kind) {
                None | Some(FaultKind::Unheard) => file.sync(),
                Some(FaultKind::SyncLost) => file.changes.clear(),
                Some(_) => {}
            }
            none(fault)
        })
    }
}
