//! Waiting for news at the server: nothing that is to be sent waits for it, and no server is asked without a pause.

use std::time::Duration;

use bevy_iap::client::machine::Input;
use bevy_iap::client::{AccountWish, Connection, OfflineGrants, OrderState, Response};
use bevy_iap::protocol::Status;

use crate::world::World;

/// A device that waits for news.
fn listening() -> World {
    let world = World::set(OfflineGrants::Wait, |settings| settings.listen = true);
    assert!(is_waiting(&world));
    world
}

fn is_waiting(world: &World) -> bool {
    world.path() == "/v1/sync" && world.sync_request().wait.is_some()
}

/// The answer to what waits, after so many seconds.
fn answered_after(world: &mut World, seconds: u64) {
    world.elapsed += Duration::from_secs(seconds);
    world.answer(&[]);
}

#[test]
fn an_idle_poll_waits_for_news_and_another_follows_it_at_once() {
    let mut world = listening();
    let request = world.request.clone().expect("a request");
    let wait = world.sync_request().wait.expect("it waits");
    assert_eq!((wait.seconds, request.hold), (25, Duration::from_secs(25)));
    for _ in 0..3 {
        let before = world.sync_request();
        answered_after(&mut world, 25);
        assert!(is_waiting(&world) && world.sync_request().id == before.id, "the same random bits, in this test");
        assert_eq!(world.connection, Connection::Online);
    }
    let receipt = world.receipt(9, Status::Granted, 1);
    world.elapsed += Duration::from_secs(3);
    let response = world.respond(vec![receipt], 1);
    world.input(Input::Answered(response));
    assert_eq!(world.left("shield"), 1, "a gift");
    assert!(is_waiting(&world));
    assert_eq!(world.sync_request().cursor, 1);
}

#[test]
fn a_game_that_does_not_listen_asks_from_time_to_time() {
    let mut world = World::new(OfflineGrants::Wait);
    assert_eq!(world.wake_at(), Some(Duration::from_secs(300)));
    world.wait();
    assert!(!is_waiting(&world));
    assert_eq!(world.request.expect("a request").hold, Duration::ZERO);
}

#[test]
fn an_order_is_sent_at_once_and_what_waited_is_never_applied() {
    let mut world = listening();
    let receipt = world.receipt(9, Status::Granted, 1);
    let late = world.respond(vec![receipt], 1);
    world.buy(1, "shield");
    assert_eq!((world.sync_request().orders.len(), world.sync_request().wait), (1, None));
    let sent = world.request.clone();
    // A way to the server that does not let go of it.
    let records = world.records.len();
    world.input(Input::Answered(late));
    assert_eq!((world.left("shield"), world.records.len()), (0, records));
    world.wait();
    assert_eq!(world.request, sent, "the order is sent again, with the same bytes");
    world.answer(&[(1, Status::Granted)]);
    assert_eq!(world.state(1), Some(OrderState::Granted));
    assert!(is_waiting(&world));
}

#[test]
fn whoever_asks_for_news_or_about_the_account_does_not_wait() {
    let mut world = listening();
    world.input(Input::SyncNow);
    assert!(!is_waiting(&world));
    world.answer(&[]);
    assert!(is_waiting(&world));
    world.input(Input::Account(AccountWish::Devices));
    assert_eq!(world.path(), "/v1/account");
    world.input(Input::NotAnswered("the network is gone".to_owned()));
    world.wait();
    world.answer(&[]);
    assert!(is_waiting(&world));
    world.input(Input::Account(AccountWish::ReplaceKey));
    assert!(!is_waiting(&world), "it begins with a sync");
}

#[test]
fn a_game_that_goes_offline_lets_go_of_the_connection() {
    let mut world = listening();
    let late = world.with_answer(|answer| answer.cursor = 7);
    world.input(Input::SetOffline(true));
    assert_eq!((&world.request, &world.connection), (&None, &Connection::Offline));
    let records = world.records.len();
    world.input(Input::Answered(late));
    world.input(Input::Answered(Response { status: 503, ..Response::default() }));
    world.input(Input::NotAnswered("given up".to_owned()));
    assert_eq!((&world.request, world.records.len(), world.wake_at()), (&None, records, None));
    world.input(Input::SetOffline(false));
    assert_eq!((is_waiting(&world), world.sync_request().cursor), (false, 0));
    world.random_byte = 0xff;
    world.input(Input::NotAnswered("the network is gone".to_owned()));
    let wait = world.wake_at().expect("it tries again") - world.elapsed;
    assert_eq!(wait, Duration::from_millis(500), "what came of the request that was given up is no failure");
}

#[test]
fn a_server_that_does_not_hold_its_answers_is_asked_more_and_more_slowly() {
    let mut world = listening();
    let mut waits = Vec::new();
    for _ in 0..12 {
        let before = world.elapsed;
        world.answer(&[]);
        world.random_byte = 0xff;
        let at = world.wake_at().expect("it asks again");
        waits.push(at.saturating_sub(before).as_secs());
        world.wait();
        assert!(is_waiting(&world));
    }
    assert_eq!(waits[1..], [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    answered_after(&mut world, 25);
    assert!(is_waiting(&world), "it holds them again");
    world.answer(&[]);
    assert!(world.wake_at().expect("it asks again") <= world.elapsed + Duration::from_secs(1));
}

#[test]
fn news_without_end_come_once_a_second_at_most() {
    let mut world = listening();
    for feed in 1..5u8 {
        let receipt = world.receipt(9, Status::Granted, u64::from(feed));
        let response = world.respond(vec![receipt], u64::from(feed));
        world.input(Input::Answered(response));
        assert_eq!(world.wake_at(), Some(world.elapsed + Duration::from_secs(1)));
        world.wait();
        assert!(is_waiting(&world));
    }
}

#[test]
fn after_a_failure_the_next_request_does_not_wait() {
    let mut world = listening();
    world.input(Input::NotAnswered("the network is gone".to_owned()));
    assert!(matches!(world.connection, Connection::Retrying { .. }));
    world.wait();
    assert!(!is_waiting(&world));
    world.answer(&[]);
    assert_eq!(world.connection, Connection::Online);
    assert!(is_waiting(&world));
}

#[test]
fn what_the_server_does_not_decide_is_sent_again_more_and_more_slowly() {
    let mut world = listening();
    let receipt = world.receipt(9, Status::Granted, 1);
    let response = world.respond(vec![receipt], 1);
    world.input(Input::Answered(response));
    world.consume(1, "shield", 1);
    world.wait();
    let mut waits = Vec::new();
    for _ in 0..6 {
        assert_eq!(world.sync_request().consumptions.len(), 1);
        let before = world.elapsed;
        world.random_byte = 0xff;
        let response = world.respond(Vec::new(), 1);
        world.input(Input::Answered(response));
        let at = world.wake_at().expect("it asks again");
        waits.push(at.saturating_sub(before).as_secs());
        world.wait();
    }
    assert!(waits[0] >= 1 && waits[5] >= 10, "{waits:?}");
}
