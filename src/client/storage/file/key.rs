//! The device's key on disk, and the one that is to take its place: a 32-byte seed as one line of base64url, for its
//! owner's eyes alone.

use base64ct::{Base64UrlUnpadded, Encoding};

use super::{Disk, DiskFile, FileAccess, StorageError, failure};
use crate::client::seeded::{Bug, seeded};
use crate::client::storage::memory::new_seed;
use crate::protocol::SecretKey;
use crate::protocol::digest::base64url_32;

pub(super) const KEY: &str = "device.key";
const NEXT: &str = "device.key.next";
const NEW: &str = "device.new";
/// The key is 43 characters; whatever is much longer is none.
const LONGEST: usize = 1_024;

/// Reads the device's key, if there is one.
pub(super) fn read(disk: &mut impl Disk) -> Result<Option<SecretKey>, StorageError> {
    read_file(disk, KEY)
}

/// Reads the key that is to take its place, if there is one. One that is damaged is as good as none: what it was for is
/// lost.
pub(super) fn read_next(disk: &mut impl Disk) -> Result<Option<SecretKey>, StorageError> {
    match read_file(disk, NEXT) {
        Err(StorageError::KeyDamaged { .. }) => Ok(None),
        read => read,
    }
}

fn read_file(disk: &mut impl Disk, name: &str) -> Result<Option<SecretKey>, StorageError> {
    let failed = |disk: &dyn Fn(&str) -> String| failure("reading", disk(name), "check that the file can be read");
    let mut bytes = vec![0; LONGEST];
    let read = match disk.open(name, FileAccess::Read) {
        Ok(None) => return Ok(None),
        Ok(Some(mut file)) => file.read_full_at(0, &mut bytes),
        Err(error) => Err(error),
    };
    bytes.truncate(read.map_err(failed(&|name| disk.shown(name)))?);
    let seed = std::str::from_utf8(&bytes).ok().and_then(|text| base64url_32(text.trim_end()));
    match seed {
        Some(seed) => Ok(Some(SecretKey::from_seed(&seed))),
        None => Err(StorageError::KeyDamaged { path: disk.shown(name) }),
    }
}

/// Makes the device's key, durably.
pub(super) fn make(disk: &mut impl Disk) -> Result<SecretKey, StorageError> {
    make_file(disk, KEY)
}

/// The key that is to take its place, durably: the one that was made before, or a new one.
pub(super) fn make_next(disk: &mut impl Disk) -> Result<SecretKey, StorageError> {
    match read_next(disk)? {
        // Its name may not be durable yet.
        Some(key) => sync_folder(disk, NEXT).map(|()| key),
        None => make_file(disk, NEXT),
    }
}

fn make_file(disk: &mut impl Disk, name: &str) -> Result<SecretKey, StorageError> {
    let seed = new_seed()?;
    let line = format!("{}\n", Base64UrlUnpadded::encode_string(&seed));
    let advice = "check that there is room on the disk and that the folder can be written";
    let written = disk.create(NEW).and_then(|mut file| {
        file.write_all_at(0, line.as_bytes())?;
        let skips = seeded(Bug::SkipKeySync) || (seeded(Bug::SkipNextKeySync) && name == NEXT);
        if skips { Ok(()) } else { file.sync_data() }
    });
    written.map_err(failure("writing", disk.shown(NEW), advice))?;
    disk.rename(NEW, name).map_err(failure("renaming", disk.shown(NEW), advice))?;
    sync_folder(disk, name)?;
    Ok(SecretKey::from_seed(&seed))
}

/// Puts the next key in the place of the device's, if that is not done yet, and makes that durable.
pub(super) fn take_next(disk: &mut impl Disk) -> Result<(), StorageError> {
    if read_next(disk)?.is_some() && !seeded(Bug::LeaveNextKey) {
        let advice = "check that the folder can be written";
        disk.rename(NEXT, KEY).map_err(failure("renaming", disk.shown(NEXT), advice))?;
    }
    sync_folder(disk, KEY)
}

fn sync_folder(disk: &mut impl Disk, name: &str) -> Result<(), StorageError> {
    let advice = "check that there is room on the disk and that the folder can be written";
    disk.sync_folder().map_err(failure("making durable", disk.shown(name), advice))
}
