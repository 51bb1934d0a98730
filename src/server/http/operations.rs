//! `/v1/admin/…`: what the operator's own back end does to the books.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::admin::authorize;
use super::schemas::AdminRefusals;
use super::{App, answer, body};
use crate::protocol::sync::Balance;
use crate::protocol::{AccountId, CreatorId, Micros, Money, OrderId, Receipt, SourceId, UnixSeconds};
use crate::server::ledger::operation::{Hold, Payout, Post, RefundCredit, RefundOrder, Void};
use crate::server::ledger::{Action, Answer, Credit, LedgerMoney, Operation, OperationId, Origin};
use crate::server::operator::random_operation_id;
use crate::server::problem::Refusal;

/// Who gets how much, and where it comes from.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Credit)]
pub(super) struct CreditBody {
    /// The operation's id: sent again with it, a credit is made once.
    id: OperationId,
    account: AccountId,
    money: Money,
    /// `paid`, unless it is said.
    origin: Option<Origin>,
    /// Where the money comes from; the operator, unless it is said.
    source: Option<SourceId>,
    /// Until when it can be given back, in seconds since 1970; without end, unless it is said.
    refundable_until: Option<UnixSeconds>,
    /// What the source kept of it, in micros.
    fee: Option<Micros>,
}

/// What is refunded.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Refund)]
pub(super) struct RefundBody {
    /// The operation's id; needed for a part of an order, which is then refunded once.
    id: Option<OperationId>,
    /// The order's id.
    order: OrderId,
    /// How many of what was ordered; all that are left, unless it is said.
    quantity: Option<u32>,
}

/// Which credit is given back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RefundCredit)]
pub(super) struct RefundCreditBody {
    /// The operation's id.
    id: OperationId,
    /// The id of the operation that made the credit.
    credit: OperationId,
    /// How much of it, in micros; all that is left, unless it is said.
    amount: Option<Micros>,
    /// Whether to refuse it where it is spent. Otherwise the wallet owes it.
    #[serde(default)]
    only_unspent: bool,
    /// Whether to give it back after its time, as a charge-back does.
    #[serde(default)]
    forced: bool,
}

/// How much of whose wallet is set aside, and until when.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Hold)]
pub(super) struct HoldBody {
    /// The operation's id, by which the hold is posted or voided.
    id: OperationId,
    account: AccountId,
    money: Money,
    /// When it is given free by itself, in seconds since 1970.
    expires_at: UnixSeconds,
}

/// Which hold is taken.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Post)]
pub(super) struct PostBody {
    /// The operation's id.
    id: OperationId,
    /// The hold's id.
    hold: OperationId,
    /// How much of it, in micros; all of it, unless it is said. The rest is given free.
    amount: Option<Micros>,
}

/// Which hold is given free.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Void)]
pub(super) struct VoidBody {
    /// The operation's id.
    id: OperationId,
    /// The hold's id.
    hold: OperationId,
}

/// Which creator was paid, and from where.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Payout)]
pub(super) struct PayoutBody {
    /// The operation's id.
    id: OperationId,
    creator: CreatorId,
    money: Money,
    /// Where the money went out.
    source: SourceId,
}

/// What is payable to a creator.
#[derive(Serialize, ToSchema)]
struct Payable {
    payable: LedgerMoney,
}

pub(super) async fn operate(app: &App, id: OperationId, action: impl Into<Action>) -> Result<Response, Refusal> {
    let body = match app.books.operate(Operation::new(id, action)).await? {
        // What these paths have always answered.
        Answer::Wallet { balance, .. } => serde_json::json!(balance),
        Answer::Order { receipt, .. } => serde_json::json!(receipt),
        Answer::Creator { payable, .. } => serde_json::json!(Payable { payable }),
        Answer::Device { device, account, frozen } => {
            serde_json::json!({ "device": device, "account": account, "frozen": frozen })
        }
        Answer::Revoked { device, account } => serde_json::json!({ "device": device, "account": account }),
        Answer::Named { device, account, name } => {
            serde_json::json!({ "device": device, "account": account, "name": name })
        }
    };
    Ok(answer("application/json", body.to_string()))
}

/// Add money to an account's wallet
///
/// It is made once for each id.
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
    let CreditBody { id, account, money, origin, source, refundable_until, fee } = body::json(&app, request).await?;
    let usual = Credit::paid(account, money).map_err(|error| Refusal::malformed(error.to_string()))?;
    let (origin, source) = (origin.unwrap_or(usual.origin), source.unwrap_or_else(|| usual.source.clone()));
    operate(&app, id, Credit { origin, source, refundable_until, fee, ..usual }).await
}

/// Give back what an order cost, or a part of it
///
/// A receipt that says so goes into the account's feed, and takes back what the order gave.
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
    let RefundBody { id, order, quantity } = body::json(&app, request).await?;
    let id = match (id, quantity) {
        (Some(id), _) => id,
        // Everything that is left is refunded once, whatever the id.
        (None, None) => random_operation_id().map_err(|_| Refusal::internal())?,
        (None, Some(_)) => {
            return Err(Refusal::malformed("a refund of a part needs an `id`, so that it is made once; choose one"));
        }
    };
    operate(&app, id, RefundOrder { order, quantity }).await
}

/// Give a credit back to where it came from
///
/// What is spent of it, the wallet owes: its balance is then below zero.
#[utoipa::path(
    post,
    path = "/v1/admin/refund-credit",
    operation_id = "refundCredit",
    security(("administrator" = [])),
    request_body(content = RefundCreditBody, content_type = "application/json"),
    responses((status = 200, description = "The balance after it.", body = Balance), AdminRefusals),
)]
pub(super) async fn refund_credit(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let RefundCreditBody { id, credit, amount, only_unspent, forced } = body::json(&app, request).await?;
    operate(&app, id, RefundCredit { credit, amount, only_unspent, forced }).await
}

/// Set money of a wallet aside
///
/// It can be posted or voided, once, until it expires.
#[utoipa::path(
    post,
    path = "/v1/admin/hold",
    operation_id = "hold",
    security(("administrator" = [])),
    request_body(content = HoldBody, content_type = "application/json"),
    responses((status = 200, description = "The balance after it.", body = Balance), AdminRefusals),
)]
pub(super) async fn hold(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let HoldBody { id, account, money, expires_at } = body::json(&app, request).await?;
    operate(&app, id, Hold { account, money, expires_at }).await
}

/// Take what a hold has set aside
///
/// It goes to the game.
#[utoipa::path(
    post,
    path = "/v1/admin/post",
    operation_id = "post",
    security(("administrator" = [])),
    request_body(content = PostBody, content_type = "application/json"),
    responses((status = 200, description = "The balance after it.", body = Balance), AdminRefusals),
)]
pub(super) async fn post(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let PostBody { id, hold, amount } = body::json(&app, request).await?;
    operate(&app, id, Post { hold, amount }).await
}

/// Give free what a hold has set aside
///
/// Nothing is taken.
#[utoipa::path(
    post,
    path = "/v1/admin/void",
    operation_id = "void",
    security(("administrator" = [])),
    request_body(content = VoidBody, content_type = "application/json"),
    responses((status = 200, description = "The balance after it.", body = Balance), AdminRefusals),
)]
pub(super) async fn void(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let VoidBody { id, hold } = body::json(&app, request).await?;
    operate(&app, id, Void { hold }).await
}

/// Tell that a creator was paid
///
/// It cannot be more than what is payable.
#[utoipa::path(
    post,
    path = "/v1/admin/payout",
    operation_id = "payout",
    security(("administrator" = [])),
    request_body(content = PayoutBody, content_type = "application/json"),
    responses((status = 200, description = "What is payable to the creator after it.", body = Payable), AdminRefusals),
)]
pub(super) async fn payout(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let PayoutBody { id, creator, money, source } = body::json(&app, request).await?;
    operate(&app, id, Payout { creator, money, source }).await
}
