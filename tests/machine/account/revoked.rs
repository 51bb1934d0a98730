//! A device that was revoked: it says so, sells nothing, asks nothing, and shows what it has.

use bevy_iap::client::machine::Input;
use bevy_iap::client::{AccountTrouble, AccountWish, Asked, Connection, OfflineGrants, OrderState};
use bevy_iap::protocol::{AccountAsk, AccountResponse, Status};

use super::{answer, ask, ask_after_a_sync, last_told, problem, question, told};
use crate::world::{World, order_id};

fn is_revoked(answer: &mut AccountResponse) {
    answer.devices[0].revoked = true;
}

/// A device that owns a shield, has ordered another, and was revoked before that reached the server.
fn revoked() -> World {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    world.buy(2, "shield");
    world.input(Input::Answered(problem("device-revoked", 403)));
    assert_eq!(question(&world).ask, AccountAsk::Show);
    answer(&mut world, is_revoked);
    world
}

#[test]
fn a_revoked_device_sells_nothing_asks_nothing_and_shows_what_it_has() {
    let mut world = revoked();
    for _ in 0..2 {
        assert_eq!((world.left("shield"), &world.connection), (1, &Connection::Revoked));
        assert!(world.machine.account_view().revoked);
        assert!(world.orders[&order_id(2)].trouble.is_some(), "the order that is not sent says why");
        world.request = None;
        world.input(Input::SyncNow);
        world.input(World::purchase(3, "shield"));
        assert_eq!(world.state(3), Some(OrderState::NotSaved));
        assert_eq!(world.request, None);
        ask(&mut world, AccountWish::LinkCode);
        assert_eq!(last_told(&world), (Asked::LinkCode, Err(AccountTrouble::DeviceRevoked)));
        world.compact();
        world = world.restart();
    }
}

#[test]
fn an_unsigned_word_revokes_nobody() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.input(Input::Answered(problem("device-revoked", 403)));
    world.input(Input::Answered(problem("device-revoked", 403)));
    assert!(matches!(world.connection, Connection::Retrying { .. }));
    assert!(!world.machine.account_view().revoked);
    world.wait();
    world.answer(&[(1, Status::Granted)]);
    assert_eq!(world.left("shield"), 1);
}

#[test]
fn a_device_that_is_refused_when_it_enrols_asks_too() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.input(Input::Answered(problem("unknown-device", 404)));
    world.wait();
    assert_eq!(world.path(), "/v1/devices");
    world.input(Input::Answered(problem("device-revoked", 403)));
    answer(&mut world, is_revoked);
    assert_eq!(world.connection, Connection::Revoked);
}

#[test]
fn a_player_can_ask_whether_it_is_still_so() {
    let mut world = revoked();
    ask(&mut world, AccountWish::Devices);
    answer(&mut world, |_| {});
    assert!(!world.machine.account_view().revoked);
    assert_eq!(world.sync_request().orders.len(), 1, "and the device goes on");
}

#[test]
fn a_device_that_revokes_itself_has_its_orders_answered_first() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    let device = world.machine.device();
    ask(&mut world, AccountWish::RevokeDevice(device));
    assert_eq!(world.sync_request().orders.len(), 1);
    world.answer(&[(1, Status::Granted)]);
    assert_eq!(question(&world).ask, AccountAsk::RevokeDevice { device });
    answer(&mut world, is_revoked);
    assert_eq!((last_told(&world).0, &world.connection), (Asked::RevokeDevice, &Connection::Revoked));
}

#[test]
fn a_refusal_that_says_it_was_revoked_is_asked_about() {
    let mut world = World::new(OfflineGrants::Wait);
    ask_after_a_sync(&mut world, AccountWish::SignIn("a.b.c".to_owned()));
    world.input(Input::Answered(problem("device-revoked", 403)));
    assert_eq!(last_told(&world).1, Err(AccountTrouble::DeviceRevoked));
    assert_eq!(world.path(), "/v1/sync");
    world.input(Input::Answered(problem("device-revoked", 403)));
    answer(&mut world, is_revoked);
    assert_eq!(world.connection, Connection::Revoked);
}

#[test]
fn a_question_that_waits_for_its_sync_ends_when_that_tells_that_the_device_was_revoked() {
    for wish in
        [AccountWish::JoinByCode(super::code()), AccountWish::SignIn("a.b.c".to_owned()), AccountWish::ReplaceKey]
    {
        let mut world = World::new(OfflineGrants::Wait);
        ask(&mut world, wish.clone());
        world.input(World::purchase(1, "shield"));
        world.input(Input::Answered(problem("device-revoked", 403)));
        answer(&mut world, is_revoked);
        assert!(told(&world).contains(&(wish.asked(), Err(AccountTrouble::DeviceRevoked))), "{wish:?}");
        assert_eq!(world.state(1), Some(OrderState::NotSaved), "and what waited for it is told too");
        ask(&mut world, AccountWish::Devices);
        answer(&mut world, is_revoked);
        assert_eq!(last_told(&world).0, Asked::Devices, "another question can be asked");
    }
}
