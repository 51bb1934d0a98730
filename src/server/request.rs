//! From the text of a sync request to a job for the writer: every signature in it is verified.

use rayon::prelude::*;

use super::known_devices::KnownDevice;
use super::ledger::{Place, VerifiedConsumption, VerifiedOrder};
use super::memory::Held;
use super::pipeline::SyncJob;
use super::problem::Refusal;
use super::verified_orders::VerifiedOrders;
use crate::protocol::sync::{SyncRequest, Wait};
use crate::protocol::{GameId, Token};

/// A request, verified.
pub(crate) struct Verified {
    /// The number of the list of keys that the device knows.
    pub(crate) keys: u64,
    /// How long it may wait for news.
    pub(crate) wait: Option<Wait>,
    pub(crate) job: SyncJob,
}

/// Verifies a request of a device, and every order and consumption in it. One that is bad refuses the whole request: a
/// device signs no bad ones. `admit` is asked whether the device may send so many, before they are verified.
///
/// # Errors
/// The request or something in it does not verify, or is not admitted.
pub(crate) fn verified(
    token: Token,
    device: KnownDevice,
    game: &GameId,
    orders: &VerifiedOrders,
    admit: impl FnOnce(usize) -> Result<(), Refusal>,
    held: Held,
) -> Result<Verified, Refusal> {
    let request = SyncRequest::verify(&token, device.key, &device.account, game)?;
    admit(request.orders.len() + request.consumptions.len() + 1)?;
    let verify = |(index, order): (usize, Token)| {
        orders.verify(order, device.key, &device.account, game).map_err(|error| Refusal::of_order(index, &error))
    };
    // Collecting results in parallel gives any of the errors; the first one is the same on every run.
    let orders: Vec<Result<VerifiedOrder, Refusal>> = request.orders.into_par_iter().enumerate().map(verify).collect();
    let verify = |(index, token): (usize, Token)| {
        VerifiedConsumption::verify(token, device.key, &device.account, game)
            .map_err(|error| Refusal::of_consumption(index, error))
    };
    let consumptions: Vec<Result<VerifiedConsumption, Refusal>> =
        request.consumptions.into_par_iter().enumerate().map(verify).collect();
    let job = SyncJob {
        place: Place { device: device.key.id(), account: device.account, cursor: request.cursor },
        request_sha256: token.sha256(),
        orders: orders.into_iter().collect::<Result<_, _>>()?,
        consumptions: consumptions.into_iter().collect::<Result<_, _>>()?,
        undecided: false,
        wish: request.allowance,
        allowances: Vec::new(),
        held,
    };
    Ok(Verified { keys: request.keys, wait: request.wait, job })
}
