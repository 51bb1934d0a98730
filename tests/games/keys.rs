//! Keys that change while games run: nobody notices, and nothing is lost.

use bevy_iap::client::{OrderState, ServerAddress};
use bevy_iap::plugin::IapPlugin;
use bevy_iap::server::clock::{Clock as _, SystemClock};
use bevy_iap::server::rotation::{self, Times};
use bevy_iap::server::{DataFolder, SigningKeys};

use crate::shop::Shop;

fn folder(shop: &Shop) -> DataFolder {
    DataFolder::open(&shop.save("server")).expect("a store")
}

fn times() -> Times {
    Times { now: SystemClock.now(), days: 90, overlap_days: 7 }
}

fn game() -> bevy_iap::protocol::GameId {
    "test_game".parse().expect("a name")
}

#[test]
fn a_game_goes_on_when_the_servers_key_is_rotated_and_revoked_and_knows_the_list_at_its_next_start() {
    let shop = Shop::open("5.00EUR");
    let mut game_before = shop.play("save");
    game_before.buy_until("double_jump", OrderState::Granted);
    rotation::rotate(&folder(&shop), &game(), None, times()).expect("rotates");
    let first = SigningKeys::read(&folder(&shop), &game()).expect("reads").key_id();
    game_before.until_signed_by(first);

    rotation::revoke(&folder(&shop), &game(), None, (first, SystemClock.now() + 60), times()).expect("revokes");
    let second = SigningKeys::read(&folder(&shop), &game()).expect("reads").key_id();
    game_before.until_signed_by(second);
    let bought = game_before.store().quantity("shield");
    assert!(bought >= 2);
    drop(game_before);

    // Without a connection: what the revoked key signed is owned, and the list is in the journal.
    let mut offline = shop.play_with(IapPlugin { offline: true, ..shop.plugin("save") });
    offline.until("it is open", |store| store.account().is_some());
    assert!(offline.store().owns("double_jump"));
    assert_eq!(offline.store().quantity("shield"), bought);
    offline.offline(false);
    offline.until_signed_by(second);
    drop(offline);

    // A new device reads the whole feed, with receipts of all three keys.
    let mut other = shop.play("other");
    other.buy_until("shield", OrderState::Granted);
    shop.audit();
}

#[test]
fn a_game_that_pins_two_roots_goes_on_when_one_is_lost_and_revoked() {
    let shop = Shop::open("5.00EUR");
    let safe = tempfile::tempdir().expect("a temporary folder");
    let second = safe.path().join("second.key");
    let root = rotation::second_root(&folder(&shop), &game(), &second).expect("makes a root");
    let address: ServerAddress = shop.address.clone().and_root(&root.to_string()).expect("a key");
    let mut playing = shop.play_with(IapPlugin { server: Some(address), ..shop.plugin("save") });
    playing.buy_until("shield", OrderState::Granted);
    let lost = SigningKeys::read(&folder(&shop), &game()).expect("reads").key_id();
    std::fs::remove_file(shop.save("server").join("server.key")).expect("is lost");

    // The lost root still signed receipts: the other one allows a new key in its place.
    rotation::revoke(&folder(&shop), &game(), Some(&second), (lost, SystemClock.now() + 60), times()).expect("revokes");
    let signing = SigningKeys::read(&folder(&shop), &game()).expect("reads").key_id();
    assert_ne!(signing, lost);
    playing.until_signed_by(signing);
    assert!(playing.store().quantity("shield") >= 2);
    shop.audit();
}

#[test]
fn a_game_that_pins_new_roots_after_one_was_stolen_still_knows_everything_that_was_bought() {
    let shop = Shop::open("5.00EUR");
    let safe = tempfile::tempdir().expect("a temporary folder");
    let second = safe.path().join("second.key");
    let root = rotation::second_root(&folder(&shop), &game(), &second).expect("makes a root");
    let both = shop.address.clone().and_root(&root.to_string()).expect("a key");
    let mut playing = shop.play_with(IapPlugin { server: Some(both), ..shop.plugin("save") });
    playing.buy_until("double_jump", OrderState::Granted);
    rotation::rotate(&folder(&shop), &game(), None, times()).expect("rotates");
    playing.until_signed_by(SigningKeys::read(&folder(&shop), &game()).expect("reads").key_id());
    let stolen = shop.server().public_key().id();
    rotation::revoke(&folder(&shop), &game(), Some(&second), (stolen, SystemClock.now() + 60), times())
        .expect("revokes");
    rotation::rotate(&folder(&shop), &game(), Some(&second), times()).expect("rotates");
    playing.until_signed_by(SigningKeys::read(&folder(&shop), &game()).expect("reads").key_id());
    let shields = playing.store().quantity("shield");
    drop(playing);

    // The next version of the game pins the second root and a third one, and starts without a connection.
    let third = rotation::second_root(&folder(&shop), &game(), &safe.path().join("third.key")).expect("makes a root");
    let keys = vec![root, third];
    let server = ServerAddress { keys, ..shop.address.clone() };
    let mut updated = shop.play_with(IapPlugin { server: Some(server), offline: true, ..shop.plugin("save") });
    assert!(updated.store().owns("double_jump"), "what the stolen root signed in its time");
    assert_eq!(updated.store().quantity("shield"), shields);
    updated.offline(false);
    updated.buy_until("shield", OrderState::Granted);
    shop.audit();
}
