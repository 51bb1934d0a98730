//! What is done where damage took what the server said of the account that the device joined: it is asked again, what was
//! signed for that account is sent to it, and nothing is signed before that.

use bevy_iap::client::machine::Input;
use bevy_iap::client::{AccountWish, OfflineGrants, OrderState, Record};
use bevy_iap::protocol::sync::ChainHead;
use bevy_iap::protocol::{AccountAsk, Order, OrderId, SecretKey, Sha256, Status, Token};

use super::{
    account_records, answer, answer_with, ask_after_a_sync, code, joins_other, other_account, problem, question,
};
use crate::world::{World, game, order_id};

/// A device that has joined the other account.
fn joined(policy: OfflineGrants) -> World {
    let mut world = World::new(policy);
    ask_after_a_sync(&mut world, AccountWish::JoinByCode(code()));
    answer(&mut world, joins_other);
    world.answer(&[]);
    world
}

/// A device that has joined the other account and ordered for it since, and whose journal does not say so any more.
fn joined_as_damage_left_it(policy: OfflineGrants) -> World {
    let mut world = joined(policy);
    world.buy(1, "shield");
    world.buy(2, "shield");
    lose_the_word(world)
}

/// The next start, after damage to what the server said of the account.
fn lose_the_word(mut world: World) -> World {
    world.records.retain(|record| !matches!(record, Record::Account(_)));
    world.restart()
}

/// The server tells it where it belongs, which it asks at the start, and else when a sync was refused.
fn is_told_where_it_belongs(world: &mut World) {
    if world.path() == "/v1/sync" {
        assert!(world.sync_request().orders.is_empty(), "they are for another account, as far as is known");
        world.input(Input::Answered(problem("wrong-account", 422)));
    }
    assert_eq!(question(world).ask, AccountAsk::Show);
    answer(world, joins_other);
}

fn orders_sent(world: &World) -> Vec<OrderId> {
    let read = |token: &Token| Order::verify(token, world.key.public(), &other_account(), &game());
    world.sync_request().orders.iter().map(|token| read(token).expect("for the account of now").id).collect()
}

#[test]
fn orders_for_an_account_of_which_damage_took_the_word_are_sent_to_it() {
    let mut world = joined_as_damage_left_it(OfflineGrants::Wait);
    is_told_where_it_belongs(&mut world);
    for _ in 0..3 {
        assert_eq!(orders_sent(&world), [order_id(1), order_id(2)]);
        assert!([1, 2].iter().all(|&number| world.state(number).is_some_and(OrderState::is_open)));
        assert!(world.orders.values().all(|order| order.trouble.is_none()), "{:?}", world.orders);
        world.compact();
        world = world.restart();
        assert!(world.troubles.is_empty(), "{:?}", world.troubles);
    }
    world.buy(3, "shield");
    assert_eq!(world.last_order().sequence, 3, "it follows them");
    world.answer(&[(1, Status::Granted), (2, Status::Granted)]);
    assert_eq!(
        (world.state(1), world.state(2), world.left("shield")),
        (Some(OrderState::Granted), Some(OrderState::Granted), 2)
    );
    world.compact();
    let orders = |world: &World| world.records.iter().filter(|record| matches!(record, Record::Order(_))).count();
    assert_eq!(orders(&world), 1, "the one that is not answered");
    let world = world.restart();
    assert!(world.left("shield") == 2 && world.state(3).is_some_and(OrderState::is_open));
}

#[test]
fn once_the_server_has_said_the_account_again_nothing_is_said_of_the_receipts_that_were_not_believed_without_it() {
    let mut world = joined_as_damage_left_it(OfflineGrants::Wait);
    is_told_where_it_belongs(&mut world);
    world.answer(&[(1, Status::Granted), (2, Status::Granted)]);
    let mut world = lose_the_word(world);
    assert!(world.troubles.iter().any(|trouble| trouble.contains("not believed")), "{:?}", world.troubles);
    is_told_where_it_belongs(&mut world);
    for _ in 0..2 {
        world = world.restart();
        assert!(world.troubles.is_empty(), "{:?}", world.troubles);
        world.compact();
    }
    world.answer(&[(1, Status::Granted), (2, Status::Granted)]);
    assert_eq!((world.left("shield"), world.machine.account()), (2, &other_account()));
}

#[test]
fn orders_for_an_account_that_is_found_out_again_count_only_once_that_is_durable() {
    let mut world = joined_as_damage_left_it(OfflineGrants::Wait);
    assert_eq!(question(&world).ask, AccountAsk::Show);
    let response = answer_with(&world, &world.server, joins_other);
    world.input_undurable(Input::Answered(response));
    assert!(world.orders.values().all(|order| order.trouble.is_some()), "{:?}", world.orders);
    // The process is killed before it is durable.
    let mut world = world.restart();
    is_told_where_it_belongs(&mut world);
    assert_eq!(orders_sent(&world), [order_id(1), order_id(2)]);
}

#[test]
fn answer_that_a_crash_tears_off_from_the_orders_that_are_for_its_account_leaves_them_as_they_were() {
    let before = joined_as_damage_left_it(OfflineGrants::Wait).records.len();
    for whole in 0.. {
        let mut world = joined_as_damage_left_it(OfflineGrants::Wait);
        is_told_where_it_belongs(&mut world);
        if before + whole > world.records.len() {
            assert_eq!(whole, 5, "two orders, the answer after them, and that none of its feed is counted");
            break;
        }
        world.records.truncate(before + whole);
        let mut world = world.restart();
        if whole < 3 {
            is_told_where_it_belongs(&mut world);
        }
        assert_eq!(orders_sent(&world), [order_id(1), order_id(2)], "{whole}");
        assert_eq!(world.history, [order_id(1), order_id(2)], "each is shown once");
        let world = world.restart();
        assert_eq!(orders_sent(&world), [order_id(1), order_id(2)], "{whole}");
    }
}

#[test]
fn what_the_next_order_follows_is_not_moved_back_by_orders_that_are_written_again() {
    let mut world = joined(OfflineGrants::Wait);
    world.buy(1, "shield");
    // Of the five orders that the server knows damage has taken four, and it has said so.
    world.head = Some(ChainHead { sequence: 5, order_sha256: Sha256::of("an order that damage took") });
    world.answer(&[(1, Status::Granted)]);
    let mut world = lose_the_word(world);
    is_told_where_it_belongs(&mut world);
    world.answer(&[(1, Status::Granted)]);
    let mut world = world.restart();
    world.buy(2, "shield");
    assert_eq!(world.last_order().sequence, 6);
}

#[test]
fn orders_for_an_account_that_the_device_does_not_belong_to_are_told_once_and_never_turn_up() {
    let mut world = joined_as_damage_left_it(OfflineGrants::Wait);
    answer(&mut world, |_| {});
    world.answer(&[]);
    assert_eq!((world.state(1), world.state(2)), (Some(OrderState::NotSaved), Some(OrderState::NotSaved)));
    // Only now it joins that account.
    world.input(Input::SyncNow);
    is_told_where_it_belongs(&mut world);
    assert!(world.sync_request().orders.is_empty());
    assert_eq!((world.state(1), world.state(2)), (Some(OrderState::NotSaved), Some(OrderState::NotSaved)));
    let mut world = world.restart();
    assert!(world.sync_request().orders.is_empty() && world.orders.is_empty(), "{:?}", world.orders);
    world.answer(&[]);
    assert!(world.restart().orders.is_empty());
}

#[test]
fn what_was_answered_in_an_account_of_which_damage_took_the_word_is_neither_shown_as_queued_nor_sent_again() {
    let mut world = joined(OfflineGrants::Wait);
    (1..=3).for_each(|number| world.buy(number, "shield"));
    world.answer(&[(1, Status::Granted), (2, Status::Declined)]);
    let mut world = lose_the_word(world);
    assert_eq!((world.state(1), world.state(2), world.state(3)), (None, None, Some(OrderState::Queued)));
    is_told_where_it_belongs(&mut world);
    assert_eq!(orders_sent(&world), [order_id(3)]);
    world.answer(&[(1, Status::Granted), (2, Status::Declined), (3, Status::Granted)]);
    assert_eq!((world.left("shield"), world.state(2)), (2, Some(OrderState::Declined)));
}

#[test]
fn nothing_is_signed_while_the_account_is_not_known() {
    for left in 0..2 {
        let mut world = joined_as_damage_left_it(OfflineGrants::Wait);
        if left == 0 {
            // All that is left of the account are receipts.
            is_told_where_it_belongs(&mut world);
            world.answer(&[(1, Status::Granted), (2, Status::Granted)]);
            world.compact();
            world = lose_the_word(world);
        }
        world.input(Input::NotAnswered("the network is gone".to_owned()));
        world.input(World::purchase(3, "shield"));
        assert_eq!(world.state(3), Some(OrderState::NotSaved), "it would be for an account that the device is not of");
        let trouble = world.orders[&order_id(3)].trouble.clone().unwrap_or_default();
        assert!(trouble.contains("go online"), "{trouble}");
        world.wait();
        is_told_where_it_belongs(&mut world);
        world.buy(4, "shield");
        assert_eq!((world.state(4), world.last_order().account), (Some(OrderState::Queued), other_account()));
    }
}

#[test]
fn nothing_is_signed_while_the_word_of_the_account_is_not_believed() {
    let mut world = joined_as_damage_left_it(OfflineGrants::Wait);
    is_told_where_it_belongs(&mut world);
    let known = world.server.clone();
    // A version of the game that trusts another server's key alone.
    world.server = SecretKey::from_seed(&[77; 32]);
    let mut world = world.restart();
    world.input(World::purchase(3, "shield"));
    assert_eq!(world.state(3), Some(OrderState::NotSaved));
    world.server = known;
    let mut world = world.restart();
    world.buy(4, "shield");
    assert_eq!((world.state(4), world.last_order().account), (Some(OrderState::Queued), other_account()));
}

#[test]
fn a_device_that_is_in_its_own_account_after_all_sells_again_from_then_on() {
    for is_asked_in_vain in [false, true] {
        let mut world = joined_as_damage_left_it(OfflineGrants::Wait);
        if is_asked_in_vain {
            world.input(Input::Answered(problem("unavailable", 404)));
        } else {
            answer(&mut world, |_| {});
        }
        world.answer(&[]);
        world.buy(3, "shield");
        assert_eq!(world.sync_request().orders.len(), 1);
        world.compact();
        let mut world = world.restart();
        assert!(world.troubles.is_empty(), "{:?}", world.troubles);
        world.input(Input::NotAnswered("the network is gone".to_owned()));
        world.buy(4, "shield");
        assert!(world.state(4).is_some_and(OrderState::is_open), "also without a network");
    }
}

#[test]
fn device_that_came_back_to_its_own_account_is_at_rest_although_damage_took_the_word_of_the_other() {
    let mut world = World::new(OfflineGrants::Wait);
    let guest = world.machine.account().clone();
    ask_after_a_sync(&mut world, AccountWish::JoinByCode(code()));
    answer(&mut world, joins_other);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    let first = world.records.iter().position(|record| matches!(record, Record::Account(_))).expect("it is there");
    world.input(Input::SyncNow);
    world.input(Input::Answered(problem("wrong-account", 422)));
    answer(&mut world, |answer| answer.account = guest.clone());
    world.answer(&[]);
    world.records.remove(first);
    let mut world = world.restart();
    assert!(world.troubles.is_empty(), "the device is where it was: {:?}", world.troubles);
    world.buy(2, "shield");
    assert_eq!((world.last_order().account, world.left("shield")), (guest, 0));
    world.compact();
    assert!(!world.records.iter().any(|record| matches!(record, Record::Receipt(_))));
}

#[test]
fn receipts_of_before_the_device_joined_its_account_are_left_out_when_the_journal_is_written_anew() {
    let receipts = |world: &World| world.records.iter().filter(|record| matches!(record, Record::Receipt(_))).count();
    let mut world = joined_as_damage_left_it(OfflineGrants::Wait);
    for round in 0..3 {
        is_told_where_it_belongs(&mut world);
        world.answer(&[(1, Status::Granted), (2, Status::Granted)]);
        assert_eq!(receipts(&world), if round == 0 { 2 } else { 4 });
        world.compact();
        assert_eq!((receipts(&world), account_records(&world)), (2, 1));
        let again = world.restart();
        assert_eq!((again.left("shield"), again.machine.account()), (2, &other_account()));
        assert!(again.troubles.is_empty(), "{:?}", again.troubles);
        world = lose_the_word(again);
    }
}

#[test]
fn receipts_of_before_a_word_that_is_not_believed_stay_in_the_journal() {
    let mut world = joined_as_damage_left_it(OfflineGrants::Wait);
    is_told_where_it_belongs(&mut world);
    world.answer(&[(1, Status::Granted), (2, Status::Granted)]);
    let known = world.server.clone();
    world.server = SecretKey::from_seed(&[77; 32]);
    let mut world = world.restart();
    is_told_where_it_belongs(&mut world);
    world.answer(&[]);
    world.compact();
    world.server = known;
    let world = world.restart();
    assert_eq!((world.left("shield"), world.machine.account()), (2, &other_account()));
}

#[test]
fn nothing_is_signed_where_the_list_that_vouches_for_the_receipts_is_lost_with_the_word_of_their_account() {
    let mut world = joined_as_damage_left_it(OfflineGrants::Wait);
    is_told_where_it_belongs(&mut world);
    world.answer(&[(1, Status::Granted), (2, Status::Granted)]);
    world.compact();
    // The receipts are of a key that a list named.
    world.server = SecretKey::from_seed(&[77; 32]);
    let mut world = lose_the_word(world);
    world.input(Input::NotAnswered("the network is gone".to_owned()));
    world.input(World::purchase(3, "shield"));
    assert_eq!(world.state(3), Some(OrderState::NotSaved));
}
