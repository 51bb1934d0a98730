//! The allowances: each is what was signed, is backed by its hold, and was spent by orders that say so; and every device
//! that is frozen has given a reason, or an operator has wanted it.

use std::collections::{BTreeMap, BTreeSet};

use super::AuditReport;
use crate::protocol::{Allowance, AllowanceId, AllowanceUse, GameId, KeyId, Order, OrderId, Token, TrustedKeys};
use crate::server::ledger::operation::OperationRecord;
use crate::server::ledger::{AllowanceRow, Answer, DeviceRow, ForkRow, HoldRow, OperationRow, OrderRow, TransferRow};

pub(super) struct AllowanceAudit<'a> {
    keys: &'a dyn TrustedKeys,
    game: &'a GameId,
    /// The orders that each hold has paid for.
    paid: BTreeMap<[u8; 16], BTreeSet<OrderId>>,
    /// What orders that name an allowance say of it.
    claims: BTreeMap<OrderId, (KeyId, AllowanceUse)>,
    /// Where each order stands: its device, the place that it was signed for, and whether the chain holds it there.
    places: BTreeMap<OrderId, (KeyId, u64, bool)>,
    rows: BTreeMap<[u8; 16], AllowanceRow>,
    /// The allowances of which the hold was read.
    backed: BTreeSet<[u8; 16]>,
    frozen: BTreeSet<String>,
    /// Devices, and those that have taken their places: they are frozen for the same reason.
    replaced: Vec<(String, String)>,
    /// Devices with a reason to be frozen.
    reasons: BTreeSet<String>,
}

impl<'a> AllowanceAudit<'a> {
    pub(super) fn new(keys: &'a dyn TrustedKeys, game: &'a GameId) -> Self {
        let (paid, claims, places, rows, backed, frozen, replaced, reasons) = Default::default();
        Self { keys, game, paid, claims, places, rows, backed, frozen, replaced, reasons }
    }

    pub(super) fn transfer(&mut self, row: &TransferRow) {
        if let ("purchase", Some(hold), Some(order)) = (row.kind.as_str(), row.hold, row.order) {
            self.paid.entry(hold).or_default().insert(OrderId(order));
        }
    }

    pub(super) fn device(&mut self, row: &DeviceRow) {
        if let Some(by) = &row.replaced_by {
            self.replaced.push((row.id.clone(), by.clone()));
        }
        if row.frozen_at.is_some() {
            self.frozen.insert(row.id.clone());
        }
    }

    pub(super) fn order(&mut self, row: &OrderRow, order: &Order) {
        let id = OrderId(row.id);
        if let Some(claim) = order.allowance {
            self.claims.insert(id, (order.device, claim));
        }
        self.places.insert(id, (order.device, order.sequence, row.sequence.is_some()));
    }

    pub(super) fn allowance(&mut self, row: AllowanceRow) {
        self.rows.insert(row.id, row);
    }

    pub(super) fn fork(&mut self, row: &ForkRow, report: &mut AuditReport) {
        let (first, second) = (self.places.get(&OrderId(row.first)), self.places.get(&OrderId(row.second)));
        let stands = |place: Option<&(KeyId, u64, bool)>, chained: bool| {
            place.is_some_and(|(device, sequence, held)| {
                device.to_string() == row.device && sequence.cast_signed() == row.sequence && *held == chained
            })
        };
        let claim = self.claims.get(&OrderId(row.second)).and_then(|(_, claim)| self.rows.get(&claim.id.0));
        if !stands(first, true) || !stands(second, false) || claim.is_none_or(|named| named.device != row.device) {
            let (first, second) = (OrderId(row.first), OrderId(row.second));
            report.differs(format_args!("fork of the device {}: {first} and {second} do not show it", row.device));
        }
        self.reasons.insert(row.device.clone());
    }

    pub(super) fn operation(&mut self, row: &OperationRow) {
        let decision = OperationRecord::parse_decision(row.done, &row.answer);
        if let Ok(Ok(Answer::Device { device, frozen: true, .. })) = decision {
            self.reasons.insert(device.to_string());
        }
    }

    /// Compares an allowance with the hold behind it and with what was signed.
    pub(super) fn hold(&mut self, hold: &HoldRow, report: &mut AuditReport) {
        let Some(row) = self.rows.get(&hold.id) else { return };
        self.backed.insert(hold.id);
        let id = AllowanceId(row.id);
        let (Ok(account), Ok(device)) = (hold.account.parse(), row.device.parse()) else {
            return report.differs(format_args!("allowance {id}: its account or its device is none"));
        };
        let token = Token::from_text(&row.token);
        let signed = match Allowance::verify(&token, self.keys, self.game, &account, device) {
            Ok(signed) => signed,
            Err(error) => return report.differs(format_args!("allowance {id}: {error}")),
        };
        let money = signed.total.micros.value() == hold.amount && signed.total.currency.code() == hold.currency;
        let times = signed.issued_at == row.issued_at
            && signed.expires_at == row.expires_at
            && signed.settle_by == hold.expires_at;
        let terms = signed.per_order.value() == row.per_order
            && signed.orders.cast_signed() == row.most_orders
            && signed.catalog.0[..] == row.catalog[..];
        if signed.id != id || !money || !times || !terms {
            report.differs(format_args!("allowance {id}: it is not the one that was signed"));
        }
        if row.spent < hold.posted || row.spent > hold.amount {
            let (spent, posted) = (row.spent, hold.posted);
            report.differs(format_args!("allowance {id}: {spent} of it is spent, and {posted} was taken"));
        }
    }

    pub(super) fn finish(mut self, report: &mut AuditReport) {
        for (hold, orders) in &self.paid {
            let (id, row) = (AllowanceId(*hold), self.rows.get(hold));
            for order in orders {
                let claim = self.claims.get(order).zip(row);
                if !claim.is_some_and(|((device, claim), row)| claim.id == id && device.to_string() == row.device) {
                    report.differs(format_args!("order {order}: it was paid out of {id}, which it does not name"));
                }
            }
        }
        for (key, row) in &self.rows {
            let id = AllowanceId(*key);
            let orders = self.paid.get(key).into_iter().flatten();
            let claims: Vec<AllowanceUse> =
                orders.filter_map(|order| self.claims.get(order)).map(|(_, claim)| *claim).collect();
            let spent = claims.iter().map(|claim| claim.spent.value()).max().unwrap_or_default();
            let count = claims.iter().map(|claim| claim.orders.cast_signed()).max().unwrap_or_default();
            if (row.spent, row.orders) != (spent, count) {
                report.differs(format_args!(
                    "allowance {id}: {} orders have spent {}, and they say that {count} have spent {spent}",
                    row.orders, row.spent
                ));
            }
            if !self.backed.contains(key) {
                report.differs(format_args!("allowance {id}: the hold behind it is missing"));
            }
        }
        let mut found = true;
        while std::mem::take(&mut found) {
            for (old, new) in &self.replaced {
                found |= self.reasons.contains(old) && self.reasons.insert(new.clone());
            }
        }
        for device in self.frozen.difference(&self.reasons) {
            report.differs(format_args!("device {device}: it is frozen, and nothing says why"));
        }
    }
}
