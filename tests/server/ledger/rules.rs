//! The rules of selling, on every engine.

use bevy_iap::protocol::{Catalog, Currency, Order, OrderId, Reason, Status};
use bevy_iap::server::ledger::operation::RefundOrder;
use bevy_iap::server::ledger::{OperationId, Outcome, TransferId, TransferKind};

use super::{Desk, head, receipt, signed, suite, verified};
use crate::support::{CATALOG, Device};

suite!(
    each_thing_that_is_wrong_with_an_order_is_its_own_reason,
    unlock_is_owned_once_and_pass_until_it_ends,
    what_was_consumed_can_be_bought_when_it_becomes_an_unlock,
    wallet_can_be_spent_to_zero_and_no_further,
    one_batch_cannot_spend_what_it_holds_twice,
    order_off_its_devices_chain_is_declined_and_leaves_the_chain_alone,
    order_that_is_there_twice_in_one_batch_is_one_order,
    order_under_the_id_of_another_transfer_stands_in_nobodys_way,
    what_one_account_bought_never_reaches_another,
    welcome_credit_is_given_once,
);

/// Why an order that follows the chain is declined, once `change` was made to it; none if it is granted.
pub fn reason(desk: &mut Desk, device: &mut Device, product: &str, change: impl FnOnce(&mut Order)) -> Option<Reason> {
    let mut claims = device.claims(product, 1);
    change(&mut claims);
    let token = device.sign(&claims);
    let outcome = desk.settle(&[verified(device, &token)]).remove(0);
    let receipt = receipt(desk, &outcome);
    assert_eq!(receipt.reason.is_none(), receipt.status == Status::Granted);
    if receipt.status == Status::Declined {
        assert_eq!((receipt.amount.micros.value(), receipt.grants.len()), (0, 0));
        assert_eq!((&receipt.product, receipt.quantity), (&claims.product, claims.quantity));
    }
    // A decline for any reason but the chain moves the chain on.
    assert_eq!(desk.standing(device, 0).chain, device.chain);
    receipt.reason
}

fn each_thing_that_is_wrong_with_an_order_is_its_own_reason(desk: &mut Desk, device: &mut Device) {
    assert_eq!(
        reason(desk, device, "shield", |order| order.product = "sword".parse().expect("a name")),
        Some(Reason::UnknownProduct)
    );
    let cheaper = |order: &mut Order| order.price = "0.001EUR".parse().expect("money");
    assert_eq!(reason(desk, device, "shield", cheaper), Some(Reason::PriceMismatch));
    let other_currency = |order: &mut Order| order.price.currency = Currency::USD;
    assert_eq!(reason(desk, device, "shield", other_currency), Some(Reason::PriceMismatch));
    let old = Catalog::parse("old.ron", &CATALOG.replace("0.005", "0.001")).expect("a good catalogue").digest();
    let stale = |order: &mut Order| (order.catalog, order.price) = (old, "0.001EUR".parse().expect("money"));
    assert_eq!(reason(desk, device, "shield", stale), Some(Reason::StaleCatalog));
    assert_eq!(reason(desk, device, "shield", |order| order.catalog = old), None);
    for quantity in [0, 1_001, u32::MAX] {
        let many = |order: &mut Order| order.quantity = quantity;
        assert_eq!(reason(desk, device, "shield", many), Some(Reason::QuantityOutOfRange));
    }
    assert_eq!(reason(desk, device, "double_jump", |order| order.quantity = 2), Some(Reason::QuantityOutOfRange));
    assert_eq!(reason(desk, device, "shield", |order| order.quantity = 1_000), Some(Reason::InsufficientFunds));
    assert_eq!(reason(desk, device, "palace", |_| {}), Some(Reason::InsufficientFunds));
    assert_eq!(desk.euros(device), 995_000);
}

fn unlock_is_owned_once_and_pass_until_it_ends(desk: &mut Desk, device: &mut Device) {
    assert_eq!(reason(desk, device, "double_jump", |_| {}), None);
    assert_eq!(reason(desk, device, "double_jump", |_| {}), Some(Reason::AlreadyOwned));
    assert_eq!(reason(desk, device, "day_pass", |_| {}), None);
    desk.now += 24 * 3_600 - 1;
    assert_eq!(reason(desk, device, "day_pass", |_| {}), Some(Reason::AlreadyOwned));
    desk.now += 1;
    assert_eq!(reason(desk, device, "day_pass", |_| {}), None);
    assert_eq!(reason(desk, device, "double_jump", |_| {}), Some(Reason::AlreadyOwned));
    assert_eq!(desk.euros(device), 1_000_000 - 50_000 - 2 * 10_000);
}

fn what_was_consumed_can_be_bought_when_it_becomes_an_unlock(desk: &mut Desk, device: &mut Device) {
    assert_eq!(reason(desk, device, "shield", |_| {}), None);
    let text = CATALOG.replace(r#"Consumable(title: "Shield""#, r#"Unlock(title: "Shield""#);
    desk.catalog = Catalog::parse("catalog.ron", &text).expect("a good catalogue");
    assert_eq!(reason(desk, device, "shield", |_| {}), None);
    assert_eq!(reason(desk, device, "shield", |_| {}), Some(Reason::AlreadyOwned));
    desk.reopen();
    assert_eq!(reason(desk, device, "shield", |_| {}), Some(Reason::AlreadyOwned));
}

fn wallet_can_be_spent_to_zero_and_no_further(desk: &mut Desk, device: &mut Device) {
    let spend = |order: &mut Order| order.quantity = 200;
    assert_eq!(reason(desk, device, "shield", spend), None);
    assert_eq!(desk.euros(device), 0);
    assert_eq!(reason(desk, device, "shield", |_| {}), Some(Reason::InsufficientFunds));
    assert_eq!(reason(desk, device, "gift", |_| {}), None);
    assert_eq!(desk.euros(device), 0);
}

fn one_batch_cannot_spend_what_it_holds_twice(desk: &mut Desk, device: &mut Device) {
    let batch: Vec<_> = (0..3)
        .map(|_| {
            let token = device.order("shield", 150);
            verified(device, &token)
        })
        .collect();
    let outcomes = desk.settle(&batch);
    let statuses: Vec<Status> = outcomes.iter().map(|outcome| receipt(desk, outcome).status).collect();
    assert_eq!(statuses, [Status::Granted, Status::Declined, Status::Declined]);
    assert_eq!(desk.euros(device), 250_000);
}

fn order_off_its_devices_chain_is_declined_and_leaves_the_chain_alone(desk: &mut Desk, device: &mut Device) {
    assert_eq!(reason(desk, device, "gift", |_| {}), None);
    let chain = device.chain;
    for (sequence, previous) in [
        (1, None),
        (1, chain.map(|chain| chain.order_sha256)),
        (2, None),
        (3, chain.map(|chain| chain.order_sha256)),
        (u64::MAX / 2, chain.map(|chain| chain.order_sha256)),
    ] {
        let mut claims = device.claims("gift", 1);
        (claims.sequence, claims.previous) = (sequence, previous);
        let outcome = desk.settle(&[signed(device, &claims)]).remove(0);
        assert_eq!(receipt(desk, &outcome).reason, Some(Reason::ChainBroken));
        assert_eq!(desk.standing(device, 0).chain, chain);
    }
    assert_eq!(reason(desk, device, "gift", |_| {}), None);
}

fn order_that_is_there_twice_in_one_batch_is_one_order(desk: &mut Desk, device: &mut Device) {
    let order = signed(device, &device.claims("shield", 1));
    let mut other = device.claims("shield", 2);
    (other.id, other.sequence, other.previous) = (order.order().id, 2, Some(head(&order).order_sha256));
    let outcomes = desk.settle(&[order.clone(), order.clone(), signed(device, &other)]);
    assert!(matches!(&outcomes[0], Outcome::Settled { .. }));
    let (Outcome::Settled { entry, .. }, Outcome::Replayed(again)) = (&outcomes[0], &outcomes[1]) else {
        panic!("{outcomes:?}");
    };
    assert_eq!(entry, again);
    assert_eq!(outcomes[2], Outcome::Conflict);
    assert_eq!(desk.settle(&[order]), [Outcome::Replayed(entry.clone())]);
    assert_eq!(desk.euros(device), 995_000);
}

fn order_under_the_id_of_another_transfer_stands_in_nobodys_way(desk: &mut Desk, device: &mut Device) {
    let victim = signed(device, &device.claims("shield", 1));
    device.chain = Some(head(&victim));
    desk.settle(std::slice::from_ref(&victim));
    let refund = TransferId::of_operation(TransferKind::Refund, OperationId([1; 16]), 0);
    let purchase = TransferId::of_purchase(victim.order().id, 0);
    for id in [TransferId::of_welcome(&device.account()), refund, purchase] {
        assert_eq!(reason(desk, device, "shield", |order| order.id = OrderId(id.0)), None);
    }
    assert!(desk.operate(1, RefundOrder { order: victim.order().id, quantity: None }).is_ok());
}

fn what_one_account_bought_never_reaches_another(desk: &mut Desk, device: &mut Device) {
    let mut other = Device::new();
    desk.enrol(&other);
    assert_eq!(reason(desk, device, "double_jump", |_| {}), None);
    assert_eq!(reason(desk, &mut other, "double_jump", |_| {}), None);
    assert_eq!((desk.standing(device, 0).page.len(), desk.standing(&other, 0).page.len()), (1, 1));
    assert_ne!(desk.standing(device, 0).page, desk.standing(&other, 0).page);
}

fn welcome_credit_is_given_once(desk: &mut Desk, device: &mut Device) {
    desk.enrol(device);
    desk.enrol(device);
    assert_eq!(desk.euros(device), 1_000_000);
}
