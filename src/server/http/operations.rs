//! `/v1/admin/…`: what the operator's own back end does to the books.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;

use super::admin::authorize;
use super::{App, answer, body};
use crate::protocol::{AccountId, CreatorId, Micros, Money, OrderId, SourceId, UnixSeconds};
use crate::server::ledger::operation::{Hold, Payout, Post, RefundCredit, RefundOrder, Void};
use crate::server::ledger::{Action, Answer, Credit, Operation, OperationId, Origin};
use crate::server::operator::random_operation_id;
use crate::server::problem::Refusal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreditBody {
    id: OperationId,
    account: AccountId,
    money: Money,
    origin: Option<Origin>,
    source: Option<SourceId>,
    refundable_until: Option<UnixSeconds>,
    fee: Option<Micros>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RefundBody {
    id: Option<OperationId>,
    order: OrderId,
    quantity: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RefundCreditBody {
    id: OperationId,
    credit: OperationId,
    amount: Option<Micros>,
    #[serde(default)]
    only_unspent: bool,
    #[serde(default)]
    forced: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldBody {
    id: OperationId,
    account: AccountId,
    money: Money,
    expires_at: UnixSeconds,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PostBody {
    id: OperationId,
    hold: OperationId,
    amount: Option<Micros>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VoidBody {
    id: OperationId,
    hold: OperationId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PayoutBody {
    id: OperationId,
    creator: CreatorId,
    money: Money,
    source: SourceId,
}

async fn operate(app: &App, id: OperationId, action: impl Into<Action>) -> Result<Response, Refusal> {
    let body = match app.books.operate(Operation::new(id, action)).await? {
        // What these paths have always answered.
        Answer::Wallet { balance, .. } => serde_json::json!(balance),
        Answer::Order { receipt, .. } => serde_json::json!(receipt),
        Answer::Creator { payable, .. } => serde_json::json!({ "payable": payable }),
    };
    Ok(answer("application/json", body.to_string()))
}

pub(super) async fn credit(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let CreditBody { id, account, money, origin, source, refundable_until, fee } = body::json(&app, request).await?;
    let usual = Credit::paid(account, money).map_err(|error| Refusal::malformed(error.to_string()))?;
    let (origin, source) = (origin.unwrap_or(usual.origin), source.unwrap_or_else(|| usual.source.clone()));
    operate(&app, id, Credit { origin, source, refundable_until, fee, ..usual }).await
}

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

pub(super) async fn refund_credit(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let RefundCreditBody { id, credit, amount, only_unspent, forced } = body::json(&app, request).await?;
    operate(&app, id, RefundCredit { credit, amount, only_unspent, forced }).await
}

pub(super) async fn hold(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let HoldBody { id, account, money, expires_at } = body::json(&app, request).await?;
    operate(&app, id, Hold { account, money, expires_at }).await
}

pub(super) async fn post(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let PostBody { id, hold, amount } = body::json(&app, request).await?;
    operate(&app, id, Post { hold, amount }).await
}

pub(super) async fn void(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let VoidBody { id, hold } = body::json(&app, request).await?;
    operate(&app, id, Void { hold }).await
}

pub(super) async fn payout(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let PayoutBody { id, creator, money, source } = body::json(&app, request).await?;
    operate(&app, id, Payout { creator, money, source }).await
}
