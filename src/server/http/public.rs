//! What anybody may read: the catalogue, the keys, health, counts and the description of all this.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::{App, answer};
use crate::protocol::{Jwk, JwkSet};
use crate::server::metrics::Reading;
use crate::server::problem::Refusal;

/// The OpenAPI description of every route.
pub(super) const OPENAPI: &str = include_str!("../openapi.json");

/// `GET /v1/catalog`: canonical JSON, whose digest is its version and its `ETag`.
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

/// `GET /.well-known/jwks.json`: the keys that receipts are verified with.
pub(super) async fn keys(State(app): State<Arc<App>>) -> Response {
    let keys = JwkSet { keys: vec![Jwk::from(app.key)] };
    answer("application/jwk-set+json", serde_json::json!(keys).to_string())
}

/// `GET /healthz`: whether the writer and the books behind it answer.
pub(super) async fn health(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    if app.is_stopping() {
        return Err(Refusal::unavailable());
    }
    let id = app.key.id();
    let read = app.pipeline.operate(move |ledger, _| ledger.device(id).map(|_| ())).await?;
    read.map_err(|error| {
        tracing::error!("the books do not answer: `{error}`");
        Refusal::unavailable()
    })?;
    Ok(answer("text/plain; charset=utf-8", "ok\n"))
}

/// `GET /metrics`: what was counted since the start.
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
        totals,
    };
    let text = app.metrics.text(&reading).map_err(|_| Refusal::internal())?;
    Ok(answer("application/openmetrics-text; version=1.0.0; charset=utf-8", text))
}

/// `GET /openapi.json`: the description of every route.
pub(super) async fn description() -> Response {
    answer("application/json", OPENAPI)
}
