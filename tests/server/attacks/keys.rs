//! Keys of the server that were stolen, and lists of keys that are old, or were signed by whoever may not.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use bevy_iap::client::{OrderState, Response};
use bevy_iap::protocol::{KeyId, KeyList, ListedKey, SecretKey, Status, Token};
use bevy_iap::server::clock::{Clock as _, SystemClock};
use bevy_iap::server::rotation::{self, Times};
use bevy_iap::server::{DataFolder, SigningKeys};

use super::lies::{asked, granted};
use super::scene::{Scene, attack};
use super::victim::Victim;
use crate::support::game;

fn folder(scene: &Scene) -> DataFolder {
    DataFolder::open(scene.shop.folder.path()).expect("a store")
}

fn times() -> Times {
    Times { now: SystemClock.now(), days: 90, overlap_days: 7 }
}

/// A key as a thief of the disk reads it.
fn stolen(scene: &Scene, file: &str) -> SecretKey {
    let text = fs::read_to_string(scene.shop.folder.path().join(file)).expect("reads");
    let seed = Base64UrlUnpadded::decode_vec(text.trim_end()).expect("base64url");
    SecretKey::from_seed(&seed.try_into().expect("32 bytes"))
}

/// Rotates the keys, and waits until what a player buys is signed with the new one.
fn rotated(scene: &Scene, victim: &mut Victim) -> KeyId {
    rotation::rotate(&folder(scene), &game(), None, times()).expect("rotates");
    let key = SigningKeys::read(&folder(scene), &game()).expect("reads").key_id();
    signs(victim, key);
    key
}

/// Buys until a receipt is signed by `key`.
fn signs(victim: &mut Victim, key: KeyId) {
    for _ in 0..400 {
        victim.buy("charm");
        if victim.signed_by(key) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{key} does not sign");
}

/// Remembers the list of keys that comes with an answer.
fn overhear(victim: &Victim) -> Arc<Mutex<Vec<String>>> {
    let lists = Arc::new(Mutex::new(Vec::new()));
    let heard = lists.clone();
    victim.lie(move |_, response| {
        let text = String::from_utf8(response.body.clone()).expect("text");
        if let Some((list, _)) = text.split_once('\n') {
            heard.lock().expect("not poisoned").push(list.to_owned());
        }
        response
    });
    lists
}

/// Waits until the client asks as one that has the list of this number.
fn knows(victim: &mut Victim, number: u64) {
    let known = Arc::new(AtomicU64::new(0));
    let heard = known.clone();
    victim.lie(move |request, response| {
        heard.store(asked(&request.body).keys, Ordering::SeqCst);
        response
    });
    for _ in 0..400 {
        if known.load(Ordering::SeqCst) >= number {
            return;
        }
        victim.sync_now();
        victim.pass(Duration::from_millis(50));
    }
    panic!("it does not learn the list {number}");
}

fn answer(text: String) -> Response {
    Response { status: 200, retry_after: None, body: text.into_bytes() }
}

#[test]
fn thief_of_a_signing_key_gives_nothing_to_whoever_has_heard_that_it_is_revoked() {
    attack(|scene| {
        let mut victim = Victim::new(scene);
        let revoked = rotated(scene, &mut victim);
        let thief = stolen(scene, "signing.key");
        assert_eq!(thief.id(), revoked);
        let at = (revoked, SystemClock.now());
        rotation::revoke(&folder(scene), &game(), None, at, times()).expect("revokes");
        signs(&mut victim, SigningKeys::read(&folder(scene), &game()).expect("reads").key_id());
        let lies = thief.clone();
        victim.lie(move |request, _| answer(granted(&lies, &request.body)));
        let order = victim.order("palace");
        victim.disbelieves("revoked");
        assert_eq!(victim.orders[&order].state, OrderState::Sent);
        victim.let_through();
        victim.wait_for(order, OrderState::Declined);
        victim.check(scene);
    });
}

#[test]
fn old_list_of_keys_takes_no_revocation_back() {
    attack(|scene| {
        let mut victim = Victim::new(scene);
        let lists = overhear(&victim);
        let revoked = rotated(scene, &mut victim);
        let old = lists.lock().expect("not poisoned")[0].clone();
        let thief = stolen(scene, "signing.key");
        rotation::revoke(&folder(scene), &game(), None, (revoked, SystemClock.now()), times()).expect("revokes");
        signs(&mut victim, SigningKeys::read(&folder(scene), &game()).expect("reads").key_id());
        // The list that still allowed the key, before an answer by it; also after the client was started again.
        victim.lie(move |request, _| answer(format!("{old}\n{}", granted(&thief, &request.body))));
        for _ in 0..2 {
            victim.sync_now();
            victim.disbelieves("revoked");
            victim.stop();
            victim.start(scene);
        }
        victim.check(scene);
    });
}

#[test]
fn list_of_keys_that_no_root_has_signed_is_refused() {
    attack(|scene| {
        let mut victim = Victim::new(scene);
        rotated(scene, &mut victim);
        let thief = SecretKey::from_seed(&[0x44; 32]);
        let (signing, device) = (stolen(scene, "signing.key"), scene.attacker.key.clone());
        let root = scene.shop.server.public_key().id();
        let now = SystemClock.now();
        let list = |signer: &SecretKey, root: KeyId, game: &str| {
            KeyList {
                root,
                game: game.parse().expect("a name"),
                issued_at: now,
                number: u64::try_from(i64::MAX).expect("in range"),
                keys: vec![ListedKey::new(thief.public(), 0, i64::MAX)],
            }
            .sign(signer)
            .expect("signs")
        };
        // By a signing key, by the thief, by a device; in the root's name; and by a root, for another game.
        let other_game = list(&stolen(scene, "server.key"), root, "chess");
        for forged in [
            list(&signing, signing.id(), "arcade"),
            list(&signing, root, "arcade"),
            list(&thief, thief.id(), "arcade"),
            list(&thief, root, "arcade"),
            list(&device, device.id(), "arcade"),
            other_game,
            Token::from_text("e30.e30.e30"),
        ] {
            let lies = thief.clone();
            victim.lie(move |request, _| answer(format!("{forged}\n{}", granted(&lies, &request.body))));
            let order = victim.order("skin");
            victim.until("it is not believed", |victim| victim.is_retrying());
            assert_eq!(victim.orders[&order].state, OrderState::Sent);
            victim.let_through();
            victim.wait_for(order, OrderState::Granted);
        }
        victim.check(scene);
    });
}

#[test]
fn list_that_is_held_back_leaves_the_client_without_answers_and_not_with_wrong_ones() {
    attack(|scene| {
        let mut victim = Victim::new(scene);
        victim.buy("shield");
        rotation::rotate(&folder(scene), &game(), None, times()).expect("rotates");
        // Somebody on the network cuts the list off, so that the client never hears of the new key.
        victim.lie(|_, response| {
            let text = String::from_utf8(response.body).expect("text");
            answer(text.rsplit('\n').next().unwrap_or_default().to_owned())
        });
        for _ in 0..400 {
            if victim.is_retrying() {
                break;
            }
            victim.order("charm");
            victim.pass(Duration::from_millis(50));
        }
        victim.disbelieves("not trusted");
        victim.let_through();
        victim.check(scene);
    });
}

#[test]
fn thief_of_a_root_that_the_other_root_has_revoked_neither_answers_nor_allows_keys() {
    attack(|scene| {
        let safe = tempfile::tempdir().expect("a temporary folder");
        let second = safe.path().join("second.key");
        scene.roots.push(rotation::second_root(&folder(scene), &game(), &second).expect("makes a root"));
        let mut victim = Victim::new(scene);
        rotated(scene, &mut victim);
        let thief = stolen(scene, "server.key");
        // It has signed receipts until a moment ago, and what it signs from now on counts no more.
        let at = (thief.id(), SystemClock.now());
        rotation::revoke(&folder(scene), &game(), Some(&second), at, times()).expect("revokes");
        let number = SigningKeys::read(&folder(scene), &game()).expect("reads").trusted().number();
        knows(&mut victim, number);
        let own = SecretKey::from_seed(&[0x45; 32]);
        let list = KeyList {
            root: thief.id(),
            game: game(),
            issued_at: SystemClock.now(),
            number: u64::try_from(i64::MAX).expect("in range"),
            keys: vec![ListedKey::new(own.public(), 0, i64::MAX), ListedKey::new(thief.public(), 0, i64::MAX)],
        };
        let list = list.sign(&thief).expect("signs");
        let order = victim.order("palace");
        for (key, before) in [(thief, String::new()), (own, format!("{list}\n"))] {
            victim.lie(move |request, _| answer(format!("{before}{}", granted(&key, &request.body))));
            victim.sync_now();
            victim.until("it is not believed", |victim| victim.is_retrying());
            assert!(!victim.holdings.entitlements.contains_key("palace"));
        }
        victim.let_through();
        victim.wait_for(order, OrderState::Declined);
        victim.check(scene);
    });
}

#[test]
fn thief_of_a_signing_key_puts_nothing_into_the_books() {
    attack(|scene| {
        let receipt = scene.buy("shield", |_| {});
        let key = stolen(scene, "server.key");
        // What it signs is no order, no request and no device, so the real server takes none of it.
        let mut more = receipt.clone();
        more.product = "palace".parse().expect("a name");
        let forged = more.sign(&key).expect("signs");
        scene.send(std::slice::from_ref(&forged)).assert_refused("/problems/bad-token", 400);
        crate::support::send_sync(scene.shop.address(), &forged).assert_refused("/problems/bad-token", 400);
        let mut order = scene.attacker.claims("gift", 1);
        (order.device, order.account) = (key.id(), key.id().guest_account());
        scene.send(&[order.sign(&key).expect("signs")]).assert_refused("/problems/bad-token", 400);
        // Nor does a list that it signs change what the server signs with.
        let before = scene.buy("gift", |_| {}).server;
        assert_eq!((scene.buy("gift", |_| {}).server, receipt.status), (before, Status::Granted));
    });
}
