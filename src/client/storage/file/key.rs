//! The device's key, and the one that is to take its place: each a 32-byte seed as one line of base64url in a file, for
//! its owner's eyes alone. Where there is a keychain, the seed of the device's key is in there, and the file says so.

use base64ct::{Base64UrlUnpadded, Encoding};

use super::journal_file::sync_names;
use super::{Disk, DiskFile, FileAccess, StorageError, failure};
use crate::client::seeded::{Bug, seeded};
use crate::client::storage::Keychain;
use crate::client::storage::memory::new_seed;
use crate::protocol::digest::base64url_32;
use crate::protocol::{KeyId, SecretKey};

pub(super) const KEY: &str = "device.key";
const NEXT: &str = "device.key.next";
const NEW: &str = "device.new";
/// The key is 43 characters; whatever is much longer is none.
const LONGEST: usize = 1_024;
/// What stands before the device's id in a file whose key is in the keychain.
const IN_KEYCHAIN: &str = "keychain ";

/// What a file says.
enum Stored {
    /// The key itself.
    Here(Box<SecretKey>),
    /// That this device's key is in the keychain.
    InKeychain(KeyId),
}

impl Stored {
    /// The device whose key it is.
    fn device(&self) -> KeyId {
        match self {
            Self::Here(key) => key.id(),
            Self::InKeychain(device) => *device,
        }
    }

    /// The line that says so.
    fn line(&self) -> String {
        match self {
            Self::Here(key) => format!("{}\n", Base64UrlUnpadded::encode_string(key.seed())),
            Self::InKeychain(device) => format!("{IN_KEYCHAIN}{device}\n"),
        }
    }
}

/// Reads the device's key, if there is one.
pub(super) fn read(disk: &mut impl Disk, keychain: Option<&dyn Keychain>) -> Result<Option<SecretKey>, StorageError> {
    let device = match read_file(disk, KEY)? {
        None => return Ok(None),
        Some(Stored::Here(key)) => return Ok(Some(*key)),
        Some(Stored::InKeychain(device)) => device,
    };
    let path = disk.shown(KEY);
    let Some(keychain) = keychain else { return Err(StorageError::NoKeychain { path }) };
    let secret = keychain.read(&device.to_string());
    let secret = secret.map_err(|trouble| StorageError::Keychain { path: path.clone(), trouble })?;
    let key = secret.and_then(|secret| base64url_32(&secret)).map(|seed| SecretKey::from_seed(&seed));
    key.filter(|key| key.id() == device).map(Some).ok_or(StorageError::NotInKeychain { path })
}

/// Reads the key that is to take its place, if there is one. One that is damaged is as good as none: what it was for is
/// lost. So is one that has that place: a crash may have left its old name beside the new one.
pub(super) fn read_next(disk: &mut impl Disk) -> Result<Option<SecretKey>, StorageError> {
    match read_file(disk, NEXT) {
        Ok(Some(Stored::Here(key))) => {
            let device = read_file(disk, KEY)?.map(|stored| stored.device());
            Ok((device != Some(key.id())).then_some(*key))
        }
        Ok(_) | Err(StorageError::KeyDamaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_file(disk: &mut impl Disk, name: &str) -> Result<Option<Stored>, StorageError> {
    let failed = |disk: &dyn Fn(&str) -> String| failure("reading", disk(name), "check that the file can be read");
    let mut bytes = vec![0; LONGEST];
    let read = match disk.open(name, FileAccess::Read) {
        Ok(None) => return Ok(None),
        Ok(Some(mut file)) => file.read_full_at(0, &mut bytes),
        Err(error) => Err(error),
    };
    bytes.truncate(read.map_err(failed(&|name| disk.shown(name)))?);
    let stored =
        std::str::from_utf8(&bytes).ok().map(str::trim_end).and_then(|line| match line.strip_prefix(IN_KEYCHAIN) {
            Some(device) => device.parse().ok().map(Stored::InKeychain),
            None => base64url_32(line).map(|seed| Stored::Here(Box::new(SecretKey::from_seed(&seed)))),
        });
    stored.map(Some).ok_or_else(|| StorageError::KeyDamaged { path: disk.shown(name) })
}

/// Keeps the device's key in the keychain, and takes it out of the file at a later start, once the keychain has shown
/// that it remembers it: nobody promises that it does when the power fails.
///
/// Says whether it was put into the keychain now: whoever opens the same files again without a new start must not take
/// it out of the file.
///
/// # Errors
/// The keychain or the disk refuses, in words; the key is where it was.
pub(super) fn move_to_keychain(disk: &mut impl Disk, keychain: &dyn Keychain) -> Result<bool, String> {
    let Some(Stored::Here(key)) = read_file(disk, KEY).map_err(|error| error.to_string())? else { return Ok(false) };
    let device = key.id().to_string();
    let secret = Base64UrlUnpadded::encode_string(key.seed());
    if keychain.read(&device)? != Some(secret.clone()) {
        return keychain.write(&device, &secret).map(|()| true);
    }
    write_file(disk, KEY, &Stored::InKeychain(key.id())).map_err(|error| error.to_string())?;
    Ok(false)
}

/// Makes the device's key, durably.
pub(super) fn make(disk: &mut impl Disk) -> Result<SecretKey, StorageError> {
    make_file(disk, KEY)
}

/// The key that is to take its place, durably: the one that was made before, or a new one.
pub(super) fn make_next(disk: &mut impl Disk) -> Result<SecretKey, StorageError> {
    // The device's key may have come from here, and the one that was made before may be here in the system's cache alone.
    name_anew(disk)?;
    match read_next(disk)? {
        Some(key) => Ok(key),
        None => make_file(disk, NEXT),
    }
}

/// Writes each key to a new file that takes the place of the old one, durably: the system may have forgotten to make
/// their names durable, and does not know that it has.
pub(super) fn name_anew(disk: &mut impl Disk) -> Result<(), StorageError> {
    if seeded(Bug::TrustForgottenNames) {
        return sync_folder(disk, KEY);
    }
    for name in [KEY, NEXT] {
        match read_file(disk, name) {
            Ok(Some(stored)) => write_file(disk, name, &stored)?,
            Ok(None) | Err(StorageError::KeyDamaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn make_file(disk: &mut impl Disk, name: &str) -> Result<SecretKey, StorageError> {
    let key = SecretKey::from_seed(&new_seed()?);
    write_file(disk, name, &Stored::Here(Box::new(key.clone())))?;
    Ok(key)
}

/// Puts a file that says this in the place of the last one, durably.
fn write_file(disk: &mut impl Disk, name: &str, stored: &Stored) -> Result<(), StorageError> {
    let advice = "check that there is room on the disk and that the folder can be written";
    let written = disk.create(NEW).and_then(|mut file| {
        file.write_all_at(0, stored.line().as_bytes())?;
        let skips = seeded(Bug::SkipKeySync) || (seeded(Bug::SkipNextKeySync) && name == NEXT);
        if skips { Ok(()) } else { file.sync_data() }
    });
    written.map_err(failure("writing", disk.shown(NEW), advice))?;
    disk.rename(NEW, name).map_err(failure("renaming", disk.shown(NEW), advice))?;
    sync_folder(disk, name)
}

/// Puts the next key in the place of the device's, if that is not done yet, and makes that durable.
pub(super) fn take_next(disk: &mut impl Disk, keychain: Option<&dyn Keychain>) -> Result<(), StorageError> {
    let last = read_file(disk, KEY);
    if read_next(disk)?.is_some() && !seeded(Bug::LeaveNextKey) {
        let advice = "check that the folder can be written";
        disk.rename(NEXT, KEY).map_err(failure("renaming", disk.shown(NEXT), advice))?;
        sync_folder(disk, KEY)?;
    } else {
        // It has it, but that could not be made durable.
        name_anew(disk)?;
    }
    if let (Ok(Some(Stored::InKeychain(device))), Some(keychain)) = (last, keychain)
        && let Err(trouble) = keychain.remove(&device.to_string())
    {
        // It is good for nothing any more.
        tracing::info!("an old device key stays in the keychain: {trouble}");
    }
    Ok(())
}

fn sync_folder(disk: &mut impl Disk, name: &str) -> Result<(), StorageError> {
    let advice = "check that there is room on the disk and that the folder can be written";
    sync_names(disk).map_err(failure("making durable", disk.shown(name), advice))
}
