//! A list of keys that is full.

use std::fs;

use bevy_iap::protocol::server_keys::MAX_KEYS;
use bevy_iap::protocol::{KeyList, ListedKey, SecretKey, UnixSeconds};
use bevy_iap::server::clock::{Clock as _, SystemClock};
use bevy_iap::server::{LocalServer, ServerConfig, SigningKeys};

use super::{data, folder, number, taken};
use crate::command::{fails, works};
use crate::support::{Shop, catalog, game};

/// A key that ended long ago: the first one first.
fn ended(index: u8) -> ListedKey {
    let at = UnixSeconds::from(index);
    ListedKey::new(SecretKey::from_seed(&[index; 32]).public(), at, at + 1)
}

/// A shop whose list is full of keys that ended long ago, but for the two that count.
fn full() -> Shop {
    let at = tempfile::tempdir().expect("a temporary folder");
    let root = SecretKey::from_seed(&[0; 32]);
    fs::write(at.path().join("server.key"), format!("{}\n", "A".repeat(43))).expect("writes");
    let server = LocalServer::start(ServerConfig::new(at.path(), catalog())).expect("starts");
    let shop = Shop { server, folder: at };
    assert_eq!(shop.server.public_key(), root.public());
    works(&["keys", "rotate", "--data", &data(&shop)]);
    let signing = SigningKeys::read(&folder(&shop), &game()).expect("reads");
    let signing = signing.trusted().all().into_iter().find(|key| key.id() == signing.key_id()).expect("is listed");
    let issued_at = SystemClock.now();
    let mut keys = vec![
        ListedKey::new(root.public(), 0, issued_at + 1_000),
        ListedKey::new(signing, issued_at - 300, issued_at + 10_000),
    ];
    keys.extend((1..=u8::MAX).take(MAX_KEYS - 2).map(ended));
    let number = number(&folder(&shop)) + 1;
    let list = KeyList { root: root.id(), game: game(), issued_at, number, keys };
    let list = list.sign(&root).expect("signs");
    fs::write(shop.folder.path().join("keys.jwt"), format!("{list}\n")).expect("writes");
    shop
}

#[test]
fn full_list_refuses_a_new_key_before_anything_is_written_and_pruning_makes_room() {
    let shop = full();
    let before = SigningKeys::read(&folder(&shop), &game()).expect("reads");
    let refused = fails(&["keys", "rotate", "--data", &data(&shop)]);
    assert!(refused.contains("keys prune"), "{refused}");
    let after = SigningKeys::read(&folder(&shop), &game()).expect("reads");
    assert_eq!((after.key_id(), after.trusted()), (before.key_id(), before.trusted()));
    assert!(!shop.folder.path().join("signing.next").exists());

    let refused = fails(&["keys", "prune", "--before", "1970-01-01", "--data", &data(&shop)]);
    assert!(refused.contains("no key"), "{refused}");
    let told = works(&["keys", "prune", "--before", "2000-01-01", "--data", &data(&shop)]);
    assert!(told.contains(&format!("dropped  {}", MAX_KEYS - 2)), "{told}");
    let pruned = SigningKeys::read(&folder(&shop), &game()).expect("reads");
    assert_eq!((pruned.key_id(), pruned.trusted().all().len()), (before.key_id(), 2));
    works(&["keys", "rotate", "--data", &data(&shop)]);
    taken(&shop);
}

#[test]
fn key_is_revoked_also_where_the_list_is_full() {
    let shop = full();
    let stolen = SigningKeys::read(&folder(&shop), &game()).expect("reads").key_id();
    works(&["keys", "revoke", &stolen.to_string(), "--data", &data(&shop)]);
    let keys = SigningKeys::read(&folder(&shop), &game()).expect("reads");
    assert!(keys.key_id() != stolen && keys.trusted().revoked_at(stolen).is_some());
    let listed = keys.trusted().all();
    assert_eq!(listed.len(), MAX_KEYS);
    let dropped = SecretKey::from_seed(&[1; 32]).public();
    assert!(!listed.contains(&dropped) && listed.contains(&SecretKey::from_seed(&[2; 32]).public()));
}

#[test]
fn root_that_is_revoked_is_never_dropped_so_that_it_signs_no_list_again() {
    let shop = full();
    works(&["keys", "prune", "--before", "2000-01-01", "--data", &data(&shop)]);
    let second = shop.folder.path().join("second.key");
    works(&["keys", "second-root", crate::command::text(&second), "--data", &data(&shop)]);
    let stolen = SigningKeys::read(&folder(&shop), &game()).expect("reads").roots()[1].id();
    works(&["keys", "revoke", &stolen.to_string(), "--data", &data(&shop)]);
    fails(&["keys", "prune", "--before", "2030-01-01", "--data", &data(&shop)]);
    let keys = SigningKeys::read(&folder(&shop), &game()).expect("reads");
    assert_eq!(keys.trusted().revoked_at(stolen), Some(0));
}
