//! What is counted, and how Prometheus reads it: the OpenMetrics text format, written by `prometheus-client`.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::ledger::{ConsumptionOutcome, Outcome, Total};
use crate::protocol::{ConsumptionStatus, Status};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TotalLabels {
    account: String,
    currency: String,
}

/// The limit for which a request was told to come back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refused {
    OrdersPerDevice,
    OrdersPerAddress,
    RequestsPerAddress,
    EnrolmentsPerAddress,
    QuestionsPerDevice,
    QuestionsPerAddress,
    CodesMadePerDevice,
    CodesTriedPerDevice,
    CodesTriedPerAddress,
    CodesTried,
    Queue,
    Memory,
}

impl Refused {
    const ALL: [Self; 12] = [
        Self::OrdersPerDevice,
        Self::OrdersPerAddress,
        Self::RequestsPerAddress,
        Self::EnrolmentsPerAddress,
        Self::QuestionsPerDevice,
        Self::QuestionsPerAddress,
        Self::CodesMadePerDevice,
        Self::CodesTriedPerDevice,
        Self::CodesTriedPerAddress,
        Self::CodesTried,
        Self::Queue,
        Self::Memory,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::OrdersPerDevice => "orders_per_device",
            Self::OrdersPerAddress => "orders_per_address",
            Self::RequestsPerAddress => "requests_per_address",
            Self::EnrolmentsPerAddress => "enrolments_per_address",
            Self::QuestionsPerDevice => "questions_per_device",
            Self::QuestionsPerAddress => "questions_per_address",
            Self::CodesMadePerDevice => "codes_made_per_device",
            Self::CodesTriedPerDevice => "codes_tried_per_device",
            Self::CodesTriedPerAddress => "codes_tried_per_address",
            Self::CodesTried => "codes_tried",
            Self::Queue => "queue",
            Self::Memory => "memory",
        }
    }
}

/// The limit for which a connection was closed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Closed {
    NoRoom,
    TooManyOfAddress,
}

impl Closed {
    fn as_str(self) -> &'static str {
        match self {
            Self::NoRoom => "connections",
            Self::TooManyOfAddress => "connections_per_address",
        }
    }
}

/// What is read at the moment of a scrape.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) queued: usize,
    pub(crate) queue_limit: usize,
    pub(crate) memory: usize,
    pub(crate) memory_limit: usize,
    pub(crate) connections_limit: usize,
    pub(crate) waiting: usize,
    pub(crate) totals: Vec<Total>,
}

/// Counts since the server started.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabel, Histogram, fn() -> Histogram>,
    orders: Family<StatusLabel, Counter>,
    syncs: Counter,
    batches: Counter,
    enrolments: Counter,
    allowances: Counter,
    consumptions: Family<StatusLabel, Counter>,
    repeated_consumptions: Counter,
    batch_orders: Histogram,
    settlements: Histogram,
    refused: Family<LimitLabel, Counter>,
    closed: Family<LimitLabel, Counter>,
    pub(crate) connections: Gauge,
    connections_limit: Gauge,
    waiting: Gauge,
    queued: Gauge,
    queue_limit: Gauge,
    memory: Gauge,
    memory_limit: Gauge,
    totals: Family<TotalLabels, Gauge>,
}

/// From half a millisecond to 16 seconds.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("iap"),
            requests: Family::default(),
            durations: Family::new_with_constructor(seconds),
            orders: Family::default(),
            syncs: Counter::default(),
            batches: Counter::default(),
            enrolments: Counter::default(),
            allowances: Counter::default(),
            consumptions: Family::default(),
            repeated_consumptions: Counter::default(),
            batch_orders: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            settlements: seconds(),
            refused: Family::default(),
            closed: Family::default(),
            connections: Gauge::default(),
            connections_limit: Gauge::default(),
            waiting: Gauge::default(),
            queued: Gauge::default(),
            queue_limit: Gauge::default(),
            memory: Gauge::default(),
            memory_limit: Gauge::default(),
            totals: Family::default(),
        };
        metrics.register();
        // A series that is there from the start, at zero, shows its first increase.
        for status in ["granted", "declined", "replayed", "conflict", "failed", "refused"] {
            drop(metrics.orders.get_or_create(&StatusLabel { status }));
        }
        for status in ["consumed", "refused", "replayed", "undecided", "conflict", "not_member", "failed"] {
            drop(metrics.consumptions.get_or_create(&StatusLabel { status }));
        }
        for limit in Refused::ALL {
            drop(metrics.refused.get_or_create(&LimitLabel { limit: limit.as_str() }));
        }
        for limit in [Closed::NoRoom, Closed::TooManyOfAddress] {
            drop(metrics.closed.get_or_create(&LimitLabel { limit: limit.as_str() }));
        }
        metrics
    }
}

impl Metrics {
    /// Names everything. The format's writer puts a full stop after each help text, and `_total` after counters.
    fn register(&mut self) {
        let registry = &mut self.registry;
        let info = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The server's version", info);
        let help = "HTTP requests, by route and by the first digit of the answer's status";
        registry.register("http_requests", help, self.requests.clone());
        let help = "From a request's head to its answer, by route, but for those that waited for news";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, self.durations.clone());
        let help = "Orders that reached the books, by what became of them";
        registry.register("orders", help, self.orders.clone());
        let help = "Sync requests that were verified and reached the books";
        registry.register("syncs", help, self.syncs.clone());
        registry.register("batches", "Batches of sync requests that were settled", self.batches.clone());
        registry.register("enrolments", "Devices that were enrolled", self.enrolments.clone());
        registry.register("allowances", "Allowances that devices were given", self.allowances.clone());
        let help = "Consumptions that reached the books, by what became of them";
        registry.register("consumptions", help, self.consumptions.clone());
        let help = "Consumptions with a number that their device had passed: a save was restored, or a device copied";
        registry.register("repeated_consumptions", help, self.repeated_consumptions.clone());
        registry.register("batch_orders", "Orders in a batch", self.batch_orders.clone());
        let help = "How long the books took to settle a batch, durably";
        registry.register_with_unit("settlement_duration", help, Unit::Seconds, self.settlements.clone());
        let help = "Requests that were told to come back, by the limit that they met";
        registry.register("refused_requests", help, self.refused.clone());
        let help = "Connections that were closed, by the limit that they met";
        registry.register("closed_connections", help, self.closed.clone());
        registry.register("open_connections", "Connections that are open", self.connections.clone());
        let help = "Connections that may be open";
        registry.register("open_connections_limit", help, self.connections_limit.clone());
        registry.register("waiting_requests", "Requests that wait for news", self.waiting.clone());
        let help = "Orders that wait to be settled, where a request counts as one more than its orders";
        registry.register("queued_orders", help, self.queued.clone());
        registry.register("queued_orders_limit", "Orders that may wait to be settled", self.queue_limit.clone());
        let help = "Bodies of requests and answers that are held, beyond the first 16 KiB of each";
        registry.register_with_unit("held_bodies", help, Unit::Bytes, self.memory.clone());
        let help = "What bodies of requests and answers may be held";
        registry.register_with_unit("held_bodies_limit", help, Unit::Bytes, self.memory_limit.clone());
        let help = "What the ledger's accounts of a kind hold together, in millionths of the currency unit";
        registry.register("ledger_micros", help, self.totals.clone());
    }

    pub(crate) fn count_request(&self, route: &str, status: u16, took: Option<Duration>) {
        let status = match status {
            100..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        self.requests.get_or_create(&RequestLabels { route: route.to_owned(), status }).inc();
        if let Some(took) = took {
            self.durations.get_or_create(&RouteLabel { route: route.to_owned() }).observe(took.as_secs_f64());
        }
    }

    pub(crate) fn count_batch(&self, syncs: usize, orders: usize, duration: Duration) {
        self.batches.inc();
        self.syncs.inc_by(syncs as u64);
        if orders > 0 {
            // A batch has a few thousand orders at most.
            self.batch_orders.observe(orders as f64);
            self.settlements.observe(duration.as_secs_f64());
        }
    }

    pub(crate) fn count_enrolments(&self, new: usize) {
        self.enrolments.inc_by(new as u64);
    }

    pub(crate) fn count_allowances(&self, given: usize) {
        self.allowances.inc_by(given as u64);
    }

    pub(crate) fn count_consumption(&self, outcome: ConsumptionOutcome) {
        let status = match outcome {
            ConsumptionOutcome::Settled { status: ConsumptionStatus::Consumed, .. } => "consumed",
            ConsumptionOutcome::Settled { .. } => "refused",
            ConsumptionOutcome::Replayed => "replayed",
            ConsumptionOutcome::Undecided => "undecided",
            ConsumptionOutcome::Conflict => "conflict",
            ConsumptionOutcome::NotMember => "not_member",
            ConsumptionOutcome::Failed => "failed",
        };
        self.consumptions.get_or_create(&StatusLabel { status }).inc();
        if let ConsumptionOutcome::Settled { repeated: true, .. } = outcome {
            self.repeated_consumptions.inc();
        }
    }

    pub(crate) fn count_outcome(&self, outcome: &Outcome) {
        let status = match outcome {
            Outcome::Settled { status: Status::Granted, .. } => "granted",
            Outcome::Settled { .. } => "declined",
            Outcome::Replayed(_) => "replayed",
            Outcome::Conflict => "conflict",
            Outcome::Failed => "failed",
            Outcome::WrongAccount | Outcome::DeviceRevoked => "refused",
        };
        self.orders.get_or_create(&StatusLabel { status }).inc();
    }

    pub(crate) fn count_refused(&self, limit: Refused) {
        self.refused.get_or_create(&LimitLabel { limit: limit.as_str() }).inc();
    }

    pub(crate) fn count_closed(&self, limit: Closed) {
        self.closed.get_or_create(&LimitLabel { limit: limit.as_str() }).inc();
    }

    /// The counts in the text format.
    ///
    /// # Errors
    /// The format's writer failed.
    pub(crate) fn text(&self, reading: &Reading) -> Result<String, fmt::Error> {
        let set = |gauge: &Gauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.queued, reading.queued);
        set(&self.queue_limit, reading.queue_limit);
        set(&self.memory, reading.memory);
        set(&self.memory_limit, reading.memory_limit);
        set(&self.connections_limit, reading.connections_limit);
        set(&self.waiting, reading.waiting);
        for Total { account, currency, micros } in &reading.totals {
            let labels = TotalLabels { account: account.clone(), currency: currency.clone() };
            self.totals.get_or_create(&labels).set(*micros);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
