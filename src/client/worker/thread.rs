//! A client on a thread of its own, with a Tokio runtime of one thread.

use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;

use crate::client::machine::Input;

/// How long letting go of a client waits for the thread to end.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// A thread that runs a client.
#[derive(Debug)]
pub(super) struct Running(JoinHandle<()>);

impl Running {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(super) fn start<F: Future<Output = ()>>(
        _: &Sender<Input>,
        client: impl FnOnce() -> F + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("bevy_iap".to_owned()).spawn(move || {
            runtime.block_on(client());
            // Without waiting for a name that is being looked up on a network that is gone.
            runtime.shutdown_background();
        })?;
        Ok(Self(thread))
    }

    /// Waits for the thread, which was told to end.
    pub(super) fn end(&self) {
        let started = Instant::now();
        // Past the limit the process may end: whatever was acknowledged is durable already.
        while !self.0.is_finished() && started.elapsed() < FLUSH_LIMIT {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
