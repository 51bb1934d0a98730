//! Names and ids that are right because they exist: each is parsed once and never checked again.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use super::text::serde_as_text;

/// The longest name, in characters.
pub const MAX_NAME: usize = 64;

/// A name that is not well formed, with what is wrong and what to write.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not a valid {kind}: {rule}")]
pub struct NameError {
    /// What was written.
    pub text: String,
    /// What it should have been.
    pub kind: &'static str,
    /// The rule it breaks.
    pub rule: &'static str,
}

const NAME_RULE: &str = "use 1 to 64 lower-case letters, digits, and _ - . : with a letter first";
const ACCOUNT_RULE: &str = "use 1 to 64 letters, digits, _ and -";
const LANGUAGE_RULE: &str = "use a language tag such as ko or pt-BR";
const ID_RULE: &str = "use 32 lower-case hexadecimal digits";

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.:".contains(&byte);
    text.len() <= MAX_NAME && text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(allowed)
}

fn is_account(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(allowed)
}

/// The shape of a BCP 47 tag (RFC 5646), of which only the language and what narrows it is used here.
fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let language = parts.next().unwrap_or_default();
    let is_language = (2..=3).contains(&language.len()) && language.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_part = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_language && text.len() <= MAX_NAME && parts.all(is_part)
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $check:ident, $rule:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Reads a name.
            ///
            /// # Errors
            /// The text breaks the rule that the error states.
            pub fn new(text: &str) -> Result<Self, NameError> {
                match $check(text) {
                    true => Ok(Self(text.into())),
                    false => Err(NameError { text: text.to_owned(), kind: $kind, rule: $rule }),
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $type {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $type {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        serde_as_text!($type);
    };
}

name!(
    /// The game that a catalogue, an order and a receipt are for: the audience of everything signed.
    GameId, "game name", is_name, NAME_RULE
);
name!(
    /// The name of a product in the catalogue.
    ProductId, "product name", is_name, NAME_RULE
);
name!(
    /// The name of a durable right, as asked for with `owns`.
    EntitlementId, "entitlement name", is_name, NAME_RULE
);
name!(
    /// The name of a countable thing, as asked for with `quantity`.
    ItemId, "item name", is_name, NAME_RULE
);
name!(
    /// The name of a group of products that are shown together.
    GroupId, "group name", is_name, NAME_RULE
);
name!(
    /// A language, as a BCP 47 tag: `ko`, `pt-BR`.
    LanguageId, "language", is_language, LANGUAGE_RULE
);
name!(
    /// Somebody who gets a share of a product's price.
    CreatorId, "creator name", is_name, NAME_RULE
);
name!(
    /// Where money comes from: a payment provider, a campaign, the operator.
    SourceId, "source name", is_name, NAME_RULE
);
name!(
    /// The rules by which an allowance was given.
    PolicyId, "policy name", is_name, NAME_RULE
);
name!(
    /// A pseudonymous player. A guest's account carries the id of the device that opened it.
    AccountId, "account", is_account, ACCOUNT_RULE
);

impl AccountId {
    /// The guest account of a device: its thumbprint is always a well-formed account.
    pub(crate) fn from_key(key: super::KeyId) -> Self {
        Self(key.to_string().into())
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub [u8; 16]);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", u128::from_be_bytes(self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                match u128::from_str_radix(text, 16) {
                    Ok(value) if digits && text.len() == 32 => Ok(Self(value.to_be_bytes())),
                    _ => Err(NameError { text: text.to_owned(), kind: $kind, rule: ID_RULE }),
                }
            }
        }

        serde_as_text!($type);
    };
}

random_id!(
    /// 128 random bits that name an order for ever; the idempotency key of everything that happens to it.
    OrderId, "order id"
);
random_id!(
    /// 128 bits that name a receipt.
    ReceiptId, "receipt id"
);
random_id!(
    /// 128 random bits that name a consumption for ever.
    ConsumptionId, "consumption id"
);
random_id!(
    /// 128 random bits that name an allowance, and the hold behind it.
    AllowanceId, "allowance id"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_the_rule_are_refused() {
        for text in ["", "Shield", "1up", "dark mode", "ü", &"a".repeat(65)] {
            assert!(ProductId::new(text).is_err(), "{text:?}");
        }
        assert!(ProductId::new("season_2.pass:gold-1").is_ok());
    }

    #[test]
    fn order_ids_have_one_spelling() {
        let id = OrderId([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["AB".repeat(16), "ab".repeat(15), format!("+{}", "a".repeat(31))] {
            assert!(text.parse::<OrderId>().is_err(), "{text}");
        }
    }
}
