//! Dates as people write them, in UTC, by the Gregorian calendar.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::protocol::UnixSeconds;

const DAY: i64 = 86_400;

/// A moment: shown as `2026-01-31T12:00:00Z`, and read like that or as `2026-01-31`, which is where that day begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub UnixSeconds);

/// The text is no date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("write a date such as 2026-01-31, or a time such as 2026-01-31T12:00:00Z")]
pub struct DateError;

/// The days from 1970-01-01 to a date (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day, of days from 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0.div_euclid(DAY));
        let second = self.0.rem_euclid(DAY);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
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
        let start = days(year, month, day);
        let read = Self(start * DAY + hour * 3_600 + minute * 60 + second);
        // A month or a day that there is not would be shown as another.
        let right = civil(start) == (year, month, day) && hour < 24 && minute < 60 && second < 60;
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
        for day in (-800_000..800_000).step_by(97) {
            let (year, month, date) = civil(day);
            assert_eq!(days(year, month, date), day);
        }
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
