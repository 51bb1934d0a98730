//! Time is the server's: what is owned for a time neither ends early nor lasts longer by the device's clock.

use std::time::Duration;

use bevy_iap::client::machine::Input;
use bevy_iap::client::{OfflineGrants, Update};
use bevy_iap::protocol::Status;

use crate::world::World;

#[test]
fn pp11_a_pass_does_not_live_longer_when_the_clock_is_turned_back() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "pass");
    world.answer(&[(1, Status::Granted)]);
    assert!(world.owns("pass"));
    world.unix -= 10_000_000;
    world.input(Input::SyncNow);
    let response = world.with_answer(|answer| answer.issued_at += 100_000);
    world.input(Input::Answered(response));
    assert!(!world.owns("pass"), "the server's signed time says that it is over");
}

#[test]
fn pp11_a_pass_rests_while_the_clock_is_behind_what_the_server_signed_and_runs_on_when_it_is_right() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "pass");
    world.buy(2, "shield");
    world.answer(&[(1, Status::Granted), (2, Status::Granted)]);
    let mut world = world.restart_at(-10_000);
    assert!(!world.owns("pass"), "nobody knows whether it is over");
    assert_eq!(world.left("shield"), 1, "all else goes on");
    assert!(matches!(world.updates[..], [.., Update::ClockUntrusted(true)] | [Update::ClockUntrusted(true), ..]));
    assert!(world.wake_at().is_some_and(|at| at <= Duration::from_secs(10)), "nobody tells when it is set right");

    world.unix += 10_000 + 1_800;
    world.input(Input::TimePassed);
    assert!(world.owns("pass"), "half an hour of it is left");
    assert!(world.updates.iter().any(|update| matches!(update, Update::ClockUntrusted(false))));
    world.unix += 1_800;
    world.input(Input::TimePassed);
    assert!(!world.owns("pass"), "it has not lived longer for it");
}

#[test]
fn pp11_a_wrong_clock_breaks_nothing_once_the_server_is_heard() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "pass");
    world.answer(&[(1, Status::Granted)]);
    let mut world = world.restart_at(-10_000_000);
    assert!(!world.owns("pass"));
    world.answer(&[]);
    assert!(world.owns("pass"), "the server says what time it is");
    assert!(world.updates.iter().any(|update| matches!(update, Update::ClockUntrusted(false))));
}

#[test]
fn pp11_a_pass_does_not_live_longer_because_the_device_slept() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "pass");
    world.answer(&[(1, Status::Granted)]);
    assert!(world.owns("pass"));
    // The measure of time rests in a sleep; the clock does not.
    world.unix += 3_600;
    world.input(Input::TimePassed);
    assert!(!world.owns("pass"));
}

#[test]
fn a_clock_that_is_a_little_behind_is_no_wrong_clock() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "pass");
    world.answer(&[(1, Status::Granted)]);
    let world = world.restart_at(-300);
    assert!(world.owns("pass"));
    assert!(!world.updates.iter().any(|update| matches!(update, Update::ClockUntrusted(_))));
}

#[test]
fn a_pass_ends_by_itself_at_its_time() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "pass");
    world.answer(&[(1, Status::Granted)]);
    world.elapsed += Duration::from_secs(3_599);
    world.input(Input::TimePassed);
    assert!(world.owns("pass"));
    world.elapsed += Duration::from_secs(1);
    world.input(Input::TimePassed);
    assert!(!world.owns("pass"));
}

#[test]
fn a_clock_that_runs_ahead_takes_no_time_off_a_pass() {
    let mut world = World::new(OfflineGrants::Wait);
    world.unix += 86_400;
    world.buy(1, "pass");
    world.answer(&[(1, Status::Granted)]);
    assert!(world.owns("pass"), "the server's clock is the one that counts");
}
