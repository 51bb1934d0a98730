//! Books, and the devices that buy from them, a thousand orders a batch.

use std::sync::Arc;
use std::time::Instant;

use bevy_iap::protocol::SecretKey;
use bevy_iap::server::ledger::{Context, Ledger, VerifiedOrder};
use bevy_iap::server::signing::Signer;

use crate::shop::{self, Device};
use crate::table;

/// Orders in a batch, each of another device.
pub const DEVICES: usize = 1_000;
/// How often two things are measured in turns.
pub const ROUNDS: usize = 7;
/// Batches in each turn.
pub const TURN: usize = 8;

/// Books, and the devices that buy from them.
pub struct Desk {
    pub ledger: Box<dyn Ledger>,
    pub devices: Vec<Device>,
    signer: Signer,
}

impl Desk {
    /// New devices at these books.
    pub fn of(mut ledger: Box<dyn Ledger>, population: u32) -> Self {
        let devices = shop::devices(population, DEVICES);
        let keys: Vec<_> = devices.iter().map(|device| device.key.public()).collect();
        ledger.enrol(&keys, shop::welcome(), shop::NOW).expect("enrols");
        Self { ledger, devices, signer: Signer::new(Arc::new(SecretKey::from_seed(&[2; 32])), shop::game()) }
    }

    /// Orders a second.
    pub fn settle(&mut self, product: impl Fn(usize) -> String + Sync) -> f64 {
        let batches = shop::batches(&mut self.devices, TURN, product);
        let catalog = shop::catalog();
        let started = Instant::now();
        for batch in &batches {
            self.settle_batch(batch, &catalog);
        }
        table::rate(TURN * DEVICES, started.elapsed())
    }

    pub fn settle_batch(&mut self, batch: &[VerifiedOrder], catalog: &bevy_iap::protocol::Catalog) {
        let mut context = Context { catalog, signer: &mut self.signer, now: shop::NOW };
        self.ledger.settle(batch, &mut context).expect("settles");
    }

    /// Everybody buying one product beside everybody buying one of many.
    pub fn hot_beside_spread(&mut self) -> Vec<(f64, f64)> {
        in_turns(
            self,
            |desk| desk.settle(|_| "hot".to_owned()),
            |desk| desk.settle(|number| format!("spread_{}", number % shop::SPREAD)),
        )
    }
}

/// Measures two things in rounds, in turns, so that neither always comes first.
pub fn in_turns<T>(
    it: &mut T,
    mut figure: impl FnMut(&mut T) -> f64,
    mut floor: impl FnMut(&mut T) -> f64,
) -> Vec<(f64, f64)> {
    let round = |round| match round % 2 {
        0 => {
            let figure = figure(it);
            (figure, floor(it))
        }
        _ => {
            let floor = floor(it);
            (figure(it), floor)
        }
    };
    (0..ROUNDS).map(round).collect()
}
