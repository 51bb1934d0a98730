//! Numbers that count from one: places in a chain or a feed, and how many there are of something.

use std::ops::RangeInclusive;

use serde::{Deserialize, Deserializer, de};

/// From one to the largest signed number, which is what databases and most languages hold.
pub(crate) const COUNTS: RangeInclusive<u64> = 1..=u64::MAX / 2;

/// Reads a number in [`COUNTS`].
pub(crate) fn counted<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    match COUNTS.contains(&number) {
        true => Ok(number),
        false => Err(de::Error::custom(format!("{number} is out of range: this counts from 1 to 2^63 - 1"))),
    }
}
