//! A device's clock that can be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::SandboxControl;
use crate::client::{Clock, SystemClock, Tick};

/// The system's clock, moved by as much as the sandbox says. What waiting is measured with stays right.
#[derive(Debug)]
pub(super) struct SandboxClock {
    system: SystemClock,
    moved: Arc<AtomicI64>,
}

impl SandboxClock {
    /// A clock for one start of a game.
    pub(super) fn new(control: &SandboxControl) -> Self {
        Self { system: SystemClock::default(), moved: control.moved() }
    }
}

impl Clock for SandboxClock {
    fn tick(&self) -> Tick {
        let tick = self.system.tick();
        // No clock shows a time before 1970.
        let unix = tick.unix.saturating_add(self.moved.load(Ordering::Relaxed)).max(0);
        Tick { unix, ..tick }
    }
}
