//! The demo without a window.

use std::process::ExitCode;

/// Plays without a window.
pub fn play() -> ExitCode {
    println!("The headless demo is not part of this build.");
    ExitCode::SUCCESS
}
