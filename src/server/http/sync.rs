//! `POST /v1/sync`: orders and a cursor up, receipts and the wallet down, signed both ways.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use rayon::prelude::*;

use super::caller::Caller;
use super::gate::WasHeld;
use super::room::Seat;
use super::schemas::SyncRefusals;
use super::{App, answer, body};
use crate::protocol::problem::ProblemType;
use crate::protocol::sync::{SyncRequest, Wait};
use crate::protocol::{AllowanceRequest, Token};
use crate::server::known_devices::KnownDevice;
use crate::server::ledger::{LedgerError, Place, VerifiedConsumption, VerifiedOrder};
use crate::server::pipeline::{Answer, SyncJob};
use crate::server::problem::Refusal;
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
    let text = std::str::from_utf8(&body).map_err(|_| Refusal::malformed("the body is not a compact JWS"))?;
    let token = Token::from_text(text);
    let id = SyncRequest::claimed_device(&token)?;
    let Some(device) = app.devices.find(id).await? else {
        app.rates.stranger(caller);
        return Err(Refusal::unknown_device(id));
    };
    let token = Arc::new(token);
    let first = app.work(verify(&token, device, caller)).await;
    let verified = match first {
        // What is remembered of the device may be over.
        Err(refusal) if refusal.kind == ProblemType::WrongAccount => match app.devices.look_up(id).await? {
            Some(device) => app.work(verify(&token, device, caller)).await,
            None => Err(refusal),
        },
        verified => verified,
    };
    let Verified { keys: known, wait, place, orders, consumptions, wish } = verified?;
    let (request_sha256, allowances) = (token.sha256(), Vec::new());
    let job = SyncJob { place, request_sha256, orders, consumptions, undecided: false, wish, allowances, held };
    let wait = wait.filter(|_| job.has_nothing_to_decide() && app.keys.get().list_after(known).is_none());
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

/// A request that was verified with everything in it.
struct Verified {
    /// The number of the list of keys that the device knows.
    keys: u64,
    /// How long it may wait for news.
    wait: Option<Wait>,
    place: Place,
    orders: Vec<VerifiedOrder>,
    consumptions: Vec<VerifiedConsumption>,
    wish: Option<AllowanceRequest>,
}

fn verify(
    token: &Arc<Token>,
    device: KnownDevice,
    caller: Caller,
) -> impl FnOnce(&App) -> Result<Verified, Refusal> + Send + 'static {
    let token = Arc::clone(token);
    move |app| verified(app, &token, device, caller)
}

/// Verifies a request and every order and consumption in it. One that is bad refuses the whole request: a device signs
/// no bad ones.
fn verified(app: &App, token: &Token, device: KnownDevice, caller: Caller) -> Result<Verified, Refusal> {
    let id = device.key.id();
    let game = &app.catalog.game;
    let request = SyncRequest::verify(token, device.key, &device.account, game)?;
    // Only now is it known that the device itself asks, and nobody who would use up its rate.
    app.rates.orders(id, caller, request.orders.len() + request.consumptions.len() + 1)?;
    if device.revoked {
        return Err(Refusal::of_ledger(&LedgerError::DeviceRevoked(id)));
    }
    let verify = |(index, order): (usize, Token)| {
        app.verified.verify(order, device.key, &device.account, game).map_err(|error| Refusal::of_order(index, &error))
    };
    // Collecting results in parallel gives any of the errors; the first one is the same on every run.
    let orders: Vec<Result<VerifiedOrder, Refusal>> = request.orders.into_par_iter().enumerate().map(verify).collect();
    let verify = |(index, token): (usize, Token)| {
        VerifiedConsumption::verify(token, device.key, &device.account, game)
            .map_err(|error| Refusal::of_consumption(index, error))
    };
    let consumptions: Vec<Result<VerifiedConsumption, Refusal>> =
        request.consumptions.into_par_iter().enumerate().map(verify).collect();
    Ok(Verified {
        keys: request.keys,
        wait: request.wait,
        place: Place { device: id, account: device.account, cursor: request.cursor },
        orders: orders.into_iter().collect::<Result<_, _>>()?,
        consumptions: consumptions.into_iter().collect::<Result<_, _>>()?,
        wish: request.allowance,
    })
}
