//! How much a server takes on at once, and how much of it for one device or one address.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Semaphore;

/// How much a server takes on at once.
///
/// An address is an IPv4 address, or the first 64 bits of an IPv6 address, which is what one customer of a provider
/// has. Those of this computer itself are not limited unless [`Limits::loopback`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections. When there is no room for another one, the one that has kept the server waiting the longest
    /// for a whole request is closed. 8,192 unless it is set. This and the next three are from 1 to a million.
    pub connections: usize,
    /// Open connections of one address; more are closed at once. 256 unless it is set.
    pub connections_per_address: usize,
    /// Orders that wait to be settled, where a request counts as one more than its orders; more are told to come back.
    /// 16,384 unless it is set.
    pub queue: usize,
    /// The number of orders at which a batch is full, counted in the same way. 1,000 unless it is set.
    pub batch: usize,
    /// Bytes of the bodies of requests and answers that are held at once, beyond the first 16 KiB of each; what has no
    /// room is told to come back. 64 MiB unless it is set; from 1 byte to just below 4 GiB.
    pub memory: usize,
    /// How long a request's head, and then its body, may take to arrive, how long a connection may be idle, and how
    /// long a client may take to read an answer. Ten seconds unless it is set; from a millisecond to a day.
    pub time: Duration,
    /// Orders of one device. 600 a minute, and 2,048 at once, unless it is set.
    pub orders_per_device: Option<Rate>,
    /// Orders from one address. 6,000 a minute, and 8,192 at once, unless it is set.
    pub orders_per_address: Option<Rate>,
    /// Requests from one address. 3,000 a minute, and 1,000 at once, unless it is set.
    pub requests_per_address: Option<Rate>,
    /// New devices from one address. 10 a minute, and 100 at once, unless it is set.
    pub enrolments_per_address: Option<Rate>,
    /// Questions about accounts of one device. 20 a minute, and 30 at once, unless it is set.
    pub questions_per_device: Option<Rate>,
    /// Questions about accounts from one address. 120 a minute, and 120 at once, unless it is set.
    pub questions_per_address: Option<Rate>,
    /// Link codes that one device makes. 5 a minute, and 10 at once, unless it is set.
    pub codes_made_per_device: Option<Rate>,
    /// Link codes that one device tries, right or wrong. 5 a minute, and 10 at once, unless it is set.
    pub codes_tried_per_device: Option<Rate>,
    /// Link codes that are tried from one address. 20 a minute, and 20 at once, unless it is set.
    pub codes_tried_per_address: Option<Rate>,
    /// Link codes that are tried at this server, by anybody. 300 a minute, and 300 at once, unless it is set.
    pub codes_tried: Option<Rate>,
    /// Whether the limits of addresses also hold for this computer's own, from which a proxy's requests come. No,
    /// unless it is set.
    pub loopback: bool,
}

impl Limits {
    /// The most of what is counted.
    pub(crate) const MOST: usize = 1_000_000;
    /// The most bytes.
    pub(crate) const MOST_MEMORY: usize =
        if (u32::MAX as usize) < Semaphore::MAX_PERMITS { u32::MAX as usize } else { Semaphore::MAX_PERMITS };
    /// The shortest time.
    pub(crate) const SHORTEST: Duration = Duration::from_millis(1);
    /// The longest time.
    pub(crate) const LONGEST: Duration = Duration::from_secs(86_400);

    /// The same limits, if a server can keep all of them.
    pub(crate) fn checked(self) -> Result<Self, LimitError> {
        for (name, value) in [
            ("connections", self.connections),
            ("connections_per_address", self.connections_per_address),
            ("queue", self.queue),
            ("batch", self.batch),
        ] {
            LimitError::check(name, (1..=Self::MOST).contains(&value), value, format_args!("1 to {}", Self::MOST))?;
        }
        let (memory, most) = (self.memory, Self::MOST_MEMORY);
        let in_range = (1..=most).contains(&memory);
        LimitError::check("memory", in_range, format_args!("{memory} bytes"), format_args!("1 to {most} bytes"))?;
        let (shortest, longest) = (Self::SHORTEST, Self::LONGEST);
        let in_range = (shortest..=longest).contains(&self.time);
        LimitError::check(
            "time",
            in_range,
            format_args!("{:?}", self.time),
            format_args!("{shortest:?} to {longest:?}"),
        )?;
        Ok(self)
    }
}

/// A limit that no server can keep.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the limit {name} cannot be {value}; write {range}")]
pub struct LimitError {
    name: &'static str,
    value: String,
    range: String,
}

impl LimitError {
    pub(crate) fn check(
        name: &'static str,
        in_range: bool,
        value: impl fmt::Display,
        range: impl fmt::Display,
    ) -> Result<(), Self> {
        if in_range { Ok(()) } else { Err(Self { name, value: value.to_string(), range: range.to_string() }) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8_192,
            connections_per_address: 256,
            queue: 16_384,
            batch: 1_000,
            memory: 64 * 1024 * 1024,
            time: Duration::from_secs(10),
            orders_per_device: Rate::new(600, 2_048),
            orders_per_address: Rate::new(6_000, 8_192),
            requests_per_address: Rate::new(3_000, 1_000),
            enrolments_per_address: Rate::new(10, 100),
            questions_per_device: Rate::new(20, 30),
            questions_per_address: Rate::new(120, 120),
            codes_made_per_device: Rate::new(5, 10),
            codes_tried_per_device: Rate::new(5, 10),
            codes_tried_per_address: Rate::new(20, 20),
            codes_tried: Rate::new(300, 300),
            loopback: false,
        }
    }
}

/// So many a minute, and so many at once after a quiet time.
///
/// As text, as on the command line: `600:2048`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many a minute, in the long run.
    pub per_minute: NonZeroU32,
    /// How many at once.
    pub burst: NonZeroU32,
}

impl Rate {
    /// A rate; none if one of the numbers is zero.
    pub const fn new(per_minute: u32, burst: u32) -> Option<Self> {
        match (NonZeroU32::new(per_minute), NonZeroU32::new(burst)) {
            (Some(per_minute), Some(burst)) => Some(Self { per_minute, burst }),
            _ => None,
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.per_minute, self.burst)
    }
}

/// Why a text is no [`Rate`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a rate; write how many a minute and how many at once, both above 0, as in 600:2048")]
pub struct RateError(String);

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (per_minute, burst) = text.split_once(':').ok_or_else(|| RateError(text.to_owned()))?;
        let number = |text: &str| text.parse().ok();
        let rate = number(per_minute).zip(number(burst)).and_then(|(per_minute, burst)| Self::new(per_minute, burst));
        rate.ok_or_else(|| RateError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_has_one_spelling_and_zero_is_none() {
        let rate: Rate = "600:2048".parse().expect("a rate");
        assert_eq!((rate.per_minute.get(), rate.burst.get(), rate.to_string().as_str()), (600, 2_048, "600:2048"));
        for text in ["", "600", "600:", ":1", "0:1", "1:0", "-1:1", "1:2:3", "1 :2", "4294967296:1"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
