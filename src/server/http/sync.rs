//! `POST /v1/sync`: orders and a cursor up, receipts and the wallet down, signed both ways.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;

use super::gate::WasHeld;
use super::room::Seat;
use super::schemas::SyncRefusals;
use super::{App, answer, body};
use crate::protocol::Token;
use crate::protocol::problem::ProblemType;
use crate::protocol::sync::SyncRequest;
use crate::server::known_devices::KnownDevice;
use crate::server::memory;
use crate::server::pipeline::Answer;
use crate::server::problem::Refusal;
use crate::server::request::verified;
use crate::server::watcher::Known;

const JOSE: &str = "application/jose";

/// Send orders, receive receipts
///
/// The body is an `iap-sync+jwt` with at most 256 orders and 256 consumptions; the answer is an `iap-sync-response+jwt`
/// with the receipts of the orders sent, then up to 256 of the feed after the cursor. An order that is sent again gets
/// the same receipt, byte for byte. A request without orders and consumptions that says `wait` is answered when there is
/// news, or its time is over.
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
    let seat = request.extensions().get::<Arc<Seat>>().cloned();
    let (body, held) = body::read(&app, request, JOSE).await?;
    // What takes up room is not held for longer than it takes to work on it.
    let may_wait = body.len() <= memory::FREE;
    let text = std::str::from_utf8(&body).map_err(|_| Refusal::malformed("the body is not a compact JWS"))?;
    let token = Token::from_text(text);
    drop(body);
    let id = SyncRequest::claimed_device(&token)?;
    let Some(device) = app.devices.find(id).await? else {
        app.rates.stranger(caller);
        return Err(Refusal::unknown_device(id));
    };
    let token = Arc::new(token);
    let verify = |device: KnownDevice| {
        let token = Arc::clone(&token);
        move |app: &App| {
            // Only when it is known that the device itself asks, and nobody who would use up its rate.
            let admit = |orders| app.rates.orders(id, caller, orders);
            verified(&token, device, &app.catalog.game, &app.verified, admit)
        }
    };
    let first = app.work(verify(device)).await;
    let verified = match first {
        // What is remembered of the device may be over.
        Err(refusal) if refusal.kind == ProblemType::WrongAccount => match app.devices.look_up(id).await? {
            Some(device) => app.work(verify(device)).await,
            None => Err(refusal),
        },
        verified => verified,
    };
    let (known, wait, job) = verified?.into_job(&token, held);
    drop(token);
    let wait = wait.filter(|_| may_wait && job.has_nothing_to_decide() && app.keys.get().list_after(known).is_none());
    let was_held = wait.as_ref().map(|_| WasHeld);
    if let Some(wait) = wait {
        // Nobody works on it meanwhile, so it makes room for whoever needs it.
        seat.iter().for_each(|seat| seat.waits());
        let known = Known { place: job.place.clone(), wallet: wait.wallet };
        app.watch.news(known, Duration::from_secs(wait.seconds)).await;
        seat.iter().for_each(|seat| seat.works());
    }
    let answered = app.pipeline.sync(job).await.inspect_err(|refusal| {
        // The books have lost it since it was looked up, or know something else of it.
        let kinds = [ProblemType::UnknownDevice, ProblemType::WrongAccount, ProblemType::DeviceRevoked];
        if kinds.contains(&refusal.kind) {
            app.devices.forget(&id);
        }
    })?;
    app.keys.notice_newer(known);
    // Whoever does not know the key that signed the answer learns it first.
    let body = match app.keys.get().list_after(known) {
        Some(list) => Body::from(format!("{list}\n{}", answered.token)),
        None => Body::from(Bytes::from_owner(Signed(answered))),
    };
    let mut response = answer(JOSE, body);
    was_held.map(|held| response.extensions_mut().insert(held));
    Ok(response)
}

/// An answer takes up room until its last byte is sent.
struct Signed(Answer);

impl AsRef<[u8]> for Signed {
    fn as_ref(&self) -> &[u8] {
        self.0.token.as_str().as_bytes()
    }
}
