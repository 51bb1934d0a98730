//! The device's key on disk: its 32-byte seed as one line of base64url, for its owner's eyes alone.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use base64ct::{Base64UrlUnpadded, Encoding};

use super::{StorageError, io, read_if_there, sync_folder};
use crate::client::storage::memory::new_seed;
use crate::protocol::SecretKey;
use crate::protocol::digest::base64url_32;

/// Reads the key, or makes one, unless there is a journal that must have had one.
pub(super) fn open(folder: &Path, has_journal: bool, may_write: bool) -> Result<SecretKey, StorageError> {
    let path = folder.join("device.key");
    let shown = || path.display().to_string();
    if let Some(bytes) = read_if_there(&path)? {
        let seed = std::str::from_utf8(&bytes).ok().and_then(|text| base64url_32(text.trim_end()));
        let seed = seed.ok_or_else(|| StorageError::KeyDamaged { path: shown() })?;
        return Ok(SecretKey::from_seed(&seed));
    }
    if has_journal || !may_write {
        return Err(StorageError::KeyMissing { path: shown() });
    }
    let seed = new_seed()?;
    let advice = "check that there is room on the disk and that the folder can be written";
    let new_path = path.with_extension("new");
    let written = create_private(&new_path).and_then(|mut file| {
        writeln!(file, "{}", Base64UrlUnpadded::encode_string(&seed))?;
        file.sync_all()
    });
    written.map_err(io("writing", &new_path, advice))?;
    fs::rename(&new_path, &path).map_err(io("renaming", &new_path, advice))?;
    sync_folder(folder)?;
    Ok(SecretKey::from_seed(&seed))
}

/// A new, empty file that only its owner can read (mode 0600 where there are modes).
fn create_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
