//! What was signed once and is sent again: by the player, by somebody who listened, many at once, or out of its turn.

use std::thread;

use bevy_iap::protocol::sync::{ChainHead, Enrolment, SyncResponse, Wait};
use bevy_iap::protocol::{AllowanceRequest, Currency, OrderId, Reason, Receipt, Sha256, Status, Token};

use super::scene::{Scene, WELCOME, attack, feed};
use crate::support::{Answer, Device, fresh_id, game, post, send_sync};

/// Reads the receipts in an answer.
fn receipts(scene: &Scene, device: &Device, request: &Token, answer: &Answer) -> Vec<Token> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let response: SyncResponse = device.read(scene.shop.server.public_key(), request, answer);
    response.receipts
}

/// Sends requests at once, each over a connection of its own.
fn at_once(scene: &Scene, requests: &[Token]) -> Vec<Answer> {
    let address = scene.shop.address();
    thread::scope(|scope| {
        let sent: Vec<_> = requests.iter().map(|request| scope.spawn(move || send_sync(address, request))).collect();
        sent.into_iter().map(|sent| sent.join().expect("it is answered")).collect()
    })
}

#[test]
fn order_that_is_sent_a_hundred_times_is_charged_once() {
    attack(|scene| {
        let order = scene.attacker.order("shield", 2);
        let request = scene.attacker.request(0, std::slice::from_ref(&order)).sign(&scene.attacker.key).expect("signs");
        let mut requests = vec![request; 50];
        let again =
            || scene.attacker.request(0, &[order.clone(), order.clone()]).sign(&scene.attacker.key).expect("signs");
        requests.extend((0..50).map(|_| again()));
        let answers = at_once(scene, &requests);
        let first = receipts(scene, &scene.attacker, &requests[0], &answers[0]);
        assert_eq!(first.len(), 1);
        for (request, answer) in requests.iter().zip(&answers) {
            assert_eq!(receipts(scene, &scene.attacker, request, answer), first, "the same receipt, byte for byte");
        }
        assert_eq!((scene.euros(), feed(scene, &scene.attacker).0.len()), (990_000, 1));
    });
}

#[test]
fn order_that_was_refunded_gives_nothing_when_it_is_sent_again() {
    attack(|scene| {
        let claims = scene.attacker.claims("double_jump", 1);
        let order = scene.attacker.sign(&claims);
        assert_eq!(scene.answer_to(&order).status, Status::Granted);
        scene.shop.server.refund(claims.id).expect("refunds");
        for _ in 0..3 {
            // Its first receipt comes again, and the later one in the feed says what it is now.
            assert_eq!(scene.send(std::slice::from_ref(&order)).status, 200);
        }
        let (_, told) = feed(scene, &scene.attacker);
        assert_eq!(told.iter().map(|receipt| receipt.status).collect::<Vec<_>>(), [Status::Granted, Status::Refunded]);
        assert_eq!(scene.euros(), WELCOME);
    });
}

#[test]
fn order_that_was_declined_is_not_granted_when_there_is_money() {
    attack(|scene| {
        let order = scene.attacker.order("palace", 1);
        assert_eq!(scene.answer_to(&order).reason, Some(Reason::InsufficientFunds));
        let account = scene.attacker.account();
        scene.shop.server.credit(&account, "2000EUR".parse().expect("money")).expect("credits");
        scene.moved(&account, 2_000_000_000);
        for _ in 0..3 {
            assert_eq!(scene.answer_to(&order).status, Status::Declined);
        }
        assert_eq!(scene.euros(), WELCOME + 2_000_000_000);
    });
}

#[test]
fn id_of_an_order_does_not_serve_for_another() {
    attack(|scene| {
        let claims = scene.attacker.claims("shield", 1);
        let order = scene.attacker.sign(&claims);
        scene.answer_to(&order);
        let mut other = scene.attacker.claims("palace", 1);
        other.id = claims.id;
        for device in [scene.attacker.clone(), scene.accomplice()] {
            let (device_id, account) = (device.id(), device.account());
            let mut other = other.clone();
            (other.device, other.account) = (device_id, account);
            let token = other.sign(&device.key).expect("signs");
            let request = device.request(0, &[token]).sign(&device.key).expect("signs");
            send_sync(scene.shop.address(), &request).assert_refused("/problems/order-conflict", 422);
        }
        // Nor two of one id that come together.
        let mut twin = scene.attacker.claims("shield", 1);
        let first = twin.sign(&scene.attacker.key).expect("signs");
        twin.quantity = 2;
        let second = twin.sign(&scene.attacker.key).expect("signs");
        scene.send(&[first, second]).assert_refused("/problems/order-conflict", 422);
    });
}

#[test]
fn request_of_another_player_that_was_overheard_changes_nothing_when_it_is_sent_again() {
    attack(|scene| {
        let order = scene.other.order("gift", 0);
        // What they sent before, with everything that can be in it.
        let mut request = scene.other.request(0, &[]);
        request.allowance = Some(AllowanceRequest { current: None, currency: Currency::USD });
        request.wait = Some(Wait { seconds: 1, wallet: Vec::new() });
        let overheard = request.sign(&scene.other.key).expect("signs");
        for answer in at_once(scene, &vec![overheard.clone(); 20]) {
            // The answer is for whoever has that device's key; it is signed for its account, and counts for no other.
            let token = Token::from_text(answer.text());
            let (server, account) = (scene.shop.server.public_key(), scene.attacker.account());
            assert!(SyncResponse::verify(&token, &[server], &account, &game(), &overheard).is_err());
            assert_eq!(receipts(scene, &scene.other, &overheard, &answer).len(), 3);
        }
        // An order that was overheard before it arrived is nobody's but the device's that signed it.
        scene.send(&[order]).assert_refused("/problems/bad-token", 400);
        scene.other.chain = scene.other.sync(&scene.shop, 3, &[]).chain;
    });
}

#[test]
fn enrolment_that_is_sent_again_brings_no_second_welcome() {
    attack(|scene| {
        let body =
            serde_json::to_vec(&Enrolment::sign(&scene.attacker.key, &game(), 0).expect("signs")).expect("serialises");
        let address = scene.shop.address();
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| assert_eq!(post(address, "/v1/devices", "application/json", &body).status, 200));
            }
        });
        // With another date, and so another text.
        for date in [i64::MIN, 1, i64::MAX] {
            let again = Enrolment::sign(&scene.attacker.key, &game(), date).expect("signs");
            let again = serde_json::to_vec(&again).expect("serialises");
            assert_eq!(post(address, "/v1/devices", "application/json", &again).status, 200);
        }
        assert_eq!(scene.euros(), WELCOME);
    });
}

#[test]
fn enrolment_that_many_connections_race_for_is_welcomed_once() {
    attack(|scene| {
        let newcomer = Device::new();
        let address = scene.shop.address();
        let statuses: Vec<u16> = thread::scope(|scope| {
            let sent: Vec<_> = (0..20).map(|_| scope.spawn(|| newcomer.enrol(address).status)).collect();
            sent.into_iter().map(|sent| sent.join().expect("it is answered")).collect()
        });
        assert!(statuses.iter().all(|status| matches!(status, 200 | 201)), "{statuses:?}");
        assert_eq!(newcomer.euros(&scene.shop), WELCOME);
        scene.joins(&newcomer, WELCOME);
    });
}

#[test]
fn orders_out_of_their_turn_are_declined() {
    attack(|scene| {
        let first = scene.attacker.order("shield", 1);
        let second = scene.attacker.order("shield", 1);
        let broken = |receipt: Receipt| assert_eq!(receipt.reason, Some(Reason::ChainBroken));
        broken(scene.answer_to(&second));
        assert_eq!(scene.answer_to(&first).status, Status::Granted);
        // It was declined, and stays so when it is its turn.
        broken(scene.answer_to(&second));
        let head = ChainHead { sequence: 1, order_sha256: first.sha256() };
        for (sequence, previous) in [
            (1, None),
            (2, None),
            (2, Some(Sha256([0; 32]))),
            (2, Some(second.sha256())),
            (1, Some(head.order_sha256)),
            (3, Some(head.order_sha256)),
            (3, Some(second.sha256())),
        ] {
            let mut claims = scene.attacker.claims("shield", 1);
            (claims.id, claims.sequence, claims.previous) = (OrderId(fresh_id()), sequence, previous);
            let order = claims.sign(&scene.attacker.key).expect("signs");
            broken(scene.answer_to(&order));
        }
        scene.attacker.chain = Some(head);
        assert_eq!(scene.buy("shield", |_| {}).status, Status::Granted);
        assert_eq!(scene.euros(), 990_000);
    });
}

#[test]
fn unlock_that_many_orders_race_for_is_charged_and_given_once() {
    attack(|scene| {
        let orders: Vec<Token> = (0..40).map(|_| scene.attacker.order("double_jump", 1)).collect();
        // All of them in each of several requests, which arrive together.
        let request = || scene.attacker.request(0, &orders).sign(&scene.attacker.key).expect("signs");
        let requests: Vec<Token> = (0..8).map(|_| request()).collect();
        for answer in at_once(scene, &requests) {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let (_, receipts) = feed(scene, &scene.attacker);
        assert_eq!(receipts.iter().filter(|receipt| receipt.status == Status::Granted).count(), 1);
        assert_eq!((receipts.len(), scene.euros()), (40, 950_000));
    });
}

#[test]
fn wallet_that_is_spent_over_many_connections_at_once_is_spent_once() {
    attack(|scene| {
        // Twice what there is: 28 skins of 0.07 euros, each in a request of its own that also holds those before it.
        let orders: Vec<Token> = (0..28).map(|_| scene.attacker.order("skin", 1)).collect();
        let requests: Vec<Token> = (1..=orders.len())
            .map(|count| scene.attacker.request(0, &orders[..count]).sign(&scene.attacker.key).expect("signs"))
            .collect();
        at_once(scene, &requests);
        // Whatever arrived before its turn was declined; those that were granted were paid.
        let (_, receipts) = feed(scene, &scene.attacker);
        let granted = receipts.iter().filter(|receipt| receipt.status == Status::Granted).count();
        assert!(granted <= 14 && receipts.len() == orders.len(), "{granted} of {}", receipts.len());
        assert_eq!(scene.euros(), WELCOME - 70_000 * i64::try_from(granted).expect("few"));
    });
}
