//! What is counted, and how Prometheus reads it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::ledger::Outcome;
use crate::protocol::Status;

/// Counts since the server started.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    granted: AtomicU64,
    declined: AtomicU64,
    replayed: AtomicU64,
    conflicting: AtomicU64,
    failed: AtomicU64,
    syncs: AtomicU64,
    batches: AtomicU64,
    enrolments: AtomicU64,
}

impl Metrics {
    pub(crate) fn count_batch(&self, syncs: usize) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.syncs.fetch_add(syncs as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_enrolments(&self, new: usize) {
        self.enrolments.fetch_add(new as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_outcome(&self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Settled { status: Status::Granted, .. } => &self.granted,
            Outcome::Settled { .. } => &self.declined,
            Outcome::Replayed(_) => &self.replayed,
            Outcome::Conflict => &self.conflicting,
            Outcome::Failed => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts in Prometheus's text format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let outcomes = [
            ("granted", &self.granted),
            ("declined", &self.declined),
            ("replayed", &self.replayed),
            ("conflict", &self.conflicting),
            ("failed", &self.failed),
        ];
        describe(&mut text, "iap_orders_total", "Orders, by what became of them.");
        for (status, counter) in outcomes {
            line(&mut text, &format!("iap_orders_total{{status=\"{status}\"}}"), read(counter));
        }
        for (name, help, counter) in [
            ("iap_syncs_total", "Sync requests that were verified and reached the books.", &self.syncs),
            ("iap_batches_total", "Batches of sync requests that were settled.", &self.batches),
            ("iap_enrolments_total", "Devices that were enrolled.", &self.enrolments),
        ] {
            describe(&mut text, name, help);
            line(&mut text, name, read(counter));
        }
        text
    }
}

// Writing to a string does not fail, so the results say nothing.
fn describe(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
}

fn line(text: &mut String, name: &str, value: u64) {
    let _ = writeln!(text, "{name} {value}");
}
