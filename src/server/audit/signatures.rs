//! What was signed: chains of orders, feeds of receipts, and every signature.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::AuditReport;
use super::accounts::{AccountAudit, Heirs};
use super::consumptions::is_consumption;
use crate::protocol::sync::ChainHead;
use crate::protocol::{
    AccountId, GameId, Grant, Order, OrderId, ProductId, PublicKey, Reason, Receipt, ReceiptId, Sha256, Status, Token,
    TrustedKeys, envelope,
};
use crate::server::ledger::operation::OperationRecord;
use crate::server::ledger::{Answer, DeviceRow, OperationId, OperationRow, OrderRow, ReceiptRow, VerifiedOrder, books};

pub(super) struct SignatureAudit<'a> {
    keys: &'a dyn TrustedKeys,
    game: &'a GameId,
    devices: BTreeMap<String, Device>,
    orders: BTreeMap<OrderId, OrderFacts>,
    /// The account whose feed is being read, and the place of its last receipt.
    feed: (String, i64),
    /// How long the feeds are that were read, and how long the devices say that they are.
    feeds: BTreeMap<String, i64>,
    said: BTreeMap<String, i64>,
}

struct Device {
    key: PublicKey,
    stored: Option<ChainHead>,
    followed: Option<ChainHead>,
}

/// What receipts are compared with.
struct OrderFacts {
    account: String,
    /// The place in the feed that is said to be of its first receipt.
    feed: i64,
    sha256: Sha256,
    status: String,
    amount: i64,
    currency: String,
    quantity: i64,
    owned: bool,
    until: Option<i64>,
    refunded_quantity: i64,
    refunded_amount: i64,
    settled_at: i64,
    /// The product, if the order verifies.
    bought: Option<ProductId>,
    receipts: Vec<Told>,
}

/// What a receipt says of its order.
struct Told {
    /// How often the order has moved to another account since.
    steps: usize,
    /// Whether it says that the order has moved here.
    moved: bool,
    id: ReceiptId,
    feed: i64,
    issued_at: i64,
    status: Status,
    quantity: i64,
    amount: i64,
    grants: Vec<Grant>,
}

impl<'a> SignatureAudit<'a> {
    pub(super) fn new(keys: &'a dyn TrustedKeys, game: &'a GameId) -> Self {
        let (devices, orders, feeds, said) = Default::default();
        Self { keys, game, devices, orders, feed: (String::new(), 0), feeds, said }
    }

    pub(super) fn device(&mut self, row: DeviceRow, report: &mut AuditReport) {
        if let Some(feed) = row.feed {
            // As long as the most that any device of the account says.
            let said = self.said.entry(row.account.clone()).or_default();
            *said = feed.max(*said);
        }
        let key = <[u8; 32]>::try_from(row.public_key).ok().and_then(|bytes| PublicKey::new(&bytes).ok());
        let key = key.filter(|key| key.id().to_string() == row.id);
        let (Some(key), true) = (key, row.account.parse::<AccountId>().is_ok()) else {
            report.differs(format_args!("device {}: its key or its account is not its own", row.id));
            return;
        };
        let head = row.chain_head.and_then(|head| <[u8; 32]>::try_from(head).ok());
        let stored = head.map(|head| ChainHead { sequence: row.sequence.cast_unsigned(), order_sha256: Sha256(head) });
        self.devices.insert(row.id, Device { key, stored, followed: None });
    }

    /// Gives the order, if it verifies.
    pub(super) fn order(&mut self, row: &OrderRow, accounts: &AccountAudit, report: &mut AuditReport) -> Option<Order> {
        let id = OrderId(row.id);
        let token = Token::from_text(&row.token);
        let sha256 = token.sha256();
        if row.sha256 != sha256.0 {
            report.differs(format_args!("order {id}: its digest is not that of its token"));
        }
        let order = self.verified(row, token).map_err(|problem| report.differs(format_args!("order {id}: {problem}")));
        let order = order.ok();
        if let Some(order) = &order {
            let owned = accounts.heirs.may_be(order.account.as_str(), &row.account);
            let parties = owned && order.device.to_string() == row.device;
            if !accounts.has_belonged(order.device, &order.account, row.sequence) {
                let account = &order.account;
                report.differs(format_args!("order {id}: its device did not belong to the account {account}"));
            }
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
            feed: row.feed,
            sha256,
            status: row.status.clone(),
            amount: row.amount,
            currency: row.currency.clone(),
            quantity: row.quantity,
            owned: row.owned,
            until: row.until,
            refunded_quantity: row.refunded_quantity,
            refunded_amount: row.refunded_amount,
            settled_at: row.settled_at,
            bought: order.as_ref().map(|order| order.product.clone()),
            receipts: Vec::new(),
        };
        self.orders.insert(id, facts);
        order
    }

    fn verified(&self, row: &OrderRow, token: Token) -> Result<Order, String> {
        let device = self.devices.get(&row.device).ok_or_else(|| "its device is missing".to_owned())?;
        // For whom it was signed is judged elsewhere.
        let claimed = envelope::claims_of_stored::<Order>(&token).map_err(|error| error.to_string())?;
        let verified = VerifiedOrder::verify(token, device.key, &claimed.account, self.game);
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

    pub(super) fn receipt(&mut self, row: &ReceiptRow, heirs: &Heirs, report: &mut AuditReport) {
        let mut differs = |what: &dyn std::fmt::Display| {
            report.differs(format_args!("receipt {} of {}: {what}", row.feed, row.account));
        };
        let last = if self.feed.0 == row.account { self.feed.1 } else { 0 };
        if last.checked_add(1) != Some(row.feed) {
            differs(&format_args!("it follows {last} in the feed"));
        }
        self.feed = (row.account.clone(), row.feed);
        self.feeds.insert(row.account.clone(), row.feed);
        let token = Token::from_text(&row.token);
        if is_consumption(&token) {
            return;
        }
        let receipt = match Receipt::verify(&token, self.keys, self.game) {
            Ok(receipt) => receipt,
            Err(error) => return differs(&error),
        };
        let same_place = receipt.account == *row.account.as_str()
            && i64::try_from(receipt.feed) == Ok(row.feed)
            && receipt.id == ReceiptId(row.id)
            && receipt.order == OrderId(row.answers);
        if !same_place {
            differs(&"it is not the one that was signed");
        }
        let Some(facts) = self.orders.get_mut(&OrderId(row.answers)) else {
            return differs(&"its order is missing");
        };
        let steps = heirs.steps(&row.account, &facts.account);
        if steps.is_none() || receipt.order_sha256 != facts.sha256 {
            differs(&"it does not answer the order that is stored");
        }
        if !facts.agree_with(&receipt) {
            differs(&"it does not say what became of its order");
        }
        facts.receipts.push(Told {
            steps: steps.unwrap_or_default(),
            moved: receipt.reason == Some(Reason::Moved),
            id: receipt.id,
            feed: row.feed,
            issued_at: receipt.issued_at,
            status: receipt.status,
            quantity: i64::from(receipt.quantity),
            amount: receipt.amount.micros.value(),
            grants: receipt.grants,
        });
    }

    /// Compares the receipt in the answer of an operation with the feed.
    pub(super) fn operation(&self, row: &OperationRow, report: &mut AuditReport) {
        let Ok(Ok(Answer::Order { receipt, .. })) = OperationRecord::parse_decision(row.done, &row.answer) else {
            return;
        };
        let is_it = |told: &&Told| told.id == receipt.id && i64::try_from(receipt.feed) == Ok(told.feed);
        let told = self.orders.get(&receipt.order).and_then(|facts| facts.receipts.iter().find(is_it));
        let right = told.is_some_and(|told| {
            let same_goods = told.quantity == i64::from(receipt.quantity) && told.grants == receipt.grants;
            told.issued_at == row.created_at
                && told.status == receipt.status
                && told.amount == receipt.amount.micros.value()
                && same_goods
        });
        if !right {
            let id = OperationId(row.id);
            report.differs(format_args!("operation {id}: the receipt in its answer is not in the feed"));
        }
    }

    pub(super) fn finish(mut self, report: &mut AuditReport) {
        for (id, device) in &self.devices {
            if device.stored != device.followed {
                report.differs(format_args!("device {id}: the head of its chain is not its last order"));
            }
        }
        for (account, said) in &self.said {
            let length = self.feeds.get(account).copied().unwrap_or_default();
            if *said != length {
                report
                    .differs(format_args!("account {account}: its feed is {length} long, and its devices say {said}"));
            }
        }
        for (id, facts) in &mut self.orders {
            // In the order in which they were told: account by account, and each feed in its order.
            facts.receipts.sort_by_key(|told| (Reverse(told.steps), told.feed));
            if let Err(what) = facts.told_right() {
                let told: Vec<&str> = facts.receipts.iter().map(|told| books::status_text(told.status)).collect();
                report.differs(format_args!("order {id}: it is {}, and its receipts say {told:?}{what}", facts.status));
            }
        }
    }
}

impl OrderFacts {
    /// Whether a receipt is of the order's product and in its currency.
    fn agree_with(&self, receipt: &Receipt) -> bool {
        receipt.amount.currency.code() == self.currency
            && self.bought.as_ref().is_none_or(|product| *product == receipt.product)
            && (receipt.status != Status::Declined || receipt.grants.is_empty())
    }

    /// Checks that the order's receipts tell its story: granted, then less and less of it, then refunded; and that the
    /// last one says what the order is now.
    fn told_right(&self) -> Result<(), &'static str> {
        let statuses: Vec<Status> = self.receipts.iter().map(|told| told.status).collect();
        let Some((first, later)) = self.receipts.split_first() else { return Err("") };
        let parts = later.iter().take_while(|told| told.status == Status::Granted).count();
        let refunded = self.status == "refunded";
        let expected = match self.status.as_str() {
            "declined" => statuses == [Status::Declined],
            "granted" => first.status == Status::Granted && parts == later.len(),
            "refunded" => {
                let last = later.last().is_some_and(|told| told.status == Status::Refunded);
                first.status == Status::Granted && last && parts + 1 == later.len()
            }
            _ => false,
        };
        if !expected {
            return Err("");
        }
        if let Some(told) = self.receipts.iter().find(|told| told.moved != self.is_move(told)) {
            let what = if told.moved { ", and one that it has moved" } else { ", and not that it has moved" };
            return Err(what);
        }
        if self.receipts.iter().find(|told| told.steps == 0).is_none_or(|told| told.feed != self.feed) {
            return Err(", and the first one is not at the place that it names");
        }
        if first.issued_at != self.settled_at {
            return Err(", and the first one another time");
        }
        let full = self.quantity == first.quantity && self.amount == first.amount;
        if !full {
            return Err(", and the first one another quantity or amount");
        }
        if refunded && (self.refunded_quantity, self.refunded_amount) != (self.quantity, self.amount) {
            return Err(", and not all of it was refunded");
        }
        let granted: Vec<&Told> = self.receipts.iter().take(parts + 1).collect();
        let kept = |pair: &[&Told]| pair[1].moved && pair[1].quantity == pair[0].quantity;
        let less = |pair: &[&Told]| !pair[1].moved && pair[1].quantity < pair[0].quantity;
        if granted.windows(2).any(|pair| !kept(pair) && !less(pair)) {
            return Err(", and a refund in part leaves no less");
        }
        let right = |told: &Told| self.is_part(first, told);
        if self.status != "declined" && !self.receipts.iter().all(right) {
            return Err(", and one says another amount or other grants than its quantity has");
        }
        let left = granted.last().map_or(0, |told| told.quantity);
        if self.status == "granted" && Some(left) != self.quantity.checked_sub(self.refunded_quantity) {
            return Err(", and the last one another quantity than is left");
        }
        let ends = first.grants.iter().find_map(|grant| match grant {
            Grant::Entitlement { until, .. } => *until,
            Grant::Item { .. } => None,
        });
        if ends != self.until {
            return Err(", and the pass ends at another time");
        }
        if !self.owned && first.grants.iter().any(|grant| matches!(grant, Grant::Entitlement { .. })) {
            return Err(", and the right that it gives is not owned");
        }
        Ok(())
    }

    /// Whether a receipt is the first that its account was told, after others were told of the order.
    fn is_move(&self, told: &Told) -> bool {
        let before = self.receipts.iter().take_while(|other| other.id != told.id);
        before.last().is_some_and(|last| last.steps != told.steps)
    }

    /// Whether a receipt says so much of the first one's amount and grants as it says of its quantity.
    fn is_part(&self, first: &Told, told: &Told) -> bool {
        let scaled = |all: i128, some: i128| some * i128::from(self.quantity) == all * i128::from(told.quantity);
        let same_grants = first.grants.len() == told.grants.len()
            && first.grants.iter().zip(&told.grants).all(|pair| match pair {
                (Grant::Item { item, quantity: all }, Grant::Item { item: same, quantity: some }) => {
                    item == same && scaled(i128::from(*all), i128::from(*some))
                }
                (right, same) => right == same,
            });
        scaled(i128::from(first.amount), i128::from(told.amount)) && same_grants
    }
}
