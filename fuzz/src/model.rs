//! The rules of `docs/protocol.md` and `docs/keys.md` for headers and claims, from the documents alone: nothing here
//! calls the code that is tested, but for the list of currencies.

pub mod keys;
mod values;

pub use values::text;
use values::*;

use base64ct::{Base64UrlUnpadded, Encoding};

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
    /// `iap-allowance+jwt`
    Allowance,
    /// `iap-consume+jwt`
    Consumption,
    /// `iap-consumption-receipt+jwt`
    ConsumptionReceipt,
    /// `iap-account+jwt`
    Question,
    /// `iap-account-response+jwt`
    Answer,
    /// `iap-keys+jwt`
    Keys,
}

/// A member's name, and whether a value is right for it.
type Member = (&'static str, fn(&Json) -> bool);

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Proof,
        Self::Order,
        Self::Receipt,
        Self::Request,
        Self::Response,
        Self::Allowance,
        Self::Consumption,
        Self::ConsumptionReceipt,
        Self::Question,
        Self::Answer,
        Self::Keys,
    ];

    /// The header's `typ`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proof => "iap-device+jwt",
            Self::Order => "iap-order+jwt",
            Self::Receipt => "iap-receipt+jwt",
            Self::Request => "iap-sync+jwt",
            Self::Response => "iap-sync-response+jwt",
            Self::Allowance => "iap-allowance+jwt",
            Self::Consumption => "iap-consume+jwt",
            Self::ConsumptionReceipt => "iap-consumption-receipt+jwt",
            Self::Question => "iap-account+jwt",
            Self::Answer => "iap-account-response+jwt",
            Self::Keys => "iap-keys+jwt",
        }
    }

    /// The longest token.
    pub fn longest(self) -> usize {
        match self {
            Self::Consumption => 1_024,
            Self::Order => 2_048,
            Self::Proof | Self::Allowance | Self::ConsumptionReceipt => 8_192,
            Self::Question => 16_384,
            Self::Receipt | Self::Keys => 32_768,
            Self::Answer => 65_536,
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
        let signed: [Member; 3] = [("iss", is_digest), ("aud", is_name), ("iat", is_time)];
        // A list of keys is about no account.
        let about: &[Member] = if self == Self::Keys { &[] } else { &[("sub", is_account)] };
        let mut must = signed.iter().chain(about).chain(self.must_have());
        must.all(|(name, is_right)| claims.member(name).is_some_and(is_right))
            && self.may_have().iter().all(|(name, is_right)| claims.member(name).is_none_or(is_right))
    }

    fn must_have(self) -> &'static [Member] {
        match self {
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
            Self::Request => &[("jti", is_id), ("cursor", is_unsigned), ("orders", is_list_of_texts)],
            Self::Response => &[
                ("request_sha256", is_digest),
                ("receipts", is_list_of_texts),
                ("cursor", is_unsigned),
                ("more", is_boolean),
                ("wallet", |value| is_list_of(value, is_balance)),
                ("catalog", is_digest),
            ],
            Self::Allowance => &[
                ("jti", is_id),
                ("device", is_digest),
                ("total", is_money_above_zero),
                ("per_order", is_amount_above_zero),
                ("orders", is_counted),
                ("catalog", is_digest),
                ("exp", is_time),
                ("settle_by", is_time),
                ("policy", is_name),
            ],
            Self::Consumption => &[("jti", is_id), ("seq", is_counted), ("item", is_name), ("quantity", is_counted)],
            Self::ConsumptionReceipt => &[
                ("jti", is_id),
                ("feed", is_counted),
                ("consumption", is_id),
                ("consumption_sha256", is_digest),
                ("device", is_digest),
                ("item", is_name),
                ("quantity", is_counted),
                ("status", is_text),
            ],
            Self::Question => &[("jti", is_id), ("ask", is_ask)],
            Self::Answer => &[
                ("request_sha256", is_digest),
                ("device", is_digest),
                ("signed_in", is_boolean),
                ("devices", |value| is_list_of(value, is_device)),
            ],
            Self::Keys => &[("number", is_counted), ("keys", |value| is_list_of(value, is_listed_key))],
        }
    }

    fn may_have(self) -> &'static [Member] {
        match self {
            Self::Order => &[("prev", is_digest), ("allowance", is_allowance_use)],
            Self::Receipt | Self::ConsumptionReceipt => &[("reason", is_text)],
            Self::Request => &[
                ("keys", is_unsigned),
                ("wait", is_wait),
                ("allowance", is_allowance_request),
                ("consumptions", is_list_of_texts),
            ],
            Self::Response => {
                &[("chain", is_chain_head), ("allowances", is_list_of_texts), ("consumed_sequence", is_unsigned)]
            }
            Self::Answer => &[("chain", is_chain_head), ("link_code", is_issued_link_code)],
            Self::Proof | Self::Allowance | Self::Consumption | Self::Question | Self::Keys => &[],
        }
    }
}

/// Whether an allowance's times are in their order.
pub fn has_times_in_order(claims: &Json) -> bool {
    let time = |name| claims.member(name).and_then(integer);
    time("iat") <= time("exp") && time("exp") <= time("settle_by")
}

/// Whether a sync request has no more in its lists than it may.
pub fn has_short_lists(claims: &Json) -> bool {
    let count = |value: Option<&Json>| match value {
        Some(Json::List(items)) => items.len(),
        _ => 0,
    };
    let wallet = claims.member("wait").and_then(|wait| wait.member("wallet"));
    [claims.member("orders"), claims.member("consumptions"), wallet].into_iter().all(|list| count(list) <= 256)
}

/// A claim that is a time.
pub fn time(claims: &Json, name: &str) -> Option<i64> {
    claims.member(name).and_then(integer).and_then(|time| i64::try_from(time).ok())
}

/// The bytes of a token's second part.
pub fn payload(token: &str) -> Option<Vec<u8>> {
    Base64UrlUnpadded::decode_vec(token.split('.').nth(1)?).ok()
}
