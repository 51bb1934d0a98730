//! Using items up: signed and numbered, pending until the feed answers, and counted in the feed's order.

use std::time::Duration;

use bevy_iap::client::machine::{Input, Output};
use bevy_iap::client::record::{Consumed, Counted};
use bevy_iap::client::storage::Opened;
use bevy_iap::client::{Access, Machine, OfflineGrants, Record, Settings, Tick, Update};
use bevy_iap::protocol::{
    ConsumptionId, ConsumptionReceipt, ConsumptionStatus, Grant, Receipt, SecretKey, Sha256, Status, Token,
};

use crate::world::{SERVER_TIME, World, game};

/// A device with so many shields, by the receipt at the first place of its feed.
fn with_shields(quantity: u64) -> World {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    let receipt = shields(&world, 1, 1, quantity);
    answer(&mut world, vec![receipt], 1);
    assert_eq!(world.left("shield"), quantity);
    world
}

/// A receipt that grants so many shields.
fn shields(world: &World, number: u8, feed: u64, quantity: u64) -> Token {
    let change = |receipt: &mut Receipt| {
        receipt.feed = feed;
        let item = "shield".parse().expect("a name");
        receipt.grants = vec![Grant::Item { item, quantity }];
    };
    world.receipt_with(number, change, &world.server)
}

fn answer(world: &mut World, receipts: Vec<Token>, cursor: u64) {
    let response = world.respond(receipts, cursor);
    world.input(Input::Answered(response));
}

/// Asks, and is answered.
fn sync(world: &mut World, receipts: Vec<Token>, cursor: u64) {
    world.input(Input::SyncNow);
    answer(world, receipts, cursor);
}

fn refuse(receipt: &mut ConsumptionReceipt) {
    receipt.status = ConsumptionStatus::Refused;
}

fn sent(world: &mut World) -> Vec<Token> {
    world.input(Input::SyncNow);
    world.sync_request().consumptions
}

fn refusals(world: &World) -> usize {
    world.updates.iter().filter(|update| matches!(update, Update::ConsumeRefused { .. })).count()
}

#[test]
fn consumption_is_signed_and_numbered_and_counts_once_it_is_durable() {
    let mut world = with_shields(5);
    let outputs = world.input(World::consumption(1, "shield", 2));
    assert!(matches!(&outputs[0], Output::Append(records) if matches!(records[..], [Record::Consumption(_)])));
    assert_eq!(world.left("shield"), 5);
    world.input(Input::Appended);
    assert_eq!(world.left("shield"), 3);
    world.consume(2, "shield", 1);
    let signed: Vec<_> = world.consumptions().into_iter().map(|(it, _)| (it.id, it.sequence, it.quantity)).collect();
    assert_eq!(signed, [(ConsumptionId([1; 16]), 1, 2), (ConsumptionId([2; 16]), 2, 1)]);
    assert_eq!((world.left("shield"), world.restart().left("shield")), (2, 2));
}

#[test]
fn consumption_that_could_not_be_saved_is_never_sent_and_its_number_is_the_next_ones() {
    let mut world = with_shields(2);
    world.input(World::consumption(1, "shield", 1));
    world.input(Input::AppendFailed("full".to_owned()));
    assert!(world.updates.iter().any(|update| matches!(update, Update::Consumed { saved: false, .. })));
    assert_eq!((world.left("shield"), sent(&mut world).len()), (2, 0));
    world.consume(2, "shield", 1);
    assert_eq!(world.consumptions()[0].0.sequence, 1);
}

#[test]
fn more_than_there_is_is_not_signed_also_when_it_is_asked_for_at_once() {
    let mut world = with_shields(2);
    let tick = Tick { elapsed: Duration::ZERO, unix: SERVER_TIME, random: [1; 16] };
    let both = [World::consumption(1, "shield", 2), World::consumption(2, "shield", 1)];
    let outputs = world.machine.handle_all(both, tick);
    let appended = outputs.iter().find_map(|output| match output {
        Output::Append(records) => Some(records.len()),
        _ => None,
    });
    assert_eq!(appended, Some(1));
    let refused = outputs.iter().filter(|it| matches!(it, Output::Tell(Update::Consumed { saved: false, .. })));
    assert_eq!(refused.count(), 1);
}

#[test]
fn consumption_is_sent_until_the_feed_answers_it_and_then_no_more() {
    let mut world = with_shields(3);
    world.consume(1, "shield", 1);
    world.consume(2, "shield", 1);
    let signed: Vec<Token> = world.consumptions().into_iter().map(|(_, token)| token).collect();
    assert_eq!(sent(&mut world), signed);
    // The answer holds the first one's receipt alone: the other waits on.
    let first = world.consumption_receipt(1, 2, |_| {});
    answer(&mut world, vec![first], 2);
    assert_eq!((world.left("shield"), sent(&mut world)), (1, vec![signed[1].clone()]));
    let second = world.consumption_receipt(2, 3, |_| {});
    answer(&mut world, vec![second], 3);
    assert_eq!((world.left("shield"), sent(&mut world).len(), refusals(&world)), (1, 0, 0));
    let world = world.restart();
    assert_eq!((world.left("shield"), world.sync_request().consumptions.len()), (1, 0));
}

#[test]
fn consumption_gathers_others_for_ten_seconds_and_then_is_sent_by_itself() {
    let mut world = with_shields(3);
    world.request = None;
    world.consume(1, "shield", 1);
    assert!(world.request.is_none());
    assert_eq!(world.wake_at(), Some(Duration::from_secs(10)));
    world.elapsed = Duration::from_secs(5);
    world.consume(2, "shield", 1);
    world.wait();
    assert_eq!((world.elapsed, world.sync_request().consumptions.len()), (Duration::from_secs(10), 2));
    // One that is used meanwhile does not wait for the next poll.
    world.consume(3, "shield", 1);
    let receipts = vec![world.consumption_receipt(1, 2, |_| {}), world.consumption_receipt(2, 3, |_| {})];
    answer(&mut world, receipts, 3);
    assert_eq!(world.wake_at(), Some(Duration::from_secs(20)));
}

#[test]
fn more_than_fit_into_one_request_follow_at_once() {
    let mut world = with_shields(300);
    world.input(Input::SetOffline(true));
    for number in 0..=255 {
        world.consume(number, "shield", 1);
    }
    let (first, last) = (world.consumptions()[0].1.clone(), world.consumptions()[255].1.clone());
    world.consume(7, "shield", 40);
    world.input(Input::SetOffline(false));
    let request = world.sync_request().consumptions;
    assert_eq!((request.len(), &request[0], &request[255]), (256, &first, &last));
    let receipts: Vec<_> =
        (0..=255).map(|number| world.consumption_receipt(number, u64::from(number) + 2, |_| {})).collect();
    answer(&mut world, receipts, 257);
    assert_eq!(world.left("shield"), 4);
    world.input(Input::TimePassed);
    assert_eq!(world.sync_request().consumptions.len(), 1, "it did not wait");
}

#[test]
fn refused_consumption_gives_back_what_the_server_says_is_there_and_the_game_is_told() {
    let mut world = with_shields(3);
    world.consume(1, "shield", 2);
    world.input(Input::SyncNow);
    let answers =
        vec![world.consumption_receipt(2, 2, |receipt| receipt.quantity = 2), world.consumption_receipt(1, 3, refuse)];
    // Another device was faster with two of the three.
    answer(&mut world, answers, 3);
    assert_eq!((world.left("shield"), refusals(&world)), (1, 1));
    let told = Update::ConsumeRefused { item: "shield".parse().expect("a name"), quantity: 2 };
    assert!(world.updates.iter().any(|update| format!("{update:?}") == format!("{told:?}")));
    let mut world = world.restart();
    assert_eq!((world.left("shield"), refusals(&world)), (1, 0), "once");
    world.compact();
    assert_eq!(world.restart().left("shield"), 1);
}

#[test]
fn answers_of_a_stranger_or_to_another_consumption_change_nothing() {
    let mut world = with_shields(3);
    world.consume(1, "shield", 2);
    world.input(Input::SyncNow);
    let other_body = world.consumption_receipt(1, 2, |receipt| receipt.consumption_sha256 = Sha256::of("other"));
    let other_account = world.consumption_receipt(1, 2, |receipt| {
        receipt.account = SecretKey::from_seed(&[9; 32]).id().guest_account();
    });
    let stranger = {
        let server = std::mem::replace(&mut world.server, SecretKey::from_seed(&[9; 32]));
        let token = world.consumption_receipt(1, 2, refuse);
        world.server = server;
        token
    };
    let before = world.records.len();
    for lie in [other_body, other_account, stranger] {
        answer(&mut world, vec![lie], 2);
        assert_eq!((world.left("shield"), world.records.len()), (1, before));
        world.wait();
        assert_eq!(world.sync_request().consumptions.len(), 1);
    }
    let answered = world.consumption_receipt(1, 2, |_| {});
    answer(&mut world, vec![answered], 2);
    assert_eq!(world.left("shield"), 1);
}

#[test]
fn what_another_device_used_is_used_here_and_a_new_device_finds_it_used() {
    let mut world = with_shields(3);
    let other = world.consumption_receipt(9, 2, |receipt| receipt.device = SecretKey::from_seed(&[9; 32]).id());
    sync(&mut world, vec![other.clone()], 2);
    assert_eq!(world.left("shield"), 2);
    sync(&mut world, vec![other.clone()], 2);
    assert_eq!((world.left("shield"), world.restart().left("shield")), (2, 2), "once");
    // The same feed from its beginning.
    let mut new = World::new(OfflineGrants::Wait);
    let bought = shields(&new, 1, 1, 3);
    sync(&mut new, vec![bought, other], 2);
    assert_eq!(new.left("shield"), 2);
}

#[test]
fn save_that_was_restored_goes_on_after_the_last_number_that_the_server_knows() {
    let mut world = with_shields(9);
    world.consume(1, "shield", 1);
    world.input(Input::SyncNow);
    let response = world.with_answer(|answer| (answer.cursor, answer.consumed_sequence) = (1, 7));
    world.input(Input::Answered(response));
    world.consume(2, "shield", 1);
    assert_eq!(world.consumptions()[1].0.sequence, 8);
    let mut world = world.restart();
    world.consume(3, "shield", 1);
    assert_eq!(world.consumptions()[2].0.sequence, 9);
    // A lower one, as of books that were put back, changes nothing.
    let response = world.with_answer(|answer| (answer.cursor, answer.consumed_sequence) = (1, 2));
    world.input(Input::Answered(response));
    world.consume(4, "shield", 1);
    assert_eq!(world.consumptions()[3].0.sequence, 10);
}

#[test]
fn journal_that_is_written_anew_sums_what_is_answered_and_keeps_what_is_not() {
    let mut world = with_shields(9);
    for number in 1..=4 {
        world.consume(number, "shield", 1);
    }
    let answers = (1..=3).map(|number| world.consumption_receipt(number, u64::from(number) + 1, |_| {})).collect();
    sync(&mut world, answers, 4);
    let last = world.consumptions()[3].1.clone();
    world.compact();
    assert_eq!(world.consumptions().iter().map(|(_, token)| token).collect::<Vec<_>>(), [&last]);
    let receipts = world.records.iter().filter(|record| matches!(record, Record::ConsumptionReceipt(_)));
    assert_eq!(receipts.count(), 0);
    let used = [("shield".parse().expect("a name"), 3)].into();
    let counted = Record::Counted(Counted { feed: 4, used, consumed_sequence: 4 });
    assert!(world.records.contains(&counted), "{:?}", world.records);

    let mut world = world.restart();
    assert_eq!((world.left("shield"), sent(&mut world)), (5, vec![last]));
    let fourth = world.consumption_receipt(4, 5, |_| {});
    answer(&mut world, vec![fourth], 5);
    world.compact();
    let mut world = world.restart();
    world.consume(5, "shield", 1);
    assert_eq!((world.left("shield"), world.consumptions()[0].0.sequence), (4, 5), "the numbers go on");
}

#[test]
fn receipt_that_comes_ahead_of_its_place_is_counted_there() {
    for way in ["at once", "after a restart", "after the journal was written anew"] {
        let mut world = World::new(OfflineGrants::Wait);
        world.buy(9, "shield");
        // The feed of a restored account is read page by page, and the new order's receipt is far behind.
        let (old, new) = (shields(&world, 1, 1, 1), shields(&world, 9, 4, 1));
        answer(&mut world, vec![new.clone(), old], 1);
        assert_eq!(world.left("shield"), 2, "{way}");
        if way == "after the journal was written anew" {
            world.compact();
        }
        if way != "at once" {
            world = world.restart();
        }
        // The first one was used, and its order refunded: that is no debt on the new one.
        let page = vec![world.consumption_receipt(5, 2, |_| {}), world.receipt(1, Status::Refunded, 3)];
        sync(&mut world, page, 3);
        assert_eq!(world.left("shield"), 1, "{way}");
        let receipts = world.receipts;
        sync(&mut world, vec![new], 4);
        assert_eq!((world.left("shield"), world.receipts), (1, receipts), "{way}");
        world.compact();
        assert_eq!(world.restart().left("shield"), 1, "{way}");
    }
}

#[test]
fn feed_that_begins_again_begins_the_sums_again() {
    let mut world = with_shields(1);
    world.consume(1, "shield", 1);
    let (granted, used) = (shields(&world, 1, 1, 1), world.consumption_receipt(1, 2, |_| {}));
    let (refunded, second) = (world.receipt(1, Status::Refunded, 3), shields(&world, 2, 4, 1));
    sync(&mut world, vec![used.clone(), refunded.clone(), second], 4);
    assert_eq!(world.left("shield"), 1);
    // The books of three receipts before were put back.
    sync(&mut world, vec![granted.clone(), used, refunded], 3);
    assert_eq!(world.left("shield"), 1, "what was refunded is no debt this time either");
    let mut world = world.restart();
    assert_eq!(world.left("shield"), 1);
    // And those of two more: of what was used after the first receipt nobody knows.
    sync(&mut world, vec![granted], 1);
    assert_eq!((world.left("shield"), world.restart().left("shield")), (1, 1));
}

#[test]
fn receipt_of_a_feed_that_was_lost_does_not_stand_where_another_one_does_now() {
    let mut world = World::new(OfflineGrants::Wait);
    let (first, lost) = (shields(&world, 1, 1, 2), shields(&world, 2, 2, 1));
    sync(&mut world, vec![first.clone(), lost], 2);
    sync(&mut world, vec![first], 1);
    world.compact();
    let mut world = world.restart();
    assert_eq!(world.left("shield"), 3, "what a receipt has granted stays granted");
    // At its place two of the others are used up now, and then their order is refunded.
    let page =
        vec![world.consumption_receipt(5, 2, |receipt| receipt.quantity = 2), world.receipt(1, Status::Refunded, 3)];
    sync(&mut world, page, 3);
    assert_eq!((world.left("shield"), world.restart().left("shield")), (1, 1));
}

#[test]
fn consumption_for_which_nothing_is_left_is_withdrawn_and_is_no_debt_on_what_is_bought_next() {
    for way in ["at once", "after a restart", "after the journal was written anew"] {
        let mut world = with_shields(3);
        world.consume(1, "shield", 1);
        world.consume(2, "shield", 2);
        world.input(Input::SyncNow);
        // Of three there is one left before the server has heard of what was used.
        let change = |receipt: &mut Receipt| {
            receipt.feed = 2;
            receipt.id = bevy_iap::protocol::ReceiptId([77; 16]);
            let item = "shield".parse().expect("a name");
            receipt.grants = vec![Grant::Item { item, quantity: 1 }];
        };
        let refunded = world.receipt_with(1, change, &world.server);
        answer(&mut world, vec![refunded], 2);
        assert_eq!((world.left("shield"), refusals(&world)), (0, 1), "the latest one: {way}");
        if way == "after the journal was written anew" {
            world.compact();
        }
        if way != "at once" {
            world = world.restart();
        }
        assert_eq!(sent(&mut world).len(), 1, "{way}");
        let first = world.consumption_receipt(1, 3, |_| {});
        answer(&mut world, vec![first], 3);
        world.buy(4, "shield");
        let granted = shields(&world, 4, 4, 1);
        answer(&mut world, vec![granted], 4);
        assert_eq!(world.left("shield"), 1, "{way}");
        // The server had heard of it after all, and has consumed it: the feed is what counts.
        let late = world.consumption_receipt(2, 5, |receipt| receipt.quantity = 1);
        sync(&mut world, vec![late], 5);
        assert_eq!((world.left("shield"), world.restart().left("shield")), (0, 0), "{way}");
    }
}

#[test]
fn page_that_was_cut_short_by_a_crash_is_counted_once() {
    let mut world = with_shields(5);
    world.consume(1, "shield", 1);
    let page = vec![world.consumption_receipt(1, 2, |_| {}), world.consumption_receipt(2, 3, |_| {})];
    let before = world.records.len();
    sync(&mut world, page.clone(), 3);
    // All but the first receipt of the page is lost.
    world.records.truncate(before + 1);
    let mut world = world.restart();
    assert_eq!((world.left("shield"), sent(&mut world).len()), (4, 1), "it waits for the rest of its page");
    world.compact();
    let mut world = world.restart();
    let before = world.records.len();
    answer(&mut world, page, 3);
    assert_eq!((world.left("shield"), world.records.len()), (3, before + 2), "the first one is there already");
    assert_eq!(world.restart().left("shield"), 3);
}

#[test]
fn what_a_journal_of_before_says_is_used_up_still_counts() {
    let mut world = with_shields(5);
    world.records.push(Record::Consumed(Consumed { item: "shield".parse().expect("a name"), quantity: 2, at: 0 }));
    let mut world = world.restart();
    assert_eq!(world.left("shield"), 3);
    world.consume(1, "shield", 1);
    let answered = world.consumption_receipt(1, 2, |_| {});
    sync(&mut world, vec![answered], 2);
    world.compact();
    assert_eq!((world.left("shield"), world.restart().left("shield")), (2, 2));
}

#[test]
fn consumption_that_is_not_this_devices_is_dropped_and_told() {
    let mut world = with_shields(5);
    world.consume(1, "shield", 1);
    let (consumption, _) = world.consumptions().remove(0);
    let forged = consumption.sign(&SecretKey::from_seed(&[9; 32])).expect("signs");
    world.records.push(Record::Consumption(forged));
    let world = world.restart();
    assert_eq!(world.troubles, ["1 consumptions in the journal are not believed"]);
    assert_eq!((world.left("shield"), world.sync_request().consumptions.len()), (4, 1));
}

#[test]
fn without_a_server_it_counts_here_alone() {
    let settings = Settings { offline_grants: OfflineGrants::Provisional, ..Settings::new(game(), Vec::new()) };
    let key = SecretKey::from_seed(&[1; 32]);
    let opened = Opened { key: key.clone(), access: Access::ReadWrite, is_damaged: false, troubles: Vec::new() };
    let tick = Tick { elapsed: Duration::ZERO, unix: 0, random: [1; 16] };
    let (mut machine, ..) = Machine::opening(settings, key).finish(opened, tick).expect("opens");
    machine.handle(World::purchase(1, "shield"), tick);
    machine.handle(Input::Appended, tick);
    let outputs = machine.handle(World::consumption(1, "shield", 1), tick);
    assert!(matches!(&outputs[0], Output::Append(records) if matches!(records[..], [Record::Consumed(_)])));
    let outputs = machine.handle(Input::Appended, tick);
    assert!(outputs.iter().any(|output| matches!(output, Output::Tell(Update::Consumed { saved: true, .. }))));
}

#[test]
fn what_was_used_of_an_order_that_is_declined_is_refused_and_no_debt() {
    let mut world = World::new(OfflineGrants::Provisional);
    world.buy(1, "shield");
    world.consume(1, "shield", 1);
    let declined = world.receipt(1, Status::Declined, 1);
    answer(&mut world, vec![declined], 1);
    assert_eq!(world.left("shield"), 0);
    let refused = world.consumption_receipt(1, 2, refuse);
    sync(&mut world, vec![refused], 2);
    assert_eq!((world.left("shield"), refusals(&world)), (0, 1));
    world.buy(2, "shield");
    let granted = shields(&world, 2, 3, 1);
    answer(&mut world, vec![granted], 3);
    assert_eq!(world.left("shield"), 1);
}

/// The order's record and what it gave before its receipt are left out, and the receipt comes after what was used of it.
#[test]
fn what_was_used_before_the_receipt_is_still_pending_after_the_journal_was_written_anew() {
    let mut world = World::new(OfflineGrants::Provisional);
    world.buy(1, "shield");
    world.consume(1, "shield", 1);
    let granted = world.receipt(1, Status::Granted, 1);
    answer(&mut world, vec![granted], 1);
    for _ in 0..2 {
        world.compact();
        world = world.restart();
        assert_eq!((world.left("shield"), sent(&mut world).len()), (0, 1));
    }
}
