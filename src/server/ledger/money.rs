//! Money as the books add it up.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::protocol::{Currency, Money, money};

/// A sum in the books; in JSON like [`Money`], `{"micros": 50000, "currency": "EUR"}`.
///
/// What one transfer moves, and what one wallet holds, is [`Money`], which every JSON parser reads exactly. What the
/// transfers of an account add up to, or many wallets hold together, may be more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LedgerMoney {
    /// The amount in millionths of the currency unit. It may be beyond ±(2^53 − 1): read it as an integer of 64 bits.
    pub micros: i64,
    /// The ISO 4217 currency.
    pub currency: Currency,
}

impl LedgerMoney {
    /// A sum in a currency.
    pub const fn new(micros: i64, currency: Currency) -> Self {
        Self { micros, currency }
    }

    /// The shortest exact decimal text, without the currency: `0.005`, `12`, `-3.5`.
    pub fn decimal(self) -> impl fmt::Display {
        Decimal { micros: self.micros, decimals: 0 }
    }
}

/// Micros as decimal text with at least so many decimals.
struct Decimal {
    micros: i64,
    decimals: usize,
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        money::write_decimal(f, self.micros, self.decimals)
    }
}

impl From<Money> for LedgerMoney {
    fn from(money: Money) -> Self {
        Self::new(money.micros.value(), money.currency)
    }
}

/// As [`Money`] is shown: `0.05 EUR`, `0.005 EUR`, `100 JPY`.
impl fmt::Display for LedgerMoney {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Decimal { micros: self.micros, decimals: self.currency.decimals() }, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sum_beyond_an_amount_is_shown_and_read_exactly() {
        let sum = LedgerMoney::new(i64::MIN, Currency::EUR);
        assert_eq!(sum.to_string(), "-9223372036854.775808 EUR");
        let json = serde_json::to_string(&sum).expect("serialises");
        assert_eq!(serde_json::from_str::<LedgerMoney>(&json).expect("reads"), sum);
        assert_eq!(LedgerMoney::new(-500, "JPY".parse().expect("a currency")).decimal().to_string(), "-0.0005");
    }

    proptest! {
        #[test]
        fn sum_in_range_is_shown_and_written_like_an_amount(micros in -(1i64 << 53) + 1..1 << 53) {
            let money = Money::new(micros.try_into().expect("in range"), Currency::EUR);
            let sum = LedgerMoney::from(money);
            prop_assert_eq!(sum.to_string(), money.to_string());
            prop_assert_eq!(sum.decimal().to_string(), money.micros.to_string());
            prop_assert_eq!(serde_json::to_string(&sum).ok(), serde_json::to_string(&money).ok());
        }
    }
}
