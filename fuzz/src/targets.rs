//! The targets, each a function of any bytes that panics where a promise is broken. `fuzz_targets/` hands them to the
//! fuzzer, and `tests/seeds.rs` runs them without one.

pub mod catalog;
pub mod envelope;
pub mod journal;
pub mod sync;
