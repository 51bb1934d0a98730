//! A folder of files, as narrow as the journal needs it, so that a test can put a disk behind it that fails and
//! crashes in every way a real one can.
//!
//! Nothing here is durable before it is made so: what was written to a file after its `sync_data`, and which file has
//! which name after the folder's `sync_folder`.

#[cfg(not(target_family = "wasm"))]
mod folder;

use std::fmt::Debug;
use std::io;

#[cfg(not(target_family = "wasm"))]
pub use folder::Folder;

/// How often a call that was interrupted is made again, before that is taken for a failure.
const MOST_INTERRUPTIONS: u32 = 100;

/// A folder of files.
pub trait Disk: Debug + Send + 'static {
    /// An open file.
    type File: DiskFile;
    /// A lock that is held until it is dropped, or the process ends.
    type Lock: Debug + Send + 'static;

    /// Makes the folder, if it is missing, and makes it durable.
    fn create_folder(&mut self) -> io::Result<()>;

    /// Takes the exclusive lock of this name, whose file is never deleted.
    fn lock(&mut self, name: &str) -> Locking<Self::Lock>;

    /// Opens a file, if there is one.
    fn open(&mut self, name: &str, access: FileAccess) -> io::Result<Option<Self::File>>;

    /// Makes an empty file for its owner's eyes alone, in place of one that is there.
    fn create(&mut self, name: &str) -> io::Result<Self::File>;

    /// Gives a file another name, in place of the one that has it.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Makes durable which file has which name.
    fn sync_folder(&mut self) -> io::Result<()>;

    /// How to call a file of this folder to a person: its path.
    fn shown(&self, name: &str) -> String;
}

/// An open file.
pub trait DiskFile: Debug + Send + 'static {
    /// How long it is, in bytes.
    fn length(&mut self) -> io::Result<u64>;

    /// Reads at `offset`; fewer bytes than asked for where the system likes, none at the end.
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// Writes at `offset`, and says how many of the bytes.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts the file to this length.
    fn set_length(&mut self, length: u64) -> io::Result<()>;

    /// Makes what was written, and the length, durable. After an error it is unknown what is, and a second call that
    /// succeeds says nothing about what was written before the first: the system may have dropped it.
    fn sync_data(&mut self) -> io::Result<()>;

    /// Writes all of the bytes.
    ///
    /// # Errors
    /// As [`DiskFile::write_at`]; some of the bytes may have been written.
    fn write_all_at(&mut self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        let mut interruptions = 0;
        while !bytes.is_empty() {
            match self.write_at(offset, bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted && interruptions < MOST_INTERRUPTIONS => {
                    interruptions += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads until `bytes` is full or the file ends, and says how many.
    ///
    /// # Errors
    /// As [`DiskFile::read_at`].
    fn read_full_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut interruptions = 0;
        let mut filled = 0;
        while filled < bytes.len() {
            match self.read_at(offset + filled as u64, &mut bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted && interruptions < MOST_INTERRUPTIONS => {
                    interruptions += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileAccess {
    /// To read it.
    Read,
    /// To read it and write into it.
    ReadWrite,
}

/// What came of taking a lock.
#[derive(Debug)]
pub enum Locking<Lock> {
    /// It is held.
    Held(Lock),
    /// Somebody else holds it.
    Elsewhere,
    /// There are no locks here, or its file cannot be opened.
    Impossible(io::Error),
}
