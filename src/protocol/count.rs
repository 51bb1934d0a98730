//! Numbers that count from one: places in a chain or a feed, and how many there are of something.

use std::ops::RangeInclusive;

use serde::{Deserialize, Deserializer, Serializer, de, ser};

/// From one to the largest signed number, which is what databases and most languages hold.
pub(crate) const COUNTS: RangeInclusive<u64> = 1..=u64::MAX / 2;

/// Reads a number in [`COUNTS`].
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    within(number).map_err(de::Error::custom)
}

/// Writes a number in [`COUNTS`], so that nothing is signed which cannot be read.
pub(crate) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(within(*number).map_err(ser::Error::custom)?)
}

fn within(number: u64) -> Result<u64, String> {
    match COUNTS.contains(&number) {
        true => Ok(number),
        false => Err(format!("{number} is out of range: this counts from 1 to 2^63 - 1")),
    }
}
