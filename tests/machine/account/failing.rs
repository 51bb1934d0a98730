//! A question that keeps failing: it is asked again, and holds up nothing else meanwhile.

use std::time::Duration;

use bevy_iap::client::machine::{Input, Output};
use bevy_iap::client::{AccountTrouble, AccountWish, Asked, OfflineGrants, OrderState};
use bevy_iap::protocol::Status;

use super::{PATH, answer, ask, ask_after_a_sync, last_told, problem, told};
use crate::world::World;

/// A device whose player signs in while the login is away.
fn signing_in(world: &mut World) {
    ask_after_a_sync(world, AccountWish::SignIn("a.b.c".to_owned()));
}

#[test]
fn a_question_that_keeps_failing_holds_neither_syncs_nor_what_is_ordered_and_used_up() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    signing_in(&mut world);
    let question = world.request.clone();
    world.input(World::purchase(2, "shield"));
    world.input(World::consumption(1, "shield", 1));
    assert_eq!(world.state(2), None, "it waits for the first try");
    world.input(Input::Answered(problem("unavailable", 503)));
    assert!(matches!(last_told(&world), (Asked::SignIn, Err(AccountTrouble::AskedAgain { .. }))));
    let sync = world.sync_request();
    assert_eq!((sync.orders.len(), sync.consumptions.len()), (1, 1));
    world.answer(&[(2, Status::Granted)]);
    assert_eq!((world.state(2), world.left("shield")), (Some(OrderState::Granted), 1));
    for _ in 0..3 {
        world.wait();
        assert_eq!(world.request, question, "it is asked again with the same bytes");
        world.input(Input::Answered(problem("unavailable", 503)));
        world.input(Input::SyncNow);
        assert_eq!(world.path(), "/v1/sync", "between two tries");
        world.answer(&[]);
        assert_eq!(world.path(), "/v1/sync", "an answered sync is no reason to hurry");
    }
    world.wait();
    answer(&mut world, |answer| answer.signed_in = true);
    assert!(last_told(&world).1.expect("signed in").signed_in);
    assert_eq!(told(&world).len(), 2, "that it is asked again is told once");
}

#[test]
fn a_question_is_asked_more_and_more_slowly_whatever_else_is_answered() {
    let mut world = World::new(OfflineGrants::Wait);
    signing_in(&mut world);
    world.random_byte = 0xff;
    let mut last = Duration::ZERO;
    for _ in 0..5 {
        world.input(Input::Answered(problem("unavailable", 503)));
        let failed_at = world.elapsed;
        world.input(Input::SyncNow);
        world.answer(&[]);
        world.wait();
        assert_eq!(world.path(), PATH);
        assert!(world.elapsed - failed_at > last, "{last:?}");
        last = world.elapsed - failed_at;
    }
}

#[test]
fn a_question_is_asked_again_while_the_device_waits_for_news() {
    let mut world = World::set(OfflineGrants::Wait, |settings| settings.listen = true);
    ask(&mut world, AccountWish::SignIn("a.b.c".to_owned()));
    world.answer(&[]);
    let question = world.request.clone();
    assert_eq!(world.path(), PATH);
    world.random_byte = 0xff;
    world.input(Input::Answered(problem("unavailable", 503)));
    assert_eq!(world.path(), "/v1/sync");
    world.wait();
    assert_eq!(world.request, question);
}

#[test]
fn what_waits_for_an_answer_is_signed_when_the_game_goes_offline() {
    let mut world = World::new(OfflineGrants::Wait);
    signing_in(&mut world);
    world.input(World::purchase(1, "shield"));
    let outputs = world.input(Input::SetOffline(true));
    assert!(outputs.iter().any(|output| matches!(output, Output::Append(_))));
    world.input(Input::Appended);
    assert_eq!(world.state(1), Some(OrderState::Queued));
    assert!(matches!(last_told(&world), (Asked::SignIn, Err(AccountTrouble::AskedAgain { .. }))));
    world.input(Input::SetOffline(false));
    answer(&mut world, |answer| answer.signed_in = true);
    assert!(last_told(&world).1.expect("signed in").signed_in);
    assert_eq!(world.sync_request().orders.len(), 1);
}
