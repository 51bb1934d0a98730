//! What PostgreSQL is there for: several servers on one database, and a database that comes and goes.

mod accounts;
mod conflicts;
mod older;
mod patience;
mod sharing;
mod spending;
mod troubles;

use std::sync::Arc;

use bevy_iap::protocol::{KeyId, OrderId, SecretKey, Token};
use bevy_iap::server::audit::{AuditReport, audit};
use bevy_iap::server::ledger::{
    Answer, ConsumptionOutcome, Context, FeedEntry, Ledger, LedgerError, OperateError, Operation, Outcome,
    PostgresLedger, PostgresUrl, VerifiedConsumption, VerifiedOrder,
};
use bevy_iap::server::signing::Signer;

use crate::support::{Device, catalog, game};

/// A server's part in the books: its own connection, and the key that all of them sign with.
pub struct Till {
    pub ledger: PostgresLedger,
    signer: Signer,
}

impl Till {
    pub fn at(url: &PostgresUrl) -> Self {
        Self::of(PostgresLedger::open(url, &game()).expect("opens"))
    }

    pub fn of(ledger: PostgresLedger) -> Self {
        Self { ledger, signer: Signer::new(Arc::new(SecretKey::from_seed(&[42; 32])), game()) }
    }

    /// New devices, each with one euro.
    pub fn devices(&mut self, count: usize) -> Vec<Device> {
        let devices: Vec<Device> = (0..count).map(|_| Device::new()).collect();
        let keys: Vec<_> = devices.iter().map(|device| device.key.public()).collect();
        self.ledger.enrol(&keys, Some("1EUR".parse().expect("money")), 1_000_000).expect("enrols");
        devices
    }

    pub fn settle(&mut self, batch: &[VerifiedOrder]) -> Result<Vec<Outcome>, LedgerError> {
        let catalog = catalog();
        let mut context = Context { catalog: &catalog, signer: &mut self.signer, now: 1_000_000 };
        self.ledger.settle(batch, &mut context)
    }

    pub fn operate(&mut self, operation: &Operation) -> Result<Answer, OperateError> {
        self.ledger.operate(operation, &mut self.signer, 1_000_000)
    }

    pub fn consume(&mut self, batch: &[VerifiedConsumption]) -> Result<Vec<ConsumptionOutcome>, LedgerError> {
        self.ledger.consume(batch, &mut self.signer, 1_000_000)
    }

    /// What the wallet of a device holds, in micros of a euro.
    pub fn euros(&mut self, device: &Device) -> i64 {
        let wallet = self.ledger.show(&device.account()).expect("reads").expect("is there").wallet;
        wallet.first().map_or(0, |balance| balance.available.value())
    }

    pub fn assert_right(&mut self) {
        let report = self.audit();
        assert!(report.is_clean(), "{report}");
    }

    pub fn audit(&mut self) -> AuditReport {
        audit(&mut self.ledger, &[self.signer.public_key()], &game()).expect("audits")
    }
}

pub fn verified(device: &Device, token: Token) -> VerifiedOrder {
    VerifiedOrder::verify(token, device.key.public(), &device.account(), &game()).expect("verifies")
}

/// An order that follows the device's chain.
pub fn order(device: &mut Device, product: &str) -> VerifiedOrder {
    let token = device.order(product, 1);
    verified(device, token)
}

/// `count` orders of each device, so that those of one device are in the order of its chain.
pub fn orders(devices: &mut [Device], product: &str, count: usize) -> Vec<VerifiedOrder> {
    (0..count).flat_map(|_| devices.iter_mut().map(|device| order(device, product)).collect::<Vec<_>>()).collect()
}

pub fn entry(outcome: &Outcome) -> &FeedEntry {
    match outcome {
        Outcome::Settled { entry, .. } | Outcome::Replayed(entry) => entry,
        other => panic!("{other:?}"),
    }
}

pub fn is_new(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Settled { .. })
}

/// Which order got which receipt, sorted.
pub fn receipts(batch: &[VerifiedOrder], outcomes: &[Outcome]) -> Vec<(OrderId, KeyId, FeedEntry)> {
    assert_eq!(batch.len(), outcomes.len());
    let one =
        |(order, outcome): (&VerifiedOrder, &Outcome)| (order.order().id, order.order().device, entry(outcome).clone());
    let mut receipts: Vec<_> = batch.iter().zip(outcomes).map(one).collect();
    receipts.sort_by_key(|(order, ..)| *order);
    receipts
}
