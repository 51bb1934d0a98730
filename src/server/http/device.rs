//! `POST /v1/devices`: a device asks to join, with the proof that it holds its key.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::{App, answer, body};
use crate::protocol::sync::Enrolment;
use crate::server::ledger::Enrolled;
use crate::server::problem::Refusal;

pub(super) async fn enrol(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    let caller = app.caller(&request);
    let enrolment: Enrolment = body::json(&app, request).await?;
    let (key, known) = app
        .work(move |app| {
            let key = enrolment.verify(&app.catalog.game)?.0;
            Ok((key, app.device(key.id())?))
        })
        .await?;
    let enrolled = match known {
        Some(device) => Enrolled { account: device.account, new: false },
        None => {
            app.rates.enrolment(caller)?;
            app.pipeline.enrol(key).await?
        }
    };
    let body = serde_json::json!({ "device": key.id(), "account": enrolled.account });
    let mut response = answer("application/json", Body::from(body.to_string()));
    *response.status_mut() = if enrolled.new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(response)
}
