//! Exact money: whole micros (millionths of a currency unit) beside an ISO 4217 code, with checked arithmetic.
//!
//! There is no floating point and no rounding anywhere: text that cannot be held exactly is refused.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::text::serde_as_text;

/// Micros in one currency unit: one euro is 1,000,000 micros.
pub const MICROS_PER_UNIT: i64 = 1_000_000;

/// The number of decimal places an amount can have.
const DECIMALS: usize = 6;

/// An amount in micros, within ±(2^53 − 1), so that every JSON parser reads it exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Micros(i64);

impl Micros {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// The largest amount, 2^53 − 1 micros: a little over nine thousand million units.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// An amount of `micros`, or an error if it is outside ±(2^53 − 1).
    pub const fn new(micros: i64) -> Result<Self, MoneyError> {
        if micros > Self::MAX.0 || micros < -Self::MAX.0 {
            return Err(MoneyError::OutOfRange);
        }
        Ok(Self(micros))
    }

    /// The amount as a whole number of micros.
    pub const fn value(self) -> i64 {
        self.0
    }

    /// Whether the amount is below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// The sum, or `None` if it is out of range.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Self::new(self.0.checked_add(other.0)?).ok()
    }

    /// The difference, or `None` if it is out of range.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Self::new(self.0.checked_sub(other.0)?).ok()
    }

    /// The amount `count` times, or `None` if it is out of range.
    pub fn checked_mul(self, count: u32) -> Option<Self> {
        Self::new(self.0.checked_mul(i64::from(count))?).ok()
    }
}

/// Writes micros as decimal text with at least `decimals` places after the point.
pub(crate) fn write_decimal(f: &mut fmt::Formatter<'_>, micros: i64, decimals: usize) -> fmt::Result {
    let magnitude = micros.unsigned_abs();
    let unit = MICROS_PER_UNIT.unsigned_abs();
    let digits = format!("{:06}", magnitude % unit);
    let shown = digits.trim_end_matches('0').len().max(decimals.min(DECIMALS));
    let sign = if micros < 0 { "-" } else { "" };
    write!(f, "{sign}{}", magnitude / unit)?;
    if shown > 0 {
        write!(f, ".{}", &digits[..shown])?;
    }
    Ok(())
}

impl TryFrom<i64> for Micros {
    type Error = MoneyError;

    fn try_from(micros: i64) -> Result<Self, MoneyError> {
        Self::new(micros)
    }
}

impl From<Micros> for i64 {
    fn from(micros: Micros) -> Self {
        micros.0
    }
}

/// The shortest exact decimal text: `0.005`, `12`, `-3.5`.
impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(f, self.0, 0)
    }
}

/// Reads plain decimal text: an optional `-`, digits, and at most six decimals after a point.
impl FromStr for Micros {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let not_decimal = || MoneyError::NotDecimal { text: text.to_owned(), hint: decimal_hint(text) };
        let (sign, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((_, "")) => return Err(not_decimal()),
            Some(parts) => parts,
            None => (unsigned, ""),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(not_decimal());
        }
        if fraction.len() > DECIMALS {
            return Err(MoneyError::TooPrecise { text: text.to_owned() });
        }
        let units: i64 = whole.parse().map_err(|_| MoneyError::OutOfRange)?;
        let fraction: i64 = format!("{fraction:0<DECIMALS$}").parse().map_err(|_| MoneyError::OutOfRange)?;
        let micros = units.checked_mul(MICROS_PER_UNIT).and_then(|units| units.checked_add(fraction));
        Self::new(sign * micros.ok_or(MoneyError::OutOfRange)?)
    }
}

/// What to write instead of text that is nearly a decimal number.
fn decimal_hint(text: &str) -> String {
    let cleaned: String = text
        .trim()
        .trim_start_matches('+')
        .chars()
        .filter(|character| !matches!(character, '_' | ' ' | '€' | '$' | '£' | '¥' | '₩'))
        .map(|character| if character == ',' { '.' } else { character })
        .collect();
    let cleaned = if cleaned.starts_with('.') { format!("0{cleaned}") } else { cleaned };
    let cleaned = cleaned.trim_end_matches('.');
    match cleaned != text && cleaned.parse::<Micros>().is_ok() {
        true => cleaned.to_owned(),
        false => "a number such as 0.05".to_owned(),
    }
}

/// A currency of ISO 4217, written as its three letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

/// By code, so that what is sorted by currency, and its digest, is the same in every language.
impl Ord for Currency {
    fn cmp(&self, other: &Self) -> Ordering {
        self.code().cmp(other.code())
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Currency {
    /// The euro.
    pub const EUR: Self = Self(iso_currency::Currency::EUR);
    /// The United States dollar.
    pub const USD: Self = Self(iso_currency::Currency::USD);

    /// The three-letter code, for example `EUR`.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimals prices in this currency usually show: two for EUR, none for JPY.
    pub fn decimals(self) -> usize {
        self.0.exponent().map_or(0, usize::from)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let unknown = || {
            let upper = text.to_ascii_uppercase();
            let known = upper != text && iso_currency::Currency::from_code(&upper).is_some();
            MoneyError::UnknownCurrency { text: text.to_owned(), hint: if known { upper } else { "EUR".to_owned() } }
        };
        iso_currency::Currency::from_code(text).filter(|found| found.code() == text).map(Self).ok_or_else(unknown)
    }
}

serde_as_text!(Currency);

/// An amount and its currency; in JSON `{"micros": 50000, "currency": "EUR"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// The amount in millionths of the currency unit.
    pub micros: Micros,
    /// The ISO 4217 currency.
    pub currency: Currency,
}

impl Money {
    /// An amount in a currency.
    pub const fn new(micros: Micros, currency: Currency) -> Self {
        Self { micros, currency }
    }

    /// The amount `count` times, or `None` if it is out of range.
    pub fn checked_mul(self, count: u32) -> Option<Self> {
        Some(Self { micros: self.micros.checked_mul(count)?, ..self })
    }

    /// The sum, or `None` if the currencies differ or it is out of range.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if self.currency != other.currency {
            return None;
        }
        Some(Self { micros: self.micros.checked_add(other.micros)?, ..self })
    }
}

/// Exact text with the currency's usual decimals or as many more as it takes: `0.05 EUR`, `0.005 EUR`, `100 JPY`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_decimal(f, self.micros.0, self.currency.decimals())?;
        write!(f, " {}", self.currency)
    }
}

/// Reads `0.05 EUR` or `0.05EUR`.
impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let split = text.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(text.len());
        let (amount, currency) = text.split_at(split);
        Ok(Self { micros: amount.strip_suffix(' ').unwrap_or(amount).parse()?, currency: currency.parse()? })
    }
}

/// Why text or arithmetic is not an exact amount of money.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MoneyError {
    /// The text is not plain decimal digits.
    #[error("{text:?} is not a decimal number (write {hint})")]
    NotDecimal {
        /// What was written.
        text: String,
        /// What to write instead.
        hint: String,
    },
    /// The text has more than six decimals, which would have to be rounded.
    #[error("{text:?} has more than six decimals; the smallest amount is 0.000001")]
    TooPrecise {
        /// What was written.
        text: String,
    },
    /// The amount is outside ±(2^53 − 1) micros.
    #[error("the amount is out of range; the largest is 9007199254.740991")]
    OutOfRange,
    /// The text is not a currency code of ISO 4217.
    #[error("{text:?} is not an ISO 4217 currency code (write {hint})")]
    UnknownCurrency {
        /// What was written.
        text: String,
        /// What to write instead.
        hint: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_exactly_with_the_usual_decimals() {
        for (text, shown) in
            [("0.05EUR", "0.05 EUR"), ("0.005 EUR", "0.005 EUR"), ("5EUR", "5.00 EUR"), ("100JPY", "100 JPY")]
        {
            assert_eq!(text.parse::<Money>().map(|money| money.to_string()), Ok(shown.to_owned()));
        }
    }

    #[test]
    fn nearly_decimal_text_is_refused_with_what_to_write() {
        for (text, hint) in
            [("0,005", "0.005"), (".5", "0.5"), ("5.", "5"), ("+1", "1"), ("€2", "2"), ("1_000", "1000")]
        {
            match text.parse::<Micros>() {
                Err(MoneyError::NotDecimal { hint: found, .. }) => assert_eq!(found, hint),
                other => panic!("{text} gave {other:?}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_held_exactly_is_refused() {
        assert!(matches!("0.0000001".parse::<Micros>(), Err(MoneyError::TooPrecise { .. })));
        assert_eq!("9007199254.740992".parse::<Micros>(), Err(MoneyError::OutOfRange));
        assert_eq!("99999999999999999999".parse::<Micros>(), Err(MoneyError::OutOfRange));
        assert_eq!(Micros::MAX.checked_add(Micros(1)), None);
        assert_eq!(Micros::MAX.checked_mul(2), None);
    }

    #[test]
    fn currencies_are_sorted_by_their_codes() {
        let mut codes = ["XCG", "ZWL", "ZWG", "AOA", "EUR"].map(|code| code.parse::<Currency>().expect("a currency"));
        codes.sort();
        assert_eq!(codes.map(Currency::code), ["AOA", "EUR", "XCG", "ZWG", "ZWL"]);
    }

    #[test]
    fn unknown_currency_is_refused_with_a_known_one() {
        let error = "0.05 eur".parse::<Money>().map_err(|error| error.to_string());
        assert_eq!(error, Err("\"eur\" is not an ISO 4217 currency code (write EUR)".to_owned()));
    }
}
