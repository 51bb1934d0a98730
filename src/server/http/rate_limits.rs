//! What each device and each address may do, and the refusal of what is more.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::caller::Caller;
use crate::protocol::KeyId;
use crate::server::Limits;
use crate::server::metrics::{Metrics, Refused};
use crate::server::problem::Refusal;
use crate::server::rates::Rates;

/// How many requests one counts for in addition that no honest client sends: it is as dear to verify as a good one.
const NEVER_HONEST: usize = 9;

/// All rates, counted.
#[derive(Debug)]
pub(crate) struct RateLimits {
    orders_per_device: Rates<KeyId>,
    orders_per_address: Rates<IpAddr>,
    requests_per_address: Rates<IpAddr>,
    enrolments_per_address: Rates<IpAddr>,
    /// Requests of devices that are not enrolled: those who will enrol send one each.
    strangers_per_address: Rates<IpAddr>,
    questions_per_device: Rates<KeyId>,
    questions_per_address: Rates<IpAddr>,
    codes_made_per_device: Rates<KeyId>,
    codes_tried_per_device: Rates<KeyId>,
    codes_tried_per_address: Rates<IpAddr>,
    /// Of everybody together.
    codes_tried: Rates<()>,
    metrics: Arc<Metrics>,
}

impl RateLimits {
    pub(crate) fn new(limits: &Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            orders_per_device: Rates::new(limits.orders_per_device),
            orders_per_address: Rates::new(limits.orders_per_address),
            requests_per_address: Rates::new(limits.requests_per_address),
            enrolments_per_address: Rates::new(limits.enrolments_per_address),
            strangers_per_address: Rates::new(limits.enrolments_per_address),
            questions_per_device: Rates::new(limits.questions_per_device),
            questions_per_address: Rates::new(limits.questions_per_address),
            codes_made_per_device: Rates::new(limits.codes_made_per_device),
            codes_tried_per_device: Rates::new(limits.codes_tried_per_device),
            codes_tried_per_address: Rates::new(limits.codes_tried_per_address),
            codes_tried: Rates::new(limits.codes_tried),
            metrics,
        }
    }

    /// Counts a request.
    pub(super) fn request(&self, caller: Caller) -> Result<(), Refusal> {
        let counted = self.count(&self.requests_per_address, caller, 1);
        self.refuse(counted, Refused::RequestsPerAddress, "requests from this address")
    }

    /// Counts a request that was not worth answering as ten, though it is too late to refuse it.
    pub(super) fn never_honest(&self, caller: Caller) {
        // Where there is not even room for this, the next request is refused anyway.
        let _ = self.count(&self.requests_per_address, caller, NEVER_HONEST);
    }

    /// Counts a request of a device that is not enrolled: where there are more of them than may enrol, as ten.
    pub(super) fn stranger(&self, caller: Caller) {
        if self.count(&self.strangers_per_address, caller, 1).is_err() {
            self.never_honest(caller);
        }
    }

    /// Counts more of a request that is large, as `more` requests.
    pub(super) fn more(&self, caller: Caller, more: usize) -> Result<(), Refusal> {
        let counted = self.count(&self.requests_per_address, caller, more);
        self.refuse(counted, Refused::RequestsPerAddress, "large requests from this address")
    }

    /// Counts a new device.
    pub(super) fn enrolment(&self, caller: Caller) -> Result<(), Refusal> {
        let counted = self.count(&self.enrolments_per_address, caller, 1);
        self.refuse(counted, Refused::EnrolmentsPerAddress, "new devices at this address")
    }

    /// Counts the orders of a device.
    pub(super) fn orders(&self, device: KeyId, caller: Caller, orders: usize) -> Result<(), Refusal> {
        let counted = self.orders_per_device.count(&device, orders);
        self.refuse(counted, Refused::OrdersPerDevice, "orders of this device")?;
        let counted = self.count(&self.orders_per_address, caller, orders);
        self.refuse(counted, Refused::OrdersPerAddress, "orders from this address")
    }

    /// Counts what a device asks about its account: each is a transaction of its own.
    pub(super) fn question(&self, device: KeyId, caller: Caller) -> Result<(), Refusal> {
        let counted = self.questions_per_device.count(&device, 1);
        self.refuse(counted, Refused::QuestionsPerDevice, "questions of this device")?;
        let counted = self.count(&self.questions_per_address, caller, 1);
        self.refuse(counted, Refused::QuestionsPerAddress, "questions from this address")
    }

    /// Counts a link code that a device wants.
    pub(super) fn makes_code(&self, device: KeyId) -> Result<(), Refusal> {
        let counted = self.codes_made_per_device.count(&device, 1);
        self.refuse(counted, Refused::CodesMadePerDevice, "link codes for this device")
    }

    /// Counts a link code that a device tries, right or wrong, so that nobody guesses one.
    pub(super) fn tries_code(&self, device: KeyId, caller: Caller) -> Result<(), Refusal> {
        let counted = self.codes_tried_per_device.count(&device, 1);
        self.refuse(counted, Refused::CodesTriedPerDevice, "link codes from this device")?;
        let counted = self.count(&self.codes_tried_per_address, caller, 1);
        self.refuse(counted, Refused::CodesTriedPerAddress, "link codes from this address")?;
        let counted = self.codes_tried.count(&(), 1);
        self.refuse(counted, Refused::CodesTried, "link codes at this server")
    }

    fn count(&self, rates: &Rates<IpAddr>, caller: Caller, many: usize) -> Result<(), Duration> {
        match caller {
            Caller::At(address) => rates.count(&address, many),
            Caller::Unlimited => Ok(()),
        }
    }

    fn refuse(&self, counted: Result<(), Duration>, limit: Refused, what: &str) -> Result<(), Refusal> {
        counted.map_err(|wait| {
            self.metrics.count_refused(limit);
            Refusal::too_many(what, wait)
        })
    }
}
