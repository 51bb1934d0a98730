//! Real processes on real folders: killed at any moment, and racing for one folder.
//!
//! With `BEVY_IAP_FULL=1` in the environment there are 2,000 kills and 2,000 races, which takes minutes. `BEVY_IAP_SEED`
//! changes what is done when; the figures that a test prints (see them with `--nocapture`) name its seed.

mod books;
mod buyer;
mod child;
mod kills;
mod racer;
mod races;
mod random;
mod witness;
