//! Real processes on real folders: killed at any moment, and racing for one folder.
//!
//! A run with `BEVY_IAP_FULL=1` in the environment does forty times as much and takes minutes. `BEVY_IAP_SEED` changes
//! what is done when; the figures that every test prints (see them with `--nocapture`) name the seed.

mod books;
mod buyer;
mod child;
mod kills;
mod random;
