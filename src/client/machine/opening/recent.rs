//! What the game is shown at the start: the latest receipts, and the orders that they answer or that are open.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

use super::Opening;
use crate::client::machine::appending::Before;
use crate::client::machine::{PlacedOrder, SignedReceipt};
use crate::client::seal::OrderSays;
use crate::protocol::{Currency, Money, OrderId, ProductId, Receipt, Sha256, Token, envelope};

/// The names that were read so far, each kept once: thousands of orders share a few.
#[derive(Debug, Default)]
pub(super) struct Names {
    products: FxHashSet<ProductId>,
    currencies: BTreeMap<[u8; 3], Currency>,
}

impl Names {
    /// The product and the price that a seal says, if their names are right.
    pub(super) fn read(&mut self, order: &OrderSays<'_>) -> Option<(ProductId, Money)> {
        let product = match self.products.get(order.product) {
            Some(product) => product.clone(),
            None => {
                let product: ProductId = order.product.parse().ok()?;
                self.products.insert(product.clone());
                product
            }
        };
        let code = order.currency.as_bytes().try_into().ok()?;
        let currency = match self.currencies.get(&code) {
            Some(&currency) => currency,
            None => {
                let currency = order.currency.parse().ok()?;
                self.currencies.insert(code, currency);
                currency
            }
        };
        Some((product, Money::new(order.micros, currency)))
    }
}

/// One of the latest receipts.
#[derive(Debug)]
pub(super) struct Recent {
    pub(super) token: Token,
    /// The digest that its seal says.
    pub(super) sealed: Option<Sha256>,
    /// Its order as it was before it.
    pub(super) before: Before,
}

impl Opening {
    /// The latest receipts, and with their orders those that are open, oldest first.
    pub(super) fn recent(&mut self) -> (Vec<SignedReceipt>, Vec<PlacedOrder>) {
        let mut receipts = Vec::new();
        let mut answered: BTreeMap<OrderId, (u64, PlacedOrder)> = BTreeMap::new();
        for Recent { token, sealed, before } in std::mem::take(&mut self.recent) {
            let claims = envelope::claims_of_stored::<Receipt>(&token);
            let Some(claims) = claims.ok().filter(|_| sealed.is_none_or(|sealed| sealed == token.sha256())) else {
                self.troubles.push("a receipt in the journal is not what its seal says, and is not shown".to_owned());
                continue;
            };
            let placed = before.order.unwrap_or_else(|| PlacedOrder::of(&claims));
            answered.entry(claims.order).or_insert((before.place, placed)).1.decide(&claims);
            receipts.push(SignedReceipt { claims, token });
        }
        let open = &self.machine.orders;
        let mut answered: Vec<_> = answered.into_values().filter(|(_, order)| !open.contains(order.id)).collect();
        answered.sort_unstable_by_key(|(place, _)| *place);
        let mut answered = answered.into_iter().peekable();
        let mut orders = Vec::with_capacity(open.len() + answered.len());
        for open in open.in_order() {
            while let Some((_, order)) = answered.next_if(|(place, _)| *place < open.place) {
                orders.push(order);
            }
            orders.push(open.order.clone());
        }
        orders.extend(answered.map(|(_, order)| order));
        (receipts, orders)
    }
}
