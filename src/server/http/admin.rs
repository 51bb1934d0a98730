//! `/v1/admin/…`: what the operator's own back end does to the books, with a bearer token.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::response::Response;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use super::schemas::AdminRefusals;
use super::{App, answer, body};
use crate::protocol::problem::ProblemType;
use crate::protocol::sync::Balance;
use crate::protocol::{AccountId, Money, OrderId, Receipt, Sha256};
use crate::server::error::OperationError;
use crate::server::ledger::{Credit, CreditError, RefundError, TransferId};
use crate::server::problem::Refusal;

/// Who gets how much.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Credit)]
struct CreditBody {
    /// The transfer's id, 32 hexadecimal digits: sent again with it, a credit is made once.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    id: String,
    account: AccountId,
    money: Money,
}

/// What is refunded.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Refund)]
struct RefundBody {
    /// The order's id.
    order: OrderId,
}

/// Add money to an account's wallet
///
/// Sent again under the same id, it is credited once.
#[utoipa::path(
    post,
    path = "/v1/admin/credit",
    operation_id = "credit",
    security(("administrator" = [])),
    request_body(content = CreditBody, content_type = "application/json"),
    responses((status = 200, description = "The balance after it.", body = Balance), AdminRefusals),
)]
pub(super) async fn credit(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let CreditBody { id, account, money } = body::json(&app, request).await?;
    let id: TransferId = id.parse().map_err(|error| Refusal::malformed(format!("`id`: {error}")))?;
    let balance = app.books.credit_once(Credit { id, account, money }).await?;
    Ok(answer("application/json", serde_json::json!(balance).to_string()))
}

/// Give back what an order cost
///
/// An order is refunded once, in full. A receipt that says so goes into the account's feed.
#[utoipa::path(
    post,
    path = "/v1/admin/refund",
    operation_id = "refund",
    security(("administrator" = [])),
    request_body(content = RefundBody, content_type = "application/json"),
    responses((status = 200, description = "The claims of the new receipt.", body = Receipt), AdminRefusals),
)]
pub(super) async fn refund(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let RefundBody { order } = body::json(&app, request).await?;
    let receipt = app.books.refund(order).await?;
    Ok(answer("application/json", serde_json::json!(receipt).to_string()))
}

fn authorize(app: &App, request: &Request) -> Result<(), Refusal> {
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
            OperationError::Credit(error) => match error {
                CreditError::UnknownAccount(_) => ProblemType::NotFound,
                CreditError::NotPositive(_) => ProblemType::MalformedBody,
                CreditError::TooMuch(_) | CreditError::IdUsed => ProblemType::Conflict,
                CreditError::Ledger(_) => ProblemType::Internal,
            },
            OperationError::Refund(error) => match error {
                RefundError::UnknownOrder(_) => ProblemType::NotFound,
                RefundError::NotGranted(_) | RefundError::AlreadyRefunded(_) | RefundError::TooMuch(_) => {
                    ProblemType::Conflict
                }
                RefundError::Ledger(_) => ProblemType::Internal,
            },
            OperationError::UnknownAccount(_) => ProblemType::NotFound,
            OperationError::Unavailable => return Self::unavailable(),
            OperationError::Ledger(_) | OperationError::Server(_) => ProblemType::Internal,
        };
        if kind == ProblemType::Internal {
            tracing::error!("an operation failed: `{error}`");
            return Self::internal();
        }
        Self::new(kind, error.to_string())
    }
}
