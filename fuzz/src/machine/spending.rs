//! What a device may spend offline, counted from what it made durable.

use bevy_iap::client::record::SavedAllowance;
use bevy_iap::protocol::allowance::AllowanceUse;
use bevy_iap::protocol::{Allowance, AllowanceId, Order};

use crate::model::payload;

/// An allowance that is durable, and how much of it is spent.
pub(super) struct Spending {
    allowance: Allowance,
    spent: i64,
    orders: u64,
}

impl Spending {
    pub(super) fn of(saved: &SavedAllowance) -> Self {
        let claims = payload(saved.token.as_str()).expect("a token");
        let allowance = serde_json::from_slice(&claims).expect("an allowance");
        Self { allowance, spent: saved.spent.value(), orders: saved.orders }
    }

    pub(super) fn id(&self) -> AllowanceId {
        self.allowance.id
    }

    /// When no order may be made within it any more.
    pub(super) fn ends(&self) -> i64 {
        self.allowance.expires_at
    }

    /// An order that was made within it is durable: it fits, and says what is spent by then.
    pub(super) fn spend(&mut self, order: &Order, within: AllowanceUse) {
        let Allowance { id, total, per_order, orders, catalog, .. } = &self.allowance;
        let costs = order.price.micros.value() * i64::from(order.quantity);
        self.spent += costs;
        self.orders += 1;
        assert_eq!((within.id, order.price.currency, order.catalog), (*id, total.currency, *catalog), "{order:?}");
        assert_eq!((within.spent.value(), within.orders), (self.spent, self.orders), "what is spent: {order:?}");
        assert!(
            costs <= per_order.value() && self.spent <= total.micros.value() && self.orders <= *orders,
            "{order:?}"
        );
    }
}
