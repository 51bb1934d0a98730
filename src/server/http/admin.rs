//! `/v1/admin/…`: who may use it, with a bearer token, and what is told of a refusal.

use std::fmt;

use axum::extract::Request;
use axum::http::header;
use subtle::ConstantTimeEq as _;

use super::App;
use crate::protocol::Sha256;
use crate::protocol::problem::ProblemType;
use crate::server::error::OperationError;
use crate::server::ledger::{LedgerError, Refused};
use crate::server::problem::Refusal;

pub(super) fn authorize(app: &App, request: &Request) -> Result<(), Refusal> {
    let Some(token) = &app.admin_token else {
        let detail = "this server was started without an administrator's token; pass --admin-token to have these paths";
        return Err(Refusal::new(ProblemType::NotFound, detail));
    };
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match given.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(given) if token.is(given) => Ok(()),
        _ => {
            let detail = "send `Authorization: Bearer …` with the token that the server was started with";
            Err(Refusal::new(ProblemType::Unauthorized, detail))
        }
    }
}

/// The token that opens these paths, kept as its digest.
pub(crate) struct AdminToken(Sha256);

impl AdminToken {
    /// No token if the text is empty, as an unset variable of the environment often is.
    pub(crate) fn new(token: &str) -> Option<Self> {
        (!token.is_empty()).then(|| Self(Sha256::of(token)))
    }

    /// Digests are of one length, so the time that this takes says nothing about the token, not even how long it is.
    fn is(&self, given: &str) -> bool {
        Sha256::of(given).0.ct_eq(&self.0.0).into()
    }
}

/// A log is no place for it.
impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken")
    }
}

impl From<OperationError> for Refusal {
    fn from(error: OperationError) -> Self {
        let kind = match &error {
            OperationError::Refused(refused) => match refused {
                Refused::UnknownAccount(_)
                | Refused::UnknownOrder(_)
                | Refused::UnknownCredit(_)
                | Refused::UnknownHold(_)
                | Refused::UnknownDevice(_) => ProblemType::NotFound,
                Refused::NotPositive(_) | Refused::FeeOutOfRange(_) => ProblemType::MalformedBody,
                _ => ProblemType::Conflict,
            },
            OperationError::IdUsed(_) => ProblemType::Conflict,
            OperationError::UnknownAccount(_) => ProblemType::NotFound,
            OperationError::Unavailable
            | OperationError::Ledger(LedgerError::Unavailable(_))
            | OperationError::Undecided { source: LedgerError::Unavailable(_), .. } => return Self::unavailable(),
            OperationError::Undecided { .. } | OperationError::Ledger(_) | OperationError::Server(_) => {
                ProblemType::Internal
            }
        };
        if kind == ProblemType::Internal {
            tracing::error!("an operation failed: `{error}`");
            return Self::internal();
        }
        Self::new(kind, error.to_string())
    }
}
