//! The administrator's paths: who gets in, and what whoever is in cannot do with them.

use std::thread;

use bevy_iap::protocol::envelope::Claims as _;
use bevy_iap::protocol::sync::SyncRequest;
use bevy_iap::protocol::{Reason, Receipt, Status, Token};
use bevy_iap::server::ServerConfig;
use serde_json::{Value, json};

use super::forgery::{claims, encode};
use super::scene::{Scene, WELCOME, attack, attack_on, feed};
use crate::support::{Answer, fresh_id, send, try_send};

const TOKEN: &str = "a long and secret token";
const PATHS: [&str; 7] = ["credit", "refund", "refund-credit", "hold", "post", "void", "payout"];

fn with_token(config: &mut ServerConfig) {
    config.admin_token = Some(TOKEN.to_owned());
}

/// Sends something to an administrator's path under these headers.
fn knock(scene: &Scene, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: Vec<_> = [("content-type", "application/json")].iter().chain(headers).copied().collect();
    send(scene.shop.address(), "POST", path, &headers, body.as_bytes())
}

/// The same by whoever has the token.
fn ask(scene: &Scene, path: &str, body: &Value) -> Answer {
    let authorization = format!("Bearer {TOKEN}");
    knock(scene, &format!("/v1/admin/{path}"), &[("authorization", &authorization)], &body.to_string())
}

fn id() -> String {
    fresh_id().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A million euros for the attacker.
fn million(scene: &Scene) -> Value {
    json!({"id": id(), "account": scene.attacker.account(), "money": {"micros": 1_000_000_000_000_i64, "currency": "EUR"}})
}

#[test]
fn nobody_without_the_token_operates() {
    attack_on(with_token, |scene| {
        let body = million(scene).to_string();
        let basic = format!("Basic {}", encode(format!("admin:{TOKEN}").as_bytes()));
        let lower = format!("bearer {TOKEN}");
        let (longer, shorter) = (format!("Bearer {TOKEN}x"), format!("Bearer {}", &TOKEN[..TOKEN.len() - 1]));
        let (upper, spaced) = (format!("Bearer {}", TOKEN.to_uppercase()), format!("Bearer  {TOKEN}"));
        let words = ["", "Bearer", "Bearer ", "Bearer null", TOKEN, &basic, &lower, &longer, &shorter, &upper, &spaced];
        for path in PATHS {
            let path = format!("/v1/admin/{path}");
            knock(scene, &path, &[], &body).assert_refused("/problems/unauthorized", 401);
            for word in words {
                knock(scene, &path, &[("authorization", word)], &body).assert_refused("/problems/unauthorized", 401);
            }
            // In other places than the one where it belongs.
            let query = format!("{path}?token={}&access_token={}", encode(TOKEN.as_bytes()), encode(TOKEN.as_bytes()));
            for (path, header) in [
                (&path, ("x-admin-token", TOKEN)),
                (&path, ("cookie", "token=a long and secret token")),
                (&path, ("proxy-authorization", "Bearer a long and secret token")),
                (&query, ("accept", "*/*")),
            ] {
                knock(scene, path, &[header], &body).assert_refused("/problems/unauthorized", 401);
            }
        }
        assert_eq!(scene.euros(), WELCOME);
    });
}

#[test]
fn what_a_player_or_the_server_has_signed_is_no_administrators_token() {
    attack_on(with_token, |scene| {
        let bought = scene.attacker.order("gift", 1);
        let receipt = scene.attacker.sync(&scene.shop, 0, &[bought]).receipts.remove(0);
        let mut payload = claims(&scene.attacker.request(0, &[]));
        (payload["role"], payload["admin"]) = (json!("admin"), json!(true));
        let request = scene.raw.token(&scene.raw.header(SyncRequest::TYPE).to_string(), &payload.to_string());
        let body = million(scene).to_string();
        for token in [receipt, request, Token::from_text("e30.e30.")] {
            let authorization = format!("Bearer {token}");
            knock(scene, "/v1/admin/credit", &[("authorization", &authorization)], &body)
                .assert_refused("/problems/unauthorized", 401);
        }
        assert_eq!(scene.euros(), WELCOME);
    });
}

/// Sends what the administrator's token is with: no answer, or one that refuses it.
fn refused_or_cut_off(scene: &Scene, method: &str, path: &str, body: &str) {
    let authorization = format!("Bearer {TOKEN}");
    let headers = [
        ("content-type", "application/json"),
        ("authorization", authorization.as_str()),
        ("x-http-method-override", "POST"),
    ];
    let answer = try_send(scene.shop.address(), method, path, &headers, body.as_bytes());
    assert!(answer.is_none_or(|answer| (400..500).contains(&answer.status)), "{method} {path}");
}

#[test]
fn other_spellings_of_a_path_lead_to_no_open_door() {
    attack_on(with_token, |scene| {
        let body = million(scene).to_string();
        for path in [
            "//v1/admin/credit",
            "/v1//admin/credit",
            "/v1/admin//credit",
            "/v1/admin/credit/",
            "/v1/./admin/credit",
            "/v1/sync/../admin/credit",
            "/V1/ADMIN/CREDIT",
            "/v1/%61dmin/credit",
            "/v1/admin%2fcredit",
            "/v1/admin/credit%00",
            "/v1/admin/credit;x=1",
            "/v1\\admin\\credit",
        ] {
            // Also with the token, so that what keeps outsiders off these paths in a proxy is not got around.
            refused_or_cut_off(scene, "POST", path, &body);
        }
        for method in ["GET", "PUT", "DELETE", "PATCH", "HEAD", "TRACE", "CONNECT"] {
            refused_or_cut_off(scene, method, "/v1/admin/credit", "");
        }
        assert_eq!(scene.euros(), WELCOME);
    });
}

#[test]
fn server_without_a_token_has_no_administrators_paths() {
    attack(|scene| {
        let body = million(scene).to_string();
        for path in PATHS {
            for word in ["", "Bearer", "Bearer ", "Bearer null", "Bearer undefined"] {
                knock(scene, &format!("/v1/admin/{path}"), &[("authorization", word)], &body)
                    .assert_refused("/problems/not-found", 404);
            }
        }
    });
}

#[test]
fn page_in_a_players_browser_does_not_operate() {
    let with_origins = |config: &mut ServerConfig| {
        with_token(config);
        config.allowed_origins = "*".parse().expect("any page");
    };
    attack_on(with_origins, |scene| {
        let headers = [
            ("origin", "https://evil.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type"),
        ];
        let answer = send(scene.shop.address(), "OPTIONS", "/v1/admin/credit", &headers, b"");
        let allowed = answer.header("access-control-allow-headers").unwrap_or_default().to_lowercase();
        assert!(!allowed.contains("authorization") && !allowed.contains('*'), "{allowed}");
        assert_ne!(answer.header("access-control-allow-credentials"), Some("true"));
        // A form needs no leave, but has another content type, and brings no token.
        let body = million(scene).to_string();
        let form = [("content-type", "text/plain"), ("origin", "https://evil.example")];
        send(scene.shop.address(), "POST", "/v1/admin/credit", &form, body.as_bytes())
            .assert_refused("/problems/unauthorized", 401);
    });
}

#[test]
fn operation_that_was_overheard_is_done_once_however_often_it_is_sent() {
    attack_on(with_token, |scene| {
        let account = scene.attacker.account();
        let body = json!({"id": id(), "account": account, "money": {"micros": 250_000, "currency": "EUR"}});
        let answers: Vec<Answer> = thread::scope(|scope| {
            let asked: Vec<_> = (0..20).map(|_| scope.spawn(|| ask(scene, "credit", &body))).collect();
            asked.into_iter().map(|asked| asked.join().expect("it is answered")).collect()
        });
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body));
        // Nor does its id serve for more.
        let mut more = body.clone();
        more["money"]["micros"] = json!(250_001);
        ask(scene, "credit", &more).assert_refused("/problems/conflict", 409);
        let hold =
            json!({"id": body["id"], "account": account, "money": body["money"], "expires_at": 9_999_999_999_i64});
        ask(scene, "hold", &hold).assert_refused("/problems/conflict", 409);
        scene.moved(&account, 250_000);
        assert_eq!(scene.euros(), WELCOME + 250_000);
    });
}

#[test]
fn credit_of_less_than_nothing_or_more_than_everything_is_refused() {
    attack_on(with_token, |scene| {
        let account = scene.attacker.account();
        let most = 9_007_199_254_740_991_i64;
        for (micros, kind, status) in [
            (json!(0), "/problems/malformed-body", 400),
            (json!(-1), "/problems/malformed-body", 400),
            (json!(-most), "/problems/malformed-body", 400),
            (json!(most), "/problems/conflict", 409),
            (json!(most + 1), "/problems/malformed-body", 400),
            (json!(1.5), "/problems/malformed-body", 400),
            (json!("5"), "/problems/malformed-body", 400),
            (json!(null), "/problems/malformed-body", 400),
        ] {
            let body = json!({"id": id(), "account": account, "money": {"micros": micros, "currency": "EUR"}});
            ask(scene, "credit", &body).assert_refused(kind, status);
        }
        let mut body = million(scene);
        for (name, value) in [("fee", json!(-5)), ("fee", json!(1_000_000_000_001_i64)), ("owner", json!("x"))] {
            let before = body.clone();
            (body[name], body["id"]) = (value, json!(id()));
            ask(scene, "credit", &body).assert_refused("/problems/malformed-body", 400);
            body = before;
        }
        assert_eq!(scene.euros(), WELCOME);
    });
}

#[test]
fn whoever_has_the_token_gives_nothing_that_is_not_paid_for() {
    attack_on(with_token, |scene| {
        // Money they can make up, and it is in the books as theirs. Rights they cannot: only an order gives them.
        let account = scene.attacker.account();
        assert_eq!(ask(scene, "credit", &million(scene)).status, 200);
        scene.moved(&account, 1_000_000_000_000);
        let receipt = json!({"order": "0".repeat(32), "product": "palace", "grants": [{"entitlement": "palace"}]});
        for path in PATHS {
            ask(scene, path, &receipt).assert_refused("/problems/malformed-body", 400);
        }
        for path in ["grant", "receipts", "sql", "../sync", "orders", "balance"] {
            assert_eq!(ask(scene, path, &receipt).status, 404, "{path}");
        }
        assert_eq!(feed(scene, &scene.attacker).0, []);
        let data = scene.shop.folder.path().to_str().expect("UTF-8");
        assert!(crate::command::works(&["audit", "--data", data]).contains("1 operations: no differences"));
    });
}

#[test]
fn order_that_was_declined_or_is_another_games_is_not_refunded() {
    attack_on(with_token, |scene| {
        let claims = scene.attacker.claims("palace", 1);
        let order = scene.attacker.sign(&claims);
        assert_eq!(scene.answer_to(&order).reason, Some(Reason::InsufficientFunds));
        for _ in 0..2 {
            ask(scene, "refund", &json!({"order": claims.id})).assert_refused("/problems/conflict", 409);
        }
        let part = json!({"id": id(), "order": claims.id, "quantity": 1});
        ask(scene, "refund", &part).assert_refused("/problems/conflict", 409);
        ask(scene, "refund", &json!({"order": "f".repeat(32)})).assert_refused("/problems/not-found", 404);
        assert_eq!(scene.euros(), WELCOME);
    });
}

#[test]
fn free_thing_is_refunded_for_nothing() {
    attack_on(with_token, |scene| {
        let mut claims = scene.attacker.claims("gift", 1);
        claims.quantity = 1_000;
        let order = scene.attacker.sign(&claims);
        assert_eq!(scene.answer_to(&order).status, Status::Granted);
        let part = json!({"id": id(), "order": claims.id, "quantity": 999});
        let told: Receipt = serde_json::from_slice(&ask(scene, "refund", &part).body).expect("a receipt");
        assert_eq!((told.quantity, told.amount.micros.value()), (1, 0));
        assert_eq!(ask(scene, "refund", &json!({"order": claims.id})).status, 200);
        assert_eq!(scene.euros(), WELCOME);
    });
}
