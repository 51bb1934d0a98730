//! Going on with another key: the new one is safe before it is asked for, and a lost answer is found again.

use std::time::Duration;

use bevy_iap::client::machine::{Input, Output};
use bevy_iap::client::storage::Opened;
use bevy_iap::client::{
    Access, AccountTrouble, AccountWish, Asked, Machine, OfflineGrants, OrderState, Record, Settings, Tick, Update,
};
use bevy_iap::protocol::{AccountAsk, AccountRequest, AccountResponse, KeyId, SecretKey, Status};

use super::{answer, answer_with, ask_after_a_sync, entry, last_told, problem, question};
use crate::world::{SERVER_TIME, World, game, order_id};

/// A device that owns a shield, and asks to go on with another key.
fn asking() -> World {
    asking_with(OfflineGrants::Wait)
}

fn asking_with(policy: OfflineGrants) -> World {
    let mut world = World::new(policy);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    world.input(Input::Account(AccountWish::ReplaceKey));
    world.answer(&[(1, Status::Granted)]);
    assert_eq!(world.path(), "/v1/sync", "no key was made yet");
    let key = world.next_key.clone().expect("a key was asked for");
    world.input(Input::NextKeyMade(Ok(key)));
    world
}

fn replaced_by(device: KeyId) -> impl FnOnce(&mut AccountResponse) {
    move |answer: &mut AccountResponse| {
        answer.device = device;
        answer.devices = vec![entry(device)];
    }
}

#[test]
fn a_key_is_replaced_by_one_that_is_safe_before_and_everything_stays() {
    let mut world = asking();
    let (old, account) = (world.machine.device(), world.machine.account().clone());
    let next = world.next_key.clone().expect("a key");
    let AccountAsk::ReplaceKey { enrolment } = question(&world).ask else { panic!("another question") };
    let (key, _) = enrolment.verify_into(&account, &game()).expect("the new key says so itself");
    assert_eq!(key.id(), next.id());
    world.input(World::purchase(2, "shield"));
    let before = world.records.clone();
    answer(&mut world, replaced_by(next.id()));
    assert_eq!((last_told(&world).0, world.machine.device()), (Asked::ReplaceKey, next.id()));
    assert_eq!((world.key.id(), world.left("shield")), (next.id(), 1), "the storage was told");
    world.input(Input::NextKeyTaken(Ok(())));
    world.input(Input::Appended);
    let order = world.last_order();
    assert_eq!((order.device, order.sequence, order.previous), (next.id(), 1, None), "what waited is the new key's");
    assert_ne!(order.device, old);
    // The journal as it is when the game ends before it is written anew.
    let was_not_kept = |record: &Record| !before.contains(record) && !matches!(record, Record::Receipt(_));
    let since: Vec<_> = world.records.iter().filter(|record| was_not_kept(record)).cloned().collect();
    world.records = [before, since].concat();
    for _ in 0..3 {
        world = world.restart();
        assert_eq!((world.left("shield"), world.machine.account()), (1, &account));
        assert_eq!((world.machine.device(), world.state(2)), (next.id(), Some(OrderState::Sent)));
        assert!(world.troubles.is_empty(), "{:?}", world.troubles);
        world.compact();
    }
}

#[test]
fn the_next_key_is_not_believed_to_count_before_the_server_says_so() {
    let mut world = asking();
    let old = world.key.id();
    let other = SecretKey::from_seed(&[66; 32]).id();
    let response = answer_with(&world, &world.server, replaced_by(other));
    world.input(Input::Answered(response));
    assert!(matches!(last_told(&world).1, Err(AccountTrouble::AskedAgain { .. })));
    world.wait();
    let response = answer_with(&world, &world.server, |_| {});
    world.input(Input::Answered(response));
    assert_eq!(world.machine.device(), old, "an answer for the old key says nothing of the new one");
}

#[test]
fn a_key_that_could_not_be_made_safe_is_not_asked_for() {
    let mut world = World::new(OfflineGrants::Wait);
    world.input(Input::Account(AccountWish::ReplaceKey));
    world.answer(&[]);
    world.input(Input::NextKeyMade(Err("the disk is full".to_owned())));
    assert!(matches!(last_told(&world), (Asked::ReplaceKey, Err(AccountTrouble::NotSaved { .. }))));
    assert_eq!(world.path(), "/v1/sync");
    world.buy(1, "shield");
    assert_eq!(world.state(1), Some(OrderState::Sent));
}

/// The answer was lost, the game ended, and the server has revoked the old key.
fn answer_lost() -> World {
    let world = asking_with(OfflineGrants::Provisional);
    let next = world.next_key.clone();
    let mut world = world.restart_with_next_key(next);
    world.buy(2, "shield");
    assert_eq!(world.left("shield"), 2);
    world.input(Input::Answered(problem("device-revoked", 403)));
    world
}

#[test]
fn a_lost_answer_is_found_again_by_the_next_key() {
    let mut world = answer_lost();
    let next = world.next_key.clone().expect("a key");
    let asked = AccountRequest::verify(&world.request_token(), next.public(), &game()).expect("the next key signed it");
    assert_eq!(asked.ask, AccountAsk::Show);
    answer(&mut world, replaced_by(next.id()));
    assert_eq!((world.machine.device(), world.left("shield")), (next.id(), 1));
    assert!(world.sync_request().orders.is_empty(), "what the old key signed is not sent");
    world.answer(&[]);
    assert_eq!(world.state(2), Some(OrderState::NotSaved));
    let world = world.restart();
    assert!(!world.orders.contains_key(&order_id(2)) && world.troubles.is_empty(), "{:?}", world.troubles);
}

#[test]
fn a_next_key_that_the_server_does_not_know_is_not_taken() {
    let mut world = answer_lost();
    let old = world.key.id();
    world.input(Input::Answered(problem("unknown-device", 404)));
    assert_eq!(question(&world).device, old, "the device asks for itself then");
    answer(&mut world, |answer| answer.devices[0].revoked = true);
    assert!(world.machine.account_view().revoked);
    assert_eq!(world.machine.device(), old);
}

#[test]
fn a_server_that_is_busy_is_no_reason_to_doubt_the_next_key() {
    for (kind, status) in [("unavailable", 503), ("too-many-requests", 429), ("internal", 500)] {
        let mut world = answer_lost();
        let next = world.next_key.clone().expect("a key").id();
        assert_eq!(AccountRequest::claimed_device(&world.request_token()).expect("a question"), next);
        world.input(Input::Answered(problem(kind, status)));
        world.wait();
        assert_eq!(world.path(), "/v1/sync", "{kind}");
        world.input(Input::Answered(problem("device-revoked", 403)));
        assert_eq!(AccountRequest::claimed_device(&world.request_token()).expect("a question"), next, "{kind}");
        answer(&mut world, replaced_by(next));
        assert!(!world.machine.account_view().revoked && world.machine.device() == next, "{kind}");
    }
}

fn asked_by(world: &World) -> KeyId {
    assert_eq!(world.path(), super::PATH);
    AccountRequest::claimed_device(&world.request_token()).expect("a question")
}

#[test]
fn what_the_old_key_is_told_is_not_saved_before_the_next_key_was_asked() {
    let world = asking();
    let next = world.next_key.clone();
    let mut world = world.restart_with_next_key(next.clone());
    let next = next.expect("a key").id();
    world.random_byte = 0xff;
    world.input(Input::NotAnswered("the network is gone".to_owned()));
    world.input(Input::Account(AccountWish::Devices));
    assert_eq!(asked_by(&world), world.machine.device());
    let records = world.records.len();
    answer(&mut world, |answer| answer.devices[0].revoked = true);
    assert_eq!((world.records.len(), world.machine.account_view().revoked), (records, false));
    assert_eq!(last_told(&world), (Asked::Devices, Err(AccountTrouble::Busy)));
    assert_eq!(asked_by(&world), next);
    answer(&mut world, replaced_by(next));
    assert_eq!((world.machine.device(), world.left("shield")), (next, 1));
    assert!(!world.machine.account_view().revoked);
}

#[test]
fn a_journal_that_says_revoked_beside_a_next_key_asks_by_that_until_it_is_answered() {
    let world = asking();
    let next = world.next_key.clone();
    let mut world = world.restart();
    world.input(Input::Answered(problem("device-revoked", 403)));
    answer(&mut world, |answer| answer.devices[0].revoked = true);
    assert!(world.machine.account_view().revoked);
    let mut world = world.restart_with_next_key(next.clone());
    let next = next.expect("a key").id();
    for kind in ["unavailable", "too-many-requests"] {
        assert_eq!(asked_by(&world), next);
        world.request = None;
        world.input(Input::Answered(problem(kind, 503)));
        assert_eq!(world.request, None, "not at once");
        world.wait();
    }
    world.request = None;
    world.input(Input::NotAnswered("the network is gone".to_owned()));
    world.wait();
    assert_eq!(asked_by(&world), next);
    answer(&mut world, replaced_by(next));
    assert_eq!((world.machine.device(), world.left("shield")), (next, 1));
    assert!(!world.machine.account_view().revoked);
    assert_eq!(world.path(), "/v1/sync");
}

#[test]
fn what_the_old_key_used_up_and_nobody_was_sent_is_told_as_refused() {
    let world = asking();
    let next = world.next_key.clone();
    let mut world = world.restart_with_next_key(next.clone());
    world.consume(1, "shield", 1);
    assert_eq!(world.left("shield"), 0);
    world.input(Input::Answered(problem("device-revoked", 403)));
    answer(&mut world, replaced_by(next.expect("a key").id()));
    let refused = world.updates.iter().filter(|update| matches!(update, Update::ConsumeRefused { quantity: 1, .. }));
    assert_eq!((refused.count(), world.left("shield")), (1, 1));
}

/// A device that goes on with another key, of which its journal says so.
fn replaced() -> World {
    let mut world = asking();
    let next = world.next_key.clone().expect("a key");
    answer(&mut world, replaced_by(next.id()));
    world.input(Input::NextKeyTaken(Ok(())));
    world.answer(&[]);
    world.compact();
    world
}

/// The game's new version pins another key of the server.
#[test]
fn a_replaced_key_whose_record_is_not_believed_any_more_opens_and_asks_whose_it_is() {
    let mut world = replaced();
    let (device, account, believed) = (world.machine.device(), world.machine.account().clone(), world.server.clone());
    world.server = SecretKey::from_seed(&[77; 32]);
    let mut world = world.restart();
    assert_eq!((world.machine.device(), world.machine.account()), (device, &account));
    assert!(world.troubles.iter().any(|trouble| trouble.contains("of the account")), "{:?}", world.troubles);
    assert_eq!((question(&world).ask, question(&world).device), (AccountAsk::Show, device));
    answer(&mut world, |_| {});
    assert_eq!(world.sync_request().device, device);
    for _ in 0..2 {
        world = world.restart();
        assert_eq!((world.machine.device(), world.path()), (device, "/v1/sync"));
        assert!(!world.troubles.iter().any(|trouble| trouble.contains("of the account")), "{:?}", world.troubles);
        world.compact();
    }
    // And the version after that pins the first one again.
    world.server = believed;
    let world = world.restart();
    assert_eq!((world.machine.device(), world.machine.account(), world.left("shield")), (device, &account, 1));
}

#[test]
fn a_replaced_key_whose_record_was_damaged_opens_now_and_at_the_next_start() {
    let mut world = replaced();
    let (device, account) = (world.machine.device(), world.machine.account().clone());
    world.records.retain(|record| !matches!(record, Record::Account(_)));
    let open = |is_damaged| {
        let mut opening = Machine::opening(Settings::new(game(), vec![world.server.public()]), world.key.clone());
        world.records.iter().cloned().for_each(|record| opening.replay(record));
        let opened = Opened { key: world.key.clone(), access: Access::ReadWrite, is_damaged, troubles: Vec::new() };
        opening.finish(opened, Tick { elapsed: Duration::ZERO, unix: SERVER_TIME, random: [1; 16] })
    };
    assert!(open(false).expect_err("nothing is missing").contains("put the right key back"));
    let (machine, snapshot, first) = open(true).expect("opens");
    assert_eq!((machine.device(), machine.account()), (device, &account));
    assert_eq!((snapshot.holdings.items["shield"].left, snapshot.troubles.len()), (1, 1), "{:?}", snapshot.troubles);
    world.records.extend(first);
    for _ in 0..2 {
        world = world.restart();
        assert_eq!((world.machine.device(), world.left("shield")), (device, 1));
        assert_eq!((question(&world).ask, question(&world).account), (AccountAsk::Show, account.clone()));
        world.input(World::purchase(9, "shield"));
        assert_eq!(world.state(9), Some(OrderState::NotSaved), "nobody knows whose it would be");
    }
    answer(&mut world, |_| {});
    for _ in 0..2 {
        assert_eq!((world.sync_request().device, world.sync_request().account), (device, account.clone()));
        world.compact();
        world = world.restart();
    }
}

#[test]
fn a_second_replacement_waits_until_the_first_has_its_place() {
    let mut world = asking();
    let next = world.next_key.clone().expect("a key");
    answer(&mut world, replaced_by(next.id()));
    world.input(Input::NextKeyTaken(Err("the folder cannot be written".to_owned())));
    world.answer(&[]);
    ask(&mut world);
    world.input(Input::NextKeyTaken(Err("the folder cannot be written".to_owned())));
    assert!(matches!(last_told(&world), (Asked::ReplaceKey, Err(AccountTrouble::NotSaved { .. }))));
    world.input(Input::NextKeyMade(Ok(next.clone())));
    world.buy(3, "shield");
    assert_eq!(world.last_order().device, next.id());
}

fn ask(world: &mut World) {
    world.next_key = Some(world.key.clone());
    world.input(Input::Account(AccountWish::ReplaceKey));
    let response = world.response(&[]);
    let outputs = world.input(Input::Answered(response));
    let order = |wanted: fn(&Output) -> bool| outputs.iter().position(wanted).expect("it is asked for");
    let (take, make) =
        (|it: &Output| matches!(it, Output::TakeNextKey), |it: &Output| matches!(it, Output::MakeNextKey));
    assert!(order(take) < order(make));
}

#[test]
fn a_key_is_replaced_in_an_account_that_was_joined() {
    let mut world = World::new(OfflineGrants::Wait);
    ask_after_a_sync(&mut world, AccountWish::JoinByCode(super::code()));
    answer(&mut world, super::joins_other);
    world.answer(&[]);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    world.input(Input::Account(AccountWish::ReplaceKey));
    world.answer(&[(1, Status::Granted)]);
    let next = world.next_key.clone().expect("a key");
    world.input(Input::NextKeyMade(Ok(next.clone())));
    answer(&mut world, |answer| {
        answer.account = super::other_account();
        replaced_by(next.id())(answer);
    });
    for _ in 0..3 {
        assert_eq!((world.machine.device(), world.machine.account()), (next.id(), &super::other_account()));
        assert_eq!(world.left("shield"), 1);
        world.compact();
        let path = world.records.iter().filter(|record| matches!(record, Record::Account(_))).count();
        assert_eq!(path, 2, "how it came here is kept");
        world = world.restart();
        assert!(world.troubles.is_empty(), "{:?}", world.troubles);
    }
}
