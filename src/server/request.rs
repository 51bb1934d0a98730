//! From the text of a sync request to a job for the writer: every signature in it is verified.

use rayon::prelude::*;

use super::known_devices::KnownDevice;
use super::ledger::{Place, VerifiedOrder};
use super::memory::Held;
use super::pipeline::SyncJob;
use super::problem::Refusal;
use super::verified_orders::VerifiedOrders;
use crate::protocol::sync::SyncRequest;
use crate::protocol::{GameId, Token};

/// Verifies a request of a device and every order in it. One bad order refuses the whole request: a device signs no bad
/// ones. `admit` is asked whether the device may send so many, before they are verified. Gives the number of the list
/// of keys that the device knows, too.
///
/// # Errors
/// The request or an order in it does not verify, or is not admitted.
pub(crate) fn verified(
    token: Token,
    device: KnownDevice,
    game: &GameId,
    orders: &VerifiedOrders,
    admit: impl FnOnce(usize) -> Result<(), Refusal>,
    held: Held,
) -> Result<(u64, SyncJob), Refusal> {
    let request = SyncRequest::verify(&token, device.key, &device.account, game)?;
    admit(request.orders.len() + 1)?;
    let verify = |(index, order): (usize, Token)| {
        orders.verify(order, device.key, &device.account, game).map_err(|error| Refusal::of_order(index, &error))
    };
    // Collecting results in parallel gives any of the errors; the first one is the same on every run.
    let orders: Vec<Result<VerifiedOrder, Refusal>> = request.orders.into_par_iter().enumerate().map(verify).collect();
    let job = SyncJob {
        place: Place { device: device.key.id(), account: device.account, cursor: request.cursor },
        request_sha256: token.sha256(),
        orders: orders.into_iter().collect::<Result<_, _>>()?,
        wish: request.allowance,
        allowances: Vec::new(),
        held,
    };
    Ok((request.keys, job))
}
