//! The rules of refunding an order: how many, how much, from where to where, and what the account is told.

use std::collections::BTreeMap;

use super::LedgerError;
use super::account::AccountNumber;
use super::changes::NewStanding;
use super::refused::Refused;
use super::transfer::{Transfer, TransferKind};
use crate::protocol::{AccountId, Grant, Micros, Money, OrderId, Reason, Receipt, Status, UnixSeconds, shares};
use crate::server::signing::Signer;

/// An order as a refund sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PaidOrder {
    pub(crate) order: OrderId,
    pub(crate) account: AccountId,
    pub(crate) status: Status,
    /// How many were ordered.
    pub(crate) quantity: u32,
    /// How many of them were refunded.
    pub(crate) refunded_quantity: u32,
    /// What all of them cost.
    pub(crate) amount: Money,
    /// What of that was refunded, in micros.
    pub(crate) refunded_amount: i64,
}

/// What a refund gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderRefund {
    /// How many.
    pub(crate) quantity: u32,
    /// How much.
    pub(crate) money: Money,
    /// What has become of the order.
    pub(crate) standing: NewStanding,
}

/// Decides what a refund of `quantity`, or of all that is left, gives back.
pub(crate) fn decide(paid: &PaidOrder, quantity: Option<u32>) -> Result<OrderRefund, Refused> {
    let order = paid.order;
    match paid.status {
        Status::Granted => {}
        Status::Refunded => return Err(Refused::AlreadyRefunded(order)),
        _ => return Err(Refused::NotGranted(order)),
    }
    let left = paid.quantity.saturating_sub(paid.refunded_quantity);
    let quantity = quantity.unwrap_or(left);
    if quantity == 0 || quantity > left {
        return Err(Refused::QuantityOutOfRange { order, quantity, left });
    }
    // The amount is the price of one times the quantity, so this is exact and ends at nothing.
    let price = paid.amount.micros.value() / i64::from(paid.quantity);
    // At most the amount of the order, which is in range.
    let micros = Micros::new(price.saturating_mul(i64::from(quantity))).unwrap_or(paid.amount.micros);
    let standing = NewStanding {
        order,
        status: if quantity == left { Status::Refunded } else { Status::Granted },
        refunded_quantity: paid.refunded_quantity.saturating_add(quantity),
        refunded_amount: paid.refunded_amount.saturating_add(micros.value()),
    };
    Ok(OrderRefund { quantity, money: Money::new(micros, paid.amount.currency), standing })
}

/// What remains of an order's transfers: how much each lot paid to each account, less what came back.
pub(crate) fn remaining(transfers: &[Transfer]) -> BTreeMap<(AccountNumber, AccountNumber), i64> {
    let mut remaining: BTreeMap<_, i64> = BTreeMap::new();
    for transfer in transfers {
        let (pair, amount) = match transfer.kind {
            TransferKind::Purchase => ((transfer.debit, transfer.credit), transfer.amount),
            TransferKind::Refund => ((transfer.credit, transfer.debit), transfer.amount.saturating_neg()),
            _ => continue,
        };
        let left = remaining.entry(pair).or_default();
        *left = left.saturating_add(amount);
    }
    remaining
}

/// Which lot gets how much back from which account, when `amount` of an order is refunded: in proportion to what remains
/// of each transfer, so that no refund takes more than is left of it, and repeated ones end at nothing exactly
/// ([`shares::split`] says why). None if less than the amount remains.
pub(crate) fn reversal(transfers: &[Transfer], amount: i64) -> Option<Vec<(AccountNumber, AccountNumber, i64)>> {
    if amount == 0 {
        return Some(Vec::new());
    }
    let remaining = remaining(transfers);
    let weights: Vec<i64> = remaining.values().copied().collect();
    if weights.iter().map(|weight| i128::from(*weight)).sum::<i128>() < i128::from(amount) {
        return None;
    }
    let parts = shares::split(amount, &weights)?;
    let parts = remaining.into_keys().zip(parts).filter(|(_, part)| *part > 0);
    Some(parts.map(|((lot, other), part)| (lot, other, part)).collect())
}

/// The receipt, not yet signed, that tells a refund. `first` is the one that granted the order.
///
/// One that takes back everything repeats what was still granted; one that takes back a part grants what is left.
pub(crate) fn receipt(
    first: Receipt,
    paid: &PaidOrder,
    refund: &OrderRefund,
    feed: u64,
    signer: &mut Signer,
    now: UnixSeconds,
) -> Result<Receipt, LedgerError> {
    let before = paid.quantity.saturating_sub(paid.refunded_quantity);
    let left = paid.quantity.saturating_sub(refund.standing.refunded_quantity);
    let (status, reason, quantity, refunded) = match left {
        0 => (Status::Refunded, Reason::Operator, before, paid.refunded_amount),
        _ => (Status::Granted, Reason::RefundedInPart, left, refund.standing.refunded_amount),
    };
    let amount = Micros::new(paid.amount.micros.value().saturating_sub(refunded)).map_err(LedgerError::damaged)?;
    // One that has moved after a refund in part was told so with what was left of it.
    let ordered = first.quantity;
    let grants = first.grants.iter().map(|grant| part_of(grant, quantity, ordered)).collect();
    Ok(Receipt {
        id: signer.next_id()?,
        server: signer.server(),
        issued_at: now,
        feed,
        status,
        reason: Some(reason),
        quantity,
        amount: Money::new(amount, paid.amount.currency),
        grants,
        ..first
    })
}

/// What `quantity` gives of a grant that `ordered` give.
fn part_of(grant: &Grant, quantity: u32, ordered: u32) -> Grant {
    match grant {
        Grant::Item { item, quantity: all } => {
            // So many for each one that was ordered.
            let each = all / u64::from(ordered.max(1));
            Grant::Item { item: item.clone(), quantity: each.saturating_mul(u64::from(quantity)) }
        }
        right => right.clone(),
    }
}
