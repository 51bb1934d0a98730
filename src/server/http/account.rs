//! `POST /v1/account`: what a player asks about their account, by one of its devices, signed both ways.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;

use super::caller::Caller;
use super::schemas::AccountRefusals;
use super::{App, answer, body};
use crate::protocol::account::{AccountAsk, AccountRequest, AccountResponse};
use crate::protocol::problem::ProblemType;
use crate::protocol::{KeyId, PublicKey, Token};
use crate::server::ledger::{AccountChange, AccountWish};
use crate::server::problem::Refusal;

const JOSE: &str = "application/jose";

/// Join an account, see to its devices
///
/// The body is an `iap-account+jwt` of a device, the answer an `iap-account-response+jwt` with the account that the
/// device belongs to from then on. The same question again changes nothing.
#[utoipa::path(
    post,
    path = "/v1/account",
    operation_id = "account",
    request_body(
        content = Token,
        content_type = "application/jose",
        description = "The signed request, at most 16 KiB. What it holds is in docs/protocol.md.",
    ),
    responses(
        (status = 200, description = "The signed answer.", body = Token, content_type = "application/jose"),
        AccountRefusals,
    ),
)]
pub(super) async fn account(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    let caller = app.caller(&request);
    let (body, _held) = body::read(&app, request, JOSE).await?;
    let text = std::str::from_utf8(&body).map_err(|_| Refusal::malformed("the body is not a compact JWS"))?;
    let token = Token::from_text(text);
    let device = AccountRequest::claimed_device(&token)?;
    let Some(known) = app.devices.find(device).await? else {
        app.rates.stranger(caller);
        return Err(Refusal::unknown_device(device));
    };
    let sha256 = token.sha256();
    let asked = app.work(move |app| verified(app, &token, known.key, caller)).await?;
    let change = change(&app, asked, device).await?;
    let other = match &change {
        AccountChange::RevokeDevice(other) => Some(*other),
        _ => None,
    };
    let done = app.pipeline.manage(AccountWish { device, question: sha256, change }).await;
    // Whatever was known of it may be another now.
    [Some(device), other].iter().flatten().for_each(|device| app.devices.forget(device));
    let done = done?;
    let told = done.membership;
    let response = AccountResponse {
        server: done.key.id(),
        account: told.account,
        game: app.catalog.game.clone(),
        issued_at: done.at,
        request_sha256: sha256,
        device: told.device,
        signed_in: told.signed_in,
        devices: told.devices,
        chain: told.chain,
        link_code: told.link_code,
    };
    let key = done.key;
    let signed = app.work(move |_| key.sign_account(&response).map_err(|error| Refusal::of_ledger(&error))).await?;
    // The request does not say which list of keys the device has, so it gets the one that there is.
    let body = match app.keys.get().list_after(0) {
        Some(list) => Body::from(format!("{list}\n{signed}")),
        None => Body::from(signed.to_string()),
    };
    Ok(answer(JOSE, body))
}

/// Verifies a request, and what it carries as far as this server can by itself.
fn verified(app: &App, token: &Token, key: PublicKey, caller: Caller) -> Result<AccountAsk, Refusal> {
    let request = AccountRequest::verify(token, key, &app.catalog.game)?;
    // Only now is it known that the device itself asks, and nobody who would use up its rate.
    app.rates.question(request.device, caller)?;
    match &request.ask {
        AccountAsk::LinkCode => app.rates.makes_code(request.device)?,
        AccountAsk::JoinByCode { .. } => app.rates.tries_code(request.device, caller)?,
        _ => {}
    }
    Ok(request.ask)
}

/// What is asked of the books.
async fn change(app: &Arc<App>, asked: AccountAsk, device: KeyId) -> Result<AccountChange, Refusal> {
    Ok(match asked {
        AccountAsk::Show => AccountChange::Show,
        AccountAsk::LinkCode => AccountChange::LinkCode,
        AccountAsk::JoinByCode { code } => AccountChange::JoinByCode(code),
        AccountAsk::NameDevice { device, name } => AccountChange::NameDevice(device, name),
        AccountAsk::RevokeDevice { device } => AccountChange::RevokeDevice(device),
        AccountAsk::ReplaceKey { enrolment } => {
            let work = move |app: &App| Ok(enrolment.verify_anywhere(&app.catalog.game)?);
            let (key, proof) = app.work(work).await?;
            AccountChange::ReplaceKey { key, account: proof.account }
        }
        AccountAsk::SignIn { id_token } => {
            let unavailable = || {
                let detail = "this server knows no login; ask the operator of the store, or join by a link code";
                Refusal::new(ProblemType::SignInUnavailable, detail)
            };
            let login = app.login.as_ref().ok_or_else(unavailable)?;
            AccountChange::SignIn(login.verify(&id_token, device, app.books.now()).await?)
        }
    })
}
