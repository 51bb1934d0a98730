//! Files that hold a key or a list of keys, written so that a crash leaves the old file or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64ct::{Base64UrlUnpadded, Encoding};

use super::error::ServerError;
use crate::protocol::SecretKey;
use crate::protocol::digest::base64url_32;

/// The secret key in the file at `path`.
///
/// # Errors
/// The file is missing or is not a key.
pub(super) fn secret(path: &Path) -> Result<SecretKey, ServerError> {
    let text = text(path)?.ok_or_else(|| ServerError::KeyMissing(path.to_owned()))?;
    let seed = text.strip_suffix('\n').and_then(base64url_32);
    seed.map(|seed| SecretKey::from_seed(&seed))
        .ok_or_else(|| damaged(path, "it is not 43 characters of unpadded base64url and a line feed"))
}

/// The text in the file at `path`, if there is one.
///
/// # Errors
/// The file cannot be read.
pub(super) fn text(path: &Path) -> Result<Option<String>, ServerError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(damaged(path, error)),
    }
}

/// The error for a file that is not what it should be.
pub(super) fn damaged(path: &Path, problem: impl std::fmt::Display) -> ServerError {
    ServerError::Key { path: path.to_owned(), problem: problem.to_string() }
}

/// A new secret key, and the text of its file.
pub(super) fn random_secret() -> io::Result<(SecretKey, String)> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
    Ok((SecretKey::from_seed(&seed), format!("{}\n", Base64UrlUnpadded::encode_string(&seed))))
}

/// Writes a file that only its owner may read, in place of the one that may be there.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut temporary = PathBuf::from(path).into_os_string();
    temporary.push(".new");
    // What a crash or somebody else left there may be another's to read, or lead elsewhere.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    rename(Path::new(&temporary), path)
}

/// Gives a file that is on the disk the name `path`, in place of the one that may be there.
pub(super) fn rename(file: &Path, path: &Path) -> io::Result<()> {
    fs::rename(file, path)?;
    // Only Unix lets a folder be opened to sync its entries.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
