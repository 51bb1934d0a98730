//! Time and randomness, which come into the machine from outside.

use std::fmt::Debug;
use std::time::Duration;

// The clocks of the standard library, and in a browser those of the browser.
use web_time::{Instant, SystemTime, UNIX_EPOCH};

use crate::protocol::UnixSeconds;

/// What is known at the moment when something happens.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    /// Time since the client started; never goes back. Waiting is measured with it.
    pub elapsed: Duration,
    /// The wall clock of the device, which the player can set to anything.
    pub unix: UnixSeconds,
    /// 128 fresh random bits.
    pub random: [u8; 16],
}

/// Where ticks come from; called on the worker's thread.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The present moment.
    fn tick(&self) -> Tick;
}

/// The device's clocks and the operating system's random source.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn tick(&self) -> Tick {
        // A clock before 1970 is as wrong as any other: the server's time is what counts.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Tick {
            elapsed: self.started.elapsed(),
            unix: unix.try_into().unwrap_or(UnixSeconds::MAX),
            random: random_bits().unwrap_or_default(),
        }
    }
}

/// 128 bits from the operating system's random source, or `None` if it has none.
pub(crate) fn random_bits() -> Option<[u8; 16]> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).ok()?;
    Some(bits)
}
