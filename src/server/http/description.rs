//! `/openapi.json`: made from the handlers and their types, with the routes themselves.

use std::sync::LazyLock;

use axum::response::Response;
use serde_json::json;
use utoipa::Modify;
use utoipa::OpenApi;
use utoipa::openapi::RefOr;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::answer;
use super::schemas::Refusals;
use crate::protocol::problem::{Problem, ProblemType};
use crate::protocol::{Currency, EntitlementId, GameId, Grant, ItemId, Micros, Token};

/// What is said of the whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "bevy_iap store server",
        version = "1",
        description = "In-app purchases for Bevy games: signed orders up, signed receipts down. Tokens are compact JWS \
                       (RFC 7515) with EdDSA over Ed25519 (RFC 8037). A client changes an order's fate only on a \
                       signed receipt; a problem only delays. What a token must hold is in docs/protocol.md: no schema \
                       can say it, so a request that fits its schema may still be refused as `/problems/bad-token`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    components(schemas(Problem, Token, Currency, Micros, GameId, EntitlementId, ItemId, Grant)),
    modifiers(&Additions)
)]
pub(super) struct Description;

struct Additions;

impl Modify for Additions {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("administrator", SecurityScheme::Http(bearer));
        // Which kinds there are, each with its status.
        let kinds: Vec<_> =
            ProblemType::ALL.iter().map(|kind| json!({ "type": kind.as_str(), "status": kind.status() })).collect();
        openapi.extensions.get_or_insert_default().insert("x-problems".to_owned(), json!(kinds));
    }
}

/// The description, made once.
pub(super) static OPENAPI: LazyLock<String> = LazyLock::new(|| {
    let (_, mut described) = super::routes().split_for_parts();
    // The bodies of the worked example in docs/protocol.md.
    let enrolment = serde_json::from_str(include_str!("examples/enrolment.json")).unwrap_or_default();
    for (path, example) in [("/v1/devices", enrolment), ("/v1/sync", json!(include_str!("examples/sync.jose")))] {
        let operation = described.paths.paths.get_mut(path).and_then(|path| path.post.as_mut());
        let body = operation.and_then(|operation| operation.request_body.as_mut());
        if let Some(RefOr::T(body)) = body {
            for content in body.content.values_mut() {
                if let RefOr::T(content) = content {
                    content.example = Some(example.clone());
                }
            }
        }
    }
    // Maps with texts as keys always serialise.
    described.to_json().unwrap_or_default()
});

/// This description
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "description",
    responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value, content_type = "application/json"), Refusals),
)]
pub(super) async fn description() -> Response {
    answer("application/json", OPENAPI.as_str())
}
