//! What the games of all these tests log.

use std::io::{self, Write};
use std::sync::{Mutex, Once};

use bevy::log::tracing::{Level, subscriber};
use bevy::log::tracing_subscriber::fmt;

static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Has warnings and errors kept from now on.
pub fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let kept = fmt().with_max_level(Level::WARN).with_ansi(false).with_writer(|| Log).finish();
        subscriber::set_global_default(kept).expect("nobody else listens");
    });
}

/// The lines with a text in them.
pub fn lines_with(text: &str) -> Vec<String> {
    let logged = LOGGED.lock().expect("not poisoned");
    let lines = String::from_utf8_lossy(&logged).into_owned();
    lines.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}
