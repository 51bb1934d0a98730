//! The rules of `docs/protocol.md` for headers and claims, from the document alone: nothing here calls the code that
//! is tested, but for the list of currencies.

use bevy_iap::protocol::Currency;

use crate::json::Json;

/// A kind of claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `iap-device+jwt`
    Proof,
    /// `iap-order+jwt`
    Order,
    /// `iap-receipt+jwt`
    Receipt,
    /// `iap-sync+jwt`
    Request,
    /// `iap-sync-response+jwt`
    Response,
}

/// A member's name, and whether a value is right for it.
type Member = (&'static str, fn(&Json) -> bool);

const LARGEST: i128 = (1 << 63) - 1;
const LARGEST_AMOUNT: i128 = (1 << 53) - 1;

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Proof, Self::Order, Self::Receipt, Self::Request, Self::Response];

    /// The header's `typ`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proof => "iap-device+jwt",
            Self::Order => "iap-order+jwt",
            Self::Receipt => "iap-receipt+jwt",
            Self::Request => "iap-sync+jwt",
            Self::Response => "iap-sync-response+jwt",
        }
    }

    /// The longest token.
    pub fn longest(self) -> usize {
        match self {
            Self::Proof | Self::Order => 8_192,
            Self::Receipt => 32_768,
            Self::Request => 1_048_576,
            Self::Response => 33_554_432,
        }
    }

    /// Whether a header with these bytes is one of this kind that names the key `kid`.
    pub fn has_header(self, bytes: &[u8], kid: &str) -> bool {
        let Some(Json::Object(members)) = Json::strict(bytes) else { return false };
        let header = Json::Object(members.clone());
        let text = |name| header.member(name).and_then(text);
        members.len() == 3
            && text("typ") == Some(self.name())
            && text("alg").is_some_and(|algorithm| matches!(algorithm, "EdDSA" | "Ed25519"))
            && text("kid") == Some(kid)
    }

    /// Whether a payload is a claim set of this kind.
    pub fn has_claims(self, claims: &Json) -> bool {
        let parties =
            [("iss", is_digest as fn(&Json) -> bool), ("sub", is_account), ("aud", is_name), ("iat", is_time)];
        let own: &[Member] = match self {
            Self::Proof => &[],
            Self::Order => &[
                ("jti", is_id),
                ("seq", is_counted),
                ("product", is_name),
                ("quantity", is_quantity),
                ("price", is_money),
                ("catalog", is_digest),
            ],
            Self::Receipt => &[
                ("jti", is_id),
                ("feed", is_counted),
                ("order", is_id),
                ("order_sha256", is_digest),
                ("status", is_text),
                ("product", is_name),
                ("quantity", is_quantity),
                ("amount", is_money),
                ("grants", |value| is_list_of(value, is_grant)),
            ],
            Self::Request => &[("jti", is_id), ("cursor", is_cursor), ("orders", |value| is_list_of(value, is_text))],
            Self::Response => &[
                ("request_sha256", is_digest),
                ("receipts", |value| is_list_of(value, is_text)),
                ("cursor", is_cursor),
                ("more", |value| *value == Json::Boolean),
                ("wallet", |value| is_list_of(value, is_balance)),
                ("catalog", is_digest),
            ],
        };
        let may_be_left_out: &[Member] = match self {
            Self::Order => &[("prev", is_digest), ("allowance", is_allowance_use)],
            Self::Receipt => &[("reason", is_text)],
            Self::Request => &[
                ("keys", is_cursor),
                ("allowance", is_allowance_request),
                ("consumptions", |value| is_list_of(value, is_text)),
                ("wait", is_wait),
            ],
            Self::Response => &[
                ("chain", is_chain_head),
                ("allowances", |value| is_list_of(value, is_text)),
                ("consumed_sequence", is_cursor),
            ],
            Self::Proof => &[],
        };
        parties.iter().chain(own).all(|(name, is_right)| claims.member(name).is_some_and(is_right))
            && may_be_left_out.iter().all(|(name, is_right)| claims.member(name).is_none_or(is_right))
    }
}

/// The text of a string.
pub fn text(value: &Json) -> Option<&str> {
    match value {
        Json::Text(text) => Some(text),
        _ => None,
    }
}

fn is_text(value: &Json) -> bool {
    text(value).is_some()
}

fn is_list_of(value: &Json, is_right: fn(&Json) -> bool) -> bool {
    matches!(value, Json::List(items) if items.iter().all(is_right))
}

fn is_in(value: &Json, range: std::ops::RangeInclusive<i128>) -> bool {
    matches!(value, Json::Integer(number) if range.contains(number))
}

fn is_time(value: &Json) -> bool {
    is_in(value, -LARGEST - 1..=LARGEST)
}

fn is_counted(value: &Json) -> bool {
    is_in(value, 1..=LARGEST)
}

fn is_cursor(value: &Json) -> bool {
    is_in(value, 0..=i128::from(u64::MAX))
}

fn is_quantity(value: &Json) -> bool {
    is_in(value, 0..=i128::from(u32::MAX))
}

fn is_amount(value: &Json) -> bool {
    is_in(value, -LARGEST_AMOUNT..=LARGEST_AMOUNT)
}

fn is_currency(value: &Json) -> bool {
    text(value).is_some_and(|code| {
        code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase()) && code.parse::<Currency>().is_ok()
    })
}

fn is_money(value: &Json) -> bool {
    matches!(value, Json::Object(members) if members.len() == 2)
        && value.member("micros").is_some_and(is_amount)
        && value.member("currency").is_some_and(is_currency)
}

fn is_balance(value: &Json) -> bool {
    value.member("currency").is_some_and(is_currency)
        && value.member("available").is_some_and(is_amount)
        && value.member("held").is_some_and(is_amount)
}

fn is_chain_head(value: &Json) -> bool {
    value.member("sequence").is_some_and(is_counted) && value.member("order_sha256").is_some_and(is_digest)
}

fn is_allowance_use(value: &Json) -> bool {
    value.member("id").is_some_and(is_id)
        && value.member("spent").is_some_and(|spent| is_in(spent, 0..=LARGEST_AMOUNT))
        && value.member("orders").is_some_and(is_counted)
}

fn is_allowance_request(value: &Json) -> bool {
    value.member("current").is_none_or(is_id) && value.member("currency").is_some_and(is_currency)
}

fn is_wait(value: &Json) -> bool {
    value.member("seconds").is_some_and(is_cursor)
        && value.member("wallet").is_some_and(|wallet| is_list_of(wallet, is_balance))
}

fn is_grant(value: &Json) -> bool {
    let has = |name| value.member(name).is_some();
    let is_right = value.member("entitlement").is_some_and(is_name) && value.member("until").is_none_or(is_time);
    let is_item = value.member("item").is_some_and(is_name) && value.member("quantity").is_some_and(is_counted);
    (is_right && !has("item") && !has("quantity")) || (is_item && !has("entitlement") && !has("until"))
}

fn is_name(value: &Json) -> bool {
    let rest = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b':');
    text(value).is_some_and(
        |name| matches!(name.as_bytes(), [b'a'..=b'z', more @ ..] if more.len() < 64 && more.iter().copied().all(rest)),
    )
}

fn is_account(value: &Json) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    text(value).is_some_and(|account| (1..=64).contains(&account.len()) && account.bytes().all(allowed))
}

fn is_id(value: &Json) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text(value).is_some_and(|id| id.len() == 32 && id.bytes().all(is_digit))
}

/// 43 characters hold 258 bits, so the last two of the last one must be zero.
fn is_digest(value: &Json) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    text(value).is_some_and(|digest| {
        digest.len() == 43
            && digest.bytes().all(allowed)
            && b"AEIMQUYcgkosw048".contains(digest.as_bytes().last().unwrap_or(&0))
    })
}
