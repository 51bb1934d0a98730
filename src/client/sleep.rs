//! Waiting for a time to pass: by Tokio's timers, and in a browser by the browser's.

use std::time::Duration;

/// Waits this long; for ever, if no time is given.
pub(super) async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => wait(duration).await,
        None => std::future::pending().await,
    }
}

#[cfg(not(target_family = "wasm"))]
async fn wait(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[cfg(target_family = "wasm")]
async fn wait(duration: Duration) {
    // A browser counts milliseconds in 31 bits: whoever waits longer wakes in between, and waits again.
    let milliseconds = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX).min(i32::MAX.unsigned_abs());
    // Never too early: the rest of a millisecond is waited for.
    gloo_timers::future::TimeoutFuture::new(milliseconds.saturating_add(1).min(i32::MAX.unsigned_abs())).await;
}
