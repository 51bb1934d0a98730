//! Using up what was bought, on every engine.

use bevy_iap::protocol::{
    Consumption, ConsumptionId, ConsumptionReason, ConsumptionReceipt, ConsumptionStatus, FeedReceipt, Status,
};
use bevy_iap::server::ledger::operation::{RefundOrder, RevokeDevice};
use bevy_iap::server::ledger::{ConsumptionNumbers, ConsumptionOutcome, VerifiedConsumption};

use super::rows::Rows;
use super::{Desk, Engine, suite, verified};
use crate::support::{Device, game};

suite!(
    what_was_bought_is_used_up_once_and_the_feed_says_so,
    more_than_there_is_is_refused_whole_and_the_rest_stays,
    consumption_sent_again_changes_nothing,
    id_with_another_body_is_a_conflict_and_nothing_is_taken,
    number_that_was_used_is_decided_all_the_same_and_told_to_the_operator,
    what_was_used_of_a_refunded_order_is_no_debt_on_the_next,
    what_is_left_after_a_refund_in_part_is_counted_each_time,
    items_of_one_account_are_not_anothers,
    order_that_was_declined_gives_nothing_to_use,
    device_that_is_not_in_the_books_uses_up_nothing_and_hinders_nobody,
    consumptions_of_a_batch_are_decided_in_their_order,
    sums_of_the_largest_quantities_do_not_wrap,
    what_a_guest_has_used_up_stays_used_up_wherever_it_moves,
    device_that_has_left_or_was_revoked_uses_up_nothing_and_hinders_nobody,
);

const CONSUMED: ConsumptionOutcome =
    ConsumptionOutcome::Settled { status: ConsumptionStatus::Consumed, repeated: false };
const REFUSED: ConsumptionOutcome = ConsumptionOutcome::Settled { status: ConsumptionStatus::Refused, repeated: false };

pub(super) fn consumption(device: &Device, sequence: u64, item: &str, quantity: u64) -> Consumption {
    device.consumption(sequence, item, quantity)
}

pub(super) fn signed(device: &Device, consumption: &Consumption) -> VerifiedConsumption {
    let token = consumption.sign(&device.key).expect("signs");
    VerifiedConsumption::verify(token, device.key.public(), &device.account(), &game()).expect("verifies")
}

impl Desk {
    fn consume_all(&mut self, batch: &[VerifiedConsumption]) -> Vec<ConsumptionOutcome> {
        self.ledger.consume(batch, &mut self.signer, self.now).expect("decides")
    }

    fn consume(&mut self, device: &Device, sequence: u64, item: &str, quantity: u64) -> ConsumptionOutcome {
        self.consume_all(&[signed(device, &consumption(device, sequence, item, quantity))]).remove(0)
    }

    /// The receipts of consumptions in a device's feed.
    fn consumed(&mut self, device: &Device) -> Vec<ConsumptionReceipt> {
        let (key, account) = (self.key(), device.account());
        let page = self.standing(device, 0).page;
        let read = page.iter().filter_map(|entry| {
            match FeedReceipt::verify_for(&entry.token, &[key], &game(), &account).expect("verifies") {
                FeedReceipt::Consumption(receipt) => {
                    assert_eq!(receipt.feed, entry.feed);
                    Some(receipt)
                }
                FeedReceipt::Order(_) => None,
            }
        });
        read.collect()
    }

    fn refund(&mut self, id: u8, order: bevy_iap::protocol::OrderId, quantity: impl Into<Option<u32>>) {
        self.operate(id, RefundOrder { order, quantity: quantity.into() }).expect("refunds");
    }

    fn numbers(&mut self, device: &Device) -> ConsumptionNumbers {
        let summary = self.ledger.show(&device.account()).expect("reads").expect("is there");
        summary.consumptions.get(&device.id()).copied().unwrap_or_default()
    }
}

fn what_was_bought_is_used_up_once_and_the_feed_says_so(desk: &mut Desk, device: &mut Device) {
    desk.buy(device, "skin", 1);
    assert_eq!(desk.standing(device, 0).consumed_sequence, 0);
    let wanted = consumption(device, 1, "skin", 2);
    let wanted = signed(device, &wanted);
    assert_eq!(desk.consume_all(std::slice::from_ref(&wanted)), [CONSUMED]);
    let told = desk.consumed(device);
    let [receipt] = &told[..] else { panic!("{told:?}") };
    assert_eq!((receipt.feed, receipt.status, receipt.reason), (2, ConsumptionStatus::Consumed, None));
    assert_eq!((receipt.consumption, receipt.consumption_sha256), (wanted.consumption().id, wanted.sha256()));
    assert_eq!((receipt.device, receipt.quantity), (device.id(), 2));
    assert_eq!(receipt.item, *"skin");
    assert_eq!((receipt.issued_at, desk.standing(device, 0).consumed_sequence), (desk.now, 1));
    desk.reopen();
    assert_eq!(desk.consume(device, 2, "skin", 1), CONSUMED);
    assert_eq!(desk.consume(device, 3, "skin", 1), REFUSED);
    assert_eq!(desk.standing(device, 0).consumed_sequence, 3);
}

fn more_than_there_is_is_refused_whole_and_the_rest_stays(desk: &mut Desk, device: &mut Device) {
    desk.buy(device, "shield", 3);
    assert_eq!(desk.consume(device, 1, "shield", 4), REFUSED);
    let receipt = desk.consumed(device).remove(0);
    assert_eq!((receipt.status, receipt.reason), (ConsumptionStatus::Refused, Some(ConsumptionReason::NotEnough)));
    assert_eq!(desk.consume(device, 2, "unheard_of", 1), REFUSED);
    assert_eq!(desk.consume(device, 3, "shield", 3), CONSUMED);
    assert_eq!(desk.consume(device, 4, "shield", 1), REFUSED);
    desk.buy(device, "shield", 1);
    // A refusal is final: who wants to use it now says so anew.
    assert_eq!(desk.consume(device, 5, "shield", 1), CONSUMED);
}

fn consumption_sent_again_changes_nothing(desk: &mut Desk, device: &mut Device) {
    desk.buy(device, "shield", 2);
    let wanted = signed(device, &consumption(device, 1, "shield", 1));
    let twice = [wanted.clone(), wanted.clone()];
    assert_eq!(desk.consume_all(&twice), [CONSUMED, ConsumptionOutcome::Replayed]);
    let before = Rows::of(&mut *desk.ledger);
    desk.reopen();
    assert_eq!(desk.consume_all(&twice), [ConsumptionOutcome::Replayed; 2]);
    assert_eq!(Rows::of(&mut *desk.ledger), before);
    assert_eq!(desk.consumed(device).len(), 1);
    assert_eq!(desk.consume(device, 2, "shield", 1), CONSUMED);
    assert_eq!(desk.numbers(device), ConsumptionNumbers { last: 2, repeated: 0, missing: 0 });
}

fn id_with_another_body_is_a_conflict_and_nothing_is_taken(desk: &mut Desk, device: &mut Device) {
    desk.buy(device, "shield", 5);
    let first = consumption(device, 1, "shield", 1);
    let other = Consumption { quantity: 2, sequence: 2, ..first.clone() };
    let batch = [signed(device, &first), signed(device, &other)];
    assert_eq!(desk.consume_all(&batch), [CONSUMED, ConsumptionOutcome::Conflict]);
    assert_eq!(desk.consume_all(&batch), [ConsumptionOutcome::Replayed, ConsumptionOutcome::Conflict]);
    // Nor can another device take the id.
    let mut stranger = Device::new();
    desk.enrol(&stranger);
    desk.buy(&mut stranger, "shield", 1);
    let taken = Consumption { id: first.id, ..consumption(&stranger, 1, "shield", 1) };
    assert_eq!(desk.consume_all(&[signed(&stranger, &taken)]), [ConsumptionOutcome::Conflict]);
    assert_eq!(desk.consume(device, 2, "shield", 4), CONSUMED);
    assert_eq!(desk.consume(&stranger, 1, "shield", 1), CONSUMED);
}

fn number_that_was_used_is_decided_all_the_same_and_told_to_the_operator(desk: &mut Desk, device: &mut Device) {
    desk.buy(device, "shield", 9);
    assert_eq!(desk.consume(device, 1, "shield", 1), CONSUMED);
    assert_eq!(desk.consume(device, 4, "shield", 1), CONSUMED);
    let repeated = ConsumptionOutcome::Settled { status: ConsumptionStatus::Consumed, repeated: true };
    assert_eq!(desk.consume(device, 4, "shield", 1), repeated);
    assert_eq!(desk.consume(device, 1, "shield", 1), repeated);
    assert_eq!(desk.standing(device, 0).consumed_sequence, 4);
    let numbers = desk.numbers(device);
    assert_eq!((numbers, numbers.decided()), (ConsumptionNumbers { last: 4, repeated: 2, missing: 2 }, 4));
    let told = "4 consumptions, 2 with a number that was passed, 2 numbers missing";
    assert_eq!(numbers.to_string(), told);
    assert_eq!(desk.consume(device, u64::MAX / 2, "shield", 5), CONSUMED);
    assert_eq!(desk.standing(device, 0).consumed_sequence, u64::MAX / 2);
}

fn what_was_used_of_a_refunded_order_is_no_debt_on_the_next(desk: &mut Desk, device: &mut Device) {
    let (order, _) = desk.buy(device, "shield", 3);
    assert_eq!(desk.consume(device, 1, "shield", 2), CONSUMED);
    desk.refund(1, order, None);
    assert_eq!(desk.consume(device, 2, "shield", 1), REFUSED);
    desk.buy(device, "shield", 1);
    assert_eq!(desk.consume(device, 3, "shield", 1), CONSUMED);
    assert_eq!(desk.consume(device, 4, "shield", 1), REFUSED);
}

fn what_is_left_after_a_refund_in_part_is_counted_each_time(desk: &mut Desk, device: &mut Device) {
    // Three of the item for each that is bought.
    let (order, _) = desk.buy(device, "skin", 4);
    desk.buy(device, "skin", 1);
    assert_eq!(desk.consume(device, 1, "skin", 5), CONSUMED);
    desk.refund(1, order, 1);
    assert_eq!(desk.consume(device, 2, "skin", 8), REFUSED);
    assert_eq!(desk.consume(device, 3, "skin", 7), CONSUMED);
    desk.reopen();
    desk.refund(2, order, 2);
    assert_eq!(desk.consume(device, 4, "skin", 1), REFUSED, "six are given, and all of them used");
    desk.refund(3, order, None);
    desk.buy(device, "skin", 1);
    assert_eq!(desk.consume(device, 5, "skin", 4), REFUSED);
    assert_eq!(desk.consume(device, 6, "skin", 3), CONSUMED);
}

fn items_of_one_account_are_not_anothers(desk: &mut Desk, device: &mut Device) {
    let mut neighbour = Device::new();
    desk.enrol(&neighbour);
    desk.buy(device, "shield", 2);
    desk.buy(&mut neighbour, "shield", 1);
    let batch = [
        signed(&neighbour, &consumption(&neighbour, 1, "shield", 2)),
        signed(device, &consumption(device, 1, "shield", 2)),
        signed(&neighbour, &consumption(&neighbour, 2, "shield", 1)),
    ];
    assert_eq!(desk.consume_all(&batch), [REFUSED, CONSUMED, CONSUMED]);
    assert_eq!((desk.consumed(device).len(), desk.consumed(&neighbour).len()), (1, 2));
}

fn order_that_was_declined_gives_nothing_to_use(desk: &mut Desk, device: &mut Device) {
    let (_, receipt) = desk.buy(device, "shield", 900);
    assert_eq!(receipt.status, Status::Declined);
    assert_eq!(desk.consume(device, 1, "shield", 1), REFUSED);
}

fn device_that_is_not_in_the_books_uses_up_nothing_and_hinders_nobody(desk: &mut Desk, device: &mut Device) {
    let stranger = Device::new();
    desk.buy(device, "shield", 1);
    let batch = [
        signed(&stranger, &consumption(&stranger, 1, "shield", 1)),
        signed(device, &consumption(device, 1, "shield", 1)),
    ];
    assert_eq!(desk.consume_all(&batch), [ConsumptionOutcome::NotMember, CONSUMED]);
    // It can join, and send the same again.
    desk.enrol(&stranger);
    assert_eq!(desk.consume_all(&batch), [REFUSED, ConsumptionOutcome::Replayed]);
}

fn consumptions_of_a_batch_are_decided_in_their_order(desk: &mut Desk, device: &mut Device) {
    desk.buy(device, "shield", 3);
    let batch: Vec<_> = [2, 2, 1, 1]
        .into_iter()
        .zip(1..)
        .map(|(quantity, number)| consumption(device, number, "shield", quantity))
        .collect();
    let batch: Vec<_> = batch.iter().map(|consumption| signed(device, consumption)).collect();
    assert_eq!(desk.consume_all(&batch), [CONSUMED, REFUSED, CONSUMED, REFUSED]);
    let told: Vec<_> = desk.consumed(device).iter().map(|receipt| (receipt.feed, receipt.quantity)).collect();
    assert_eq!(told, [(2, 2), (3, 2), (4, 1), (5, 1)]);
}

fn sums_of_the_largest_quantities_do_not_wrap(desk: &mut Desk, device: &mut Device) {
    desk.buy(device, "shield", 1);
    assert_eq!(desk.consume(device, 1, "shield", u64::MAX / 2), REFUSED);
    assert_eq!(desk.consume(device, 2, "shield", 1), CONSUMED);
    assert_eq!(desk.consume(device, 3, "shield", u64::MAX / 2), REFUSED);
}

/// More receipts than are counted at a time, all of them declined orders of something that is free.
fn long_feed(engine: Engine) -> Option<(Desk, Device)> {
    if !engine.is_here() {
        return None;
    }
    let (mut desk, mut device) = (Desk::of(engine), Device::new());
    desk.enrol(&device);
    let mut batch = Vec::new();
    for _ in 0..4_200 {
        let token = device.order("gift", 0);
        batch.push(verified(&device, &token));
    }
    desk.settle(&batch);
    desk.buy(&mut device, "shield", 1);
    Some((desk, device))
}

fn long_feed_is_counted_in_parts(engine: Engine) {
    let Some((mut desk, device)) = long_feed(engine) else { return };
    let wanted = signed(&device, &consumption(&device, 1, "shield", 1));
    assert_eq!(desk.consume_all(std::slice::from_ref(&wanted)), [ConsumptionOutcome::Undecided]);
    assert_eq!(desk.standing(&device, 4_200).consumed_sequence, 0);
    desk.assert_right();
    desk.reopen();
    assert_eq!(desk.consume_all(&[wanted]), [CONSUMED]);
    desk.assert_right();
}

#[test]
fn long_feed_is_counted_in_parts_and_nothing_is_decided_before_its_end_in_a_file() {
    long_feed_is_counted_in_parts(Engine::Sqlite);
}

#[cfg(all(unix, feature = "postgres"))]
#[test]
fn long_feed_is_counted_in_parts_and_nothing_is_decided_before_its_end_in_a_database() {
    long_feed_is_counted_in_parts(Engine::Postgres);
}

/// A consumption's id is never an order's: the same bytes name one of each.
#[test]
fn consumption_with_the_id_of_an_order_is_another_thing() {
    for engine in [Engine::Model, Engine::Sqlite] {
        let (mut desk, mut device) = (Desk::of(engine), Device::new());
        desk.enrol(&device);
        let (order, _) = desk.buy(&mut device, "skin", 2);
        let same = Consumption { id: ConsumptionId(order.0), ..consumption(&device, 1, "skin", 1) };
        assert_eq!(desk.consume_all(&[signed(&device, &same)]), [CONSUMED]);
        desk.refund(1, order, 1);
        assert_eq!(desk.consume(&device, 2, "skin", 2), CONSUMED);
        let summary = desk.ledger.show(&device.account()).expect("reads").expect("is there");
        assert_eq!((summary.receipts, summary.latest.len()), (4, 1));
        desk.assert_right();
    }
}

fn what_a_guest_has_used_up_stays_used_up_wherever_it_moves(desk: &mut Desk, device: &mut Device) {
    let (refunded, _) = desk.buy(device, "shield", 5);
    assert_eq!(desk.consume(device, 1, "shield", 5), CONSUMED);
    desk.refund(1, refunded, None);
    desk.buy(device, "shield", 10);
    desk.buy(device, "skin", 1);
    assert_eq!(desk.consume(device, 2, "shield", 7), CONSUMED);
    let (order, _) = desk.buy(device, "shield", 4);
    desk.refund(2, order, 2);
    let mut host = desk.newcomer();
    desk.join(device, &host);
    let told = desk.consumed(&host);
    let [receipt] = &told[..] else { panic!("{told:?}") };
    assert_eq!((receipt.item.as_str(), receipt.quantity), ("shield", 7));
    assert_eq!((receipt.status, receipt.reason), (ConsumptionStatus::Consumed, Some(ConsumptionReason::Moved)));
    assert_eq!(desk.consume(&host, 1, "shield", 6), REFUSED);
    assert_eq!(desk.consume(device, 3, "shield", 5), CONSUMED);
    assert_eq!(desk.consume(&host, 2, "shield", 1), REFUSED);
    assert_eq!(desk.consume(&host, 3, "skin", 3), CONSUMED);

    // Once more: a guest's account in which somebody else has used up something.
    let last = desk.newcomer();
    desk.operate(3, bevy_iap::server::ledger::operation::RevokeDevice { device: device.id() }).expect("revokes");
    desk.join(&mut host, &last);
    let told = desk.consumed(&last);
    let moved: Vec<_> = told.iter().map(|receipt| (receipt.item.as_str(), receipt.quantity)).collect();
    assert_eq!(moved, [("shield", 12), ("skin", 3)]);
    assert_eq!(desk.consume(&last, 1, "shield", 1), REFUSED);
}

fn device_that_has_left_or_was_revoked_uses_up_nothing_and_hinders_nobody(desk: &mut Desk, device: &mut Device) {
    desk.buy(device, "shield", 9);
    let (mut leaver, mut revoked, host) = (desk.newcomer(), desk.newcomer(), desk.newcomer());
    desk.join(&mut leaver, device);
    desk.join(&mut revoked, device);
    let late = [&leaver, &revoked].map(|former| signed(former, &consumption(former, 1, "shield", 1)));
    desk.join(&mut leaver, &host);
    desk.operate(1, RevokeDevice { device: revoked.id() }).expect("revokes");
    let [left, revoked] = late;
    let own = signed(device, &consumption(device, 1, "shield", 1));
    let outcomes = desk.consume_all(&[left.clone(), revoked, own.clone(), left.clone()]);
    let former = ConsumptionOutcome::NotMember;
    assert_eq!(outcomes, [former, former, CONSUMED, former]);
    assert_eq!(desk.consumed(device).len(), 1);
}
