//! What the machine makes of its journal: seals, writing it anew, and appends of which nobody knows.

use bevy_iap::client::machine::{Input, Output};
use bevy_iap::client::{OfflineGrants, OrderState, Record, Response, Signed, Update};
use bevy_iap::protocol::sync::Balance;
use bevy_iap::protocol::{Currency, Grant, Micros, Reason, Receipt, ReceiptId, Status, Token};

use crate::world::{World, order_id};

#[test]
fn a_journal_that_is_written_anew_says_the_same() {
    let mut world = World::new(OfflineGrants::Wait);
    for number in 1..=6 {
        world.buy(number, "shield");
    }
    world.answer(&[(1, Status::Granted), (2, Status::Granted), (3, Status::Declined), (4, Status::Granted)]);
    world.consume(1, "shield", 1);
    let (before, last) = (world.records.len(), world.last_order());
    world.compact();
    let orders = world.records.iter().filter(|record| matches!(record, Record::Order(_))).count();
    assert_eq!((orders, world.records.len() < before), (2, true), "only what is open is still there as an order");

    let mut world = world.restart();
    assert_eq!(world.left("shield"), 2);
    let states = [1, 2, 3, 4, 5, 6].map(|number| world.state(number).expect("it is known"));
    use OrderState::{Declined, Granted, Sent};
    assert_eq!(states, [Granted, Granted, Declined, Granted, Sent, Sent]);
    world.answer(&[(5, Status::Granted), (6, Status::Granted)]);
    world.compact();
    let mut world = world.restart();
    world.buy(7, "shield");
    let next = world.last_order();
    assert_eq!((next.sequence, world.left("shield")), (last.sequence + 1, 4), "the chain goes on");
}

#[test]
fn pp06_a_refund_takes_back_what_an_order_gave_before_the_journal_was_written_anew() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    world.compact();
    let mut world = world.restart();
    let refunded = world.receipt(1, Status::Refunded, 9);
    let response = world.respond(vec![refunded], 9);
    world.input(Input::Answered(response));
    assert_eq!((world.left("shield"), world.state(1)), (0, Some(OrderState::Refunded)));
    world.compact();
    assert_eq!(world.restart().left("shield"), 0);
}

#[test]
fn a_journal_does_not_grow_with_what_is_needed_no_longer() {
    let mut world = World::new(OfflineGrants::Provisional);
    for round in 0..450u32 {
        let Input::Purchase(mut terms) = World::purchase(1, "shield") else { unreachable!("it is a purchase") };
        terms.id.0[..4].copy_from_slice(&(round + 1).to_be_bytes());
        world.input(Input::Purchase(terms));
        world.input(Input::Appended);
        world.answer_last(u64::from(round) + 1);
    }
    assert_eq!(world.left("shield"), 450);
    let needed = 2 * 450 + 512 + 8;
    assert!(world.records.len() <= needed, "{} records", world.records.len());
    assert_eq!(world.restart().left("shield"), 450);
}

#[test]
fn a_broken_seal_is_told_and_what_it_was_on_is_verified_again() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    for record in &mut world.records {
        if let Record::Receipt(signed) = record {
            let mut seal = signed.seal().to_vec();
            // The number of shields.
            *seal.last_mut().expect("a seal") = 99;
            *signed = Signed::new(&seal, signed.token().as_str());
        }
    }
    let world = world.restart();
    assert_eq!(world.left("shield"), 1);
    assert!(world.troubles.iter().any(|trouble| trouble.contains("1 seals in the journal are broken")));
    // It was sealed anew, so the next start has nothing to tell.
    assert_eq!(world.restart().troubles, Vec::<String>::new());
}

#[test]
fn a_receipt_that_is_not_what_its_seal_says_is_not_shown() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    let other = world.receipt(1, Status::Refunded, 2);
    for record in &mut world.records {
        if let Record::Receipt(signed) = record {
            *signed = Signed::new(signed.seal(), other.as_str());
        }
    }
    let world = world.restart();
    assert_eq!(world.receipts, 0);
    assert_eq!(world.left("shield"), 1, "its seal counts, and it is not verified again");
    assert!(world.troubles.iter().any(|trouble| trouble.contains("not what its seal says")), "{:?}", world.troubles);
}

#[test]
fn an_append_of_which_nobody_knows_is_tried_again_until_it_is_known() {
    let mut world = World::new(OfflineGrants::Provisional);
    let first = world.input(World::purchase(1, "shield"));
    let [Output::Append(records)] = &first[..] else { panic!("{first:?}") };
    world.input(Input::AppendUncertain("the disk is failing".to_owned()));
    let order = &world.orders[&order_id(1)];
    assert_eq!((order.state, order.trouble.as_deref()), (OrderState::Placed, Some("the disk is failing")));
    assert_eq!(world.left("shield"), 0, "nothing is given for it");

    // Nothing else is taken meanwhile: it would have to follow an order that may not be there.
    world.input(World::purchase(2, "shield"));
    assert_eq!(world.state(2), Some(OrderState::NotSaved));
    let again = world.wait();
    assert!(matches!(&again[..], [Output::Append(same), ..] if same == records), "{again:?}");
    world.input(Input::AppendUncertain("the disk is failing".to_owned()));
    world.wait();
    world.input(Input::Appended);
    assert_eq!(world.state(1), Some(OrderState::Sent), "it is queued, and sent");
    world.buy(3, "shield");
    assert_eq!(world.last_order().sequence, 2);
}

#[test]
fn an_append_of_which_nobody_knew_can_turn_out_not_to_be_saved() {
    let mut world = World::new(OfflineGrants::Wait);
    world.input(World::purchase(1, "shield"));
    world.input(Input::AppendUncertain("the disk is failing".to_owned()));
    world.wait();
    world.input(Input::AppendFailed("the disk is full".to_owned()));
    assert_eq!(world.state(1), Some(OrderState::NotSaved));
    world.buy(2, "shield");
    assert_eq!((world.last_order().sequence, world.state(2)), (1, Some(OrderState::Sent)));
}

#[test]
fn pp02_a_receipt_that_the_feed_brings_again_after_a_damaged_journal_counts_once() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    world.records.retain(|record| !matches!(record, Record::Synced(_)));
    let mut world = world.restart();
    if world.path() == "/v1/devices" {
        world.input(Input::Answered(bevy_iap::client::Response { status: 201, ..Default::default() }));
    }
    world.answer(&[(1, Status::Granted)]);
    let receipts = world.records.iter().filter(|record| matches!(record, Record::Receipt(_))).count();
    assert_eq!((world.left("shield"), receipts), (1, 1));
    assert!(!world.updates.iter().any(|update| matches!(update, Update::Receipt(_))));
}

#[test]
fn a_journal_that_lost_its_first_record_keeps_everything_else() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    world.buy(2, "shield");
    world.records.remove(0);
    let world = world.restart();
    assert_eq!((world.left("shield"), world.state(2)), (1, Some(OrderState::Sent)));
    assert!(matches!(world.records.last(), Some(Record::Identity(_))), "it says again whose it is");
}

#[test]
fn what_is_used_up_is_journaled() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    let outputs = world.input(World::consumption(1, "shield", 1));
    assert!(matches!(&outputs[0], Output::Append(records) if matches!(records[..], [Record::Consumption(_)])));
    assert_eq!(world.left("shield"), 1);
    world.input(Input::Appended);
    assert_eq!(world.left("shield"), 0);
    assert_eq!(world.restart().left("shield"), 0);
}

#[test]
fn what_is_used_while_a_refund_takes_it_back_is_no_debt_on_the_next() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    world.input(Input::SyncNow);
    let refunded = world.receipt(1, Status::Refunded, 9);
    let response = world.respond(vec![refunded], 9);
    // The refund is being made durable when the game uses the shield that it still shows.
    world.input_undurable(Input::Answered(response));
    world.input_undurable(World::consumption(1, "shield", 1));
    world.input_undurable(Input::Appended);
    world.input_undurable(Input::Appended);
    assert!(world.updates.iter().any(|update| matches!(update, Update::Consumed { saved: false, .. })));
    world.buy(2, "shield");
    world.answer(&[(2, Status::Granted)]);
    assert_eq!((world.left("shield"), world.restart().left("shield")), (1, 1));
}

#[test]
fn a_receipt_that_says_to_wait_changes_nothing_that_was_decided() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    world.input(Input::SyncNow);
    let waits = world.receipt(1, Status::Pending, 9);
    let response = world.respond(vec![waits], 9);
    world.input(Input::Answered(response));
    assert_eq!((world.left("shield"), world.state(1)), (1, Some(OrderState::Granted)));
    let world = world.restart();
    assert_eq!((world.left("shield"), world.state(1)), (1, Some(OrderState::Granted)));
}

#[test]
fn a_journal_written_anew_while_the_server_does_not_know_the_device_keeps_the_chain() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    world.input(Input::SyncNow);
    let body = br#"{"type":"/problems/unknown-device","title":"x","status":404,"detail":"x"}"#.to_vec();
    world.input(Input::Answered(Response { status: 404, retry_after: None, body }));
    world.compact();
    let mut world = world.restart();
    world.buy(2, "shield");
    assert_eq!(world.last_order().sequence, 2);
}

#[test]
fn a_late_receipt_for_an_old_order_does_not_forget_a_new_one_with_its_number() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    let waits = world.receipt(1, Status::Pending, 1);
    let response = world.respond(vec![waits], 1);
    world.input(Input::Answered(response));
    // The server lost its books, so the device begins its chain again.
    world.buy(2, "shield");
    let broken = |receipt: &mut Receipt| {
        (receipt.status, receipt.reason, receipt.feed) = (Status::Declined, Some(Reason::ChainBroken), 2);
        receipt.grants.clear();
    };
    let declined = world.receipt_with(2, broken, &world.server);
    let response = world.respond(vec![declined], 2);
    world.input(Input::Answered(response));
    world.input(Input::SetOffline(true));
    world.buy(3, "shield");
    assert_eq!(world.last_order().sequence, 1, "it has the number of the order that waits");
    world.input(Input::SetOffline(false));
    let granted = world.receipt(1, Status::Granted, 9);
    let response = world.respond(vec![granted], 9);
    world.input(Input::Answered(response));
    world.input(Input::SyncNow);
    assert_eq!(world.sync_request().orders, [world.last_order_token()], "the new one is still to be answered");
}

/// A receipt that grants so many shields of an order, at a place of the feed.
fn shields(world: &World, order: u8, quantity: u32, feed: u64) -> Token {
    let change = |receipt: &mut Receipt| {
        receipt.id = ReceiptId([order + 16 * u8::try_from(feed).expect("small"); 16]);
        (receipt.feed, receipt.quantity) = (feed, quantity);
        receipt.reason = (feed > 1).then_some(Reason::RefundedInPart);
        let item = "shield".parse().expect("a name");
        receipt.grants = vec![Grant::Item { item, quantity: u64::from(quantity) }];
    };
    world.receipt_with(order, change, &world.server)
}

#[test]
fn pp06_a_refund_in_part_leaves_what_is_left_after_restarts_and_compaction_too() {
    for way in ["at once", "after a restart", "after the journal was written anew"] {
        let mut world = World::new(OfflineGrants::Wait);
        world.buy(1, "shield");
        let response = world.respond(vec![shields(&world, 1, 5, 1)], 1);
        world.input(Input::Answered(response));
        world.consume(1, "shield", 4);
        assert_eq!(world.left("shield"), 1);
        world.input(Input::SyncNow);
        let used = world.consumption_receipt(1, 2, |_| {});
        let response = world.respond(vec![used, shields(&world, 1, 2, 3)], 3);
        world.input(Input::Answered(response));
        if way == "after the journal was written anew" {
            world.compact();
        }
        if way != "at once" {
            world = world.restart();
        }
        let order = &world.orders[&order_id(1)];
        assert_eq!((order.state, order.reason), (OrderState::Granted, Some(Reason::RefundedInPart)), "{way}");
        assert_eq!((world.left("shield"), order.quantity), (0, 2), "{way}");
        // What was used beyond what is left is no debt.
        world.buy(2, "shield");
        let response = world.respond(vec![shields(&world, 2, 1, 4)], 4);
        world.input(Input::Answered(response));
        assert_eq!(world.left("shield"), 1, "{way}");
        world.compact();
        assert_eq!(world.restart().left("shield"), 1, "{way}");
    }
}

#[test]
fn a_wallet_that_owes_is_believed_and_shown() {
    let mut world = World::new(OfflineGrants::Wait);
    let owed =
        Balance { currency: Currency::EUR, available: Micros::new(-60_000).expect("in range"), held: Micros::ZERO };
    world.input(Input::SyncNow);
    let response = world.with_answer(|answer| answer.wallet = vec![owed]);
    world.input(Input::Answered(response));
    let told = |update: &Update| matches!(update, Update::Wallet(wallet) if wallet[..] == [owed]);
    assert!(world.updates.iter().any(told));
}
