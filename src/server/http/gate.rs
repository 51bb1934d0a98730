//! What every request passes on its way in and out: the limit of its address, and the counting.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::App;

/// What requests for paths that do not exist are counted as: their own paths would be series without end.
const NO_ROUTE: &str = "none";

/// Counts a request and its answer.
pub(super) async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    app.metrics.count_request(route, response.status().as_u16(), started.elapsed());
    response
}

/// Refuses a request whose address has sent too many.
pub(super) async fn limit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.rates.request(app.caller(&request)) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}
