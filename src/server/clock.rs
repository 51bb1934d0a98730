//! The time, as something that is given to the server: a test decides what it is.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::protocol::UnixSeconds;

/// Tells the time that receipts carry and passes end by.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> UnixSeconds;
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixSeconds {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixSeconds::try_from(since.as_secs()).unwrap_or(UnixSeconds::MAX)
    }
}
