//! How much to do and when: chosen by a seed, so that a run can be made again.

use std::time::Duration;

/// Numbers that look random and follow from a seed (SplitMix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed of this run.
    pub fn seed() -> u64 {
        let named = std::env::var("BEVY_IAP_SEED").ok();
        named.map_or(20_260_101, |seed| seed.parse().expect("BEVY_IAP_SEED is a number"))
    }

    /// A number less than `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// A number from 1 to `most`.
    pub fn up_to(&mut self, most: usize) -> usize {
        usize::try_from(self.below(u64::try_from(most).expect("a number"))).expect("a number") + 1
    }

    /// A time of less than `limit` microseconds.
    pub fn microseconds(&mut self, limit: u64) -> Duration {
        Duration::from_micros(self.below(limit))
    }
}

/// How much to do: `all` in a full run, otherwise `few`.
pub fn how_many(few: usize, all: usize) -> usize {
    let full = std::env::var("BEVY_IAP_FULL").is_ok_and(|value| value == "1");
    if full { all } else { few }
}
