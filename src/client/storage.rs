//! Where a client keeps its key and its journal, behind an interface as narrow as what the machine needs.

pub mod disk;
#[cfg(not(target_family = "wasm"))]
pub mod file;
pub mod keychain;
pub mod memory;
pub mod web;

use std::fmt::Debug;
use std::pin::Pin;

pub use keychain::Keychain;
use thiserror::Error;

use super::MaybeSend;
use super::record::Record;
use crate::protocol::SecretKey;

/// Whether this copy of the game may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may: it holds the lock.
    ReadWrite,
    /// It may only look; in words, why.
    ReadOnly(String),
}

impl Access {
    /// Whether orders can be placed.
    pub fn may_write(&self) -> bool {
        *self == Self::ReadWrite
    }
}

/// How long what is kept on this device stays there, as far as anybody can promise. What the server has answered is in its
/// books whatever becomes of it; what was ordered and not sent yet is here alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Persistence {
    /// Until the player removes it: in files, or in a browser that has promised it (the Storage Standard's "persistent").
    Persistent,
    /// Until the browser needs the room, forgets sites that are not visited, or closes a private window (the Storage
    /// Standard's "best-effort"): it throws everything away at once, and asks nobody.
    BestEffort,
    /// Until the game ends: in memory only.
    InMemory,
}

/// What is known of a storage once it is open.
#[derive(Debug)]
pub struct Opened {
    /// The device's key, made if there was none.
    pub key: SecretKey,
    /// Whether this copy may write.
    pub access: Access,
    /// Whether records may be missing that were there, and nothing has said yet, with [`Storage::reported`], that this
    /// was dealt with.
    pub is_damaged: bool,
    /// What was wrong and how it was mended, in words.
    pub troubles: Vec<String>,
}

/// Takes the records of a journal that is opened, in order, each with the device's key.
pub type Replay<'a> = dyn FnMut(&SecretKey, Record) + 'a;

/// Gives what is to be kept of a record when a journal is written anew; none to leave it out.
pub type Keep<'a> = dyn FnMut(Record) -> Option<Record> + 'a;

/// What is kept of a journal that was damaged: not what the device may spend offline, since nobody knows any more how much
/// of that is spent. The server is asked for another allowance.
fn keep_after_damage(record: Record) -> Option<Record> {
    (!matches!(record, Record::Allowance(_))).then_some(record)
}

/// What a storage does that cannot be done before its call returns.
pub type Doing<'a> = Pin<Box<dyn Future<Output = Result<(), StorageError>> + 'a>>;

/// A place for a device's key and journal. Called on the worker's thread, one call at a time.
///
/// A file is written when the call that writes it returns. A browser's database is written some turns of its event loop
/// later: such a storage notes what is to be done, and [`Storage::prepare`] and [`Storage::settle`] do it. Nobody relies
/// on what a call did before `settle` has said that it is done; where that fails, the call has failed.
pub trait Storage: Debug + MaybeSend + 'static {
    /// Gets hold of what the next [`Storage::open`] reads; none where that is there already.
    fn prepare(&mut self) -> Option<Doing<'_>> {
        None
    }

    /// Makes durable what the last call wrote; none where it is.
    fn settle(&mut self) -> Option<Doing<'_>> {
        None
    }

    /// Reads everything, mending what a crash left, and hands each record to `replay`.
    ///
    /// # Errors
    /// Nothing can be read, or nothing should be touched; whatever is there is left as it is.
    fn open(&mut self, replay: &mut Replay<'_>) -> Result<Opened, StorageError>;

    /// What was damaged when it was opened has been told, and what that asked for is durable: the next start need not be
    /// told of it again.
    fn reported(&mut self) {}

    /// Appends records, all or none, durably.
    ///
    /// # Errors
    /// Nothing of `records` is in the journal; or, with [`StorageError::Uncertain`], something may be: then it is not
    /// known before a later call succeeds, with the same records or others, after which only those are in it.
    fn append(&mut self, records: &[Record]) -> Result<(), StorageError>;

    /// Writes the journal anew from what `keep` gives, and `closing` after it, durably.
    ///
    /// # Errors
    /// The journal is as it was, or as it should be.
    fn compact(&mut self, keep: &mut Keep<'_>, closing: &[Record]) -> Result<(), StorageError>;

    /// The key that was made to take the place of the device's, if there is one.
    ///
    /// # Errors
    /// It cannot be read.
    fn next_key(&mut self) -> Result<Option<SecretKey>, StorageError> {
        Ok(None)
    }

    /// Makes a key that may take the place of the device's, durably; or gives the one that was made before. A storage
    /// that does not say how keeps one key for ever.
    ///
    /// # Errors
    /// There is no such key.
    fn make_next_key(&mut self) -> Result<SecretKey, StorageError> {
        Err(StorageError::ReadOnly("this storage keeps one key".to_owned()))
    }

    /// Puts the next key in the place of the device's, durably, and so that the old one is gone. Does nothing where that
    /// is done already.
    ///
    /// # Errors
    /// Both are there as they were, or the next one alone.
    fn take_next_key(&mut self) -> Result<(), StorageError> {
        Err(StorageError::ReadOnly("this storage keeps one key".to_owned()))
    }

    /// Whether opening it again may give more than it gave the last time, when it was read-only. A quick look.
    fn is_worth_reopening(&mut self) -> bool {
        false
    }

    /// Whether another copy of the game has taken over what this one had open to write: nothing is written any more
    /// before it is opened again. A quick look.
    fn is_overtaken(&self) -> bool {
        false
    }

    /// How long what is kept stays. It may change while the storage is open. A quick look.
    fn persistence(&self) -> Persistence {
        Persistence::Persistent
    }
}

/// What is to be said of a key that has no journal: it was made just before a crash, or the journal is lost.
fn no_journal() -> String {
    "there was no journal beside the device's key; an empty one was made, and what the server knows comes back from it"
        .to_owned()
}

/// Why a storage cannot be used. Each says what is wrong, where, and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The operating system refused something.
    #[error("{action} {path} failed: {source}; {advice}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: String,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The journal is not one that can be read.
    #[error("the journal {path} cannot be read: {source}")]
    Format {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: super::journal::FormatError,
    },
    /// The device's key is damaged.
    #[error(
        "the device key {path} is damaged; put it back from a copy, or move the folder away to start as a new player"
    )]
    KeyDamaged {
        /// The file.
        path: String,
    },
    /// There is no key, and none can be made: there is a journal that had one.
    #[error(
        "the device key {path} is missing; put it back from a copy, or move the folder away to start as a new player"
    )]
    KeyMissing {
        /// Where it should be.
        path: String,
    },
    /// The device's key is in the keychain, which cannot be read now.
    #[error(
        "the device key is in this computer's keychain, as {path} says, and that cannot be read: {trouble}; unlock it"
    )]
    Keychain {
        /// The file that says so.
        path: String,
        /// What the keychain said.
        trouble: String,
    },
    /// The device's key was put into a keychain that has it no longer, or that is another computer's.
    #[error(
        "the device key is not in this computer's keychain, where {path} says that it is; open the game where it was \
         played, or move the folder away to start as a new player"
    )]
    NotInKeychain {
        /// The file that says so.
        path: String,
    },
    /// The device's key is in a keychain, and this storage was given none.
    #[error(
        "the device key is in the system's keychain, as {path} says, and this build of the game does not use it; build \
         it with the feature `keychain`, and set `keychain` in the plugin"
    )]
    NoKeychain {
        /// The file that says so.
        path: String,
    },
    /// There is no folder for a player's data on this system.
    #[error("this system names no folder for a player's data; set `save` in the plugin to a folder")]
    NoDataFolder,
    /// The browser refused something.
    #[error("{action} what is kept in this browser failed: {trouble}; {advice}")]
    Browser {
        /// What was tried.
        action: &'static str,
        /// What the browser said.
        trouble: String,
        /// What to do.
        advice: &'static str,
    },
    /// The random source failed.
    #[error("the system's random source failed, so no device key can be made; try again")]
    NoRandomness,
    /// This copy may only look.
    #[error("this copy of the game may not write: {0}")]
    ReadOnly(String),
    /// An append failed, and what it left could not be taken back: it may be there after a restart.
    #[error("{0}; it is not known yet whether it was saved")]
    Uncertain(Box<StorageError>),
}
