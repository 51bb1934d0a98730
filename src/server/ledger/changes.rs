//! Changes to the books, as plain data: what a plan has decided and an engine writes, all of it or nothing.

use std::collections::BTreeMap;

use super::VerifiedOrder;
use super::account::{AccountNumber, House};
use super::allowance::AllowanceTerms;
use super::fork::Fork;
use super::hold::HoldRecord;
use super::lot::Lot;
use super::membership::MembershipChanges;
use super::operation::OperationRecord;
use super::transfer::{Transfer, TransferKind};
use crate::protocol::sync::ChainHead;
use crate::protocol::{AllowanceId, KeyId, Money, OrderId, Receipt, Status, UnixSeconds};

/// What is to be written in one transaction.
///
/// No two changes write one row: sums are added up per account, and the sums of the house's accounts need not be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// Lots to be made, with sums of zero; [`Changes::sums`] fill them.
    pub(crate) lots: Vec<Lot>,
    /// Accounts of the house that are named below, to be made where they are missing.
    pub(crate) houses: BTreeMap<AccountNumber, House>,
    /// Transfers to be written.
    pub(crate) transfers: Vec<Transfer>,
    /// What is to be added to the sums of each account.
    pub(crate) sums: BTreeMap<AccountNumber, Sums>,
    /// What is to be added to what was refunded of lots.
    pub(crate) refunded: BTreeMap<AccountNumber, i64>,
    /// New orders, in the order in which they were settled.
    pub(crate) orders: Vec<NewOrder>,
    /// Orders of which something was refunded.
    pub(crate) standings: Vec<NewStanding>,
    /// The new heads of devices' chains.
    pub(crate) chains: BTreeMap<KeyId, ChainHead>,
    /// Evidence that devices were copied.
    pub(crate) forks: Vec<Fork>,
    /// Devices to which nothing is sold, since when, and those to which something is again.
    pub(crate) frozen: BTreeMap<KeyId, Option<UnixSeconds>>,
    /// New receipts, not signed yet.
    pub(crate) receipts: Vec<Receipt>,
    /// New holds.
    pub(crate) holds: Vec<HoldRecord>,
    /// What the holds allow that are behind new allowances.
    pub(crate) allowances: Vec<(AllowanceId, AllowanceTerms)>,
    /// What was taken of each allowance from which something was, what its orders say to be spent, and how many they
    /// say that they are. Written before what is resolved.
    pub(crate) spent: BTreeMap<AllowanceId, (i64, i64, i64)>,
    /// Holds that were pending and are resolved.
    pub(crate) resolved: Vec<HoldRecord>,
    /// What becomes of devices and their accounts.
    pub(crate) membership: MembershipChanges,
    /// The operation that was decided.
    pub(crate) operation: Option<OperationRecord>,
}

/// What is added to an account's four sums, in micros. Wide enough that adding them up cannot fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) debits_posted: i128,
    pub(crate) credits_posted: i128,
    pub(crate) debits_pending: i128,
    pub(crate) credits_pending: i128,
}

/// An order that was settled.
#[derive(Clone, Debug)]
pub(crate) struct NewOrder {
    pub(crate) verified: VerifiedOrder,
    /// The place in its account's feed of the receipt that answers it.
    pub(crate) feed: u64,
    /// Whether it is the new head of its device's chain.
    pub(crate) chained: bool,
    pub(crate) status: Status,
    /// Whether it gives the account the product, which is not consumed.
    pub(crate) owned: bool,
    /// When what it gives ends, for a pass.
    pub(crate) until: Option<UnixSeconds>,
    pub(crate) amount: Money,
    pub(crate) settled_at: UnixSeconds,
}

/// What has become of an order after a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewStanding {
    pub(crate) order: OrderId,
    pub(crate) status: Status,
    /// How many were refunded in all.
    pub(crate) refunded_quantity: u32,
    /// How much was refunded in all, in micros.
    pub(crate) refunded_amount: i64,
}

impl Changes {
    /// The number of an account of the house, which is made if it is missing.
    pub(crate) fn house(&mut self, house: House) -> AccountNumber {
        let number = house.number();
        self.houses.entry(number).or_insert(house);
        number
    }

    /// Moves or, for a hold, sets aside what a transfer says. What is nothing moves nothing.
    pub(crate) fn transfer(&mut self, transfer: Transfer) {
        if transfer.amount == 0 {
            return;
        }
        let amount = i128::from(transfer.amount);
        match transfer.kind {
            TransferKind::Hold => {
                self.sums.entry(transfer.debit).or_default().debits_pending += amount;
                self.sums.entry(transfer.credit).or_default().credits_pending += amount;
            }
            _ => {
                self.sums.entry(transfer.debit).or_default().debits_posted += amount;
                self.sums.entry(transfer.credit).or_default().credits_posted += amount;
            }
        }
        self.transfers.push(transfer);
    }

    /// Resolves a hold, which was as it was `before`: nothing of it is set aside any more. What is taken of it is for
    /// other transfers to move.
    pub(crate) fn resolve(&mut self, before: &HoldRecord, resolved: HoldRecord, revenue: AccountNumber) {
        for (lot, amount) in before.rest() {
            self.free(AccountNumber::of_lot(lot), revenue, amount);
        }
        self.resolved.push(resolved);
    }

    /// Sets a part of a lot no longer aside.
    pub(crate) fn free(&mut self, lot: AccountNumber, revenue: AccountNumber, amount: i64) {
        let amount = i128::from(amount);
        self.sums.entry(lot).or_default().debits_pending -= amount;
        self.sums.entry(revenue).or_default().credits_pending -= amount;
    }

    /// Writes a lot's opening transfer, which gives it what it was opened with.
    pub(crate) fn open(&mut self, lot: Lot, kind: TransferKind, at: UnixSeconds) {
        let source = self.house(lot.house());
        self.transfer(Transfer {
            id: lot.id,
            kind,
            debit: source,
            credit: lot.number(),
            amount: lot.opened_with,
            order: None,
            hold: None,
            at,
        });
        self.lots.push(lot);
    }
}
