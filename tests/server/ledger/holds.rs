//! Holds, on every engine.

use bevy_iap::protocol::{Micros, Reason, UnixSeconds};
use bevy_iap::server::ledger::operation::{Hold, Post, RefundCredit, Void};
use bevy_iap::server::ledger::{HoldStatus, OperationId, Refused};

use super::rows::Rows;
use super::{Desk, paid, suite};
use crate::support::{Device, game};

suite!(
    what_is_held_cannot_be_spent_and_shows,
    hold_is_posted_in_full_or_less_and_the_rest_can_be_spent,
    hold_is_resolved_once_whatever_is_asked,
    voided_hold_gives_everything_back,
    hold_ends_by_itself_when_its_account_is_touched_or_swept,
    hold_that_makes_no_sense_is_refused,
    credit_can_be_charged_back_while_it_is_held,
);

fn hold(device: &Device, money: &str, expires_at: UnixSeconds) -> Hold {
    Hold { account: device.account(), money: money.parse().expect("money"), expires_at }
}

fn post(hold: u8, micros: impl Into<Option<i64>>) -> Post {
    let amount = micros.into().map(|micros| Micros::new(micros).expect("in range"));
    Post { hold: OperationId([hold; 16]), amount }
}

fn void(hold: u8) -> Void {
    Void { hold: OperationId([hold; 16]) }
}

fn resolved(desk: &mut Desk, id: u8, hold: u8) -> HoldStatus {
    match desk.refused(id, void(hold)) {
        Refused::HoldResolved { status, .. } => status,
        other => panic!("{other:?}"),
    }
}

fn what_is_held_cannot_be_spent_and_shows(desk: &mut Desk, device: &mut Device) {
    let until = desk.now + 10;
    assert_eq!(desk.done(1, hold(device, "0.997EUR", until)), (3_000, 997_000));
    let balance = desk.standing(device, 0).wallet[0];
    assert_eq!((balance.available.value(), balance.held.value()), (3_000, 997_000));
    assert_eq!(desk.buy(device, "shield", 1).1.reason, Some(Reason::InsufficientFunds));
    let Refused::InsufficientFunds { available, .. } = desk.refused(2, hold(device, "0.003001EUR", until)) else {
        panic!("another")
    };
    assert_eq!(available.micros.value(), 3_000);
    assert_eq!(desk.done(3, hold(device, "0.003EUR", until)), (0, 1_000_000));
    // Both together must not leave the range when they come back.
    assert!(matches!(desk.refused(4, paid(device, "9007199254.740991EUR")), Refused::TooMuch(_)));
}

fn hold_is_posted_in_full_or_less_and_the_rest_can_be_spent(desk: &mut Desk, device: &mut Device) {
    desk.credit(device, "0.5EUR", 9);
    let until = desk.now + 10;
    desk.done(1, hold(device, "1.2EUR", until));
    assert_eq!(desk.done(2, post(1, 1_100_000)), (400_000, 0));
    assert_eq!(Rows::of(&mut *desk.ledger).sums("revenue", game().as_str()), (0, 1_100_000));
    desk.done(3, hold(device, "0.4EUR", until));
    assert_eq!(desk.done(4, post(3, None)), (0, 0));
    assert_eq!(Rows::of(&mut *desk.ledger).sums("revenue", game().as_str()), (0, 1_500_000));
}

fn hold_is_resolved_once_whatever_is_asked(desk: &mut Desk, device: &mut Device) {
    desk.done(1, hold(device, "0.5EUR", 1_000_010));
    assert!(matches!(desk.refused(2, post(1, 500_001)), Refused::AboveHold { .. }));
    assert_eq!(desk.done(3, post(1, 200_000)), (800_000, 0));
    desk.reopen();
    assert_eq!(desk.done(3, post(1, 200_000)), (800_000, 0), "the same again");
    assert_eq!(resolved(desk, 4, 1), HoldStatus::Posted);
    assert!(matches!(desk.refused(5, post(1, 200_000)), Refused::HoldResolved { .. }));
    desk.now += 20;
    assert_eq!(desk.ledger.expire(desk.now).expect("sweeps"), 0);
    assert_eq!(desk.euros(device), 800_000);
}

fn voided_hold_gives_everything_back(desk: &mut Desk, device: &mut Device) {
    desk.done(1, hold(device, "0.5EUR", 1_000_010));
    assert_eq!(desk.done(2, void(1)), (1_000_000, 0));
    assert_eq!(resolved(desk, 3, 1), HoldStatus::Voided);
    assert!(matches!(desk.refused(4, post(1, None)), Refused::HoldResolved { status: HoldStatus::Voided, .. }));
    assert_eq!(desk.buy(device, "shield", 200).1.reason, None);
}

fn hold_ends_by_itself_when_its_account_is_touched_or_swept(desk: &mut Desk, device: &mut Device) {
    let at = desk.now + 10;
    desk.done(1, hold(device, "1EUR", at));
    desk.now = at - 1;
    assert_eq!(desk.ledger.expire(desk.now).expect("sweeps"), 0);
    assert_eq!(desk.buy(device, "shield", 1).1.reason, Some(Reason::InsufficientFunds));
    desk.now = at;
    assert_eq!(desk.buy(device, "shield", 1).1.reason, None, "an order touches it");
    assert_eq!(resolved(desk, 2, 1), HoldStatus::Expired);

    desk.done(3, hold(device, "0.5EUR", at + 10));
    desk.now = at + 10;
    assert_eq!(resolved(desk, 4, 3), HoldStatus::Expired);
    desk.assert_right();

    desk.done(5, hold(device, "0.5EUR", at + 20));
    desk.done(6, hold(device, "0.1EUR", at + 30));
    desk.now = at + 25;
    assert_eq!(desk.ledger.expire(desk.now).expect("sweeps"), 1);
    assert_eq!(desk.ledger.expire(desk.now).expect("sweeps"), 0);
    let balance = desk.standing(device, 0).wallet[0];
    assert_eq!((balance.available.value(), balance.held.value()), (895_000, 100_000));
    let ended: Vec<_> = Rows::of(&mut *desk.ledger).holds.iter().map(|row| row.resolved_at).collect();
    assert_eq!(ended, [Some(at), Some(at + 10), Some(at + 20), None], "whenever it was noticed");
}

fn hold_that_makes_no_sense_is_refused(desk: &mut Desk, device: &mut Device) {
    let until = desk.now + 10;
    assert!(matches!(desk.refused(1, hold(device, "0EUR", until)), Refused::NotPositive(_)));
    assert!(matches!(desk.refused(2, hold(device, "1EUR", desk.now)), Refused::ExpiresInThePast(_)));
    assert!(matches!(desk.refused(3, hold(&Device::new(), "1EUR", until)), Refused::UnknownAccount(_)));
    assert!(matches!(desk.refused(4, hold(device, "1USD", until)), Refused::InsufficientFunds { .. }));
    assert!(matches!(desk.refused(5, post(1, None)), Refused::UnknownHold(_)));
    assert!(matches!(desk.refused(6, void(6)), Refused::UnknownHold(_)));
}

fn credit_can_be_charged_back_while_it_is_held(desk: &mut Desk, device: &mut Device) {
    desk.buy(device, "shield", 200);
    desk.credit(device, "0.5EUR", 1);
    desk.done(2, hold(device, "0.3EUR", 1_000_010));
    let refund = |only_unspent| RefundCredit { credit: OperationId([1; 16]), amount: None, only_unspent, forced: true };
    assert!(matches!(desk.refused(3, refund(true)), Refused::Spent { .. }));
    assert_eq!(desk.done(4, refund(false)), (-300_000, 300_000));
    desk.assert_right();
    assert_eq!(desk.done(5, post(2, 100_000)), (-100_000, 0));
    let rows = Rows::of(&mut *desk.ledger);
    let owed = rows.accounts.iter().find(|row| row.lot.as_ref().is_some_and(|lot| lot.origin == "paid"));
    let owed = owed.expect("the lot");
    assert_eq!(owed.credits_posted - owed.debits_posted, -100_000, "what was held was taken of what was given back");
}
