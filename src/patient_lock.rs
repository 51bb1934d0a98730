//! Taking a lock file with a little patience, on a thread that may wait.

use std::fs::{File, TryLockError};
use std::time::Duration;

/// How often, and how far apart, a lock is tried for: half a second in all.
const TRIES: u32 = 11;
const PAUSE: Duration = Duration::from_millis(50);

/// Tries for the exclusive lock on `file`: whoever is just ending, or a process that it has just started, may hold it
/// for a moment longer.
pub(crate) fn try_lock(file: &File) -> Result<(), TryLockError> {
    for _ in 1..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    file.try_lock()
}
