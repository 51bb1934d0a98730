//! The data folder: the keys, the books in `store.sqlite` unless they are in a database elsewhere, and the lock of
//! whoever serves them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::database::Database;
use super::error::ServerError;
use super::key_file;
use super::ledger::{Ledger, SqliteLedger};
#[cfg(feature = "postgres")]
use super::ledger::{LedgerError, PostgresLedger};
use super::signing_keys::SigningKeys;
use crate::patient_lock;
use crate::protocol::{GameId, PublicKey, SecretKey};

/// A folder that holds one game's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFolder {
    path: PathBuf,
    database: Database,
}

/// How long a look-up waits for a database that is away: whoever asks is told to come back before they give up.
#[cfg(feature = "postgres")]
const GLANCE: std::time::Duration = std::time::Duration::from_secs(2);

impl DataFolder {
    /// The folder at `path`, which is made if it is missing.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: &Path) -> Result<Self, ServerError> {
        let folder = Self { path: path.to_owned(), database: Database::Folder };
        fs::create_dir_all(path).map_err(|error| folder.unusable(error))?;
        Ok(folder)
    }

    /// The folder at `path`, which must hold a store.
    ///
    /// # Errors
    /// It holds neither books nor a key.
    pub fn open(path: &Path) -> Result<Self, ServerError> {
        let folder = Self { path: path.to_owned(), database: Database::Folder };
        match folder.store().exists() || folder.key_file().exists() || folder.key_list_file().exists() {
            true => Ok(folder),
            false => Err(ServerError::NoStore(folder.path)),
        }
    }

    /// The same folder, with its books in `database`.
    pub fn with_database(self, database: Database) -> Self {
        Self { database, ..self }
    }

    /// The file that holds the books.
    pub fn store(&self) -> PathBuf {
        self.path.join("store.sqlite")
    }

    /// The file that holds the first key: the root, once keys were rotated.
    pub fn key_file(&self) -> PathBuf {
        self.path.join("server.key")
    }

    /// The file that holds the key that signs, once keys were rotated.
    pub fn signing_key_file(&self) -> PathBuf {
        self.path.join("signing.key")
    }

    /// The file that holds the key that is to sign next, while keys are rotated.
    pub(crate) fn next_signing_key_file(&self) -> PathBuf {
        self.path.join("signing.next")
    }

    /// The file that holds the list of keys, once they were rotated.
    pub fn key_list_file(&self) -> PathBuf {
        self.path.join("keys.jwt")
    }

    /// The file that holds the public keys of the roots, one in a line.
    fn roots_file(&self) -> PathBuf {
        self.path.join("roots.pub")
    }

    /// The files of keys that there are: a backup of the books is of no use without them.
    pub fn key_files(&self) -> Vec<PathBuf> {
        let secrets = [self.key_file(), self.signing_key_file(), self.next_signing_key_file()];
        secrets.into_iter().chain([self.key_list_file(), self.roots_file()]).filter(|file| file.exists()).collect()
    }

    /// The roots that were written down.
    ///
    /// # Errors
    /// The file is damaged.
    pub(crate) fn roots(&self) -> Result<Vec<PublicKey>, ServerError> {
        let path = self.roots_file();
        let text = key_file::text(&path)?.unwrap_or_default();
        text.lines().map(|line| line.parse().map_err(|error| key_file::damaged(&path, error))).collect()
    }

    /// Writes down the roots.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write_roots(&self, roots: &[PublicKey]) -> Result<(), ServerError> {
        let text: String = roots.iter().map(|root| format!("{root}\n")).collect();
        key_file::write(&self.roots_file(), &text).map_err(|error| self.unusable(error))
    }

    /// Keeps other servers off the folder for as long as the file that this gives is open. The lock file stays: were it
    /// deleted, two servers could each lock a file of that name.
    ///
    /// # Errors
    /// Another server has the lock, or it cannot be taken.
    pub(crate) fn lock(&self) -> Result<File, ServerError> {
        self.lock_as("server.lock")
    }

    /// Keeps others from changing the keys at the same time; the server goes on.
    ///
    /// # Errors
    /// Somebody else has the lock, or it cannot be taken.
    pub(crate) fn lock_keys(&self) -> Result<File, ServerError> {
        self.lock_as("keys.lock")
    }

    fn lock_as(&self, name: &str) -> Result<File, ServerError> {
        let path = self.path.join(name);
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(path);
        let file = file.map_err(|error| self.unusable(error))?;
        match patient_lock::try_lock(&file) {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(ServerError::FolderInUse(self.path.clone())),
            Err(TryLockError::Error(error)) => Err(self.unusable(error)),
        }
    }

    /// The first key.
    ///
    /// # Errors
    /// The file is missing or is not a key.
    pub fn key(&self) -> Result<SecretKey, ServerError> {
        key_file::secret(&self.key_file())
    }

    /// Makes the first key, unless there are keys.
    fn make_key(&self) -> Result<(), ServerError> {
        if [self.key_file(), self.signing_key_file(), self.key_list_file()].iter().any(|file| file.exists()) {
            return Ok(());
        }
        let (_, text) = key_file::random_secret().map_err(|error| self.unusable(error))?;
        key_file::write(&self.key_file(), &text).map_err(|error| self.unusable(error))
    }

    /// What the server signs with, and the books of `game`, which are made where they are missing. Call it under the
    /// lock.
    ///
    /// # Errors
    /// As [`SigningKeys::read`], or the books cannot be opened, are another game's, or are signed with other keys.
    pub(crate) fn keys_and_books(&self, game: &GameId) -> Result<(SigningKeys, Box<dyn Ledger>), ServerError> {
        match &self.database {
            Database::Folder => {
                // A new key beside books that an old one signed would be trusted by nobody.
                if !self.store().exists() {
                    self.make_key()?;
                }
                let keys = SigningKeys::read(self, game)?;
                let path = self.store();
                let books = SqliteLedger::open(&path, game).map_err(|source| ServerError::Books { path, source })?;
                Ok((keys, Box::new(books)))
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(url) => {
                let mut books = PostgresLedger::open(url, game).map_err(|source| self.unusable_books(source))?;
                let root = books.signing_key(None).map_err(|source| self.unusable_books(source))?;
                if root.is_none() {
                    self.make_key()?;
                }
                let keys = SigningKeys::read(self, game)?;
                let root = books.signing_key(Some(keys.root())).map_err(|source| self.unusable_books(source))?;
                match root.filter(|root| !keys.roots().contains(root)) {
                    Some(root) => Err(ServerError::OtherKey { path: self.key_file(), expected: root.id() }),
                    None => Ok((keys, Box::new(books))),
                }
            }
        }
    }

    /// The books, whichever game's they are.
    ///
    /// # Errors
    /// They are missing or cannot be opened.
    pub fn books(&self) -> Result<Box<dyn Ledger>, ServerError> {
        match &self.database {
            Database::Folder => Ok(Box::new(self.own_books()?)),
            #[cfg(feature = "postgres")]
            Database::Postgres(url) => {
                Ok(Box::new(PostgresLedger::open_existing(url).map_err(|source| self.unusable_books(source))?))
            }
        }
    }

    /// Whether the books are in the folder itself.
    pub(crate) fn keeps_books(&self) -> bool {
        self.database == Database::Folder
    }

    /// The books, if they are in the folder itself.
    ///
    /// # Errors
    /// They are missing or cannot be opened.
    pub(crate) fn sqlite_books(&self) -> Result<Option<SqliteLedger>, ServerError> {
        if self.keeps_books() { self.own_books().map(Some) } else { Ok(None) }
    }

    fn own_books(&self) -> Result<SqliteLedger, ServerError> {
        let path = self.store();
        if !path.exists() {
            return Err(ServerError::NoStore(self.path.clone()));
        }
        SqliteLedger::open_existing(&path).map_err(|source| ServerError::Books { path, source })
    }

    /// The books for look-ups, which do not wait long where the books are away.
    ///
    /// # Errors
    /// As [`DataFolder::books`].
    pub(crate) fn books_to_look_at(&self) -> Result<Box<dyn Ledger>, ServerError> {
        match &self.database {
            Database::Folder => self.books(),
            #[cfg(feature = "postgres")]
            Database::Postgres(url) => {
                let books = PostgresLedger::open_existing(url).map_err(|source| self.unusable_books(source))?;
                Ok(Box::new(books.with_patience(GLANCE)))
            }
        }
    }

    #[cfg(feature = "postgres")]
    fn unusable_books(&self, source: LedgerError) -> ServerError {
        ServerError::Database { database: self.database.clone(), source }
    }

    pub(crate) fn unusable(&self, source: io::Error) -> ServerError {
        ServerError::Folder { path: self.path.clone(), source }
    }
}
