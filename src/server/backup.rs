//! Backups of the books, taken while the server runs, and their way back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::error::ServerError;
use super::folder::DataFolder;
use super::ledger::{LedgerError, SqliteLedger};

/// Why a backup is not made, or not restored. What was there before is as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// Nothing is overwritten.
    #[error("`{}` exists already; choose another name, or move it away", .0.display())]
    Exists(PathBuf),
    /// There are books in the folder to which a backup should be restored.
    #[error(
        "there are books in `{}` already; move store.sqlite, store.sqlite-wal and store.sqlite-shm away, all three",
        .0.display()
    )]
    BooksExist(PathBuf),
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] ServerError),
    /// The books could not be copied.
    #[error("`{}`: {source}", path.display())]
    Books {
        /// The file that was to be copied.
        path: PathBuf,
        /// What is wrong.
        source: LedgerError,
    },
    /// The books are in a database, which has its own tools.
    #[error("the books are in a database; copy them and bring them back with its own tools, such as `pg_dump`")]
    InDatabase,
    /// The file could not be written.
    #[error("`{}` cannot be written: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// Writes the books of `folder`, as of this moment, into a new file at `path`: checked, synced, and only then under its
/// name. A server may be running. The server's key is not in it.
///
/// # Errors
/// The file exists, or cannot be written, or the books cannot be read.
pub fn backup(folder: &DataFolder, path: &Path) -> Result<(), BackupError> {
    let books = folder.sqlite_books()?.ok_or(BackupError::InDatabase)?;
    let error = |source| BackupError::Books { path: folder.store(), source };
    written(path, |temporary| books.copy_to(temporary).map_err(error))
}

/// Makes the backup in the file at `from` the books of `folder`, which must hold none, and whose server must not run.
///
/// # Errors
/// There are books in the folder, it is served, or the backup cannot be read or is damaged.
pub fn restore(folder: &DataFolder, from: &Path) -> Result<(), BackupError> {
    if !folder.keeps_books() {
        return Err(BackupError::InDatabase);
    }
    let _lock = folder.lock()?;
    let store = folder.store();
    // A log of other books beside the restored ones would be taken for theirs.
    let others = ["-wal", "-shm"].map(|ending| with_ending(&store, ending));
    if store.exists() || others.iter().any(|path| path.exists()) {
        return Err(BackupError::BooksExist(store.with_file_name("")));
    }
    let error = |source| BackupError::Books { path: from.to_owned(), source };
    written(&store, |temporary| SqliteLedger::copy_of(from, temporary).map_err(error))
}

/// Writes a file so that there is either all of it under its name or nothing.
fn written(path: &Path, write: impl FnOnce(&Path) -> Result<(), BackupError>) -> Result<(), BackupError> {
    if path.exists() {
        return Err(BackupError::Exists(path.to_owned()));
    }
    let temporary = with_ending(path, ".partial");
    let error = |source| BackupError::File { path: temporary.clone(), source };
    match fs::remove_file(&temporary) {
        // It is left of an attempt that did not come to its end.
        Ok(()) => {}
        Err(source) if source.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(error(source)),
    }
    let done = File::create_new(&temporary).map_err(error).map(drop).and_then(|()| write(&temporary));
    let done = done.and_then(|()| named(&temporary, path).map_err(error));
    if done.is_err() {
        // What went wrong first is what is told.
        let _ = fs::remove_file(&temporary);
    }
    done
}

fn named(temporary: &Path, path: &Path) -> io::Result<()> {
    File::open(temporary)?.sync_all()?;
    fs::rename(temporary, path)?;
    // Only Unix lets a folder be opened to sync its entries.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.to_owned().into_os_string();
    path.push(ending);
    path.into()
}
