//! The other process: this test's program started again to do one test alone, with its role in the environment.
//!
//! It tells what it does in lines on its standard error, each written whole by one call, so that a kill leaves no half
//! of one.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Holds the role of a process that was started by a test.
const ROLE: &str = "BEVY_IAP_TEST_ROLE";
/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What this process was started to be; none where nobody but the test runner started it.
pub fn role<R: DeserializeOwned>() -> Option<R> {
    let role = std::env::var(ROLE).ok()?;
    Some(serde_json::from_str(&role).expect("a role"))
}

/// Tells the test that started this process something.
pub fn say(line: &str) {
    let said = std::io::stderr().write_all(format!("{line}\n").as_bytes());
    if said.is_err() {
        // The test is gone.
        std::process::exit(1);
    }
}

/// The command that starts `test` alone in a process of its own, as `role`.
pub fn command(test: &str, role: &impl Serialize) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, serde_json::to_string(role).expect("a role"))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// A process that a test started. It is killed at the latest when the test lets go of it.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// Starts `test` in a process of its own, as `role`.
    pub fn start(test: &str, role: &impl Serialize) -> Self {
        let mut child = command(test, role).stderr(Stdio::piped()).spawn().expect("the process starts");
        let output = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// Hears the next line; none if the process has ended.
    pub fn hear(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("the process says nothing for {PATIENCE:?}"),
        }
    }

    /// What it said up to now and was not heard yet.
    pub fn said(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Kills it, and gives everything that it said before and was not heard yet.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
        self.lines.iter().collect()
    }

    /// Waits for it to end by itself, and gives everything that it said and was not heard yet.
    pub fn finish(mut self) -> Vec<String> {
        let lines = std::iter::from_fn(|| self.hear()).collect();
        let status = self.child.wait().expect("ended");
        assert!(status.success(), "{status}: {lines:#?}");
        lines
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended, or the test has failed: there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
