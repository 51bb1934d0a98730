//! Joining another account: what is signed is answered first, and what comes after is the new account's.

use bevy_iap::client::machine::Input;
use bevy_iap::client::{AccountTrouble, AccountWish, Asked, Connection, OfflineGrants, OrderState, Record, Update};
use bevy_iap::protocol::sync::ChainHead;
use bevy_iap::protocol::{AccountAsk, SecretKey, Status, Token};

use super::{
    PATH, account_records, answer, answer_with, ask, ask_after_a_sync, code, entry, joins_other, last_told,
    other_account, problem, question, told,
};
use crate::world::{World, order_id};

/// A device that owns a shield as a guest, and has just been answered that it is in the other account now.
fn joined() -> World {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    ask_after_a_sync(&mut world, AccountWish::JoinByCode(code()));
    answer(&mut world, joins_other);
    world
}

/// A receipt of the account of now, for an order of another device.
fn of_the_account(world: &World, number: u8) -> Token {
    world.receipt_with(number, |_| {}, &world.server)
}

#[test]
fn joining_begins_with_a_sync_and_waits_until_every_order_is_answered() {
    let mut world = World::new(OfflineGrants::Wait);
    world.input(World::purchase(1, "shield"));
    ask(&mut world, AccountWish::JoinByCode(code()));
    world.input(Input::Appended);
    world.input(World::purchase(2, "shield"));
    world.answer(&[]);
    assert_eq!(world.path(), "/v1/sync", "the first order is not answered");
    world.answer(&[(1, Status::Granted)]);
    assert_eq!(question(&world).ask, AccountAsk::JoinByCode { code: code() });
    assert_eq!(world.state(2), None, "it is signed by nobody yet");
    answer(&mut world, joins_other);
    assert_eq!(world.state(2), Some(OrderState::Placed));
    world.input(Input::Appended);
    assert_eq!(world.last_order().account, other_account());
    assert_eq!(world.last_order().sequence, 2, "the chain is the device's");
}

#[test]
fn joining_without_a_connection_is_told_so_and_holds_nothing_back() {
    let mut world = World::new(OfflineGrants::Wait);
    ask(&mut world, AccountWish::JoinByCode(code()));
    world.input(World::purchase(1, "shield"));
    world.input(Input::NotAnswered("the network is gone".to_owned()));
    assert!(matches!(last_told(&world), (Asked::JoinByCode, Err(AccountTrouble::NoConnection { .. }))));
    world.input(Input::Appended);
    assert_eq!(world.state(1), Some(OrderState::Queued));
    world.wait();
    world.answer(&[]);
    assert_eq!(world.sync_request().orders.len(), 1, "and nothing of it is left");
}

#[test]
fn a_join_that_was_not_answered_is_asked_again_with_the_same_bytes_and_told_when_it_is() {
    let mut world = World::new(OfflineGrants::Wait);
    ask_after_a_sync(&mut world, AccountWish::JoinByCode(code()));
    let first = world.request.clone();
    for _ in 0..3 {
        world.input(Input::NotAnswered("the network is gone".to_owned()));
        world.wait();
        assert_eq!(world.request, first);
    }
    assert_eq!(told(&world).len(), 1, "it is told once that there is no answer");
    assert!(matches!(last_told(&world), (Asked::JoinByCode, Err(AccountTrouble::AskedAgain { .. }))));
    answer(&mut world, joins_other);
    assert_eq!(last_told(&world).1.expect("joined").account, other_account());
}

#[test]
fn a_join_counts_only_once_it_is_durable() {
    let mut world = World::new(OfflineGrants::Wait);
    ask_after_a_sync(&mut world, AccountWish::JoinByCode(code()));
    let guest = world.machine.account().clone();
    let response = answer_with(&world, &world.server, joins_other);
    world.input_undurable(Input::Answered(response));
    assert_eq!((world.machine.account(), told(&world).len()), (&guest, 0));
    world.input(Input::AppendFailed("the disk is full".to_owned()));
    assert!(matches!(last_told(&world).1, Err(AccountTrouble::NotSaved { .. })));
    // The server has done it, so it refuses what is the guest's, and is asked.
    world.wait();
    assert_eq!(world.sync_request().account, guest);
    world.input(Input::Answered(problem("wrong-account", 422)));
    assert_eq!(question(&world).ask, AccountAsk::Show);
    answer(&mut world, joins_other);
    assert_eq!(world.machine.account(), &other_account());
    assert_eq!(last_told(&world).0, Asked::Nothing);
}

#[test]
fn what_is_ordered_right_after_joining_follows_the_last_order_that_the_server_will_ever_hear_of() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    let answered = world.sync_request().orders[0].sha256();
    world.head = Some(ChainHead { sequence: 1, order_sha256: answered });
    world.answer(&[(1, Status::Granted)]);
    ask_after_a_sync(&mut world, AccountWish::JoinByCode(code()));
    world.input(Input::NotAnswered("the network is gone".to_owned()));
    // The server has done it, so these are refused, and nothing settles them ever.
    [2, 3].into_iter().for_each(|number| world.buy(number, "shield"));
    world.wait();
    if world.path() == "/v1/sync" {
        world.input(Input::Answered(problem("wrong-account", 422)));
    }
    answer(&mut world, joins_other);
    for is_restarted in [false, true] {
        if is_restarted {
            world.compact();
            world = world.restart();
        }
        let number = if is_restarted { 5 } else { 4 };
        world.buy(number, "shield");
        let order = world.last_order();
        assert_eq!(order.account, other_account());
        assert_eq!(order.sequence, u64::from(number) - 2, "of the four, two were left");
        if !is_restarted {
            assert_eq!(order.previous, Some(answered));
        }
    }
}

#[test]
fn everything_of_the_account_comes_page_by_page_and_goes_on_after_a_restart() {
    let mut world = joined();
    assert_eq!((world.left("shield"), world.machine.account()), (0, &other_account()));
    assert_eq!((world.sync_request().cursor, world.sync_request().account), (0, other_account()));
    for page in 0..3u8 {
        let receipts: Vec<_> = (1..=4).map(|place| of_the_account(&world, 100 + page * 4 + place)).collect();
        let response = world.with_answer(|answer| {
            answer.receipts = receipts;
            answer.cursor = u64::from(100 + page * 4 + 4);
            answer.more = page < 2;
        });
        world.input(Input::Answered(response));
        let owned = u64::from(page + 1) * 4;
        assert_eq!(world.left("shield"), owned);
        if page < 2 {
            world = world.restart();
            assert_eq!((world.left("shield"), world.machine.account()), (owned, &other_account()));
            assert_eq!(world.sync_request().cursor, u64::from(100 + page * 4 + 4), "it goes on where it was");
        }
    }
    assert_eq!(world.connection, Connection::Online);
}

#[test]
fn nothing_of_the_account_so_far_is_kept_once_the_journal_is_written_anew() {
    let mut world = joined();
    let receipt = of_the_account(&world, 9);
    let response = world.respond(vec![receipt], 9);
    world.input(Input::Answered(response));
    world.compact();
    let receipts = |world: &World| world.records.iter().filter(|record| matches!(record, Record::Receipt(_))).count();
    let orders = |world: &World| world.records.iter().filter(|record| matches!(record, Record::Order(_))).count();
    assert_eq!((receipts(&world), orders(&world), account_records(&world)), (1, 0, 1));
    let mut world = world.restart();
    assert_eq!((world.left("shield"), world.machine.account()), (1, &other_account()));
    assert!(world.troubles.is_empty(), "{:?}", world.troubles);
    world.buy(2, "shield");
    assert_eq!((world.last_order().sequence, world.last_order().account), (2, other_account()));
}

#[test]
fn what_moved_along_is_owned_once_and_what_stayed_is_not() {
    let mut world = joined();
    let moved = world.receipt_with(1, |receipt| receipt.feed = 5, &world.server);
    let response = world.respond(vec![moved], 5);
    world.input(Input::Answered(response));
    for _ in 0..2 {
        assert_eq!(world.left("shield"), 1);
        world = world.restart();
    }
}

/// A save that was copied back to before the join: an order is in it that the server was never sent.
fn rolled_back(policy: OfflineGrants) -> World {
    let mut world = World::new(policy);
    world.buy(1, "shield");
    world.buy(2, "shield");
    let mut world = world.restart();
    assert_eq!(world.sync_request().orders.len(), 2);
    world.input(Input::Answered(problem("wrong-account", 422)));
    answer(&mut world, joins_other);
    world
}

#[test]
fn an_order_for_the_account_so_far_is_never_sent_and_told_once_the_new_feed_was_read() {
    let mut world = rolled_back(OfflineGrants::Provisional);
    assert_eq!(world.left("shield"), 0, "what was given before its receipt is taken back");
    assert!(world.sync_request().orders.is_empty());
    let response = world.with_answer(|answer| answer.more = true);
    world.input(Input::Answered(response));
    assert_ne!(world.state(1), Some(OrderState::NotSaved), "the feed goes on");
    let mut world = world.restart();
    assert!(world.sync_request().orders.is_empty(), "also after a restart");
    assert!(world.orders[&order_id(1)].trouble.is_some());
    // The first of them had been settled before the device joined, and moved along.
    let moved = world.receipt_with(1, |receipt| receipt.feed = 5, &world.server);
    let response = world.respond(vec![moved], 5);
    world.input(Input::Answered(response));
    assert_eq!((world.state(1), world.left("shield")), (Some(OrderState::Granted), 1));
    assert_eq!(world.state(2), Some(OrderState::NotSaved));
    assert!(world.orders[&order_id(2)].trouble.is_some());
    let world = world.restart();
    assert_eq!((world.state(1), world.state(2)), (Some(OrderState::Granted), None), "it is said once");
    assert!(world.troubles.is_empty(), "{:?}", world.troubles);
}

#[test]
fn a_journal_written_anew_before_the_feed_is_read_keeps_the_orders_that_nothing_answered() {
    let mut world = rolled_back(OfflineGrants::Wait);
    world.compact();
    let mut world = world.restart();
    assert_eq!((world.state(1), world.state(2)), (Some(OrderState::Queued), Some(OrderState::Queued)));
    assert!(world.sync_request().orders.is_empty());
    world.answer(&[]);
    assert_eq!((world.state(1), world.state(2)), (Some(OrderState::NotSaved), Some(OrderState::NotSaved)));
}

#[test]
fn an_order_that_was_put_aside_twice_is_told_as_not_saved_once() {
    let mut world = rolled_back(OfflineGrants::Wait);
    world.buy(3, "shield");
    world.input(Input::Answered(problem("wrong-account", 422)));
    let third = SecretKey::from_seed(&[56; 32]).id();
    answer(&mut world, |answer| {
        answer.account = third.guest_account();
        answer.devices.insert(0, entry(third));
    });
    for _ in 0..2 {
        world.compact();
        world = world.restart();
        assert!(world.troubles.is_empty(), "{:?}", world.troubles);
        assert!((1..=3).all(|number| world.state(number) == Some(OrderState::Queued)));
        assert!(world.sync_request().orders.is_empty());
    }
    world.answer(&[]);
    assert!((1..=3).all(|number| world.state(number) == Some(OrderState::NotSaved)));
    let mut world = world.restart();
    assert!(world.orders.is_empty() && world.troubles.is_empty(), "{:?}", world.troubles);
    world.buy(4, "shield");
    assert_eq!(world.last_order().sequence, 1, "it follows what the server was sent, which is nothing");
}

#[test]
fn order_that_was_left_behind_never_turns_up_where_the_device_comes_back_before_its_end_is_told() {
    let mut world = rolled_back(OfflineGrants::Wait);
    let guest = world.machine.device().guest_account();
    assert_eq!(world.machine.account(), &other_account());
    let page = |world: &mut World, more: bool| {
        let response = world.with_answer(|answer| (answer.cursor, answer.more) = (1, more));
        world.input(Input::Answered(response));
    };
    // The feed goes on, and the player goes back at once.
    ask(&mut world, AccountWish::JoinByCode(code()));
    page(&mut world, true);
    answer(&mut world, |answer| answer.account = guest.clone());
    world.compact();
    page(&mut world, true);
    let before = world.records.clone();
    page(&mut world, false);
    assert_eq!((world.state(1), world.state(2)), (Some(OrderState::NotSaved), Some(OrderState::NotSaved)));
    // The journal could not be written anew without them.
    world.records = before;
    let world = world.restart();
    assert_eq!(world.machine.account(), &guest);
    assert!(world.sync_request().orders.is_empty(), "{:?}", world.orders);
}

/// The server's books were put back from before it took this device in.
#[test]
fn a_device_that_the_server_does_not_know_any_more_keeps_the_account_that_it_joined() {
    let mut world = joined();
    let receipt = of_the_account(&world, 9);
    let response = world.respond(vec![receipt], 9);
    world.input(Input::Answered(response));
    world.input(Input::SyncNow);
    for _ in 0..3 {
        world.input(Input::Answered(problem("unknown-device", 404)));
        assert_eq!((world.left("shield"), world.machine.account()), (1, &other_account()));
        let wait = world.wake_at().expect("it asks again").saturating_sub(world.elapsed);
        assert!(wait >= std::time::Duration::from_secs(300), "seldom: {wait:?}");
        world.wait();
        assert_eq!(world.sync_request().account, other_account());
    }
    let told =
        world.updates.iter().filter(|update| matches!(update, Update::Trouble(trouble) if trouble.contains("books")));
    assert_eq!(told.count(), 1);
    world.answer(&[]);
    assert_eq!(world.connection, Connection::Online);
    ask(&mut world, AccountWish::Devices);
    world.input(Input::Answered(problem("unknown-device", 404)));
    assert!(matches!(last_told(&world), (Asked::Devices, Err(AccountTrouble::Refused { .. }))));
    assert_ne!(world.path(), "/v1/devices");
}

#[test]
fn a_liars_word_that_this_is_another_accounts_device_changes_nothing() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    let view = world.machine.account_view();
    for _ in 0..5 {
        world.input(Input::Answered(problem("wrong-account", 422)));
        answer(&mut world, |answer| answer.devices.clear());
        assert!(matches!(world.connection, Connection::Retrying { .. }));
        let before = world.request.clone();
        world.input(Input::TimePassed);
        assert_eq!(world.request, before, "it is asked once for each sync that is refused");
        world.wait();
        assert_eq!(world.sync_request().orders.len(), 1);
    }
    assert_eq!((world.machine.account_view(), told(&world).len()), (view, 0));
    world.answer(&[(1, Status::Granted)]);
    assert_eq!(world.left("shield"), 1);
}

#[test]
fn a_device_finds_out_by_itself_where_it_belongs_whatever_else_is_asked() {
    let mut world = World::new(OfflineGrants::Wait);
    ask(&mut world, AccountWish::JoinByCode(code()));
    world.input(Input::Answered(problem("wrong-account", 422)));
    answer(&mut world, joins_other);
    world.answer(&[]);
    assert_eq!((world.path(), question(&world).account), (PATH, other_account()));
    answer(&mut world, joins_other);
    assert_eq!(last_told(&world).0, Asked::JoinByCode);
}

#[test]
fn an_order_that_was_told_not_to_be_saved_does_not_turn_up_when_the_device_comes_back_to_its_account() {
    let mut world = World::new(OfflineGrants::Wait);
    let guest = world.machine.account().clone();
    world.buy(1, "shield");
    world = world.restart();
    world.input(Input::Answered(problem("wrong-account", 422)));
    answer(&mut world, joins_other);
    let before = world.records.clone();
    world.answer(&[]);
    assert_eq!(world.state(1), Some(OrderState::NotSaved));
    // It is killed before the journal is written anew without the order.
    world.records = before;
    let mut world = world.restart();
    world.input(Input::Answered(problem("wrong-account", 422)));
    answer(&mut world, |answer| answer.account = guest.clone());
    for _ in 0..2 {
        assert!(world.sync_request().orders.is_empty());
        world.answer(&[]);
        assert!(world.records.iter().all(|record| !matches!(record, Record::Order(_))), "it is not kept");
        world = world.restart();
        assert!(world.orders.is_empty(), "{:?}", world.orders);
    }
}
