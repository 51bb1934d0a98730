//! The rules for single values.

use bevy_iap::protocol::Currency;

use crate::json::Json;

const LARGEST: i128 = (1 << 63) - 1;
const LARGEST_AMOUNT: i128 = (1 << 53) - 1;

/// The text of a string.
pub fn text(value: &Json) -> Option<&str> {
    match value {
        Json::Text(text) => Some(text),
        _ => None,
    }
}

pub(super) fn integer(value: &Json) -> Option<i128> {
    match value {
        Json::Integer(number) => Some(*number),
        _ => None,
    }
}

pub(super) fn is_text(value: &Json) -> bool {
    text(value).is_some()
}

pub(super) fn is_boolean(value: &Json) -> bool {
    *value == Json::Boolean
}

pub(super) fn is_list_of(value: &Json, is_right: fn(&Json) -> bool) -> bool {
    matches!(value, Json::List(items) if items.iter().all(is_right))
}

pub(super) fn is_list_of_texts(value: &Json) -> bool {
    is_list_of(value, is_text)
}

fn is_in(value: &Json, range: std::ops::RangeInclusive<i128>) -> bool {
    integer(value).is_some_and(|number| range.contains(&number))
}

pub(super) fn is_time(value: &Json) -> bool {
    is_in(value, -LARGEST - 1..=LARGEST)
}

pub(super) fn is_counted(value: &Json) -> bool {
    is_in(value, 1..=LARGEST)
}

pub(super) fn is_unsigned(value: &Json) -> bool {
    is_in(value, 0..=i128::from(u64::MAX))
}

pub(super) fn is_quantity(value: &Json) -> bool {
    is_in(value, 0..=i128::from(u32::MAX))
}

fn is_amount(value: &Json) -> bool {
    is_in(value, -LARGEST_AMOUNT..=LARGEST_AMOUNT)
}

pub(super) fn is_amount_above_zero(value: &Json) -> bool {
    is_in(value, 1..=LARGEST_AMOUNT)
}

fn is_currency(value: &Json) -> bool {
    text(value).is_some_and(|code| {
        code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase()) && code.parse::<Currency>().is_ok()
    })
}

pub(super) fn is_money(value: &Json) -> bool {
    matches!(value, Json::Object(members) if members.len() == 2)
        && value.member("micros").is_some_and(is_amount)
        && value.member("currency").is_some_and(is_currency)
}

pub(super) fn is_money_above_zero(value: &Json) -> bool {
    is_money(value) && value.member("micros").is_some_and(is_amount_above_zero)
}

pub(super) fn is_balance(value: &Json) -> bool {
    value.member("currency").is_some_and(is_currency)
        && value.member("available").is_some_and(is_amount)
        && value.member("held").is_some_and(is_amount)
}

pub(super) fn is_chain_head(value: &Json) -> bool {
    value.member("sequence").is_some_and(is_counted) && value.member("order_sha256").is_some_and(is_digest)
}

pub(super) fn is_allowance_use(value: &Json) -> bool {
    value.member("id").is_some_and(is_id)
        && value.member("spent").is_some_and(|spent| is_in(spent, 0..=LARGEST_AMOUNT))
        && value.member("orders").is_some_and(is_counted)
}

pub(super) fn is_allowance_request(value: &Json) -> bool {
    value.member("current").is_none_or(is_id) && value.member("currency").is_some_and(is_currency)
}

pub(super) fn is_wait(value: &Json) -> bool {
    value.member("seconds").is_some_and(is_unsigned)
        && value.member("wallet").is_some_and(|wallet| is_list_of(wallet, is_balance))
}

pub(super) fn is_grant(value: &Json) -> bool {
    let has = |name| value.member(name).is_some();
    let is_right = value.member("entitlement").is_some_and(is_name) && value.member("until").is_none_or(is_time);
    let is_item = value.member("item").is_some_and(is_name) && value.member("quantity").is_some_and(is_counted);
    (is_right && !has("item") && !has("quantity")) || (is_item && !has("entitlement") && !has("until"))
}

/// What a device asks about its account. Whether an enrolment in it is right is asked where that is read.
pub(super) fn is_ask(value: &Json) -> bool {
    let has = |name, is_right: fn(&Json) -> bool| value.member(name).is_some_and(is_right);
    match value.member("what").and_then(text) {
        Some("show" | "link_code") => true,
        Some("join_by_code") => has("code", is_link_code),
        Some("sign_in") => has("id_token", |token| text(token).is_some_and(|token| token.len() <= 8_192)),
        Some("name_device") => has("device", is_digest) && value.member("name").is_none_or(is_device_name),
        Some("revoke_device") => has("device", is_digest),
        Some("replace_key") => has("enrolment", is_enrolment),
        _ => false,
    }
}

fn is_enrolment(value: &Json) -> bool {
    matches!(value, Json::Object(members) if members.len() == 2)
        && value.member("jwk").is_some_and(is_jwk)
        && value.member("proof").is_some_and(is_text)
}

fn is_jwk(value: &Json) -> bool {
    ["kty", "crv", "x"].into_iter().all(|name| value.member(name).is_some_and(is_text))
        && value.member("kid").is_none_or(is_text)
}

/// A device of an account, as the server lists it.
pub(super) fn is_device(value: &Json) -> bool {
    value.member("id").is_some_and(is_digest)
        && value.member("enrolled_at").is_some_and(is_time)
        && value.member("name").is_none_or(is_device_name)
        && value.member("revoked").is_none_or(is_boolean)
        && value.member("frozen").is_none_or(is_boolean)
}

pub(super) fn is_issued_link_code(value: &Json) -> bool {
    value.member("code").is_some_and(is_link_code) && value.member("expires_at").is_some_and(is_time)
}

/// Eight characters of Crockford's alphabet, among any blanks and hyphens.
fn is_link_code(value: &Json) -> bool {
    let is_read = |character: char| character != ' ' && character != '-';
    // All letters but U, since O is a zero, and I and L are ones.
    let is_digit = |character: char| character.is_ascii_alphanumeric() && !matches!(character, 'u' | 'U');
    text(value).is_some_and(|code| {
        code.chars().filter(|&it| is_read(it)).count() == 8 && code.chars().filter(|&it| is_read(it)).all(is_digit)
    })
}

fn is_device_name(value: &Json) -> bool {
    text(value).is_some_and(|name| {
        (1..=40).contains(&name.chars().count()) && !name.chars().any(char::is_control) && name.trim() == name
    })
}

/// A key in a list of keys. What is in `x` is for whoever knows the algorithm.
pub(super) fn is_listed_key(value: &Json) -> bool {
    value.member("alg").is_some_and(is_text)
        && value.member("x").is_some_and(is_text)
        && value.member("from").is_some_and(is_time)
        && value.member("until").is_some_and(is_time)
        && value.member("revoked_at").is_none_or(is_time)
}

pub(super) fn is_name(value: &Json) -> bool {
    let rest = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b':');
    text(value).is_some_and(
        |name| matches!(name.as_bytes(), [b'a'..=b'z', more @ ..] if more.len() < 64 && more.iter().copied().all(rest)),
    )
}

pub(super) fn is_account(value: &Json) -> bool {
    text(value).is_some_and(|account| (1..=64).contains(&account.len()) && account.bytes().all(is_of_base64url))
}

pub(super) fn is_id(value: &Json) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text(value).is_some_and(|id| id.len() == 32 && id.bytes().all(is_digit))
}

/// 43 characters hold 258 bits, so the last two of the last one must be zero.
pub(super) fn is_digest(value: &Json) -> bool {
    text(value).is_some_and(|digest| {
        digest.len() == 43
            && digest.bytes().all(is_of_base64url)
            && b"AEIMQUYcgkosw048".contains(digest.as_bytes().last().unwrap_or(&0))
    })
}

fn is_of_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}
