//! What the processor can do at best: verify an order's signature strictly and sign a receipt, on all cores, and
//! nothing else.

use std::hint::black_box;
use std::time::Instant;

use ed25519_dalek::{Signer as _, SigningKey};
use rayon::prelude::*;

use crate::table;

/// The lengths of an order's and of a receipt's signed text.
const ORDER: usize = 700;
const RECEIPT: usize = 800;

/// Orders a second for which the processor could do the cryptography.
pub fn ceiling(orders: usize) -> f64 {
    let (device, server) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let (order, receipt) = ([b'o'; ORDER], [b'r'; RECEIPT]);
    let signature = device.sign(&order);
    let key = device.verifying_key();
    let started = Instant::now();
    (0..orders).into_par_iter().for_each(|_| {
        key.verify_strict(black_box(&order), &signature).expect("verifies");
        black_box(server.sign(black_box(&receipt)));
    });
    table::rate(orders, started.elapsed())
}
