//! Reaching for what is another player's, or another game's.

use bevy_iap::protocol::sync::{DeviceProof, Enrolment, SyncRequest, SyncResponse};
use bevy_iap::protocol::{Catalog, Jwk, Order, OrderId, Receipt, Status, Token};
use serde_json::{Value, json};

use super::forgery::claims;
use super::scene::{attack, attacker, feed, is_enrolled};
use crate::support::{CATALOG, Device, Shop, game, post, send_sync};

#[test]
fn order_in_the_name_of_another_player_is_refused() {
    attack(|scene| {
        let (thief, victim) = (scene.attacker.clone(), scene.other.clone());
        let theirs = thief.claims("double_jump", 1);
        for (order, kind, status) in [
            // Their account pays.
            (Order { account: victim.account(), ..theirs.clone() }, "/problems/wrong-account", 422),
            // Their device orders.
            (Order { device: victim.id(), ..theirs.clone() }, "/problems/bad-token", 400),
            (victim.claims("shield", 1), "/problems/bad-token", 400),
            // Somebody whom nobody knows pays.
            (Order { account: "nobody".parse().expect("an account"), ..theirs }, "/problems/wrong-account", 422),
        ] {
            let token = order.sign(&thief.key).expect("signs");
            scene.send(&[token]).assert_refused(kind, status);
        }
    });
}

#[test]
fn feed_of_another_player_is_not_told() {
    attack(|scene| {
        let (thief, victim) = (scene.attacker.clone(), scene.other.clone());
        let request = thief.request(0, &[]);
        let (account, device) = (victim.account(), victim.id());
        for (request, kind, status) in [
            (SyncRequest { account: account.clone(), ..request.clone() }, "/problems/wrong-account", 422),
            (SyncRequest { device, ..request.clone() }, "/problems/bad-token", 400),
            (SyncRequest { device, account, ..request.clone() }, "/problems/bad-token", 400),
        ] {
            let token = request.sign(&thief.key).expect("signs");
            send_sync(scene.shop.address(), &token).assert_refused(kind, status);
        }
        // From whatever place, one's own feed is all there is.
        for cursor in [0, 1, 2, 3, u64::MAX] {
            assert_eq!(thief.receipts(&scene.shop, cursor, &[]), []);
        }
    });
}

#[test]
fn order_of_another_player_is_not_paid_by_sending_it_along() {
    attack(|scene| {
        let bought = feed(scene, &scene.other).1;
        // What the other player has sent before, and what they have yet to send.
        let mut theirs = scene.other.clone();
        let order = theirs.order("skin", 1);
        let own = scene.attacker.order("gift", 1);
        for orders in [vec![order.clone()], vec![own.clone(), order.clone()], vec![order, own]] {
            let problem = scene.send(&orders).assert_refused("/problems/bad-token", 400);
            assert!(problem.detail.starts_with("order "), "{problem:?}");
        }
        // Nor is an id of theirs, under one's own signature.
        let mut claims = scene.attacker.claims("double_jump", 1);
        claims.id = bought[0].order;
        let token = claims.sign(&scene.attacker.key).expect("signs");
        scene.send(&[token]).assert_refused("/problems/order-conflict", 422);
    });
}

/// The body of an enrolment, of which each part may be another's.
fn enrolment(jwk: &Jwk, proof: &Token) -> Vec<u8> {
    json!({"jwk": jwk, "proof": proof.as_str()}).to_string().into_bytes()
}

#[test]
fn device_does_not_enrol_itself_into_another_players_account() {
    attack(|scene| {
        let (newcomer, raw) = attacker();
        let jwk = Jwk::from(newcomer.key.public());
        let proof = |change: &dyn Fn(&mut Value)| {
            let mut payload = json!({"iss": raw.id, "sub": raw.id.guest_account(), "aud": game(), "iat": 0});
            change(&mut payload);
            raw.token(&raw.header("iap-device+jwt").to_string(), &payload.to_string())
        };
        let (theirs, account) = (scene.other.id(), scene.other.account());
        let address = scene.shop.address();
        for (proof, kind, status) in [
            (proof(&|claims| claims["sub"] = json!(account)), "/problems/wrong-account", 422),
            (proof(&|claims| claims["sub"] = json!("operator")), "/problems/wrong-account", 422),
            (proof(&|claims| claims["iss"] = json!(theirs)), "/problems/bad-token", 400),
            (proof(&|claims| claims["aud"] = json!("chess")), "/problems/wrong-audience", 422),
        ] {
            let answer = post(address, "/v1/devices", "application/json", &enrolment(&jwk, &proof));
            answer.assert_refused(kind, status);
        }
        assert!(!is_enrolled(&scene.shop, raw.id));
    });
}

#[test]
fn key_of_another_is_not_enrolled_without_its_signature() {
    attack(|scene| {
        let (newcomer, raw) = attacker();
        let address = scene.shop.address();
        let stranger = Device::new();
        // The key of a device that has yet to come, with proofs by others.
        let jwk = Jwk::from(stranger.key.public());
        let own = Enrolment::sign(&newcomer.key, &game(), 0).expect("signs").proof;
        let payload = json!({"iss": stranger.id(), "sub": stranger.account(), "aud": game(), "iat": 0}).to_string();
        let mut header = raw.header("iap-device+jwt");
        let named = raw.token(&header.to_string(), &payload);
        header["kid"] = json!(stranger.id());
        let in_its_name = raw.token(&header.to_string(), &payload);
        for proof in [own, named, in_its_name] {
            let answer = post(address, "/v1/devices", "application/json", &enrolment(&jwk, &proof));
            answer.assert_refused("/problems/bad-token", 400);
        }
        // A key under another's name.
        let mut jwk = Jwk::from(newcomer.key.public());
        jwk.kid = Some(scene.other.id().to_string());
        let proof = Enrolment::sign(&newcomer.key, &game(), 0).expect("signs").proof;
        let answer = post(address, "/v1/devices", "application/json", &enrolment(&jwk, &proof));
        answer.assert_refused("/problems/malformed-body", 400);
        for key in [stranger.id(), raw.id] {
            assert!(!is_enrolled(&scene.shop, key));
        }
    });
}

#[test]
fn enrolment_with_more_in_it_than_belongs_there_is_refused() {
    attack(|scene| {
        let (newcomer, raw) = attacker();
        let honest = claims(&Enrolment::sign(&newcomer.key, &game(), 0).expect("signs"));
        for (name, value) in [
            ("account", json!(scene.other.account())),
            ("welcome", json!({"micros": 1_000_000_000, "currency": "EUR"})),
            ("admin", json!(true)),
        ] {
            let mut body = honest.clone();
            body[name] = value;
            let body = body.to_string();
            post(scene.shop.address(), "/v1/devices", "application/json", body.as_bytes())
                .assert_refused("/problems/malformed-body", 400);
        }
        assert!(!is_enrolled(&scene.shop, raw.id));
        // In the proof they are allowed, as in every claim set, and mean nothing.
        let payload = json!({"iss": raw.id, "sub": raw.id.guest_account(), "aud": game(), "iat": 0,
            "welcome": {"micros": 5_000_000, "currency": "EUR"}, "balance": 5, "role": "admin"});
        let proof = raw.token(
            &raw.header(<DeviceProof as bevy_iap::protocol::envelope::Claims>::TYPE).to_string(),
            &payload.to_string(),
        );
        let body = enrolment(&Jwk::from(newcomer.key.public()), &proof);
        assert_eq!(post(scene.shop.address(), "/v1/devices", "application/json", &body).status, 201);
        scene.joins(&newcomer, super::scene::WELCOME);
    });
}

/// A shop of another game, which sells the same things for nothing.
fn elsewhere() -> Shop {
    let text = CATALOG.replace("\"arcade\"", "\"chess\"").replace("\"1000\"", "\"0\"").replace("\"0.05\"", "\"0\"");
    Shop::with(|config| config.catalog = Catalog::parse("chess.ron", &text).expect("a good catalogue"))
}

#[test]
fn order_and_proof_for_another_game_buy_nothing_here() {
    attack(|scene| {
        let chess: bevy_iap::protocol::GameId = "chess".parse().expect("a name");
        let other_shop = elsewhere();
        let device = scene.attacker.clone();
        let enrolment = Enrolment::sign(&device.key, &chess, 0).expect("signs");
        let body = serde_json::to_vec(&enrolment).expect("serialises");
        assert_eq!(post(other_shop.address(), "/v1/devices", "application/json", &body).status, 201);
        post(scene.shop.address(), "/v1/devices", "application/json", &body)
            .assert_refused("/problems/wrong-audience", 422);

        // Bought there, with the same key, and shown here.
        let mut order = device.claims("palace", 1);
        (order.game, order.price) = (chess.clone(), "0EUR".parse().expect("money"));
        let order = order.sign(&device.key).expect("signs");
        let request = SyncRequest { game: chess.clone(), ..device.request(0, std::slice::from_ref(&order)) };
        let request = request.sign(&device.key).expect("signs");
        let answer = send_sync(other_shop.address(), &request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let token = Token::from_text(answer.text());
        let key = other_shop.server.public_key();
        let bought =
            SyncResponse::verify(&token, &[key], &device.account(), &chess, &request).expect("it counts there");
        let receipt = Receipt::verify(&bought.receipts[0], &[key], &chess).expect("verifies there");
        assert_eq!(receipt.status, Status::Granted);

        let answer = send_sync(scene.shop.address(), &request);
        answer.assert_refused("/problems/wrong-audience", 422);
        scene.send(&[order]).assert_refused("/problems/wrong-audience", 422);
        scene.send(&[bought.receipts[0].clone()]).assert_refused("/problems/bad-token", 400);
    });
}

#[test]
fn answer_of_another_games_server_counts_for_nothing_here() {
    attack(|scene| {
        let other_shop = elsewhere();
        let (device, here) = (scene.attacker.clone(), scene.shop.server.public_key());
        let chess: bevy_iap::protocol::GameId = "chess".parse().expect("a name");
        let enrolment = Enrolment::sign(&device.key, &chess, 0).expect("signs");
        let body = serde_json::to_vec(&enrolment).expect("serialises");
        post(other_shop.address(), "/v1/devices", "application/json", &body);
        let request = SyncRequest { game: chess.clone(), ..device.request(0, &[]) };
        let request = request.sign(&device.key).expect("signs");
        let token = Token::from_text(send_sync(other_shop.address(), &request).text());
        let account = device.account();
        assert!(SyncResponse::verify(&token, &[here], &account, &chess, &request).is_err(), "another key");
        let both = [here, other_shop.server.public_key()];
        assert!(SyncResponse::verify(&token, &both, &account, &game(), &request).is_err(), "another game");
    });
}

#[test]
fn ids_of_orders_tell_nothing_about_what_was_bought_under_them() {
    attack(|scene| {
        let theirs = feed(scene, &scene.other).1;
        let mut told = Vec::new();
        for id in theirs.iter().map(|receipt| receipt.order) {
            let mut claims = scene.attacker.claims("gift", 1);
            claims.id = id;
            let token = claims.sign(&scene.attacker.key).expect("signs");
            let problem = scene.send(&[token]).assert_refused("/problems/order-conflict", 422);
            told.push(problem.detail.replace(&id.to_string(), "ID"));
            assert!(!problem.detail.contains(scene.other.account().as_str()), "{problem:?}");
        }
        // Granted or declined, an unlock or a consumable: the same words.
        told.dedup();
        assert_eq!(told.len(), 1, "{told:?}");
        let unknown = scene.buy("gift", |claims| claims.id = OrderId([0x77; 16]));
        assert_eq!(unknown.status, Status::Granted);
    });
}
