//! Lists of the server's keys: learned, kept, and never taken back by a thief's clock or a restart.

use bevy_iap::client::machine::Input;
use bevy_iap::client::{OfflineGrants, OrderState, Record, Response, Update};
use bevy_iap::protocol::{KeyList, ListedKey, SecretKey, Status, Token};

use crate::world::{SERVER_TIME, World, game};

const DAY: i64 = 86_400;

fn signing() -> SecretKey {
    SecretKey::from_seed(&[3; 32])
}

fn later() -> SecretKey {
    SecretKey::from_seed(&[4; 32])
}

/// A list by the world's root, with these keys from the beginning until so many days after now.
fn list(world: &World, number: u64, keys: &[(&SecretKey, i64)]) -> Token {
    let listed = |(key, days): &(&SecretKey, i64)| ListedKey::new(key.public(), 0, SERVER_TIME + days * DAY);
    let keys = keys.iter().map(listed).collect();
    let list = KeyList { root: world.server.id(), game: game(), issued_at: SERVER_TIME, number, keys };
    list.sign(&world.server).expect("signs")
}

/// What `key` answers at a time, after a list if there is one.
fn answered_by(world: &World, key: &SecretKey, at: i64, list: Option<Token>) -> Response {
    let plain = world.with_answer_of(key, |answer| answer.issued_at = at);
    let Some(list) = list else { return plain };
    let body = [list.as_str().as_bytes(), b"\n", &plain.body].concat();
    Response { body, ..plain }
}

/// A device that knows a list: the signing key for seven days, and the later one for long.
fn informed() -> World {
    let mut world = World::new(OfflineGrants::Wait);
    world.input(Input::SyncNow);
    let root = world.server.clone();
    let list = list(&world, 1, &[(&root, 1), (&signing(), 7), (&later(), 1_000)]);
    let response = answered_by(&world, &signing(), SERVER_TIME, Some(list));
    world.input(Input::Answered(response));
    world
}

/// Whether an answer of `key` at a time is believed.
fn believes(world: &mut World, key: &SecretKey, at: i64) -> bool {
    world.input(Input::SyncNow);
    let response = answered_by(world, key, at, None);
    world.input(Input::Answered(response));
    let mut clocks = world.updates.iter().filter_map(|update| match update {
        Update::ServerClock(clock) => Some(clock.unix),
        _ => None,
    });
    let believed = clocks.next_back() == Some(at);
    if !believed {
        world.wait();
    }
    believed
}

#[test]
fn a_list_is_kept_in_the_journal_once_and_known_after_a_restart_and_after_the_journal_was_written_anew() {
    let mut world = informed();
    let lists = |world: &World| world.records.iter().filter(|record| matches!(record, Record::Keys(_))).count();
    assert_eq!(lists(&world), 1);
    world.input(Input::SyncNow);
    assert_eq!(world.sync_request().keys, 1, "the server need not send it again");
    let mut world = world.restart();
    assert_eq!(world.sync_request().keys, 1);
    world.compact();
    let mut world = world.restart();
    assert_eq!((lists(&world), world.sync_request().keys), (1, 1));
    assert!(believes(&mut world, &signing(), SERVER_TIME + 1));
}

#[test]
fn a_list_that_could_not_be_saved_is_saved_with_the_next_answer() {
    let mut world = World::new(OfflineGrants::Wait);
    world.input(Input::SyncNow);
    let list = list(&world, 1, &[(&signing(), 7)]);
    let response = answered_by(&world, &signing(), SERVER_TIME, Some(list));
    world.input_undurable(Input::Answered(response));
    world.input(Input::AppendFailed("the disk is full".to_owned()));
    assert!(!world.records.iter().any(|record| matches!(record, Record::Keys(_))));
    world.wait();
    let response = answered_by(&world, &signing(), SERVER_TIME, None);
    world.input(Input::Answered(response));
    assert!(world.records.iter().any(|record| matches!(record, Record::Keys(_))));
}

#[test]
fn an_answer_of_a_key_that_is_not_listed_is_not_believed_and_the_list_with_it_is() {
    let mut world = World::new(OfflineGrants::Wait);
    world.input(Input::SyncNow);
    let list = list(&world, 1, &[(&signing(), 7)]);
    let response = answered_by(&world, &later(), SERVER_TIME, Some(list));
    world.input(Input::Answered(response));
    world.wait();
    let root = world.server.clone();
    assert!(!believes(&mut world, &root, SERVER_TIME + 1), "the root signs lists from now on");
    assert!(believes(&mut world, &signing(), SERVER_TIME + 2));
}

#[test]
fn a_key_that_has_ended_is_not_believed_again_after_a_restart() {
    let mut world = informed();
    assert!(believes(&mut world, &signing(), SERVER_TIME + 7 * DAY - 100));
    // A poll that brings nothing, soon after, by the next key, after the end of the first.
    assert!(believes(&mut world, &later(), SERVER_TIME + 7 * DAY));
    assert!(!believes(&mut world, &signing(), SERVER_TIME + 7 * DAY - 2), "it has ended");
    let mut world = world.restart();
    assert!(!believes(&mut world, &signing(), SERVER_TIME + 7 * DAY - 1), "also after a restart");
    assert!(believes(&mut world, &later(), SERVER_TIME + 7 * DAY));
}

#[test]
fn no_receipt_can_make_a_device_believe_that_all_keys_have_ended() {
    let mut world = informed();
    world.buy(1, "shield");
    let receipt = world.receipt_with(1, |receipt| receipt.issued_at = i64::MAX, &signing());
    let response = world.with_answer_of(&signing(), |answer| {
        answer.receipts = vec![receipt];
        answer.cursor = 1;
    });
    world.input(Input::Answered(response));
    assert_eq!(world.state(1), Some(OrderState::Granted));
    assert!(believes(&mut world, &later(), SERVER_TIME + 1));
    let mut world = world.restart();
    assert!(believes(&mut world, &later(), SERVER_TIME + 2));
}

#[test]
fn a_server_whose_clock_was_wrong_for_a_while_is_followed_when_it_is_right() {
    let mut world = World::new(OfflineGrants::Wait);
    let root = world.server.clone();
    assert!(believes(&mut world, &root, SERVER_TIME + 50_000 * DAY), "without a list a pinned key has no end");
    assert!(believes(&mut world, &root, SERVER_TIME));
    let mut world = world.restart();
    world.input(Input::SyncNow);
    let list = list(&world, 1, &[(&signing(), 7)]);
    let response = answered_by(&world, &signing(), SERVER_TIME, Some(list));
    world.input(Input::Answered(response));
    assert!(believes(&mut world, &signing(), SERVER_TIME + 1));
}

#[test]
fn receipts_of_before_a_list_are_owned_after_it() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    world.input(Input::SyncNow);
    let root = world.server.clone();
    let list = list(&world, 1, &[(&root, 1), (&signing(), 7)]);
    let response = answered_by(&world, &signing(), SERVER_TIME, Some(list));
    world.input(Input::Answered(response));
    for _ in 0..2 {
        world = world.restart();
        assert_eq!((world.left("shield"), world.troubles.len()), (1, 0));
        world.compact();
    }
}
