//! `POST /v1/sync`: orders and a cursor up, receipts and the wallet down, signed both ways.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;

use super::schemas::SyncRefusals;
use super::{App, answer, body};
use crate::protocol::Token;
use crate::protocol::problem::ProblemType;
use crate::protocol::sync::SyncRequest;
use crate::server::pipeline::Answer;
use crate::server::problem::Refusal;
use crate::server::request::verified;

const JOSE: &str = "application/jose";

/// Send orders, receive receipts
///
/// The body is an `iap-sync+jwt` with at most 256 orders; the answer is an `iap-sync-response+jwt` with the receipts of
/// the orders sent, then up to 256 of the feed after the cursor. An order that is sent again gets the same receipt,
/// byte for byte.
#[utoipa::path(
    post,
    path = "/v1/sync",
    operation_id = "sync",
    request_body(
        content = Token,
        content_type = "application/jose",
        description = "The signed request, at most 1 MiB. A good one is in docs/protocol.md.",
    ),
    responses(
        (status = 200, description = "The signed answer.", body = Token, content_type = "application/jose"),
        SyncRefusals,
    ),
)]
pub(super) async fn sync(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    let caller = app.caller(&request);
    let (body, held) = body::read(&app, request, JOSE).await?;
    let text = std::str::from_utf8(&body).map_err(|_| Refusal::malformed("the body is not a compact JWS"))?;
    let token = Token::from_text(text);
    let id = SyncRequest::claimed_device(&token)?;
    let Some(device) = app.devices.find(id).await? else {
        app.rates.stranger(caller);
        return Err(Refusal::unknown_device(id));
    };
    let work = move |app: &App| {
        // Only when it is known that the device itself asks, and nobody who would use up its rate.
        let admit = |orders| app.rates.orders(id, caller, orders);
        verified(token, device, &app.catalog.game, &app.verified, admit, held)
    };
    let (known, job) = app.work(work).await?;
    let answered = app.pipeline.sync(job).await.inspect_err(|refusal| {
        // The books have lost it since it was looked up: they are of an older moment than it is.
        if refusal.kind == ProblemType::UnknownDevice {
            app.devices.forget(&id);
        }
    })?;
    app.keys.notice_newer(known);
    // Whoever does not know the key that signed the answer learns it first.
    let body = match app.keys.get().list_after(known) {
        Some(list) => Body::from(format!("{list}\n{}", answered.token)),
        None => Body::from(Bytes::from_owner(Signed(answered))),
    };
    Ok(answer(JOSE, body))
}

/// An answer takes up room until its last byte is sent.
struct Signed(Answer);

impl AsRef<[u8]> for Signed {
    fn as_ref(&self) -> &[u8] {
        self.0.token.as_str().as_bytes()
    }
}
