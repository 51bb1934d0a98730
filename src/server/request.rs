//! From the text of a sync request to a job for the writer: every signature in it is verified.

use rayon::prelude::*;

use super::known_devices::KnownDevice;
use super::ledger::{LedgerError, Place, VerifiedConsumption, VerifiedOrder};
use super::memory::Held;
use super::pipeline::SyncJob;
use super::problem::Refusal;
use super::verified_orders::VerifiedOrders;
use crate::protocol::sync::{SyncRequest, Wait};
use crate::protocol::{AllowanceRequest, GameId, Token};

/// A request that was verified with everything in it.
pub(crate) struct Verified {
    /// The number of the list of keys that the device knows.
    keys: u64,
    /// How long it may wait for news.
    wait: Option<Wait>,
    place: Place,
    orders: Vec<VerifiedOrder>,
    consumptions: Vec<VerifiedConsumption>,
    wish: Option<AllowanceRequest>,
}

impl Verified {
    /// The number of the list of keys that the device knows, how long it may wait for news, and the job for the writer.
    pub(crate) fn into_job(self, token: &Token, held: Held) -> (u64, Option<Wait>, SyncJob) {
        let Self { keys, wait, place, orders, consumptions, wish } = self;
        let (request_sha256, allowances) = (token.sha256(), Vec::new());
        let job = SyncJob { place, request_sha256, orders, consumptions, undecided: false, wish, allowances, held };
        (keys, wait, job)
    }
}

/// Verifies a request of a device, and every order and consumption in it. One that is bad refuses the whole request: a
/// device signs no bad ones. `admit` is asked whether the device may send so many, before they are verified.
///
/// # Errors
/// The device was revoked, or the request or something in it does not verify, or is not admitted.
pub(crate) fn verified(
    token: &Token,
    device: KnownDevice,
    game: &GameId,
    orders: &VerifiedOrders,
    admit: impl FnOnce(usize) -> Result<(), Refusal>,
) -> Result<Verified, Refusal> {
    let id = device.key.id();
    let request = SyncRequest::verify(token, device.key, &device.account, game)?;
    admit(request.orders.len() + request.consumptions.len() + 1)?;
    if device.revoked {
        return Err(Refusal::of_ledger(&LedgerError::DeviceRevoked(id)));
    }
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
    Ok(Verified {
        keys: request.keys,
        wait: request.wait,
        place: Place { device: id, account: device.account, cursor: request.cursor },
        orders: orders.into_iter().collect::<Result<_, _>>()?,
        consumptions: consumptions.into_iter().collect::<Result<_, _>>()?,
        wish: request.allowance,
    })
}
