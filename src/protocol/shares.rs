//! Shares of an amount: who gets how much of a price, exact to the micro.
//!
//! [`split`] is the method of the largest remainder (Hamilton's; Balinski and Young, "Fair Representation", 1982): each
//! gets its quota rounded down, and the micros that are left go, one each, to the largest remainders. So the parts add
//! up to the amount whatever it is, and none is a whole micro away from its quota.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The parts of a whole: a share counts millionths of the price.
pub const WHOLE: u32 = 1_000_000;

/// The decimals that a percentage can have, so that it is a whole number of millionths.
const DECIMALS: usize = 4;

/// A share of a price in millionths: 12.5 % is 125,000. More than zero, and the whole at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Share(u32);

impl Share {
    /// A share of `millionths`.
    ///
    /// # Errors
    /// It is nothing, or more than the whole.
    pub const fn new(millionths: u32) -> Result<Self, ShareError> {
        if millionths == 0 || millionths > WHOLE {
            return Err(ShareError::OutOfRange);
        }
        Ok(Self(millionths))
    }

    /// The share in millionths.
    pub const fn millionths(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Share {
    type Error = ShareError;

    fn try_from(millionths: u32) -> Result<Self, ShareError> {
        Self::new(millionths)
    }
}

impl From<Share> for u32 {
    fn from(share: Share) -> Self {
        share.0
    }
}

/// The shortest exact percentage: `12.5`.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:04}", self.0 % 10_000);
        let decimals = digits.trim_end_matches('0');
        write!(f, "{}", self.0 / 10_000)?;
        if decimals.is_empty() { Ok(()) } else { write!(f, ".{decimals}") }
    }
}

/// Reads a percentage: digits, and at most four decimals after a point.
impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(ShareError::NotDecimal);
        }
        if fraction.len() > DECIMALS {
            return Err(ShareError::TooPrecise);
        }
        let fraction: u32 = format!("{fraction:0<DECIMALS$}").parse().map_err(|_| ShareError::OutOfRange)?;
        let percents: u32 = whole.parse().map_err(|_| ShareError::OutOfRange)?;
        let millionths = percents.checked_mul(10_000).and_then(|whole| whole.checked_add(fraction));
        Self::new(millionths.ok_or(ShareError::OutOfRange)?)
    }
}

/// Text or a number that is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShareError {
    /// The text is no plain decimal number.
    #[error("it is not a percentage in decimals (write for example 12.5)")]
    NotDecimal,
    /// It is finer than a millionth of the price.
    #[error("it has more than four decimals; the smallest share is 0.0001")]
    TooPrecise,
    /// It is nothing, or more than everything.
    #[error("it is out of range (write more than 0, and 100 at most)")]
    OutOfRange,
}

/// Splits `amount` in proportion to `weights`, exactly: the parts add up to it, in the order of the weights. Of equal
/// remainders the earlier one comes first. None if the weights add up to nothing, or if anything is negative.
///
/// A part is its quota `amount · weight / sum` rounded down or up. Only a quota that is no whole number is rounded up,
/// since there are more of those than micros left over: each leaves less than one. So where the amount is at most the
/// sum of the weights, a part is never more than its weight, and where it is the sum, each part is its weight.
pub fn split(amount: i64, weights: &[i64]) -> Option<Vec<i64>> {
    let sum: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
    if amount < 0 || sum <= 0 || weights.iter().any(|weight| *weight < 0) {
        return None;
    }
    let products = weights.iter().map(|weight| i128::from(amount) * i128::from(*weight));
    let (mut parts, remainders): (Vec<i128>, Vec<i128>) =
        products.map(|product| (product / sum, product % sum)).unzip();
    let mut by_remainder: Vec<usize> = (0..parts.len()).collect();
    // A stable sort: of equal remainders the earlier one stays first.
    by_remainder.sort_by_key(|&place| std::cmp::Reverse(remainders[place]));
    let left = i128::from(amount) - parts.iter().sum::<i128>();
    for &place in by_remainder.iter().take(usize::try_from(left).ok()?) {
        parts[place] += 1;
    }
    parts.into_iter().map(|part| i64::try_from(part).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The largest amount of money, in micros.
    const MOST: i64 = (1 << 53) - 1;

    #[test]
    fn percentages_are_read_exactly_or_refused() {
        for (text, millionths) in [("12.5", 125_000), ("100", WHOLE), ("0.0001", 1), ("33.3333", 333_333)] {
            assert_eq!(text.parse::<Share>().map(Share::millionths), Ok(millionths));
            assert_eq!(text.parse::<Share>().map(|share| share.to_string()).as_deref(), Ok(text));
        }
        for (text, error) in [
            ("0", ShareError::OutOfRange),
            ("100.0001", ShareError::OutOfRange),
            ("99999999999", ShareError::OutOfRange),
            ("12.50001", ShareError::TooPrecise),
            ("12,5", ShareError::NotDecimal),
            ("-1", ShareError::NotDecimal),
            ("", ShareError::NotDecimal),
            ("1.", ShareError::NotDecimal),
        ] {
            assert_eq!(text.parse::<Share>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn one_micro_goes_to_the_largest_share_and_of_equal_ones_to_the_first() {
        assert_eq!(split(1, &[125_000, 875_000]), Some(vec![0, 1]));
        assert_eq!(split(1, &[500_000, 500_000]), Some(vec![1, 0]));
        assert_eq!(split(1, &[333_333, 333_333, 333_334]), Some(vec![0, 0, 1]));
        assert_eq!(split(0, &[1, 2]), Some(vec![0, 0]));
        assert_eq!(split(MOST, &[1, 1]), Some(vec![MOST / 2 + 1, MOST / 2]));
    }

    #[test]
    fn what_cannot_be_split_is_not() {
        assert_eq!(split(5, &[]), None);
        assert_eq!(split(5, &[0, 0]), None);
        assert_eq!(split(-5, &[1]), None);
        assert_eq!(split(5, &[-1, 2]), None);
        assert_eq!(split(MOST, &[i64::MAX, i64::MAX]).map(|parts| parts.iter().sum()), Some(MOST));
    }

    fn amounts() -> impl Strategy<Value = i64> {
        prop_oneof![0..20i64, 0..=MOST, Just(1), Just(MOST)]
    }

    proptest! {
        #[test]
        fn parts_add_up_and_none_is_a_micro_from_its_quota(
            amount in amounts(),
            weights in prop::collection::vec(prop_oneof![0..4i64, 1..=MOST], 1..8),
        ) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let parts = split(amount, &weights).expect("weights above zero");
            prop_assert_eq!(parts.iter().map(|part| i128::from(*part)).sum::<i128>(), i128::from(amount));
            let sum: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
            for (part, weight) in parts.iter().zip(&weights) {
                let distance = i128::from(*part) * sum - i128::from(amount) * i128::from(*weight);
                prop_assert!(distance.abs() < sum, "{part} for {weight} of {sum}");
            }
        }

        #[test]
        fn repeated_parts_of_what_remains_end_at_nothing(
            mut remaining in prop::collection::vec(0..1_000i64, 1..6),
            steps in prop::collection::vec(1..400i64, 0..12),
        ) {
            for step in steps {
                let left: i64 = remaining.iter().sum();
                if left == 0 { break }
                let parts = split(step.min(left), &remaining).expect("something remains");
                for (remains, part) in remaining.iter_mut().zip(parts) {
                    *remains -= part;
                    prop_assert!(*remains >= 0);
                }
            }
            let left: i64 = remaining.iter().sum();
            if left > 0 {
                prop_assert_eq!(split(left, &remaining), Some(remaining));
            }
        }
    }
}
