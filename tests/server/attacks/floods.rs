//! Too much of something, or something made to be expensive. How long the others wait meanwhile is measured elsewhere.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bevy_iap::protocol::envelope::Claims as _;
use bevy_iap::protocol::sync::{Enrolment, SyncRequest, Wait};
use bevy_iap::protocol::{Order, Status, Token};
use bevy_iap::server::{Limits, Rate, ServerConfig};
use rusqlite::Connection;
use serde_json::json;

use super::forgery::claims;
use super::scene::{Scene, WELCOME, attack, attack_on, feed};
use crate::support::{Answer, Device, game, get, post, read_answer, send, send_sync};

const PROXY: &str = "127.0.0.1/32";

/// A shop behind a proxy on this computer, with limits.
fn limited(change: impl FnOnce(&mut Limits)) -> impl FnOnce(&mut ServerConfig) {
    move |config| {
        config.trusted_proxies = vec![PROXY.parse().expect("a network")];
        change(&mut config.limits);
    }
}

fn enrol_from(scene: &Scene, client: &str, device: &Device) -> Answer {
    let enrolment = Enrolment::sign(&device.key, &game(), 0).expect("signs");
    let body = serde_json::to_vec(&enrolment).expect("serialises");
    let headers = [("content-type", "application/json"), ("x-forwarded-for", client)];
    send(scene.shop.address(), "POST", "/v1/devices", &headers, &body)
}

/// How many rows the books have.
fn rows(scene: &Scene) -> i64 {
    let books = Connection::open(scene.shop.folder.path().join("store.sqlite")).expect("opens");
    let count = |table: &str| {
        books.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).expect(table)
    };
    ["accounts", "devices", "orders", "receipts", "transfers"].into_iter().map(count).sum()
}

#[test]
fn welcome_is_not_collected_by_one_address_without_end() {
    let few = limited(|limits| limits.enrolments_per_address = Rate::new(1, 5));
    attack_on(few, |scene| {
        let mut collected = 0;
        for number in 0..40 {
            let device = Device::new();
            // Under made-up addresses before the one that the proxy heard from.
            let client = format!("203.0.113.{number}, 198.51.100.7");
            let answer = enrol_from(scene, &client, &device);
            match answer.status {
                201 => {
                    collected += 1;
                    scene.joins(&device, WELCOME);
                }
                _ => drop(answer.assert_refused("/problems/too-many-requests", 429)),
            }
        }
        assert_eq!(collected, 5);
        // In one network of IPv6, which is one customer's.
        for number in 1..40 {
            let device = Device::new();
            if enrol_from(scene, &format!("2001:db8:0:7::{number:x}"), &device).status == 201 {
                collected += 1;
                scene.joins(&device, WELCOME);
            }
        }
        assert_eq!(collected, 10);
    });
}

#[test]
fn stranger_leaves_no_trace_in_the_books() {
    attack(|scene| {
        let before = rows(scene);
        for _ in 0..50 {
            let mut stranger = Device::new();
            let orders = [stranger.order("gift", 1), stranger.order("shield", 1)];
            let request = stranger.request(0, &orders).sign(&stranger.key).expect("signs");
            send_sync(scene.shop.address(), &request).assert_refused("/problems/unknown-device", 404);
        }
        for body in ["{}", "[]", "{\"jwk\":{},\"proof\":\"\"}", "\u{0}"] {
            post(scene.shop.address(), "/v1/devices", "application/json", body.as_bytes())
                .assert_refused("/problems/malformed-body", 400);
        }
        assert_eq!(rows(scene), before);
    });
}

#[test]
fn request_that_is_refused_leaves_nothing_of_its_good_orders() {
    attack(|scene| {
        let before = rows(scene);
        let good: Vec<Token> = (0..200).map(|_| scene.attacker.order("gift", 1)).collect();
        for bad in ["", "x", "a.b.c"] {
            let orders: Vec<Token> = good.iter().cloned().chain([Token::from_text(bad)]).collect();
            let problem = scene.send(&orders).assert_refused("/problems/bad-token", 400);
            assert!(problem.detail.starts_with("order 200: "), "{problem:?}");
        }
        let many: Vec<Token> = good.iter().cycle().take(257).cloned().collect();
        scene.send(&many).assert_refused("/problems/too-many-orders", 422);
        assert_eq!(rows(scene), before);
    });
}

#[test]
fn device_that_orders_without_end_is_slowed_down_and_nobody_else() {
    let few = limited(|limits| limits.orders_per_device = Rate::new(1, 40));
    attack_on(few, |scene| {
        // What is free, since it costs the attacker nothing, and what is declined.
        let orders: Vec<Token> =
            (0..60).map(|number| scene.attacker.order(["gift", "palace"][number % 2], 1)).collect();
        let mut kept = 0;
        for order in &orders {
            let request =
                scene.attacker.request(0, std::slice::from_ref(order)).sign(&scene.attacker.key).expect("signs");
            let answer = send_sync(scene.shop.address(), &request);
            match answer.status {
                200 => kept += 1,
                _ => drop(answer.assert_refused("/problems/too-many-requests", 429)),
            }
        }
        assert_eq!(kept, 20, "an order counts as one, and the request as one more");
        // So that the check at the end can read the feed.
        let relaxed = scene.shop.server.show(&scene.attacker.account()).expect("is there").receipts;
        assert_eq!(relaxed, 20);
        serve_again(scene);
        assert_eq!(feed(scene, &scene.attacker).0.len(), 20);
    });
}

/// The same shop, served anew without limits.
fn serve_again(scene: &mut Scene) {
    use crate::support::catalog;
    use bevy_iap::server::LocalServer;

    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let idle = LocalServer::start(ServerConfig::new(elsewhere.path(), catalog())).expect("starts");
    drop(std::mem::replace(&mut scene.shop.server, idle));
    let mut config = ServerConfig::new(scene.shop.folder.path(), catalog());
    config.welcome = Some("1EUR".parse().expect("one euro"));
    scene.shop.server = LocalServer::start(config).expect("the server starts");
}

#[test]
fn claims_that_are_nested_deeply_do_not_bring_the_server_down() {
    attack(|scene| {
        for depth in [1_000, 100_000, 300_000] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let depth = depth / open.len();
                let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                let payload = claims(&scene.attacker.request(0, &[])).to_string();
                let payload = format!("{{\"x\":{deep},{}", payload.trim_start_matches('{'));
                let request = scene.raw.token(&scene.raw.header(SyncRequest::TYPE).to_string(), &payload);
                let answer = send_sync(scene.shop.address(), &request);
                assert_eq!(answer.status, 400, "{depth}");
                // In a header, before any signature is looked at, and where no signature is needed at all.
                let header = format!("{{\"x\":{deep},\"alg\":\"EdDSA\"}}");
                let request = scene.raw.token(&header, "{}");
                assert_eq!(send_sync(scene.shop.address(), &request).status, 400);
                let answer = post(scene.shop.address(), "/v1/devices", "application/json", deep.as_bytes());
                assert_eq!(answer.status, 400);
            }
        }
        assert_eq!(get(scene.shop.address(), "/healthz").status, 200);
    });
}

#[test]
fn token_longer_than_its_kind_is_refused_before_it_is_worked_on() {
    attack(|scene| {
        let mut order = claims(&scene.attacker.claims("gift", 1));
        order["padding"] = json!("x".repeat(500_000));
        let order = scene.raw.token(&scene.raw.header(Order::TYPE).to_string(), &order.to_string());
        let problem = scene.send(&[order]).assert_refused("/problems/bad-token", 400);
        assert!(problem.detail.contains("2048"), "{problem:?}");
        let mut request = claims(&scene.attacker.request(0, &[]));
        request["padding"] = json!("x".repeat(1_048_576));
        let request = scene.raw.token(&scene.raw.header(SyncRequest::TYPE).to_string(), &request.to_string());
        send_sync(scene.shop.address(), &request).assert_refused("/problems/body-too-large", 413);
    });
}

#[test]
fn body_that_would_grow_when_it_is_unpacked_is_not_unpacked() {
    attack(|scene| {
        // A gzip stream of nothing but its head, and what a server that unpacks would take for a body.
        let packed = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for encoding in ["gzip", "br", "deflate", "zstd", "gzip, gzip, gzip"] {
            let headers = [("content-type", "application/jose"), ("content-encoding", encoding)];
            let answer = send(scene.shop.address(), "POST", "/v1/sync", &headers, &packed);
            assert_eq!(answer.status, 400, "{encoding}");
        }
    });
}

#[test]
fn second_request_hidden_in_the_body_of_the_first_is_not_heard() {
    attack_on(
        |config| config.admin_token = Some("secret".to_owned()),
        |scene| {
            let credit = json!({"id": "1".repeat(32), "account": scene.attacker.account(),
                "money": {"micros": 5, "currency": "EUR"}});
            let credit = credit.to_string();
            // As if the proxy had added the token to it.
            let hidden = format!(
                "POST /v1/admin/credit HTTP/1.1\r\nhost: x\r\nauthorization: Bearer secret\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{credit}",
                credit.len()
            );
            for framing in [
                "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
                "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
                "content-length: 0\r\ncontent-length: 400\r\n\r\n",
                "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
                "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
                "content-length: +4\r\n\r\nabcd",
                "content-length: 0x4\r\n\r\nabcd",
            ] {
                let mut stream = TcpStream::connect(scene.shop.address()).expect("connects");
                stream.set_read_timeout(Some(Duration::from_secs(15))).expect("is set");
                let head = "POST /v1/sync HTTP/1.1\r\nhost: x\r\ncontent-type: application/jose\r\n";
                stream.write_all(format!("{head}{framing}{hidden}").as_bytes()).expect("writes");
                stream.shutdown(std::net::Shutdown::Write).expect("is at its end");
                let _ = read_answer(&mut stream);
                assert_eq!(scene.euros(), WELCOME, "{framing:?}: the hidden request was heard");
            }
        },
    );
}

#[test]
fn those_that_wait_for_news_keep_nobody_off() {
    let few = |config: &mut ServerConfig| config.limits = Limits { connections: 6, ..Limits::default() };
    attack_on(few, |scene| {
        let known = scene.attacker.sync(&scene.shop, 0, &[]);
        let waiting: Vec<TcpStream> = (0..12)
            .map(|_| {
                let wait = Some(Wait { seconds: u64::MAX >> 1, wallet: known.wallet.clone() });
                let request = SyncRequest { wait, ..scene.attacker.request(known.cursor, &[]) };
                let token = request.sign(&scene.attacker.key).expect("signs");
                let head = format!(
                    "POST /v1/sync HTTP/1.1\r\nhost: x\r\ncontent-type: application/jose\r\ncontent-length: {}\r\n\r\n",
                    token.as_str().len()
                );
                let mut stream = TcpStream::connect(scene.shop.address()).expect("connects");
                // Those that came before make room for it.
                let _ = stream.write_all(format!("{head}{token}").as_bytes());
                stream
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        let started = Instant::now();
        assert_eq!(scene.buy("shield", |_| {}).status, Status::Granted);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        drop(waiting);
    });
}
