//! The files of keys: after a crash in the middle of a change, restored from copies, copied to another server.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bevy_iap::protocol::ServerKeys;
use bevy_iap::server::clock::{Clock as _, SystemClock};
use bevy_iap::server::rotation::{self, Times};
use bevy_iap::server::{DataFolder, LocalServer, ServerConfig, SigningKeys};

use super::{Trusting, data, folder, number, served_again, taken};
use crate::command::{text, works};
use crate::support::{Shop, catalog, game};

/// The files that a change writes, in the order in which they are to be copied.
const FILES: [&str; 3] = ["roots.pub", "keys.jwt", "signing.key"];

/// What is in some files of a folder.
struct Copies(Vec<(&'static str, Option<Vec<u8>>)>);

impl Copies {
    fn of(folder: &Path, files: &[&'static str]) -> Self {
        Self(files.iter().map(|file| (*file, fs::read(folder.join(file)).ok())).collect())
    }

    fn put_back(&self, folder: &Path) {
        for (file, bytes) in &self.0 {
            match bytes {
                Some(bytes) => fs::write(folder.join(file), bytes).expect("writes"),
                None => drop(fs::remove_file(folder.join(file))),
            }
        }
    }
}

fn times_in(seconds: i64) -> Times {
    Times { now: SystemClock.now() + seconds, days: 90, overlap_days: 7 }
}

/// What a crash leaves of `change`, after the new key was written and `before` was not.
fn crashed(shop: &Shop, not_yet: &[&'static str], change: impl FnOnce()) {
    let path = shop.folder.path();
    let before = Copies::of(path, not_yet);
    change();
    fs::copy(path.join("signing.key"), path.join("signing.next")).expect("copies");
    before.put_back(path);
}

/// A store that was rotated so many times, and what a crash leaves of one more change.
fn after_a_crash(rotated: u32, not_yet: &[&'static str], revokes: bool) {
    let shop = Shop::open();
    let mut device = Trusting::new(&shop);
    device.buy(&shop);
    for _ in 0..rotated {
        works(&["keys", "rotate", "--data", &data(&shop)]);
        taken(&shop);
    }
    device.buy(&shop);
    let signing = SigningKeys::read(&folder(&shop), &game()).expect("reads").key_id().to_string();
    crashed(&shop, not_yet, || {
        match revokes {
            true => works(&["keys", "revoke", &signing, "--data", &data(&shop)]),
            false => works(&["keys", "rotate", "--data", &data(&shop)]),
        };
    });

    let shop = served_again(shop);
    device.buy(&shop);
    assert_eq!(device.keys.number(), number(&folder(&shop)));
    let signed = device.buy(&shop).server;
    works(&["keys", "rotate", "--data", &data(&shop)]);
    assert_ne!(taken(&shop), signed);
    assert!(!shop.folder.path().join("signing.next").exists());
    let (_, receipts) = device.sync(&shop, &[]);
    assert_eq!(receipts.len(), 4);
    assert!(works(&["audit", "--data", &data(&shop)]).contains("no differences"));
}

#[test]
fn crash_at_any_point_of_a_rotation_leaves_keys_that_sign() {
    for rotated in [0, 1] {
        after_a_crash(rotated, &FILES, false);
        after_a_crash(rotated, &["keys.jwt", "signing.key"], false);
        after_a_crash(rotated, &["signing.key"], false);
    }
}

#[test]
fn crash_at_any_point_of_a_revocation_leaves_keys_that_sign() {
    after_a_crash(1, &FILES, true);
    after_a_crash(1, &["signing.key"], true);
}

#[test]
fn store_whose_list_of_keys_is_missing_does_not_start_and_a_rotation_makes_another() {
    let shop = Shop::open();
    works(&["keys", "rotate", "--data", &data(&shop)]);
    taken(&shop);
    let mut device = Trusting::new(&shop);
    device.buy(&shop);
    let Shop { server, folder } = shop;
    drop(server);
    for file in ["keys.jwt", "roots.pub"] {
        fs::remove_file(folder.path().join(file)).expect("is not restored");
    }
    let refused = LocalServer::start(ServerConfig::new(folder.path(), catalog())).expect_err("devices know a list");
    assert!(refused.to_string().contains("keys.jwt") && refused.to_string().contains("in this order"), "{refused}");

    let store = DataFolder::open(folder.path()).expect("a store");
    rotation::rotate(&store, &game(), None, times_in(60)).expect("rotates");
    let server = LocalServer::start(ServerConfig::new(folder.path(), catalog())).expect("starts");
    let shop = Shop { server, folder };
    device.buy(&shop);
    assert_eq!(device.keys.number(), number(&store));
    assert_eq!(device.sync(&shop, &[]).1.len(), 2, "what was signed with the list that is lost counts");
}

#[test]
fn list_of_a_folder_of_before_the_last_rotation_takes_the_place_of_the_newer_one() {
    let shop = Shop::open();
    let path = shop.folder.path().to_owned();
    let mut device = Trusting::new(&shop);
    let unrotated = Copies::of(&path, &FILES);
    works(&["keys", "rotate", "--data", &data(&shop)]);
    let first = Copies::of(&path, &FILES);
    works(&["keys", "rotate", "--data", &data(&shop)]);
    taken(&shop);
    device.sync(&shop, &[]);

    let mut shop = shop;
    for (copies, seconds) in [(first, 60), (unrotated, 120)] {
        copies.put_back(&path);
        rotation::rotate(&folder(&shop), &game(), None, times_in(seconds)).expect("rotates");
        shop = served_again(shop);
        let known = device.keys.number();
        device.sync(&shop, &[]);
        assert!(device.keys.number() > known);
    }
    device.buy(&shop);
}

#[test]
fn server_signs_at_each_step_while_the_files_of_another_one_are_copied_to_it() {
    let shop = Shop::open();
    let other = tempfile::tempdir().expect("a temporary folder");
    fs::copy(shop.folder.path().join("server.key"), other.path().join("server.key")).expect("copies");
    let copy = DataFolder::open(other.path()).expect("a store");
    let mut known = ServerKeys::pinned([shop.server.public_key()]);
    for _ in 0..3 {
        works(&["keys", "rotate", "--data", &data(&shop)]);
        for file in FILES {
            fs::copy(shop.folder.path().join(file), other.path().join(file)).expect("copies");
            let keys = SigningKeys::read(&copy, &game()).expect("there is a key that signs");
            known = keys.trusted().clone();
        }
        let keys = SigningKeys::read(&folder(&shop), &game()).expect("reads");
        assert_eq!((known.number(), &known), (keys.trusted().number(), keys.trusted()));
        assert_eq!(SigningKeys::read(&copy, &game()).expect("reads").key_id(), keys.key_id());
    }
    // In any other order it is told what is missing, and all is well in the end.
    works(&["keys", "rotate", "--overlap-days", "0", "--data", &data(&shop)]);
    fs::copy(shop.folder.path().join("signing.key"), other.path().join("signing.key")).expect("copies");
    let told = SigningKeys::read(&copy, &game()).expect_err("the list is older than the key").to_string();
    assert!(told.contains("signing.key") && told.contains("keys.jwt"), "{told}");
    fs::copy(shop.folder.path().join("keys.jwt"), other.path().join("keys.jwt")).expect("copies");
    SigningKeys::read(&copy, &game()).expect("all is there");
}

#[test]
fn keys_can_be_read_at_any_moment_of_a_rotation() {
    let shop = Shop::open();
    let (folder, done) = (folder(&shop), AtomicBool::new(false));
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                SigningKeys::read(&folder, &game()).expect("reads");
            }
        });
        for _ in 0..10 {
            rotation::rotate(&folder, &game(), None, times_in(0)).expect("rotates");
            thread::sleep(Duration::from_millis(200));
        }
        done.store(true, Ordering::Relaxed);
        reader.join().expect("every read was good");
    });
}

#[cfg(unix)]
#[test]
fn what_lies_in_the_way_of_a_key_file_is_neither_followed_nor_kept() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let shop = Shop::open();
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let target = elsewhere.path().join("target");
    fs::write(&target, "another's").expect("writes");
    let in_the_way = shop.folder.path().join("signing.next.new");
    symlink(&target, &in_the_way).expect("links");
    works(&["keys", "rotate", "--data", &data(&shop)]);
    assert_eq!(fs::read_to_string(&target).expect("reads"), "another's");

    fs::write(&in_the_way, "left over").expect("writes");
    fs::set_permissions(&in_the_way, fs::Permissions::from_mode(0o666)).expect("sets");
    works(&["keys", "rotate", "--data", text(shop.folder.path())]);
    let key = fs::symlink_metadata(shop.folder.path().join("signing.key")).expect("is there");
    assert!(key.is_file() && key.permissions().mode() & 0o777 == 0o600);
}
