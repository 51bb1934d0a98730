//! `POST /v1/devices`: a device asks to join, with the proof that it holds its key.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::schemas::EnrolmentRefusals;
use super::{App, answer, body};
use crate::protocol::sync::Enrolment;
use crate::protocol::{AccountId, KeyId};
use crate::server::ledger::Enrolled;
use crate::server::problem::Refusal;

/// A device, enrolled.
#[derive(Serialize, ToSchema)]
#[schema(as = Enrolled)]
struct EnrolledBody {
    /// The thumbprint of its key.
    device: KeyId,
    /// The account that it belongs to.
    account: AccountId,
}

/// Enrol a device as a guest
///
/// Sent again, it changes nothing and answers 200.
#[utoipa::path(
    post,
    path = "/v1/devices",
    operation_id = "enrolDevice",
    request_body(
        content = Enrolment,
        content_type = "application/json",
        description = "The device's key, and its own word that it wants to join. A good one is in docs/protocol.md.",
    ),
    responses(
        (status = 200, description = "The device was enrolled before.", body = EnrolledBody),
        (status = 201, description = "The device is enrolled now.", body = EnrolledBody),
        EnrolmentRefusals,
    ),
)]
pub(super) async fn enrol(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    let caller = app.caller(&request);
    let enrolment: Enrolment = body::json(&app, request).await?;
    let key = app.work(move |app| Ok(enrolment.verify(&app.catalog.game)?.0)).await?;
    // Not from memory: that the books have lost it may be the reason why it asks again.
    let known = app.devices.look_up(key.id()).await?;
    let enrolled = match known {
        Some(device) => Enrolled { account: device.account, new: false },
        None => {
            app.rates.enrolment(caller)?;
            app.pipeline.enrol(key).await?
        }
    };
    let body = serde_json::json!(EnrolledBody { device: key.id(), account: enrolled.account });
    let mut response = answer("application/json", Body::from(body.to_string()));
    *response.status_mut() = if enrolled.new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(response)
}
