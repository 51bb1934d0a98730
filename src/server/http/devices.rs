//! `/v1/admin/…-device`: what the operator's own back end does about devices.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::admin::authorize;
use super::operations::operate;
use super::schemas::AdminRefusals;
use super::{App, body};
use crate::protocol::{AccountId, DeviceName, KeyId};
use crate::server::ledger::OperationId;
use crate::server::ledger::operation::{FreezeDevice, NameDevice, RevokeDevice, ThawDevice};
use crate::server::problem::Refusal;

/// Which device.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DeviceOperation)]
pub(super) struct DeviceBody {
    /// The operation's id.
    id: OperationId,
    device: KeyId,
}

/// Which device, and what it is called.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NameDevice)]
pub(super) struct NameBody {
    /// The operation's id.
    id: OperationId,
    device: KeyId,
    /// 1 to 40 characters; without it, the device has no name any more.
    #[schema(value_type = Option<String>)]
    name: Option<DeviceName>,
}

/// A device, and the account that it belongs to.
#[derive(Serialize, ToSchema)]
#[schema(as = OperatedDevice)]
pub(super) struct DeviceAnswer {
    device: KeyId,
    account: AccountId,
    /// Whether nothing is sold to it, after it was frozen or thawed.
    frozen: Option<bool>,
    /// Its name, after it was named.
    name: Option<String>,
}

/// Sell nothing to a device
///
/// What it might have spent offline is given free.
#[utoipa::path(
    post,
    path = "/v1/admin/freeze-device",
    operation_id = "freezeDevice",
    security(("administrator" = [])),
    request_body(content = DeviceBody, content_type = "application/json"),
    responses((status = 200, description = "The device.", body = DeviceAnswer), AdminRefusals),
)]
pub(super) async fn freeze(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let DeviceBody { id, device } = body::json(&app, request).await?;
    operate(&app, id, FreezeDevice { device }).await
}

/// Sell to a device again
///
/// It was frozen, by the operator or because it was copied to spend an allowance twice.
#[utoipa::path(
    post,
    path = "/v1/admin/thaw-device",
    operation_id = "thawDevice",
    security(("administrator" = [])),
    request_body(content = DeviceBody, content_type = "application/json"),
    responses((status = 200, description = "The device.", body = DeviceAnswer), AdminRefusals),
)]
pub(super) async fn thaw(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let DeviceBody { id, device } = body::json(&app, request).await?;
    operate(&app, id, ThawDevice { device }).await
}

/// Have a device buy nothing and hear nothing any more
///
/// For ever. Other devices of its account go on.
#[utoipa::path(
    post,
    path = "/v1/admin/revoke-device",
    operation_id = "revokeDevice",
    security(("administrator" = [])),
    request_body(content = DeviceBody, content_type = "application/json"),
    responses((status = 200, description = "The device.", body = DeviceAnswer), AdminRefusals),
)]
pub(super) async fn revoke(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let DeviceBody { id, device } = body::json(&app, request).await?;
    let done = operate(&app, id, RevokeDevice { device }).await?;
    app.devices.forget(&device);
    Ok(done)
}

/// Call a device by a name
///
/// Its player sees it too.
#[utoipa::path(
    post,
    path = "/v1/admin/name-device",
    operation_id = "nameDevice",
    security(("administrator" = [])),
    request_body(content = NameBody, content_type = "application/json"),
    responses((status = 200, description = "The device.", body = DeviceAnswer), AdminRefusals),
)]
pub(super) async fn name(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    authorize(&app, &request)?;
    let NameBody { id, device, name } = body::json(&app, request).await?;
    operate(&app, id, NameDevice { device, name }).await
}
