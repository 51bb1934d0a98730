//! What anybody may read: the catalogue, the keys, health, counts and the description of all this.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::schemas::{CatalogDocument, Refusals};
use super::{App, answer};
use crate::protocol::JwkSet;
use crate::server::metrics::Reading;
use crate::server::problem::Refusal;

/// The catalogue, as canonical JSON
///
/// Its digest is its version, and its `ETag`.
#[utoipa::path(
    get,
    path = "/v1/catalog",
    operation_id = "catalog",
    responses(
        (
            status = 200,
            description = "The catalogue.",
            body = CatalogDocument,
            content_type = "application/json",
            headers(("ETag" = String, description = "The digest in quotes: SHA-256 of the body, as unpadded base64url.")),
        ),
        (status = 304, description = "The catalogue is still the one that `If-None-Match` names."),
        Refusals,
    ),
)]
pub(super) async fn catalog(State(app): State<Arc<App>>, request: Request) -> Response {
    let tag = format!("\"{}\"", app.catalog.digest());
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let same = known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag || one.trim() == "*"));
    let body = if same { Body::empty() } else { Body::from(app.catalog.canonical_json().to_owned()) };
    let mut response = answer("application/json", body);
    if same {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    // A digest in quotes is always a header value.
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The keys that receipts are verified with
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "keys",
    responses(
        (
            status = 200,
            description = "A JSON Web Key Set (RFC 7517).",
            body = JwkSet,
            content_type = "application/jwk-set+json",
        ),
        Refusals,
    ),
)]
pub(super) async fn keys(State(app): State<Arc<App>>) -> Response {
    answer("application/jwk-set+json", serde_json::json!(app.keys.get().key_set()).to_string())
}

/// Whether the server and its books answer
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "health",
    responses((status = 200, description = "They do.", body = String, content_type = "text/plain"), Refusals),
)]
pub(super) async fn health(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    if app.is_stopping() {
        return Err(Refusal::unavailable());
    }
    let id = app.root().id();
    let read = app.pipeline.operate(move |ledger, _| ledger.device(id).map(|_| ())).await?;
    read.map_err(|error| {
        tracing::error!("the books do not answer: `{error}`");
        Refusal::unavailable()
    })?;
    Ok(answer("text/plain; charset=utf-8", "ok\n"))
}

/// Counts since the start, for Prometheus
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    responses(
        (
            status = 200,
            description = "The OpenMetrics text format.",
            body = String,
            content_type = "application/openmetrics-text",
        ),
        Refusals,
    ),
)]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    let read = {
        let app = Arc::clone(&app);
        tokio::task::spawn_blocking(move || app.totals.read()).await
    };
    let totals = match read {
        Ok(Ok(totals)) => totals,
        // The other counts are wanted most when the books cannot be read.
        Ok(Err(error)) => {
            tracing::error!("the books could not be added up: `{error}`");
            Vec::new()
        }
        Err(_) => return Err(Refusal::internal()),
    };
    let reading = Reading {
        queued: app.pipeline.queued(),
        queue_limit: app.limits.queue,
        memory: app.memory.held(),
        memory_limit: app.limits.memory,
        connections_limit: app.limits.connections,
        waiting: app.watch.waiting(),
        totals,
    };
    let text = app.metrics.text(&reading).map_err(|_| Refusal::internal())?;
    Ok(answer("application/openmetrics-text; version=1.0.0; charset=utf-8", text))
}
