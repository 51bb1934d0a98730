//! What is sold, and devices that have signed their orders before anything is measured.

use bevy_iap::protocol::sync::{ChainHead, SyncRequest};
use bevy_iap::protocol::{
    AccountId, Catalog, GameId, Money, Order, OrderId, ReceiptId, SecretKey, Sha256, Token, UnixSeconds,
};
use bevy_iap::server::ledger::VerifiedOrder;
use rayon::prelude::*;

/// When everything happens.
pub const NOW: UnixSeconds = 1_800_000_000;
/// How many products there are whose whole price goes to a creator of their own.
pub const SPREAD: usize = 64;

/// What the wallets hold before anything is bought.
pub fn welcome() -> Option<Money> {
    Some("1000EUR".parse().expect("an amount"))
}

pub fn game() -> GameId {
    "bench".parse().expect("a name")
}

/// One product whose price goes to the game, one that goes to a creator, and many that go to a creator each.
pub fn catalog() -> Catalog {
    let mut products = String::from(
        r#""shield": Consumable(title: "Shield", prices: { "EUR": "0.005" }),
           "hot": Consumable(title: "Hot", prices: { "EUR": "0.005" }, shares: { "one": "100" }),"#,
    );
    for number in 0..SPREAD {
        products.push_str(&format!(
            r#""spread_{number}": Consumable(title: "Spread", prices: {{ "EUR": "0.005" }}, shares: {{ "of_{number}": "100" }}),"#
        ));
    }
    let text = format!("Catalog(game: \"bench\", products: {{ {products} }})");
    Catalog::parse("bench.ron", &text).expect("a good catalogue")
}

/// A device that buys.
#[derive(Clone)]
pub struct Device {
    pub key: SecretKey,
    pub account: AccountId,
    digest: Sha256,
    chain: Option<ChainHead>,
    asked: u64,
}

/// So many new devices, which no other number of `population` has.
pub fn devices(population: u32, count: usize) -> Vec<Device> {
    let digest = catalog().digest();
    let device = |number: usize| {
        let seed = Sha256::of(format!("device {population} {number}"));
        let key = SecretKey::from_seed(&seed.0);
        Device { account: key.id().guest_account(), key, digest, chain: None, asked: 0 }
    };
    (0..count).into_par_iter().map(device).collect()
}

impl Device {
    /// Signs the next order.
    pub fn order(&mut self, product: &str) -> Token {
        let sequence = self.chain.map_or(0, |head| head.sequence) + 1;
        let id = Sha256::of(format!("order {} {sequence}", self.account));
        let order = Order {
            id: OrderId(*id.0.first_chunk().expect("it has 32 bytes")),
            device: self.key.id(),
            account: self.account.clone(),
            game: game(),
            issued_at: NOW,
            sequence,
            previous: self.chain.map(|head| head.order_sha256),
            product: product.parse().expect("a name"),
            quantity: 1,
            price: "0.005EUR".parse().expect("a price"),
            catalog: self.digest,
            allowance: None,
        };
        let token = order.sign(&self.key).expect("signs");
        self.chain = Some(ChainHead { sequence, order_sha256: token.sha256() });
        token
    }

    pub fn orders(&mut self, product: &str, count: usize) -> Vec<Token> {
        (0..count).map(|_| self.order(product)).collect()
    }

    /// Signs a request. The cursor is far ahead, so that the answer holds the receipts of these orders alone.
    pub fn request(&mut self, cursor: u64, orders: Vec<Token>) -> Token {
        self.asked += 1;
        let id = Sha256::of(format!("request {} {}", self.account, self.asked));
        let request = SyncRequest {
            device: self.key.id(),
            account: self.account.clone(),
            game: game(),
            issued_at: NOW,
            id: ReceiptId(*id.0.first_chunk().expect("it has 32 bytes")),
            cursor,
            orders,
            keys: 0,
            allowance: None,
            consumptions: Vec::new(),
            wait: None,
        };
        request.sign(&self.key).expect("signs")
    }

    pub fn verified(&self, token: Token) -> VerifiedOrder {
        VerifiedOrder::verify(token, self.key.public(), &self.account, &game()).expect("verifies")
    }
}

/// Batches in which every device has one order.
pub fn batches(
    devices: &mut [Device],
    count: usize,
    product: impl Fn(usize) -> String + Sync,
) -> Vec<Vec<VerifiedOrder>> {
    let batch = |_| {
        let orders = devices.par_iter_mut().enumerate().map(|(number, device)| {
            let token = device.order(&product(number));
            device.verified(token)
        });
        orders.collect()
    };
    (0..count).map(batch).collect()
}
