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
        create_durably(&self.0, &mut sync_folder)
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
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        if cfg!(unix) {
            return unless_impossible(sync_folder(&self.0));
        }
        // Where a folder cannot be made durable, its files can, and their names with them.
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                OpenOptions::new().write(true).open(entry.path())?.sync_all()?;
            }
        }
        Ok(())
    }

    fn shown(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

/// Makes a folder and those on the way to it that are missing, and makes each durable, with `sync` in the one above it.
fn create_durably(path: &Path, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
        // It was durable before something came into it, unless somebody has copied it here: then that is the place to know.
        let _ = path.parent().map_or(Ok(()), sync);
        return Ok(());
    }
    // Whoever made it, or some of those on the way, may have been cut short before they were durable: nobody knows which.
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    let mut above = path.ancestors().skip(1);
    let made = fs::create_dir_all(path).and_then(|()| above.try_for_each(|above| unless_foreign(sync(above))));
    if made.is_err() {
        // A second call that succeeds would not make durable what the system forgot after the first: the next try is to
        // make them anew.
        missing.iter().for_each(|folder| drop(fs::remove_dir(folder)));
    }
    made
}

/// A folder that may not be opened was not made by us.
fn unless_foreign(synced: io::Result<()>) -> io::Result<()> {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    match unless_impossible(synced) {
        Err(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) => Ok(()),
        synced => synced,
    }
}

/// Some file systems, of networks and of virtual machines, know no such call for a folder: what is done to it is as
/// durable as it becomes there.
fn unless_impossible(synced: io::Result<()>) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, Unsupported};
    match synced {
        Err(error) if matches!(error.kind(), InvalidInput | Unsupported) => Ok(()),
        synced => synced,
    }
}

/// Windows has no such call.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes `a/b/c` in `base`, with the call of this number to make a folder durable failing. Gives what came of it, and the
    /// folders that were made durable.
    fn create(base: &Path, failing: usize) -> (io::Result<()>, Vec<PathBuf>) {
        let mut synced = Vec::new();
        let mut calls = 0;
        let created = create_durably(&base.join("a/b/c"), &mut |folder| {
            calls += 1;
            if calls == failing {
                return Err(io::Error::other("the disk failed"));
            }
            synced.push(folder.to_owned());
            sync_folder(folder)
        });
        (created, synced)
    }

    #[test]
    fn every_folder_on_the_way_that_is_new_is_made_durable() {
        let base = tempfile::tempdir().expect("a folder");
        let base = base.path();
        let (created, synced) = create(base, 0);
        created.expect("created");
        assert!(base.join("a/b/c").is_dir());
        assert_eq!(synced[..3], [base.join("a/b"), base.join("a"), base.to_owned()]);
    }

    #[test]
    fn folder_that_could_not_be_made_durable_is_made_anew_by_the_next_try() {
        let base = tempfile::tempdir().expect("a folder");
        let base = base.path();
        for failing in 1..=3 {
            create(base, failing).0.expect_err("the disk failed");
            assert!(!base.join("a").exists(), "{failing}");
        }
        let (created, synced) = create(base, 0);
        created.expect("created");
        assert_eq!(synced[..3], [base.join("a/b"), base.join("a"), base.to_owned()]);
    }

    #[test]
    fn folders_whose_maker_was_killed_before_they_were_durable_are_made_durable_by_the_next_process() {
        for made in ["a", "a/b", "a/b/c"] {
            let base = tempfile::tempdir().expect("a folder");
            let base = base.path();
            fs::create_dir_all(base.join(made)).expect("made");
            create(base, 1).0.expect_err("the disk failed");
            let (created, synced) = create(base, 0);
            created.expect("created");
            assert_eq!(synced[..3], [base.join("a/b"), base.join("a"), base.to_owned()], "{made}");
        }
    }

    #[test]
    fn folder_that_something_is_in_is_made_durable_in_the_one_above_it() {
        let base = tempfile::tempdir().expect("a folder");
        let base = base.path();
        fs::create_dir_all(base.join("a/b/c")).expect("made");
        fs::write(base.join("a/b/c/journal.lock"), "").expect("written");
        let (created, synced) = create(base, 0);
        created.expect("there");
        assert_eq!(synced, [base.join("a/b")]);
        create(base, 1).0.expect("it was not made by us");
    }

    #[test]
    fn folder_that_cannot_be_made_leaves_none_of_those_on_the_way() {
        let base = tempfile::tempdir().expect("a folder");
        let base = base.path();
        let path = base.join("a").join("b".repeat(300));
        create_durably(&path, &mut sync_folder).expect_err("its name is too long");
        assert!(!base.join("a").exists());
    }
}
