//! Refusals, as `application/problem+json` (RFC 9457).

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::ledger::{Denied, LedgerError, ManageError};
use crate::protocol::KeyId;
use crate::protocol::envelope::EnvelopeError;
use crate::protocol::order::OrderError;
use crate::protocol::problem::{Problem, ProblemType};
use crate::protocol::sync::SyncError;

/// A request that is not done, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: ProblemType,
    pub(crate) detail: String,
    /// The seconds after which the same may be tried again.
    pub(crate) retry_after: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: None }
    }

    /// The server failed. What went wrong is for its log, not for whoever asked.
    pub(crate) fn internal() -> Self {
        Self::new(ProblemType::Internal, "the server failed; send the same again later: nothing is done twice")
    }

    /// The server is busy or stopping.
    pub(crate) fn unavailable() -> Self {
        let detail = "the server is busy or stopping; try again in a second";
        Self { retry_after: Some(1), ..Self::new(ProblemType::Unavailable, detail) }
    }

    /// Somebody does too much of something, and may go on after `wait`.
    pub(crate) fn too_many(what: &str, wait: Duration) -> Self {
        // Whole seconds, and never too early.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let detail = format!("there are too many {what}; send the same again in {seconds} seconds");
        Self { retry_after: Some(seconds), ..Self::new(ProblemType::TooManyRequests, detail) }
    }

    /// A device is not enrolled here, or not any more.
    pub(crate) fn unknown_device(id: KeyId) -> Self {
        let detail = format!("the device {id} is not enrolled here; enrol it with /v1/devices, then send this again");
        Self::new(ProblemType::UnknownDevice, detail)
    }

    /// The books could not be read or written. Where that is because they are away, the same is worth sending again soon.
    pub(crate) fn of_ledger(error: &LedgerError) -> Self {
        match error {
            LedgerError::Unavailable(_) | LedgerError::SigningKey(_) => Self::unavailable(),
            LedgerError::UnknownDevice(id) => Self::unknown_device(*id),
            LedgerError::WrongAccount { .. } => Self::new(ProblemType::WrongAccount, error.to_string()),
            LedgerError::DeviceRevoked(_) => Self::new(ProblemType::DeviceRevoked, error.to_string()),
            _ => Self::internal(),
        }
    }

    /// What a device asks about its account is not done.
    pub(crate) fn of_account(error: &ManageError) -> Self {
        let denied = match error {
            ManageError::Denied(denied) => denied,
            ManageError::Ledger(error) => return Self::of_ledger(error),
        };
        let kind = match denied {
            Denied::Revoked(_) => ProblemType::DeviceRevoked,
            Denied::NotYourDevice(_) => ProblemType::NotYourDevice,
            Denied::TooManyDevices | Denied::TooManyEver => ProblemType::TooManyDevices,
            Denied::TooManyPurchases => ProblemType::TooManyPurchases,
            Denied::WrongLinkCode => ProblemType::WrongLinkCode,
            Denied::WrongAccount { .. } => ProblemType::WrongAccount,
            Denied::AskedBefore | Denied::Frozen(_) | Denied::OtherLogin | Denied::KeyTaken(_) => ProblemType::Conflict,
        };
        Self::new(kind, denied.to_string())
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(ProblemType::MalformedBody, detail)
    }

    /// What it says, as JSON.
    pub(crate) fn body(&self) -> Vec<u8> {
        let problem = Problem {
            kind: self.kind.as_str().to_owned(),
            title: title(self.kind).to_owned(),
            status: self.kind.status(),
            detail: self.detail.clone(),
        };
        // Strings and a number always serialise.
        serde_json::to_vec(&problem).unwrap_or_default()
    }

    /// The order at `index` of a request is not to be settled.
    pub(crate) fn of_order(index: usize, error: &OrderError) -> Self {
        let kind = match error {
            OrderError::WrongAudience { .. } => ProblemType::WrongAudience,
            OrderError::WrongAccount { .. } => ProblemType::WrongAccount,
            OrderError::Envelope(_) | OrderError::WrongDevice { .. } => ProblemType::BadToken,
        };
        Self::new(kind, format!("order {index}: {error}"))
    }

    /// The consumption at `index` of a request is not to be settled.
    pub(crate) fn of_consumption(index: usize, error: SyncError) -> Self {
        let refusal = match error {
            SyncError::Envelope(error) => Self::new(ProblemType::BadToken, error.to_string()),
            error => Self::from(error),
        };
        Self { detail: format!("consumption {index}: {}", refusal.detail), ..refusal }
    }
}

impl From<EnvelopeError> for Refusal {
    fn from(error: EnvelopeError) -> Self {
        let kind = match error {
            EnvelopeError::TooLong { .. } => ProblemType::BodyTooLarge,
            _ => ProblemType::BadToken,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<SyncError> for Refusal {
    fn from(error: SyncError) -> Self {
        let kind = match error {
            SyncError::Envelope(error) => return error.into(),
            SyncError::Key(_) | SyncError::TooManyBalances(_) => ProblemType::MalformedBody,
            SyncError::WrongAudience { .. } => ProblemType::WrongAudience,
            SyncError::WrongAccount { .. } => ProblemType::WrongAccount,
            SyncError::TooManyOrders(_) => ProblemType::TooManyOrders,
            SyncError::TooManyConsumptions(_) => ProblemType::TooManyConsumptions,
            SyncError::WrongIssuer { .. } | SyncError::AnswersAnotherRequest | SyncError::Trust(_) => {
                ProblemType::BadToken
            }
        };
        Self::new(kind, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        // Whoever asked has caused it, so it is not worth more than `debug`: nobody can flood the log from outside.
        tracing::debug!("refused with `{}`: {}", self.kind, self.detail);
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = StatusCode::from_u16(self.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == ProblemType::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn title(kind: ProblemType) -> &'static str {
    match kind {
        ProblemType::MalformedBody => "The body is not what this path takes",
        ProblemType::BadToken => "A token does not verify",
        ProblemType::Unauthorized => "The administrator's token is missing or wrong",
        ProblemType::NotFound => "There is nothing here",
        ProblemType::UnknownDevice => "The device is not enrolled",
        ProblemType::DeviceRevoked => "The device was revoked",
        ProblemType::NotYourDevice => "The account has no such device",
        ProblemType::TooManyDevices => "The account has as many devices as it may",
        ProblemType::TooManyPurchases => "There is too much to be moved to another account",
        ProblemType::WrongLinkCode => "No such link code is good now",
        ProblemType::BadIdToken => "The ID token does not verify",
        ProblemType::SignInUnavailable => "The server takes no ID tokens",
        ProblemType::MethodNotAllowed => "The path does not take this method",
        ProblemType::RequestTimeout => "The request did not arrive in time",
        ProblemType::Conflict => "It contradicts what was done before",
        ProblemType::BodyTooLarge => "The body is too large",
        ProblemType::UnsupportedMediaType => "The content type is not the one this path takes",
        ProblemType::TooManyOrders => "There are too many orders in one request",
        ProblemType::TooManyConsumptions => "There are too many consumptions in one request",
        ProblemType::ConsumptionConflict => "A consumption's id was used before with another body",
        ProblemType::OrderConflict => "An order's id was used before with another body",
        ProblemType::WrongAudience => "The message is for another game",
        ProblemType::WrongAccount => "The message is for another account",
        ProblemType::TooManyRequests => "There is too much of it",
        ProblemType::Internal => "The server failed",
        ProblemType::Unavailable => "The server is busy or stopping",
    }
}
