//! HTTP itself: methods, types, limits, times and what anybody may read.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use bevy_iap::protocol::{JwkSet, Sha256};
use rusqlite::Connection;

use crate::support::{Device, Shop, catalog, get, post, read_answer, send, send_sync};

#[test]
fn unknown_path_and_wrong_method_are_told_as_problems() {
    let shop = Shop::open();
    get(shop.address(), "/v1/nothing").assert_refused("/problems/not-found", 404);
    for (method, path, allowed) in [("GET", "/v1/sync", "POST"), ("DELETE", "/v1/catalog", "GET,HEAD")] {
        let answer = send(shop.address(), method, path, &[], b"");
        answer.assert_refused("/problems/method-not-allowed", 405);
        assert_eq!(answer.header("allow"), Some(allowed));
    }
}

#[test]
fn wrong_content_type_is_refused_with_the_right_one() {
    let shop = Shop::open();
    for (path, right) in [("/v1/sync", "application/jose"), ("/v1/devices", "application/json")] {
        let problem =
            post(shop.address(), path, "text/plain", b"x").assert_refused("/problems/unsupported-media-type", 415);
        assert!(problem.detail.contains(right), "{problem:?}");
        send(shop.address(), "POST", path, &[], b"x").assert_refused("/problems/unsupported-media-type", 415);
    }
    let answer = post(shop.address(), "/v1/devices", "application/JSON; charset=utf-8", b"{}");
    answer.assert_refused("/problems/malformed-body", 400);
}

#[test]
fn enrolment_that_is_not_one_is_refused() {
    let shop = Shop::open();
    let devices = |body: &str| post(shop.address(), "/v1/devices", "application/json", body.as_bytes());
    for body in ["", "{", "[]", "{\"jwk\":1}", "{\"jwk\":{},\"proof\":\"x\",\"more\":1}"] {
        devices(body).assert_refused("/problems/malformed-body", 400);
    }
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, Device::new().key.public());
    devices(&format!(r#"{{"jwk":{jwk},"proof":"a.b.c"}}"#)).assert_refused("/problems/bad-token", 400);
    // The neutral element: a key for which anything verifies.
    let small = r#"{"kty":"OKP","crv":"Ed25519","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
    let problem = devices(&format!(r#"{{"jwk":{small},"proof":"a.b.c"}}"#));
    assert!(problem.assert_refused("/problems/malformed-body", 400).detail.contains("small order"));
}

#[test]
fn body_that_is_too_large_is_refused_whether_or_not_its_length_is_told() {
    let shop = Shop::open();
    let body = vec![b'x'; 10 * 1024 * 1024];
    for (path, content_type) in [("/v1/sync", "application/jose"), ("/v1/devices", "application/json")] {
        post(shop.address(), path, content_type, &body).assert_refused("/problems/body-too-large", 413);
    }
    let mut stream = TcpStream::connect(shop.address()).expect("connects");
    let head = "POST /v1/sync HTTP/1.1\r\nhost: x\r\ncontent-type: application/jose\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("writes");
    // The server hangs up somewhere in here.
    for _ in 0..2_000 {
        if stream.write_all(format!("1000\r\n{}\r\n", "x".repeat(4096)).as_bytes()).is_err() {
            break;
        }
    }
    read_answer(&mut stream).expect("an answer").assert_refused("/problems/body-too-large", 413);
}

#[test]
fn body_that_does_not_arrive_in_time_is_given_up() {
    let shop = Shop::with(|config| config.limits.time = Duration::from_millis(300));
    let mut stream = TcpStream::connect(shop.address()).expect("connects");
    let head = "POST /v1/sync HTTP/1.1\r\nhost: x\r\ncontent-type: application/jose\r\ncontent-length: 9\r\n\r\nabc";
    stream.write_all(head.as_bytes()).expect("writes");
    read_answer(&mut stream).expect("an answer").assert_refused("/problems/request-timeout", 408);
}

#[test]
fn connection_that_sends_no_whole_head_is_closed() {
    let shop = Shop::with(|config| config.limits.time = Duration::from_millis(300));
    let start = Instant::now();
    for begun in ["", "POST /v1/sync HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = TcpStream::connect(shop.address()).expect("connects");
        stream.write_all(begun.as_bytes()).expect("writes");
        assert!(read_answer(&mut stream).is_none_or(|answer| answer.status == 408));
    }
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn connection_that_never_reads_its_answers_is_closed_for_others() {
    let shop = Shop::with(|config| {
        config.limits.time = Duration::from_millis(300);
        config.limits.connections = 1;
    });
    let mut stream = TcpStream::connect(shop.address()).expect("connects");
    stream.set_write_timeout(Some(Duration::from_millis(200))).expect("set");
    // Questions until neither side has room for more.
    while stream.write_all(&b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100)).is_ok() {}
    assert_eq!(get(shop.address(), "/healthz").status, 200, "the only connection is free again");
}

#[test]
fn catalogue_is_served_with_its_digest_as_its_tag() {
    let shop = Shop::open();
    let answer = get(shop.address(), "/v1/catalog");
    assert_eq!(answer.text(), catalog().canonical_json());
    let tag = format!("\"{}\"", Sha256::of(&answer.body));
    assert_eq!(answer.header("etag"), Some(tag.as_str()));
    let again = send(shop.address(), "GET", "/v1/catalog", &[("if-none-match", &tag)], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
}

#[test]
fn keys_that_are_published_are_those_that_sign() {
    let shop = Shop::open();
    let answer = get(shop.address(), "/.well-known/jwks.json");
    assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
    let keys: JwkSet = serde_json::from_slice(&answer.body).expect("a key set");
    assert_eq!(keys.public_keys(), [shop.server.public_key()]);
}

#[test]
fn health_counts_and_description_are_there_for_whoever_runs_it() {
    let shop = Shop::open();
    let mut device = shop.device();
    let (bought, declined) = (device.order("shield", 2), device.order("palace", 1));
    device.sync(&shop, 0, &[bought.clone(), declined, bought]);
    assert_eq!(get(shop.address(), "/healthz").text(), "ok\n");
    let metrics = get(shop.address(), "/metrics");
    for line in [
        "iap_orders_total{status=\"granted\"} 1",
        "iap_orders_total{status=\"declined\"} 1",
        "iap_orders_total{status=\"replayed\"} 1",
        "iap_syncs_total 1",
        "iap_enrolments_total 1",
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line} is not in {}", metrics.text());
    }
    let description: serde_json::Value =
        serde_json::from_slice(&get(shop.address(), "/openapi.json").body).expect("JSON");
    assert_eq!(description["openapi"], "3.1.0");
}

#[test]
fn server_that_has_no_room_says_when_to_come_back() {
    let shop = Shop::with(|config| (config.limits.queue, config.limits.batch) = (1, 1));
    let mut device = shop.device();
    let mut request = || {
        let order = device.order("gift", 1);
        device.request(0, &[order]).sign(&device.key).expect("signs")
    };
    let requests = [request(), request(), request()];
    // The writer takes the first request and waits for this lock; the second one fills the queue.
    let other = Connection::open(shop.folder.path().join("store.sqlite")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    thread::scope(|scope| {
        let waiting: Vec<_> = requests[..2]
            .iter()
            .map(|request| {
                let thread = scope.spawn(|| send_sync(shop.address(), request));
                thread::sleep(Duration::from_millis(300));
                thread
            })
            .collect();
        let answer = send_sync(shop.address(), &requests[2]);
        answer.assert_refused("/problems/unavailable", 503);
        assert_eq!(answer.header("retry-after"), Some("1"));
        get(shop.address(), "/healthz").assert_refused("/problems/unavailable", 503);
        other.execute_batch("ROLLBACK").expect("unlocks");
        for thread in waiting {
            assert_eq!(thread.join().expect("answers").status, 200);
        }
    });
    assert_eq!(send_sync(shop.address(), &requests[2]).status, 200);
}

#[test]
fn server_whose_books_fail_changes_nothing_and_goes_on_when_they_are_back() {
    let shop = Shop::open();
    let mut device = shop.device();
    let order = device.order("shield", 1);
    let request = device.request(0, &[order]).sign(&device.key).expect("signs");
    let other = Connection::open(shop.folder.path().join("store.sqlite")).expect("opens");
    other.execute_batch("ALTER TABLE receipts RENAME TO elsewhere").expect("renames");
    send_sync(shop.address(), &request).assert_refused("/problems/internal", 500);
    other.execute_batch("ALTER TABLE elsewhere RENAME TO receipts").expect("renames");
    assert_eq!(device.euros(&shop), 1_000_000);
    assert_eq!(send_sync(shop.address(), &request).status, 200);
    assert_eq!(device.euros(&shop), 995_000);
    assert!(shop.server.audit().expect("audits").is_clean());
}

#[test]
fn server_that_stops_finishes_what_was_begun_and_waits_for_nobody_idle() {
    let shop = Shop::open();
    let mut device = shop.device();
    let order = device.order("shield", 1);
    let request = device.request(0, &[order]).sign(&device.key).expect("signs");
    let (address, key) = (shop.address(), shop.server.public_key());
    let idle = TcpStream::connect(address).expect("connects");
    let Shop { server, folder } = shop;
    let other = Connection::open(folder.path().join("store.sqlite")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let start = Instant::now();
    thread::scope(|scope| {
        let begun = scope.spawn(|| send_sync(address, &request));
        thread::sleep(Duration::from_millis(300));
        let stopped = scope.spawn(move || server.stop());
        thread::sleep(Duration::from_millis(300));
        assert!(TcpStream::connect(address).is_err(), "it still listens");
        other.execute_batch("ROLLBACK").expect("unlocks");
        let answer = begun.join().expect("answers");
        assert_eq!(device.read(key, &request, &answer).receipts.len(), 1);
        stopped.join().expect("stops");
    });
    assert!(start.elapsed() < Duration::from_secs(5), "it waited for the idle connection");
    drop(idle);
}
