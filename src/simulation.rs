//! A purchasing client on a disk that crashes and fails on purpose, with a server that keeps true books: what the
//! tests drive to prove that nothing acknowledged is lost, doubled or altered, and that they would see it if it were.
//!
//! Everything here is for tests, and runs without a thread, a file or a network: [`disk`] is the disk, [`browser`] the
//! database of a page, [`shop`] the server, [`life`] a client's life on them, [`formats`] a life that an older version of
//! the game began, and the other modules put it through everything.

mod browser;
mod crashes;
mod disk;
mod failures;
mod formats;
mod joining;
mod keychain;
mod life;
mod mending;
mod pages;
mod random;
mod replacing;
mod rot;
mod seeded_bugs;
mod shop;
#[cfg(feature = "server")]
mod world;

/// Whether to run everything (`BEVY_IAP_FULL=1`), rather than the slice that `cargo test` runs.
fn is_full_run() -> bool {
    std::env::var_os("BEVY_IAP_FULL").is_some_and(|value| value == "1")
}
