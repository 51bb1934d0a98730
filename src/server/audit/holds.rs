//! The holds: each is resolved at most once, and takes no more than it has set aside.

use std::collections::{BTreeMap, BTreeSet};

use super::AuditReport;
use crate::server::ledger::{HoldRow, HoldStatus, OperationId, OperationRow, TransferRow};

/// From which account to which, and how much.
type Leg = ([u8; 16], [u8; 16], i128);

#[derive(Default)]
pub(super) struct HoldAudit {
    /// What each hold has set aside, and what was taken of it.
    legs: BTreeMap<[u8; 16], Vec<Leg>>,
    posts: BTreeMap<[u8; 16], Vec<Leg>>,
    seen: BTreeSet<[u8; 16]>,
    /// The holds that operations say were made.
    made: BTreeSet<[u8; 16]>,
    /// Those that are behind allowances, which no operation makes, and from which orders take.
    allowances: BTreeSet<[u8; 16]>,
}

impl HoldAudit {
    pub(super) fn leg(&mut self, row: &TransferRow) {
        add(&mut self.legs, row);
    }

    pub(super) fn post(&mut self, row: &TransferRow) {
        add(&mut self.posts, row);
    }

    pub(super) fn legs_of(&self, hold: [u8; 16]) -> Vec<Leg> {
        self.legs.get(&hold).cloned().unwrap_or_default()
    }

    pub(super) fn posts_of(&self, hold: [u8; 16]) -> Vec<Leg> {
        self.posts.get(&hold).cloned().unwrap_or_default()
    }

    pub(super) fn allowance(&mut self, id: [u8; 16]) {
        self.allowances.insert(id);
    }

    pub(super) fn operation(&mut self, row: &OperationRow) {
        if row.done && row.action == "hold" {
            self.made.insert(row.id);
        }
    }

    pub(super) fn hold(&mut self, row: HoldRow, report: &mut AuditReport) {
        let id = OperationId(row.id);
        self.seen.insert(row.id);
        let sum = |legs: Option<&Vec<Leg>>| legs.into_iter().flatten().map(|leg| leg.2).sum::<i128>();
        let held = sum(self.legs.get(&row.id));
        if held != i128::from(row.amount) {
            report.differs(format_args!("hold {id}: it is {}, and its transfers add up to {held}", row.amount));
        }
        let posted = sum(self.posts.get(&row.id));
        if posted != i128::from(row.posted) {
            report.differs(format_args!("hold {id}: {} of it was taken, and its transfers take {posted}", row.posted));
        }
        let mut left: BTreeMap<[u8; 16], i128> = BTreeMap::new();
        for (lot, _, amount) in self.legs.get(&row.id).into_iter().flatten() {
            *left.entry(*lot).or_default() += amount;
        }
        for (lot, _, amount) in self.posts.get(&row.id).into_iter().flatten() {
            *left.entry(*lot).or_default() -= amount;
        }
        if left.values().any(|amount| *amount < 0) {
            report.differs(format_args!("hold {id}: more was taken from a lot than it has set aside"));
        }
        // Of an allowance, orders take parts, and what is given free in the end is the rest.
        let allowed = self.allowances.contains(&row.id);
        let untouched = row.posted == 0 || allowed;
        let right = match HoldStatus::parse(&row.status) {
            Some(HoldStatus::Pending) => untouched && row.resolved_at.is_none(),
            Some(HoldStatus::Posted) => {
                !allowed && row.posted > 0 && row.resolved_at.is_some_and(|at| at < row.expires_at)
            }
            Some(HoldStatus::Voided) => untouched && row.resolved_at.is_some_and(|at| at < row.expires_at),
            Some(HoldStatus::Expired) => untouched && row.resolved_at == Some(row.expires_at),
            None => false,
        };
        if !right {
            report.differs(format_args!("hold {id}: it is {}, and that is not how it was resolved", row.status));
        }
    }

    pub(super) fn finish(&self, report: &mut AuditReport) {
        let named: BTreeSet<[u8; 16]> = self.legs.keys().chain(self.posts.keys()).copied().collect();
        for id in named.difference(&self.seen) {
            report.differs(format_args!("hold {}: its transfers are there, and it is missing", OperationId(*id)));
        }
        let made: BTreeSet<[u8; 16]> = self.made.union(&self.allowances).copied().collect();
        for id in self.made.intersection(&self.allowances) {
            report.differs(format_args!("hold {}: it is an operation's and an allowance's", OperationId(*id)));
        }
        for id in made.symmetric_difference(&self.seen) {
            report.differs(format_args!(
                "hold {}: it is there without an operation or an allowance, or the other way round",
                OperationId(*id)
            ));
        }
    }
}

fn add(legs: &mut BTreeMap<[u8; 16], Vec<Leg>>, row: &TransferRow) {
    // One that names no hold belongs to none, and is told as such.
    let hold = row.hold.unwrap_or_default();
    legs.entry(hold).or_default().push((row.debit_account, row.credit_account, i128::from(row.amount)));
}
