//! Reading a request's body: of the right type, not too large, in time.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header;
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use super::App;
use super::room::Seat;
use crate::protocol::envelope::Claims as _;
use crate::protocol::problem::ProblemType;
use crate::protocol::sync::SyncRequest;
use crate::server::memory::Held;
use crate::server::metrics::Refused;
use crate::server::problem::Refusal;

/// The largest body: that of a sync request. A little more may arrive, so that a request that is only just too long is
/// told so by the envelope, with both numbers.
const MAX_LENGTH: usize = SyncRequest::MAX_LENGTH + 4096;

/// How much of a body counts as one more request.
const MUCH: usize = 16 * 1024;

/// The whole body of a request whose `Content-Type` must be `content_type`, and the room in memory that it takes up.
pub(super) async fn read(app: &App, request: Request, content_type: &str) -> Result<(Bytes, Held), Refusal> {
    check_headers(&request, content_type)?;
    let seat = request.extensions().get::<Arc<Seat>>().cloned();
    let Ok(body) = tokio::time::timeout(app.limits.time, collect(app, request)).await else {
        let detail = format!("the body did not arrive within {} seconds", app.limits.time.as_secs());
        return Err(Refusal::new(ProblemType::RequestTimeout, detail));
    };
    if let Some(seat) = seat {
        seat.works();
    }
    body
}

async fn collect(app: &App, request: Request) -> Result<(Bytes, Held), Refusal> {
    let caller = app.caller(&request);
    let mut body = request.into_body();
    let (mut bytes, mut held) = (Vec::new(), app.memory.nothing());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::malformed(format!("the body did not arrive whole: {error}")))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > MAX_LENGTH {
            return Err(too_large());
        }
        if !held.grow(data.len()) {
            app.metrics.count_refused(Refused::Memory);
            return Err(Refusal::unavailable());
        }
        // A large body is as much work as many small ones.
        app.rates.more(caller, (bytes.len() + data.len()) / MUCH - bytes.len() / MUCH)?;
        bytes.extend_from_slice(data);
    }
    Ok((bytes.into(), held))
}

/// What the head already says about the body: nothing of a wrong one is read.
fn check_headers(request: &Request, content_type: &str) -> Result<(), Refusal> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let found = header(header::CONTENT_TYPE).unwrap_or_default();
    let essence = found.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(content_type) {
        let detail = format!("the content type is {found:?}; send {content_type}");
        return Err(Refusal::new(ProblemType::UnsupportedMediaType, detail));
    }
    let length = header(header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_LENGTH as u64) {
        return Err(too_large());
    }
    Ok(())
}

/// The body of a request, from JSON.
pub(super) async fn json<T: DeserializeOwned>(app: &App, request: Request) -> Result<T, Refusal> {
    let (body, _held) = read(app, request, "application/json").await?;
    serde_json::from_slice(&body).map_err(|error| Refusal::malformed(format!("the body is not as described: {error}")))
}

fn too_large() -> Refusal {
    let limit = SyncRequest::MAX_LENGTH;
    Refusal::new(ProblemType::BodyTooLarge, format!("the body may be {limit} bytes long; send fewer orders at once"))
}
