//! What was signed: chains of orders, feeds of receipts, and every signature.

use std::collections::BTreeMap;

use super::AuditReport;
use crate::protocol::sync::ChainHead;
use crate::protocol::{
    AccountId, GameId, Micros, Order, OrderId, ProductId, PublicKey, Receipt, ReceiptId, Sha256, Status, Token,
};
use crate::server::ledger::{DeviceRow, OrderRow, ReceiptRow, VerifiedOrder, books};

pub(super) struct SignatureAudit<'a> {
    keys: &'a [PublicKey],
    game: &'a GameId,
    devices: BTreeMap<String, Device>,
    orders: BTreeMap<OrderId, OrderFacts>,
    /// The account whose feed is being read, and the place of its last receipt.
    feed: (String, i64),
}

struct Device {
    key: PublicKey,
    account: AccountId,
    stored: Option<ChainHead>,
    followed: Option<ChainHead>,
}

/// What receipts are compared with.
struct OrderFacts {
    account: String,
    sha256: Sha256,
    status: String,
    amount: i64,
    currency: String,
    /// The product and the quantity, if the order verifies.
    bought: Option<(ProductId, u32)>,
    receipts: Vec<Status>,
}

impl<'a> SignatureAudit<'a> {
    pub(super) fn new(keys: &'a [PublicKey], game: &'a GameId) -> Self {
        Self { keys, game, devices: BTreeMap::new(), orders: BTreeMap::new(), feed: (String::new(), 0) }
    }

    pub(super) fn device(&mut self, row: DeviceRow, report: &mut AuditReport) {
        let key = <[u8; 32]>::try_from(row.public_key).ok().and_then(|bytes| PublicKey::new(&bytes).ok());
        let key = key.filter(|key| key.id().to_string() == row.id);
        let (Some(key), Ok(account)) = (key, row.account.parse()) else {
            report.differs(format_args!("device {}: its key or its account is not its own", row.id));
            return;
        };
        let head = row.chain_head.and_then(|head| <[u8; 32]>::try_from(head).ok());
        let stored = head.map(|head| ChainHead { sequence: row.sequence.cast_unsigned(), order_sha256: Sha256(head) });
        self.devices.insert(row.id, Device { key, account, stored, followed: None });
    }

    pub(super) fn order(&mut self, row: &OrderRow, report: &mut AuditReport) {
        let id = OrderId(row.id);
        let token = Token::from_text(&row.token);
        let sha256 = token.sha256();
        if row.sha256 != sha256.0 {
            report.differs(format_args!("order {id}: its digest is not that of its token"));
        }
        let order = self.verified(row, token).map_err(|problem| report.differs(format_args!("order {id}: {problem}")));
        let order = order.ok();
        if let Some(order) = &order {
            let parties = order.account == *row.account.as_str() && order.device.to_string() == row.device;
            let goods = order.product == *row.product.as_str() && i64::from(order.quantity) == row.quantity;
            if order.id != id || !parties || !goods {
                report.differs(format_args!("order {id}: it is not the one that was signed"));
            }
            self.follow(row, order, sha256, report);
            let price = order.price.checked_mul(order.quantity).map(|price| price.micros.value());
            if row.status == "declined" && row.amount != 0 || row.status != "declined" && price != Some(row.amount) {
                report.differs(format_args!("order {id}: {} is not what it costs", row.amount));
            }
        }
        let facts = OrderFacts {
            account: row.account.clone(),
            sha256,
            status: row.status.clone(),
            amount: row.amount,
            currency: row.currency.clone(),
            bought: order.map(|order| (order.product, order.quantity)),
            receipts: Vec::new(),
        };
        self.orders.insert(id, facts);
    }

    fn verified(&self, row: &OrderRow, token: Token) -> Result<Order, String> {
        let device = self.devices.get(&row.device).ok_or_else(|| "its device is missing".to_owned())?;
        let verified = VerifiedOrder::verify(token, device.key, &device.account, self.game);
        verified.map(|verified| verified.order().clone()).map_err(|error| error.to_string())
    }

    /// Follows the chain of the order's device, in the order in which it was settled.
    fn follow(&mut self, row: &OrderRow, order: &Order, sha256: Sha256, report: &mut AuditReport) {
        let (Some(sequence), Some(device)) = (row.sequence, self.devices.get_mut(&row.device)) else { return };
        let (last, previous) = device.followed.map_or((0, None), |head| (head.sequence, Some(head.order_sha256)));
        let sequence = sequence.cast_unsigned();
        if sequence != last + 1 || order.sequence != sequence || order.previous != previous {
            report.differs(format_args!("order {}: it does not follow its device's chain", order.id));
        }
        device.followed = Some(ChainHead { sequence, order_sha256: sha256 });
    }

    pub(super) fn receipt(&mut self, row: &ReceiptRow, report: &mut AuditReport) {
        let mut differs = |what: &dyn std::fmt::Display| {
            report.differs(format_args!("receipt {} of {}: {what}", row.feed, row.account));
        };
        let last = if self.feed.0 == row.account { self.feed.1 } else { 0 };
        if last.checked_add(1) != Some(row.feed) {
            differs(&format_args!("it follows {last} in the feed"));
        }
        self.feed = (row.account.clone(), row.feed);
        let receipt = match Receipt::verify(&Token::from_text(&row.token), self.keys, self.game) {
            Ok(receipt) => receipt,
            Err(error) => return differs(&error),
        };
        let same_place = receipt.account == *row.account.as_str()
            && i64::try_from(receipt.feed) == Ok(row.feed)
            && receipt.id == ReceiptId(row.id)
            && receipt.order == OrderId(row.order);
        if !same_place {
            differs(&"it is not the one that was signed");
        }
        let Some(facts) = self.orders.get_mut(&OrderId(row.order)) else {
            return differs(&"its order is missing");
        };
        if facts.account != row.account || receipt.order_sha256 != facts.sha256 {
            differs(&"it does not answer the order that is stored");
        }
        if !facts.agree_with(&receipt) {
            differs(&"it does not say what became of its order");
        }
        facts.receipts.push(receipt.status);
    }

    pub(super) fn finish(self, report: &mut AuditReport) {
        for (id, device) in &self.devices {
            if device.stored != device.followed {
                report.differs(format_args!("device {id}: the head of its chain is not its last order"));
            }
        }
        for (id, facts) in &self.orders {
            let expected: &[Status] = match facts.status.as_str() {
                "granted" => &[Status::Granted],
                "declined" => &[Status::Declined],
                "refunded" => &[Status::Granted, Status::Refunded],
                _ => &[],
            };
            if facts.receipts != expected {
                let told: Vec<&str> = facts.receipts.iter().map(|status| books::status_text(*status)).collect();
                report.differs(format_args!("order {id}: it is {}, and its receipts say {told:?}", facts.status));
            }
        }
    }
}

impl OrderFacts {
    /// Whether a receipt's amount, product and quantity are the order's.
    fn agree_with(&self, receipt: &Receipt) -> bool {
        let amount = match receipt.status {
            Status::Declined => Micros::ZERO.value(),
            _ => self.amount,
        };
        let same_product =
            |(product, quantity): &(ProductId, u32)| *product == receipt.product && *quantity == receipt.quantity;
        receipt.amount.micros.value() == amount
            && receipt.amount.currency.code() == self.currency
            && self.bought.as_ref().is_none_or(same_product)
            && (receipt.status != Status::Declined || receipt.grants.is_empty())
    }
}
