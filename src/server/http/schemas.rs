//! The shapes of the bodies, for `/openapi.json`, where the types themselves do not say enough.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::openapi::{Content, RefOr, Response, ResponseBuilder, Schema};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use crate::protocol::problem::ProblemType;
use crate::protocol::{
    AccountId, CreatorId, Currency, EntitlementId, GameId, ItemId, KeyId, Micros, OrderId, ProductId, ReceiptId,
    Sha256, SourceId, Token,
};
use crate::server::ledger::{OperationId, Origin};

/// A schema from its JSON.
fn schema(json: Value) -> RefOr<Schema> {
    // All of them are in this file, and a test looks for what is in none of them.
    serde_json::from_value(json).map_or_else(|_| RefOr::T(Schema::default()), RefOr::T)
}

macro_rules! schemas {
    ($($type:ty, $name:literal = $json:tt;)*) => {
        $(
            impl PartialSchema for $type {
                fn schema() -> RefOr<Schema> {
                    schema(json!($json))
                }
            }

            impl ToSchema for $type {
                fn name() -> Cow<'static, str> {
                    Cow::Borrowed($name)
                }
            }
        )*
    };
}

/// The catalogue's canonical JSON.
pub(super) struct CatalogDocument;

schemas! {
    AccountId, "AccountId" = { "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" };
    GameId, "GameId" = { "type": "string", "pattern": "^[a-z][a-z0-9_.:-]{0,63}$" };
    ProductId, "ProductId" = { "type": "string", "pattern": "^[a-z][a-z0-9_.:-]{0,63}$" };
    EntitlementId, "EntitlementId" = { "type": "string", "pattern": "^[a-z][a-z0-9_.:-]{0,63}$" };
    ItemId, "ItemId" = { "type": "string", "pattern": "^[a-z][a-z0-9_.:-]{0,63}$" };
    CreatorId, "CreatorId" = { "type": "string", "pattern": "^[a-z][a-z0-9_.:-]{0,63}$" };
    SourceId, "SourceId" = { "type": "string", "pattern": "^[a-z][a-z0-9_.:-]{0,63}$" };
    OperationId, "OperationId" = {
        "type": "string",
        "pattern": "^[0-9a-f]{32}$",
        "description": "Chosen by whoever asks, and used once, for ever: what was refused under it stays refused.",
    };
    Origin, "Origin" = { "type": "string", "enum": ["paid", "promotional"] };
    OrderId, "OrderId" = { "type": "string", "pattern": "^[0-9a-f]{32}$" };
    ReceiptId, "ReceiptId" = { "type": "string", "pattern": "^[0-9a-f]{32}$" };
    KeyId, "KeyId" = {
        "type": "string",
        "pattern": "^[A-Za-z0-9_-]{43}$",
        "description": "The RFC 7638 thumbprint of a key.",
    };
    Sha256, "Sha256" = {
        "type": "string",
        "pattern": "^[A-Za-z0-9_-]{43}$",
        "description": "SHA-256, as unpadded base64url.",
    };
    Token, "Token" = {
        "type": "string",
        "pattern": r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$",
        "description": "A compact JWS (RFC 7515), signed with EdDSA over Ed25519 (RFC 8037). Only one that is signed by \
            the right key is taken: no random text is, however well it is formed.",
    };
    Currency, "Currency" = { "type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217." };
    Micros, "Micros" = {
        "type": "integer",
        "minimum": -9_007_199_254_740_991_i64,
        "maximum": 9_007_199_254_740_991_i64,
        "description": "Millionths of the currency unit.",
    };
    CatalogDocument, "Catalog" = {
        "type": "object",
        "required": ["game", "products"],
        "properties": {
            "game": { "$ref": "#/components/schemas/GameId" },
            "products": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": ["kind", "title", "description", "prices", "grants"],
                    "properties": {
                        "kind": { "type": "string", "enum": ["unlock", "consumable", "pass"] },
                        "hours": { "type": "integer", "description": "How long a pass lasts." },
                        "title": { "type": "string" },
                        "description": { "type": "string" },
                        "prices": {
                            "type": "object",
                            "description": "Micros, by the code of the currency.",
                            "additionalProperties": { "$ref": "#/components/schemas/Micros" },
                        },
                        "grants": { "type": "array", "items": { "type": "object" } },
                        "shares": {
                            "type": "object",
                            "description": "What each creator gets of the price, in parts per million.",
                            "additionalProperties": { "type": "integer", "minimum": 1, "maximum": 1_000_000 },
                        },
                    },
                },
            },
        },
    };
}

/// What each kind of request may be refused with, besides what every request may.
fn refusals(kinds: &[ProblemType]) -> BTreeMap<String, RefOr<Response>> {
    let always = [ProblemType::TooManyRequests, ProblemType::Internal, ProblemType::Unavailable];
    let mut by_status: BTreeMap<u16, Vec<ProblemType>> = BTreeMap::new();
    for kind in kinds.iter().copied().chain(always) {
        by_status.entry(kind.status()).or_default().push(kind);
    }
    by_status.into_iter().map(|(status, kinds)| (status.to_string(), RefOr::T(refusal(status, &kinds)))).collect()
}

fn refusal(status: u16, kinds: &[ProblemType]) -> Response {
    let names: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
    let problem = schema(json!({
        "type": "object",
        "description": "RFC 9457: a Problem of one of these types.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string", "enum": names },
            "title": { "type": "string" },
            "status": { "type": "integer", "enum": [status] },
            "detail": { "type": "string", "description": "What was wrong this time, and what to do." },
        },
    }));
    let mut response = ResponseBuilder::new()
        .description(format!("Refused: {}. Nothing in it decides an order's fate.", names.join(", ")))
        .content("application/problem+json", Content::new(Some(problem)));
    if matches!(status, 429 | 503) {
        let seconds = schema(json!({ "type": "integer", "minimum": 0 }));
        let header = utoipa::openapi::HeaderBuilder::new().schema(Some(seconds));
        response = response.header("Retry-After", header.description(Some("Seconds to wait.")).build());
    }
    response.build()
}

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $name:ident: $($kind:ident),*;)*) => {
        $(
            $(#[doc = $doc])+
            pub(super) struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    refusals(&[$(ProblemType::$kind),*])
                }
            }
        )*
    };
}

refusals! {
    /// What a request without a body may be refused with.
    Refusals: ;
    /// What an enrolment may be refused with.
    EnrolmentRefusals: MalformedBody, BadToken, RequestTimeout, BodyTooLarge, UnsupportedMediaType, WrongAudience,
        WrongAccount;
    /// What a sync request may be refused with.
    SyncRefusals: MalformedBody, BadToken, UnknownDevice, RequestTimeout, BodyTooLarge, UnsupportedMediaType,
        TooManyOrders, OrderConflict, WrongAudience, WrongAccount, DeviceRevoked;
    /// What a request about an account may be refused with.
    AccountRefusals: MalformedBody, BadToken, UnknownDevice, DeviceRevoked, NotYourDevice, RequestTimeout, Conflict,
        TooManyDevices, TooManyPurchases, BodyTooLarge, UnsupportedMediaType, WrongLinkCode, BadIdToken,
        SignInUnavailable, WrongAudience, WrongAccount;
    /// What an administrator's request may be refused with.
    AdminRefusals: MalformedBody, Unauthorized, NotFound, RequestTimeout, Conflict, BodyTooLarge,
        UnsupportedMediaType;
}
