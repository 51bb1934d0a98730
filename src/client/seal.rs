//! The seal on a signed text in the journal: what it says in short, and a MAC that only this device can make.
//!
//! A signature is verified once, when the text comes; the seal that is written with it spares the next start from
//! doing it again. It is SipHash-2-4 of 128 bits (Aumasson and Bernstein, "SipHash: a fast short-input PRF"), with a
//! key that comes by HMAC-SHA-256 (RFC 2104) from the device's secret, the game, the account, and, for a receipt, the
//! server's key that signed it: so it says nothing to a game that no longer trusts that key. A player can make seals,
//! as they can change the game itself; what counts in the end is what the server signed, and that is what is shown and
//! sent.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use siphasher::sip128::SipHasher24;

use super::record::Signed;
use super::seeded::{Bug, seeded};
use crate::protocol::{
    AccountId, EntitlementId, GameId, Grant, ItemId, KeyId, Micros, Order, OrderId, PublicKey, Receipt, SecretKey,
    Sha256, Status, Token, UnixSeconds,
};

/// The length of the MAC, in bytes.
const TAG: usize = 16;
/// Raised when a summary changes its shape, so that older seals are taken for broken and everything is verified.
const SHAPE: &str = "bevy_iap journal seal 2";

/// What a seal says: of which text, about which order, and what in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary<T> {
    /// The digest of the text.
    pub(super) sha256: Sha256,
    pub(super) order: OrderId,
    pub(super) says: T,
}

/// What a sealed order says. Its names are those of the seal: thousands of orders share a few, which need not be checked
/// and kept each time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OrderSays<'a> {
    pub(super) sequence: u64,
    pub(super) product: &'a str,
    pub(super) quantity: u32,
    pub(super) micros: Micros,
    pub(super) currency: &'a str,
    pub(super) issued_at: UnixSeconds,
}

/// What a sealed receipt says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReceiptSays {
    pub(super) feed: u64,
    pub(super) status: Status,
    pub(super) issued_at: UnixSeconds,
    rights: Vec<(EntitlementId, Option<UnixSeconds>)>,
    items: Vec<(ItemId, u64)>,
}

pub(super) type OrderSummary<'a> = Summary<OrderSays<'a>>;
pub(super) type ReceiptSummary = Summary<ReceiptSays>;

impl<'a> OrderSummary<'a> {
    /// What `order` says, whose signed text is `token`.
    pub(super) fn new(order: &'a Order, token: &Token) -> Self {
        let says = OrderSays {
            sequence: order.sequence,
            product: order.product.as_str(),
            quantity: order.quantity,
            micros: order.price.micros,
            currency: order.price.currency.code(),
            issued_at: order.issued_at,
        };
        Self { sha256: token.sha256(), order: order.id, says }
    }
}

impl ReceiptSummary {
    /// What `receipt` says, whose signed text is `token`.
    pub(super) fn new(receipt: &Receipt, token: &Token) -> Self {
        let (mut rights, mut items) = (Vec::new(), Vec::new());
        for grant in &receipt.grants {
            match grant {
                Grant::Entitlement { entitlement, until } => rights.push((entitlement.clone(), *until)),
                Grant::Item { item, quantity } => items.push((item.clone(), *quantity)),
            }
        }
        let (feed, status, issued_at) = (receipt.feed, receipt.status, receipt.issued_at);
        let says = ReceiptSays { feed, status, issued_at, rights, items };
        Self { sha256: token.sha256(), order: receipt.order, says }
    }

    /// What the order gives.
    pub(super) fn grants(&self) -> Vec<Grant> {
        let right = |(entitlement, until): &(EntitlementId, _)| Grant::Entitlement {
            entitlement: entitlement.clone(),
            until: *until,
        };
        let item = |(item, quantity): &(ItemId, _)| Grant::Item { item: item.clone(), quantity: *quantity };
        self.says.rights.iter().map(right).chain(self.says.items.iter().map(item)).collect()
    }
}

/// What makes and checks this device's seals.
pub(super) struct Sealer {
    orders: SipHasher24,
    /// One for each server key that is trusted.
    receipts: Vec<(KeyId, SipHasher24)>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl Sealer {
    pub(super) fn new(device: &SecretKey, game: &GameId, account: &AccountId, servers: &[PublicKey]) -> Self {
        let key_for = |what: &str| {
            let derived = Hmac::<sha2::Sha256>::new_from_slice(device.seed()).expect("HMAC takes a key of any length");
            let derived = derived.chain_update(format!("{SHAPE}\0{game}\0{account}\0{what}")).finalize().into_bytes();
            SipHasher24::new_with_key(derived.first_chunk().expect("SHA-256 has 32 bytes"))
        };
        let ids = servers.iter().map(|server| server.id());
        let receipts = ids.map(|server| (server, key_for(&format!("receipt {server}")))).collect();
        Self { orders: key_for("order"), receipts }
    }

    /// An order's text, sealed.
    pub(super) fn seal_order(&self, summary: &OrderSummary<'_>, token: &Token) -> Signed {
        Signed::new(&seal(&self.orders, summary), token.as_str())
    }

    /// A receipt's text, which `server` signed, sealed; without a seal if that key is not trusted.
    pub(super) fn seal_receipt(&self, server: KeyId, summary: &ReceiptSummary, token: &Token) -> Signed {
        let key = self.receipts.iter().find(|(trusted, _)| *trusted == server);
        Signed::new(&key.map_or_else(Vec::new, |(_, key)| seal(key, summary)), token.as_str())
    }

    /// What an order says, if its seal is right.
    pub(super) fn open_order<'a>(&self, signed: &'a Signed) -> Option<OrderSummary<'a>> {
        open(&self.orders, signed.seal())
    }

    /// What a receipt says, if its seal is right and the server's key still trusted.
    pub(super) fn open_receipt(&self, signed: &Signed) -> Option<ReceiptSummary> {
        self.receipts.iter().find_map(|(_, key)| open(key, signed.seal()))
    }
}

/// The longest summary that is made without asking for memory twice.
const USUAL: usize = 256;

fn seal(key: &SipHasher24, summary: &Summary<impl Serialize>) -> Vec<u8> {
    let mut seal = Vec::with_capacity(TAG + USUAL);
    seal.resize(TAG, 0);
    seal.extend_from_slice(&summary.sha256.0);
    seal.extend_from_slice(&summary.order.0);
    // It always serialises: strings, integers and lists. Were it otherwise, there would be no seal.
    let Ok(mut seal) = postcard::to_extend(&summary.says, seal) else { return Vec::new() };
    let tag = key.hash(&seal[TAG..]).as_bytes();
    seal[..TAG].copy_from_slice(&tag);
    seal
}

fn open<'a, T: Deserialize<'a>>(key: &SipHasher24, seal: &'a [u8]) -> Option<Summary<T>> {
    let (tag, summary) = seal.split_first_chunk::<TAG>()?;
    if key.hash(summary).as_bytes() != *tag && !seeded(Bug::TrustAnySeal) {
        return None;
    }
    let (sha256, rest) = summary.split_first_chunk()?;
    let (order, says) = rest.split_first_chunk()?;
    Some(Summary { sha256: Sha256(*sha256), order: OrderId(*order), says: postcard::from_bytes(says).ok()? })
}
