//! The data folder: the key in `server.key`, the books in `store.sqlite` unless they are in a database elsewhere, and
//! the lock of whoever serves them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64ct::{Base64UrlUnpadded, Encoding};

use super::database::Database;
use super::error::ServerError;
use super::ledger::{Ledger, SqliteLedger};
#[cfg(feature = "postgres")]
use super::ledger::{LedgerError, PostgresLedger};
use crate::patient_lock;
use crate::protocol::digest::base64url_32;
use crate::protocol::{GameId, SecretKey};

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
        match folder.store().exists() || folder.key_file().exists() {
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

    /// The file that holds the key.
    pub fn key_file(&self) -> PathBuf {
        self.path.join("server.key")
    }

    /// Keeps other servers off the folder for as long as the file that this gives is open. The lock file stays: were it
    /// deleted, two servers could each lock a file of that name.
    ///
    /// # Errors
    /// Another server has the lock, or it cannot be taken.
    pub(crate) fn lock(&self) -> Result<File, ServerError> {
        let path = self.path.join("server.lock");
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(path);
        let file = file.map_err(|error| self.unusable(error))?;
        match patient_lock::try_lock(&file) {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(ServerError::FolderInUse(self.path.clone())),
            Err(TryLockError::Error(error)) => Err(self.unusable(error)),
        }
    }

    /// The server's key.
    ///
    /// # Errors
    /// The file is missing or is not a key.
    pub fn key(&self) -> Result<SecretKey, ServerError> {
        let path = self.key_file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ServerError::KeyMissing(path)),
            Err(error) => return Err(ServerError::Key { path, problem: error.to_string() }),
        };
        let seed = text.strip_suffix('\n').and_then(base64url_32);
        let seed = seed.ok_or_else(|| {
            let problem = "it is not 43 characters of unpadded base64url and a line feed".to_owned();
            ServerError::Key { path, problem }
        })?;
        Ok(SecretKey::from_seed(&seed))
    }

    /// The server's key, which is made if the folder is new. Call it under the lock.
    ///
    /// # Errors
    /// As [`DataFolder::key`], or the file cannot be made.
    pub(crate) fn key_or_new(&self) -> Result<SecretKey, ServerError> {
        match self.key() {
            // A new key beside books that an old one signed would be trusted by nobody.
            Err(ServerError::KeyMissing(_)) if !self.store().exists() => {
                self.make_key().map_err(|error| self.unusable(error))?;
                self.key()
            }
            result => result,
        }
    }

    /// Writes a new key so that a crash leaves either no key file or a whole one.
    fn make_key(&self) -> io::Result<()> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
        let temporary = self.path.join("server.key.new");
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(format!("{}\n", Base64UrlUnpadded::encode_string(&seed)).as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, self.key_file())?;
        // Only Unix lets a folder be opened to sync its entries.
        #[cfg(unix)]
        File::open(&self.path)?.sync_all()?;
        Ok(())
    }

    /// The server's key and the books of `game`, which are made where they are missing. Call it under the lock.
    ///
    /// # Errors
    /// As [`DataFolder::key`], or the books cannot be opened, are another game's, or are signed with another key.
    pub(crate) fn key_and_books(&self, game: &GameId) -> Result<(SecretKey, Box<dyn Ledger>), ServerError> {
        match &self.database {
            Database::Folder => {
                let key = self.key_or_new()?;
                let path = self.store();
                let books = SqliteLedger::open(&path, game).map_err(|source| ServerError::Books { path, source })?;
                Ok((key, Box::new(books)))
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(url) => {
                let mut books = PostgresLedger::open(url, game).map_err(|source| self.unusable_books(source))?;
                let signing = books.signing_key(None).map_err(|source| self.unusable_books(source))?;
                // A new key beside books that an old one signed would be trusted by nobody.
                if signing.is_none() && !self.key_file().exists() {
                    self.make_key().map_err(|error| self.unusable(error))?;
                }
                let key = self.key()?;
                let signing = books.signing_key(Some(key.public())).map_err(|source| self.unusable_books(source))?;
                match signing.filter(|signing| *signing != key.public()) {
                    Some(signing) => Err(ServerError::OtherKey { path: self.key_file(), expected: signing.id() }),
                    None => Ok((key, Box::new(books))),
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

    fn unusable(&self, source: io::Error) -> ServerError {
        ServerError::Folder { path: self.path.clone(), source }
    }
}
