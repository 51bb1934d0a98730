//! Attacks on a real server over HTTP, each in a shop of its own. `docs/threat-model.md` says who would try them.
//!
//! A test is named after what the attacker fails at, and ends like all others: whatever is granted to the attackers was
//! paid for to the micro or is free, every receipt in their feeds is their own, the other player's account is what it
//! was, and the audit finds nothing.

mod accounts;
mod admin;
mod consumed;
mod copied;
mod edited;
mod floods;
mod forged;
pub mod forgery;
mod items;
mod keys;
mod lies;
mod money;
mod replayed;
mod scene;
mod victim;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;

use self::scene::{Scene, attack};

/// How many attacks there are at least.
const FEWEST: usize = 40;

#[test]
fn at_least_forty_attacks_are_tried_and_each_ends_in_the_check() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/attacks");
    let mut attacks = 0;
    for entry in fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("text");
        for test in text.split("#[test]\n").skip(1) {
            let (name, rest) = test.split_once('{').expect("a function");
            let body = rest.split("\n}\n").next().unwrap_or_default();
            let is_attack = body.contains("\n    attack(") || body.contains("\n    attack_on(");
            assert!(is_attack, "{}: {name}does not end in the check", path.display());
            // What is honest is there to show that the attacks beside it fail for what they are.
            attacks += usize::from(!name.starts_with("fn honest_"));
        }
    }
    assert!(attacks >= FEWEST, "{attacks} attacks");
}

/// Checks that the check at the end of an attack fails, with these words.
fn assert_seen(told: &str, happens: impl FnOnce(&mut Scene)) {
    let outcome = catch_unwind(AssertUnwindSafe(|| attack(happens)));
    let panic = outcome.expect_err("it is seen");
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
    assert!(text.contains(told), "{told:?} is not in {text:?}");
}

fn write(scene: &Scene, change: &str) {
    let books = Connection::open(scene.shop.folder.path().join("store.sqlite")).expect("opens");
    books.execute_batch(change).expect(change);
}

#[test]
fn check_sees_money_that_came_from_nowhere() {
    assert_seen("was given, less what was paid for", |scene| {
        scene.shop.server.credit(&scene.attacker.account(), "1EUR".parse().expect("money")).expect("credits");
    });
}

#[test]
fn check_sees_a_grant_that_cost_less_than_its_price() {
    assert_seen("an unpaid grant", |scene| {
        scene.buy("skin", |_| {});
        // As if the skin had never been sold at that price.
        scene.catalogs[0] =
            bevy_iap::protocol::Catalog::parse("other.ron", &crate::support::CATALOG.replace("0.07", "0.08"))
                .expect("a good catalogue");
    });
}

#[test]
fn check_sees_what_was_done_to_the_other_player() {
    assert_seen("the other player feels it", |scene| {
        let order = scene.other.order("gift", 1);
        scene.other.sync(&scene.shop, 0, &[order]);
    });
    assert_seen("a receipt of another", |scene| {
        scene.buy("gift", |_| {});
        let (account, other) = (scene.attacker.account(), scene.other.account());
        write(
            scene,
            &format!("UPDATE receipts SET account = '{account}', feed = 2 WHERE account = '{other}' AND feed = 1"),
        );
    });
}

#[test]
fn check_sees_books_that_were_changed() {
    assert_seen("the first one another time", |scene| {
        scene.buy("shield", |_| {});
        write(scene, "UPDATE orders SET settled_at = settled_at + 1 WHERE status = 'declined'");
    });
}
