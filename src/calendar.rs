//! The Gregorian calendar, in UTC, for whoever shows dates to people or reads them.
//!
//! The algorithms are those of Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".

use crate::protocol::UnixSeconds;

const DAY: i64 = 86_400;

/// Year, month and day of a moment.
pub(crate) fn date(time: UnixSeconds) -> (i64, i64, i64) {
    let days = time.div_euclid(DAY) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Hour, minute and second of a moment.
pub(crate) fn time_of_day(time: UnixSeconds) -> (i64, i64, i64) {
    let second = time.rem_euclid(DAY);
    (second / 3_600, second / 60 % 60, second % 60)
}

/// The moment at which a day begins. A month or a day that there is not is taken for a later one.
#[cfg(feature = "server")]
pub(crate) fn start_of_day(year: i64, month: i64, day: i64) -> UnixSeconds {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    (era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468) * DAY
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    #[test]
    fn every_day_has_its_date_and_every_date_its_day() {
        for day in (-800_000..800_000).step_by(97) {
            let (year, month, date) = date(day * DAY);
            assert_eq!(start_of_day(year, month, date), day * DAY);
        }
    }
}
