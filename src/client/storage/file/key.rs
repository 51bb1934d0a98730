//! The device's key on disk: its 32-byte seed as one line of base64url, for its owner's eyes alone.

use base64ct::{Base64UrlUnpadded, Encoding};

use super::{Disk, DiskFile, FileAccess, StorageError, failure};
use crate::client::seeded::{Bug, seeded};
use crate::client::storage::memory::new_seed;
use crate::protocol::SecretKey;
use crate::protocol::digest::base64url_32;

pub(super) const KEY: &str = "device.key";
const NEW: &str = "device.new";
/// The key is 43 characters; whatever is much longer is none.
const LONGEST: usize = 1_024;

/// Reads the key, if there is one.
pub(super) fn read(disk: &mut impl Disk) -> Result<Option<SecretKey>, StorageError> {
    let failed = |disk: &dyn Fn(&str) -> String| failure("reading", disk(KEY), "check that the file can be read");
    let mut bytes = vec![0; LONGEST];
    let read = match disk.open(KEY, FileAccess::Read) {
        Ok(None) => return Ok(None),
        Ok(Some(mut file)) => file.read_full_at(0, &mut bytes),
        Err(error) => Err(error),
    };
    bytes.truncate(read.map_err(failed(&|name| disk.shown(name)))?);
    let seed = std::str::from_utf8(&bytes).ok().and_then(|text| base64url_32(text.trim_end()));
    match seed {
        Some(seed) => Ok(Some(SecretKey::from_seed(&seed))),
        None => Err(StorageError::KeyDamaged { path: disk.shown(KEY) }),
    }
}

/// Makes a key, durably.
pub(super) fn make(disk: &mut impl Disk) -> Result<SecretKey, StorageError> {
    let seed = new_seed()?;
    let line = format!("{}\n", Base64UrlUnpadded::encode_string(&seed));
    let advice = "check that there is room on the disk and that the folder can be written";
    let written = disk.create(NEW).and_then(|mut file| {
        file.write_all_at(0, line.as_bytes())?;
        if seeded(Bug::SkipKeySync) { Ok(()) } else { file.sync_data() }
    });
    written.map_err(failure("writing", disk.shown(NEW), advice))?;
    disk.rename(NEW, KEY).map_err(failure("renaming", disk.shown(NEW), advice))?;
    disk.sync_folder().map_err(failure("making durable", disk.shown(KEY), advice))?;
    Ok(SecretKey::from_seed(&seed))
}
