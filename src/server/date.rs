//! Dates as people write them, in UTC, by the Gregorian calendar.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::calendar;
use crate::protocol::UnixSeconds;

/// A moment: shown as `2026-01-31T12:00:00Z`, and read like that or as `2026-01-31`, which is where that day begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub UnixSeconds);

/// The text is no date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("write a date such as 2026-01-31, or a time such as 2026-01-31T12:00:00Z")]
pub struct DateError;

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = calendar::date(self.0);
        let (hour, minute, second) = calendar::time_of_day(self.0);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, time.strip_suffix('Z').ok_or(DateError)?),
            None => (text, "00:00:00"),
        };
        let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
        let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
        let start = calendar::start_of_day(year, month, day);
        let read = Self(start + hour * 3_600 + minute * 60 + second);
        // A month or a day that there is not would be shown as another.
        let right = calendar::date(start) == (year, month, day) && hour < 24 && minute < 60 && second < 60;
        if right { Ok(read) } else { Err(DateError) }
    }
}

fn numbers(text: &str, between: char, digits: [usize; 3]) -> Result<[i64; 3], DateError> {
    let parts: Vec<&str> = text.split(between).collect();
    let mut numbers = [0; 3];
    if parts.len() != 3 {
        return Err(DateError);
    }
    for ((number, part), digits) in numbers.iter_mut().zip(parts).zip(digits) {
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(DateError);
        }
        *number = part.parse().map_err(|_| DateError)?;
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_they_are_shown() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2026-11-21T11:28:08Z", 1_795_260_488),
            ("1969-12-31T23:59:59Z", -1),
        ] {
            assert_eq!((text.parse(), Date(seconds).to_string()), (Ok(Date(seconds)), text.to_owned()));
        }
        assert_eq!("2026-11-21".parse(), Ok(Date(1_795_219_200)));
    }

    #[test]
    fn text_that_is_no_date_is_refused() {
        for text in
            ["2026-02-29", "2026-13-01", "2026-1-1", "21.11.2026", "2026-11-21T24:00:00Z", "2026-11-21T10:00", ""]
        {
            assert_eq!(text.parse::<Date>(), Err(DateError), "{text}");
        }
    }
}
