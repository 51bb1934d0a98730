//! Refunds of orders, on every engine.

use bevy_iap::protocol::{Grant, OrderId, Reason, Receipt, Status};
use bevy_iap::server::ledger::operation::RefundOrder;
use bevy_iap::server::ledger::{Answer, Refused};

use super::rows::Rows;
use super::{Desk, paid, suite};
use crate::support::{Device, game};

suite!(
    refund_takes_back_everything_once,
    refund_in_part_leaves_a_receipt_for_what_is_left,
    refunds_in_part_end_at_nothing_to_the_micro,
    refund_goes_back_to_the_lots_that_paid,
    refund_that_makes_no_sense_is_refused,
    refund_of_what_was_free_moves_nothing,
    refund_sent_again_is_made_once,
);

fn refund(order: OrderId, quantity: impl Into<Option<u32>>) -> RefundOrder {
    RefundOrder { order, quantity: quantity.into() }
}

fn refunded(desk: &mut Desk, id: u8, order: OrderId, quantity: impl Into<Option<u32>>) -> (Receipt, i64) {
    match desk.operate(id, refund(order, quantity)).expect("refunds") {
        Answer::Order { receipt, money, .. } => (*receipt, money.micros.value()),
        answer => panic!("{answer:?}"),
    }
}

fn refund_takes_back_everything_once(desk: &mut Desk, device: &mut Device) {
    let (order, granted) = desk.buy(device, "double_jump", 1);
    let (told, money) = refunded(desk, 1, order, None);
    assert_eq!((told.status, told.reason, told.feed, money), (Status::Refunded, Some(Reason::Operator), 2, 50_000));
    assert_eq!((&told.amount, &told.grants, told.quantity), (&granted.amount, &granted.grants, 1));
    assert_eq!(desk.feed(device).last(), Some(&told));
    let refused = desk.refused(2, refund(order, None));
    assert!(matches!(refused, Refused::AlreadyRefunded(_)));
    let told = format!("the order {order} was refunded before; nothing is left of it to refund");
    assert_eq!(refused.to_string(), told);
    assert_eq!(desk.euros(device), 1_000_000);
    assert_eq!(desk.buy(device, "double_jump", 1).1.status, Status::Granted);
}

fn refund_in_part_leaves_a_receipt_for_what_is_left(desk: &mut Desk, device: &mut Device) {
    let (order, _) = desk.buy(device, "skin", 5);
    let (told, money) = refunded(desk, 1, order, 2);
    assert_eq!((told.status, told.reason, money), (Status::Granted, Some(Reason::RefundedInPart), 140_000));
    assert_eq!((told.quantity, told.amount.micros.value()), (3, 210_000));
    assert!(matches!(&told.grants[..], [Grant::Item { quantity: 9, .. }]), "{told:?}");
    let (told, money) = refunded(desk, 2, order, None);
    assert_eq!((told.status, told.quantity, told.amount.micros.value()), (Status::Refunded, 3, 210_000));
    assert_eq!(money, 210_000);
    assert!(matches!(&told.grants[..], [Grant::Item { quantity: 9, .. }]), "{told:?}");
    assert_eq!(desk.euros(device), 1_000_000);
    let latest = desk.ledger.show(&device.account()).expect("reads").expect("is there").latest;
    assert_eq!((latest[0].refunded, latest[0].status), (5, Status::Refunded));
}

fn refunds_in_part_end_at_nothing_to_the_micro(desk: &mut Desk, device: &mut Device) {
    // All but one micro is spent, so that three lots pay three parties.
    desk.buy(device, "shield", 199);
    desk.buy(device, "charm", 999);
    for _ in 0..4 {
        desk.buy(device, "charm", 1_000);
    }
    desk.credit(device, "0.000001EUR", 1);
    desk.credit(device, "0.000004EUR", 2);
    let before = Rows::of(&mut *desk.ledger);
    let (order, _) = desk.buy(device, "charm", 6);
    assert_eq!(desk.euros(device), 0);
    for id in 3..9 {
        refunded(desk, id, order, 1);
        desk.assert_right();
    }
    let after = Rows::of(&mut *desk.ledger);
    for (kind, owner) in [("payable", "ann"), ("payable", "zoe"), ("revenue", game().as_str())] {
        let balance = |(debits, credits): (i64, i64)| credits - debits;
        assert_eq!(balance(before.sums(kind, owner)), balance(after.sums(kind, owner)), "{kind} {owner}");
    }
    assert_eq!(desk.euros(device), 6);
}

fn refund_goes_back_to_the_lots_that_paid(desk: &mut Desk, device: &mut Device) {
    desk.credit(device, "0.05EUR", 1);
    let (order, _) = desk.buy(device, "shield", 202);
    // Of 1.01 paid, 1.00 was promotional.
    refunded(desk, 2, order, 101);
    let rows = Rows::of(&mut *desk.ledger);
    let lots: Vec<_> = rows.accounts.iter().filter_map(|row| row.lot.as_ref().map(|lot| (lot, row))).collect();
    let balance = |origin: &str| {
        let own = lots.iter().filter(|(lot, _)| lot.origin == origin);
        own.map(|(_, row)| row.credits_posted - row.debits_posted).sum::<i64>()
    };
    assert_eq!((balance("promotional"), balance("paid")), (500_000, 45_000));
}

fn refund_that_makes_no_sense_is_refused(desk: &mut Desk, device: &mut Device) {
    let (order, _) = desk.buy(device, "shield", 3);
    let (declined, _) = desk.buy(device, "palace", 1);
    assert!(matches!(desk.refused(1, refund(OrderId([9; 16]), None)), Refused::UnknownOrder(_)));
    assert!(matches!(desk.refused(2, refund(declined, None)), Refused::NotGranted(_)));
    assert!(matches!(desk.refused(3, refund(order, 0)), Refused::QuantityOutOfRange { left: 3, .. }));
    assert!(matches!(desk.refused(4, refund(order, 4)), Refused::QuantityOutOfRange { left: 3, .. }));
    desk.credit(device, "9007199253.755991EUR", 5);
    assert!(matches!(desk.refused(7, refund(order, 3)), Refused::TooMuch(_)));
}

fn refund_of_what_was_free_moves_nothing(desk: &mut Desk, device: &mut Device) {
    let (order, _) = desk.buy(device, "gift", 2);
    let transfers = Rows::of(&mut *desk.ledger).transfers.len();
    assert_eq!(refunded(desk, 1, order, 1).0.status, Status::Granted);
    assert_eq!(refunded(desk, 2, order, 1).0.status, Status::Refunded);
    assert_eq!(Rows::of(&mut *desk.ledger).transfers.len(), transfers);
}

fn refund_sent_again_is_made_once(desk: &mut Desk, device: &mut Device) {
    let (order, _) = desk.buy(device, "shield", 3);
    let first = refunded(desk, 1, order, 1);
    desk.reopen();
    assert_eq!(refunded(desk, 1, order, 1), first);
    assert_eq!((desk.euros(device), desk.feed(device).len()), (990_000, 2));
    desk.done(2, paid(device, "1EUR"));
    assert_eq!(refunded(desk, 1, order, 1), first);
}
