//! Why a server does not start, and why an operator's request is not done.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use super::database::Database;
use super::ledger::{LedgerError, OperateError, OperationId, Refused};
use super::limits::LimitError;
use super::login::LoginError;
use crate::protocol::{AccountId, KeyId, Money};

/// Why a server does not start, or a data folder is not opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Nobody is welcomed by being charged.
    #[error("the welcome credit is {0}; write an amount above zero, or leave it out")]
    NegativeWelcome(Money),
    /// A limit is out of its range.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// The login cannot be used.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The data folder cannot be made, read or written.
    #[error("the data folder `{}` cannot be used: {source}; make it writable or pass another", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// There is no store in the folder.
    #[error("there is no store in `{}`; pass the folder that `iap-server serve --data` was given", .0.display())]
    NoStore(PathBuf),
    /// Another server serves the folder.
    #[error("the data folder `{}` is served by another `iap-server`; stop that one or pass another folder", .0.display())]
    FolderInUse(PathBuf),
    /// The key file is not one.
    #[error("the key file `{}` cannot be used: {problem}; restore it from a copy", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The books are there, but not the key that signed their receipts.
    #[error(
        "the key file `{}` is missing beside its store; restore it from a copy, since games trust no other key",
        .0.display()
    )]
    KeyMissing(PathBuf),
    /// There is no such key.
    #[error("there is no key {0}; `iap-server keys show` lists them")]
    NoSuchKey(KeyId),
    /// A root cannot be revoked by itself.
    #[error("a root cannot revoke itself; pass the other root with --root")]
    RootRevokesItself,
    /// The list of keys is full.
    #[error("the list of keys is full; drop keys that ended long ago with `iap-server keys prune --before TIME`")]
    TooManyKeys,
    /// No key ended that long ago.
    #[error("no key that may be dropped ended before that time; `iap-server keys show` lists them all")]
    NoKeyEnded,
    /// The books cannot be opened.
    #[error("`{}`: {source}", path.display())]
    Books {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: LedgerError,
    },
    /// The database cannot be used.
    #[error("`{database}`: {source}")]
    Database {
        /// The database.
        database: Database,
        /// What is wrong.
        source: LedgerError,
    },
    /// Servers that share books must share their key.
    #[error(
        "the key file `{}` is not the key {expected} that signs the receipts in the database; copy `server.key` from \
         the first server of these books, since games trust no other key",
        path.display()
    )]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The id of the key that is wanted.
        expected: KeyId,
    },
    /// Another program listens at the address.
    #[error("address {0} is in use; stop the other server or pass --listen")]
    AddressInUse(SocketAddr),
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {source}; pass another --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The operating system gave no thread.
    #[error("the server's threads could not be started: {0}")]
    Threads(#[source] io::Error),
}

/// Why an operator's request was not done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OperationError {
    /// It was refused, and stays so under its id.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Its id was used for another operation.
    #[error("the id {0} was used for another operation; use each id for one")]
    IdUsed(OperationId),
    /// There is no such account.
    #[error("there is no account {0}; a device opens one when it first reaches this server")]
    UnknownAccount(AccountId),
    /// The books failed while it was done. It may have been done: the same again under the same id is done once.
    #[error("{source}; it may have been done: do the same again under the id {id}, and it is done once")]
    Undecided {
        /// The id that it was to be done under.
        id: OperationId,
        /// What is wrong with the books.
        source: LedgerError,
    },
    /// The books could not be read; nothing was done.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The data folder could not be read.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The server is busy or stopping; nothing was done.
    #[error("the server is busy or stopping; try again")]
    Unavailable,
}

impl OperationError {
    /// Why the operation `id` was not done.
    pub(crate) fn of(id: OperationId, error: OperateError) -> Self {
        match error {
            OperateError::Refused(refused) => Self::Refused(refused),
            OperateError::IdUsed(id) => Self::IdUsed(id),
            OperateError::Ledger(source) => Self::Undecided { id, source },
        }
    }
}
