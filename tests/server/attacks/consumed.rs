//! Using up what was bought: more of it than there is, again and again, or what is another's.

use std::thread;

use bevy_iap::protocol::{Consumption, ConsumptionStatus, FeedReceipt, Token};
use serde_json::json;

use super::forgery::claims;
use super::items::left;
use super::scene::{Scene, attack, whole_feed};
use super::victim::Victim;
use crate::support::{Answer, Device, send_sync};

fn send(scene: &Scene, device: &Device, consumptions: &[Token]) -> Answer {
    let mut request = device.request(0, &[]);
    request.consumptions = consumptions.to_vec();
    send_sync(scene.shop.address(), &request.sign(&device.key).expect("signs"))
}

/// Uses something up as the attacker's device, and says whether it was.
fn uses(scene: &Scene, consumption: &Consumption) -> bool {
    let token = consumption.sign(&scene.attacker.key).expect("signs");
    assert_eq!(send(scene, &scene.attacker, &[token]).status, 200);
    let answer = whole_feed(scene, &scene.attacker).1.into_iter().find_map(|receipt| match receipt {
        FeedReceipt::Consumption(receipt) if receipt.consumption == consumption.id => Some(receipt),
        _ => None,
    });
    answer.expect("it is answered").status == ConsumptionStatus::Consumed
}

fn shields(scene: &Scene) -> u64 {
    left(&whole_feed(scene, &scene.attacker).1).get("shield").copied().unwrap_or_default()
}

#[test]
fn more_than_there_is_is_not_used_up() {
    attack(|scene| {
        scene.buy("shield", |order| order.quantity = 2);
        let device = scene.attacker.clone();
        for (number, (item, quantity)) in (1..).zip([
            ("shield", 3),
            ("shield", i64::MAX.unsigned_abs()),
            ("skin", 1),
            ("double_jump", 1),
            ("nothing", 1),
        ]) {
            assert!(!uses(scene, &device.consumption(number, item, quantity)), "{item} {quantity}");
        }
        for quantity in [json!(0), json!(-1), json!(-5), json!(1.5), json!("1"), json!(9_223_372_036_854_775_808_u64)] {
            let mut payload = claims(&device.consumption(9, "shield", 1));
            payload["quantity"] = quantity;
            let token = scene.raw.token(&scene.raw.header("iap-consume+jwt").to_string(), &payload.to_string());
            send(scene, &device, &[token]).assert_refused("/problems/bad-token", 400);
        }
        assert_eq!(shields(scene), 2);
        assert!(uses(scene, &device.consumption(10, "shield", 2)));
        assert!(!uses(scene, &device.consumption(11, "shield", 1)));
    });
}

#[test]
fn last_one_that_many_copies_use_at_once_is_used_once() {
    attack(|scene| {
        scene.buy("shield", |_| {});
        let device = scene.attacker.clone();
        // Each copy gives it the same number.
        let tokens = (0..12).map(|_| device.consumption(1, "shield", 1).sign(&device.key).expect("signs"));
        let tokens: Vec<Token> = tokens.collect();
        let scene: &Scene = scene;
        thread::scope(|scope| {
            for token in &tokens {
                let device = &device;
                scope.spawn(move || assert_eq!(send(scene, device, std::slice::from_ref(token)).status, 200));
            }
        });
        let feed = whole_feed(scene, &device).1;
        let used = feed.iter().filter(|receipt| match receipt {
            FeedReceipt::Consumption(receipt) => receipt.status == ConsumptionStatus::Consumed,
            FeedReceipt::Order(_) => false,
        });
        assert_eq!((used.count(), feed.len(), shields(scene)), (1, 13, 0));
    });
}

#[test]
fn consumption_that_is_sent_again_or_changed_gives_nothing_back() {
    attack(|scene| {
        scene.buy("shield", |order| order.quantity = 5);
        let device = scene.attacker.clone();
        let first = device.consumption(1, "shield", 3);
        for _ in 0..4 {
            assert!(uses(scene, &first));
            assert_eq!(shields(scene), 2);
        }
        for (item, quantity) in [("shield", 1), ("shield", 4), ("gift", 3)] {
            let changed = Consumption { item: item.parse().expect("a name"), quantity, ..first.clone() };
            let token = changed.sign(&device.key).expect("signs");
            send(scene, &device, &[token]).assert_refused("/problems/consumption-conflict", 422);
        }
        assert_eq!(shields(scene), 2);
    });
}

#[test]
fn things_of_another_player_are_not_used_up() {
    attack(|scene| {
        let (thief, victim) = (scene.attacker.clone(), scene.other.clone());
        let own = thief.consumption(1, "shield", 1);
        for (consumption, kind, status) in [
            (Consumption { account: victim.account(), ..own.clone() }, "/problems/wrong-account", 422),
            (Consumption { device: victim.id(), ..own.clone() }, "/problems/bad-token", 400),
            (victim.consumption(1, "shield", 1), "/problems/bad-token", 400),
            (Consumption { game: "chess".parse().expect("a name"), ..own }, "/problems/wrong-audience", 422),
        ] {
            let token = consumption.sign(&thief.key).expect("signs");
            send(scene, &thief, &[token]).assert_refused(kind, status);
        }
        // Theirs, signed by themselves, sent along with one's own request.
        let theirs = victim.consumption(1, "shield", 1).sign(&victim.key).expect("signs");
        send(scene, &thief, &[theirs]).assert_refused("/problems/bad-token", 400);
    });
}

#[test]
fn save_that_is_put_back_does_not_bring_back_what_was_used_up() {
    attack(|scene| {
        let mut victim = Victim::new(scene);
        victim.buy("skin");
        victim.stop();
        let before = std::fs::read(victim.journal()).expect("reads");
        victim.start(scene);
        victim.uses(scene, "skin", 3);
        victim.stop();
        for _ in 0..2 {
            std::fs::write(victim.journal(), &before).expect("writes");
            victim.start(scene);
            victim.until("the feed was read", |victim| victim.is_online() && victim.left("skin") == 0);
            victim.stop();
        }
        victim.start(scene);
        victim.check(scene);
    });
}
