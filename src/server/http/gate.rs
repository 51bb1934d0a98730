//! What every request passes on its way in and out: the limit of its address, and the counting.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::App;

/// What requests for paths that do not exist are counted as: their own paths would be series without end.
const NO_ROUTE: &str = "none";

/// Put into the answer of a request that was held until there was news: how long it took says nothing about the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct WasHeld;

/// Counts a request and its answer.
pub(super) async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let took = response.extensions().get::<WasHeld>().is_none().then(|| started.elapsed());
    app.metrics.count_request(route, response.status().as_u16(), took);
    response
}

/// Refuses a request whose address has sent too many.
pub(super) async fn limit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let caller = app.caller(&request);
    if let Err(refusal) = app.rates.request(caller) {
        return refusal.into_response();
    }
    let response = next.run(request).await;
    if is_never_honest(response.status()) {
        app.rates.never_honest(caller);
    }
    response
}

/// Whether the client that this library has never gets such an answer.
fn is_never_honest(status: StatusCode) -> bool {
    [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNPROCESSABLE_ENTITY]
        .contains(&status)
}
