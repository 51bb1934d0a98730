//! A folder of the file system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::{Disk, DiskFile, FileAccess, Locking};
use crate::patient_lock;

/// A folder of the file system.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`, whether it is there yet or not.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Disk for Folder {
    type File = File;
    type Lock = File;

    fn create_folder(&mut self) -> io::Result<()> {
        if self.0.is_dir() {
            // A crash may have come between its making and its durability. Where the folder above cannot be opened,
            // it was not made by us.
            let _ = self.0.parent().map_or(Ok(()), sync_folder);
            return Ok(());
        }
        // Every folder on the way that is new must be durable in the one above it.
        let missing: Vec<&Path> = self.0.ancestors().take_while(|path| !path.exists()).collect();
        fs::create_dir_all(&self.0)?;
        for folder in missing {
            folder.parent().map_or(Ok(()), sync_folder)?;
        }
        Ok(())
    }

    fn lock(&mut self, name: &str) -> Locking<File> {
        let path = self.0.join(name);
        let file = match OpenOptions::new().create(true).truncate(false).write(true).open(&path) {
            Ok(file) => file,
            Err(error) => return Locking::Impossible(error),
        };
        match patient_lock::try_lock(&file) {
            Ok(()) => Locking::Held(file),
            Err(TryLockError::WouldBlock) => Locking::Elsewhere,
            Err(TryLockError::Error(error)) => Locking::Impossible(error),
        }
    }

    fn open(&mut self, name: &str, access: FileAccess) -> io::Result<Option<File>> {
        let write = access == FileAccess::ReadWrite;
        match OpenOptions::new().read(true).write(write).open(self.0.join(name)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&mut self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(self.0.join(name))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))?;
        if cfg!(unix) {
            return Ok(());
        }
        // Where a folder cannot be made durable, its file can, and its name with it.
        OpenOptions::new().write(true).open(self.0.join(to))?.sync_all()
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        sync_folder(&self.0)
    }

    fn shown(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

/// Windows has no such call: there, a rename does it.
fn sync_folder(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if cfg!(unix) { File::open(path).and_then(|folder| folder.sync_all()) } else { Ok(()) }
}

impl DiskFile for File {
    fn length(&mut self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    #[cfg(unix)]
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, bytes, offset)
    }

    #[cfg(unix)]
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(self, bytes, offset)
    }

    #[cfg(not(unix))]
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        io::Seek::seek(self, io::SeekFrom::Start(offset))?;
        io::Read::read(self, bytes)
    }

    #[cfg(not(unix))]
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        io::Seek::seek(self, io::SeekFrom::Start(offset))?;
        io::Write::write(self, bytes)
    }

    fn set_length(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        File::sync_data(self)
    }
}
