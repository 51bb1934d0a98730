//! What one device, one address and all of them together may do, and that the others do not feel it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bevy_iap::protocol::sync::Enrolment;
use bevy_iap::server::{Limits, Rate, Server, ServerConfig, ServerError};
use rusqlite::Connection;

use crate::support::{Answer, Device, Shop, catalog, game, get, post, read_answer, send, send_sync};

/// A shop behind a proxy on this computer, with limits.
fn shop(change: impl FnOnce(&mut Limits)) -> Shop {
    Shop::with(|config| {
        config.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
        change(&mut config.limits);
    })
}

/// Sends something through the proxy, for somebody.
fn send_for(client: &str, shop: &Shop, path: &str, content_type: &str, body: &[u8]) -> Answer {
    let headers = [("content-type", content_type), ("x-forwarded-for", client)];
    send(shop.address(), "POST", path, &headers, body)
}

fn enrol_for(client: &str, shop: &Shop, device: &Device) -> Answer {
    let enrolment = Enrolment::sign(&device.key, &game(), 0).expect("signs");
    let body = serde_json::to_vec(&enrolment).expect("serialises");
    send_for(client, shop, "/v1/devices", "application/json", &body)
}

fn assert_too_many(answer: &Answer) -> u64 {
    answer.assert_refused("/problems/too-many-requests", 429);
    answer.header("retry-after").and_then(|seconds| seconds.parse().ok()).expect("a number of seconds")
}

/// How often a limit was met, by the counts.
fn refused(address: SocketAddr, limit: &str) -> u64 {
    let metrics = get(address, "/metrics");
    let name = format!("iap_refused_requests_total{{limit=\"{limit}\"}} ");
    metrics.text().lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).expect("it is counted")
}

#[test]
fn device_that_orders_too_much_waits_and_then_gets_its_receipts() {
    let shop = Shop::with(|config| config.limits.orders_per_device = Rate::new(120, 3));
    let (mut device, mut other) = (shop.device(), shop.device());
    let order = device.order("gift", 1);
    assert_eq!(device.sync(&shop, 0, &[order]).receipts.len(), 1);
    let orders = [device.order("gift", 1), device.order("gift", 1)];
    let request = device.request(1, &orders).sign(&device.key).expect("signs");
    let wait = assert_too_many(&send_sync(shop.address(), &request));
    assert!((1..=2).contains(&wait), "{wait}");
    let order = other.order("gift", 1);
    assert_eq!(other.sync(&shop, 0, &[order]).receipts.len(), 1, "another device does not feel it");
    thread::sleep(Duration::from_secs(wait));
    assert_eq!(device.sync(&shop, 1, &orders).receipts.len(), 2);
    assert_eq!(refused(shop.address(), "orders_per_device"), 1);
}

#[test]
fn nobody_uses_up_the_rate_of_a_device_whose_key_they_do_not_have() {
    let shop = Shop::with(|config| config.limits.orders_per_device = Rate::new(1, 2));
    let (mut device, thief) = (shop.device(), shop.device());
    let mut forged = thief.request(0, &[]);
    (forged.device, forged.account) = (device.id(), device.account());
    let good = device.request(0, &[]).sign(&device.key).expect("signs");
    let (start, _) = good.as_str().rsplit_once('.').expect("a compact JWS");
    let stolen = forged.sign(&thief.key).expect("signs");
    let (_, signature) = stolen.as_str().rsplit_once('.').expect("a compact JWS");
    for _ in 0..5 {
        post(shop.address(), "/v1/sync", "application/jose", format!("{start}.{signature}").as_bytes())
            .assert_refused("/problems/bad-token", 400);
    }
    let order = device.order("gift", 1);
    assert_eq!(device.sync(&shop, 0, &[order]).receipts.len(), 1);
}

#[test]
fn address_that_sends_too_much_is_refused_and_its_neighbour_is_not() {
    let shop = shop(|limits| limits.requests_per_address = Rate::new(1, 13));
    let body = b"x";
    for _ in 0..3 {
        send_for("203.0.113.1", &shop, "/v1/sync", "text/plain", body)
            .assert_refused("/problems/unsupported-media-type", 415);
    }
    // One that is wrong counts as ten.
    send_for("203.0.113.1", &shop, "/v1/sync", "application/jose", body).assert_refused("/problems/bad-token", 400);
    let wait = assert_too_many(&send_for("203.0.113.1", &shop, "/v1/sync", "application/jose", body));
    assert!((30..=60).contains(&wait), "{wait}");
    let pretended = "203.0.113.9, 203.0.113.1";
    assert_too_many(&send_for(pretended, &shop, "/v1/sync", "application/jose", body));
    send_for("203.0.113.2", &shop, "/v1/sync", "application/jose", body).assert_refused("/problems/bad-token", 400);
    assert_eq!(refused(shop.address(), "requests_per_address"), 2);
}

#[test]
fn strangers_cost_no_more_than_others_until_there_are_more_of_them_than_new_players() {
    let shop = shop(|limits| {
        (limits.requests_per_address, limits.enrolments_per_address) = (Rate::new(1, 13), Rate::new(1, 2));
    });
    let ask = || {
        let stranger = Device::new();
        let request = stranger.request(0, &[]).sign(&stranger.key).expect("signs");
        send_for("203.0.113.1", &shop, "/v1/sync", "application/jose", request.as_str().as_bytes())
    };
    for _ in 0..4 {
        ask().assert_refused("/problems/unknown-device", 404);
    }
    // Two cost one request each, the next one ten, and the last one what was left.
    assert_too_many(&ask());
}

#[test]
fn caller_whose_name_no_proxy_can_read_is_counted_all_the_same() {
    let shop = shop(|limits| limits.requests_per_address = Rate::new(1, 10));
    let send = |client: &str| send_for(client, &shop, "/v1/sync", "application/jose", b"x");
    // Before the address that a proxy adds there may be anything.
    let pretended = "\u{ff}, 203.0.113.1";
    send(pretended).assert_refused("/problems/bad-token", 400);
    assert_too_many(&send(pretended));
    assert_too_many(&send("203.0.113.1"));
    // Where nobody can be told, it is the proxy.
    send("\u{ff}").assert_refused("/problems/bad-token", 400);
    assert_too_many(&send("nobody, 127.0.0.1"));
    send("203.0.113.2").assert_refused("/problems/bad-token", 400);
}

#[test]
fn large_body_counts_as_many_requests() {
    let shop = shop(|limits| limits.requests_per_address = Rate::new(1, 20));
    let body = vec![b'x'; 400_000];
    assert_too_many(&send_for("203.0.113.1", &shop, "/v1/sync", "application/jose", &body));
    let body = vec![b'x'; 100_000];
    send_for("203.0.113.2", &shop, "/v1/sync", "application/jose", &body).assert_refused("/problems/bad-token", 400);
    assert_too_many(&send_for("203.0.113.2", &shop, "/v1/sync", "application/jose", &body));
}

#[test]
fn address_cannot_order_more_by_having_more_devices() {
    let shop = shop(|limits| limits.orders_per_address = Rate::new(1, 4));
    let sync = |client: &str| {
        let mut device = shop.device();
        let order = device.order("palace", 1);
        let request = device.request(0, &[order]).sign(&device.key).expect("signs");
        send_for(client, &shop, "/v1/sync", "application/jose", request.as_str().as_bytes())
    };
    assert_eq!([sync("203.0.113.1").status, sync("203.0.113.1").status], [200, 200]);
    assert_too_many(&sync("203.0.113.1"));
    assert_eq!(sync("203.0.113.2").status, 200);
}

#[test]
fn address_gets_only_so_many_accounts_and_those_it_has_stay() {
    let shop = shop(|limits| limits.enrolments_per_address = Rate::new(1, 2));
    let devices = [Device::new(), Device::new(), Device::new()];
    assert_eq!(enrol_for("2001:db8::1", &shop, &devices[0]).status, 201);
    assert_eq!(enrol_for("2001:db8::2", &shop, &devices[1]).status, 201);
    assert_too_many(&enrol_for("2001:db8::3", &shop, &devices[2]));
    assert!(shop.server.show(&devices[2].account()).is_err(), "nothing is kept of it");
    assert_eq!(enrol_for("2001:db8::3", &shop, &devices[0]).status, 200, "it is enrolled already");
    assert_eq!(enrol_for("2001:db8:0:1::3", &shop, &devices[2]).status, 201, "that is another address");
}

#[test]
fn stranger_costs_the_books_nothing() {
    let shop = Shop::open();
    let device = shop.device();
    let books = Connection::open(shop.folder.path().join("store.sqlite")).expect("opens");
    // It changes with every transaction of another connection that has written something.
    let version = || books.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0)).expect("a version");
    let before = version();
    for _ in 0..10 {
        let mut stranger = Device::new();
        let order = stranger.order("shield", 1);
        let request = stranger.request(0, &[order]).sign(&stranger.key).expect("signs");
        send_sync(shop.address(), &request).assert_refused("/problems/unknown-device", 404);
        assert_eq!(device.enrol(shop.address()).status, 200);
    }
    assert_eq!(version(), before);
    shop.device();
    assert_ne!(version(), before, "it would have been seen");
}

#[test]
fn silent_and_slow_connections_make_room_for_whoever_wants_something() {
    let shop = Shop::with(|config| {
        config.limits.connections = 8;
        config.limits.time = Duration::from_secs(60);
    });
    let mut silent: Vec<_> = (0..20)
        .map(|number| {
            let mut stream = TcpStream::connect(shop.address()).expect("connects");
            let begun: &[u8] = match number % 3 {
                0 => b"",
                1 => b"GET /healthz HTTP/1.1\r\nhost: ",
                _ => {
                    b"POST /v1/sync HTTP/1.1\r\nhost: x\r\ncontent-type: application/jose\r\ncontent-length: 9\r\n\r\na"
                }
            };
            stream.write_all(begun).expect("writes");
            stream
        })
        .collect();
    let started = Instant::now();
    for _ in 0..20 {
        assert_eq!(get(shop.address(), "/healthz").status, 200);
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let oldest = silent.first_mut().expect("there are some");
    oldest.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
    assert_eq!(oldest.read(&mut [0]).expect("it is closed, and not only forgotten"), 0);
}

#[test]
fn connection_that_was_answered_makes_room_for_whoever_came_while_it_was_worked_on() {
    let shop = Shop::with(|config| {
        config.limits.connections = 1;
        config.limits.time = Duration::from_secs(60);
    });
    let address = shop.address();
    let other = Connection::open(shop.folder.path().join("store.sqlite")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let mut first = TcpStream::connect(address).expect("connects");
    let enrolment = Enrolment::sign(&Device::new().key, &game(), 0).expect("signs");
    let body = serde_json::to_string(&enrolment).expect("serialises");
    let head = "POST /v1/devices HTTP/1.1\r\nhost: x\r\ncontent-type: application/json";
    write!(first, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).expect("writes");
    thread::sleep(Duration::from_millis(300));
    let second = thread::spawn(move || get(address, "/healthz").status);
    thread::sleep(Duration::from_millis(300));
    other.execute_batch("ROLLBACK").expect("unlocks");
    let started = Instant::now();
    assert_eq!(second.join().expect("ends"), 200);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let answer = read_answer(&mut first).expect("it is answered before it has to go");
    assert_eq!(answer.status, 201);
}

#[test]
fn clients_that_come_all_at_once_wait_for_their_turn_and_need_not_knock_again() {
    let shop = Shop::with(|config| {
        config.limits.connections = 1;
        config.limits.time = Duration::from_secs(60);
    });
    let address = shop.address();
    let other = Connection::open(shop.folder.path().join("store.sqlite")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    // The only connection there is room for, and it works, so that no other one is accepted.
    let enrolling = thread::spawn(move || Device::new().enrol(address).status);
    thread::sleep(Duration::from_millis(300));
    // Whoever is turned away by the operating system tries again after a second at the earliest.
    let patience = Duration::from_millis(900);
    let knock = || TcpStream::connect_timeout(&address, patience);
    let waiting: Vec<_> = (0..400).map_while(|_| knock().ok()).collect();
    assert_eq!(waiting.len(), 400);
    other.execute_batch("ROLLBACK").expect("unlocks");
    assert_eq!(enrolling.join().expect("ends"), 201);
    drop(waiting);
    assert_eq!(get(address, "/healthz").status, 200);
}

#[test]
fn address_has_only_so_many_connections() {
    let shop = Shop::with(|config| {
        config.limits.loopback = true;
        config.limits.connections_per_address = 2;
    });
    let ask = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.read(&mut [0; 1000]).unwrap_or(0)
    };
    let mut streams = [0; 3].map(|_| TcpStream::connect(shop.address()).expect("connects"));
    let [first, second, third] = &mut streams;
    assert!(ask(first) > 0 && ask(second) > 0);
    assert_eq!(ask(third), 0, "it is closed at once");
    assert!(ask(first) > 0, "those that are open stay open");
    drop(streams);
    let started = Instant::now();
    while ask(&mut TcpStream::connect(shop.address()).expect("connects")) == 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "there is room again");
    }
}

#[test]
fn bodies_together_take_only_so_much_memory() {
    let shop = Shop::with(|config| config.limits.memory = 1);
    let mut device = shop.device();
    let few = [device.order("gift", 1)];
    assert_eq!(device.sync(&shop, 0, &few).receipts.len(), 1);
    let many: Vec<_> = (0..40).map(|_| device.order("gift", 1)).collect();
    let request = device.request(0, &many).sign(&device.key).expect("signs");
    let answer = send_sync(shop.address(), &request);
    answer.assert_refused("/problems/unavailable", 503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(shop.server.show(&device.account()).expect("is there").receipts, 1, "nothing was settled");
    assert_eq!(refused(shop.address(), "memory"), 1);
}

#[test]
fn only_pages_that_were_named_may_use_the_store_from_a_browser() {
    let shop = Shop::with(|config| {
        config.allowed_origins = "https://games.example".parse().expect("an origin");
        config.limits.requests_per_address = Rate::new(1, 3);
        config.limits.loopback = true;
    });
    let allowed = |origin: &str, method: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
        ];
        let answer = send(shop.address(), method, "/v1/sync", &headers, b"");
        (answer.status, answer.header("access-control-allow-origin").map(str::to_owned))
    };
    let named = Some("https://games.example".to_owned());
    assert_eq!(allowed("https://games.example", "OPTIONS"), (200, named.clone()));
    assert_eq!(allowed("https://evil.example", "OPTIONS"), (200, None));
    assert_eq!(allowed("https://games.example", "POST"), (415, named.clone()));
    assert_eq!(allowed("https://evil.example", "POST"), (415, None));
    assert_eq!(allowed("https://games.example", "POST"), (415, named.clone()));
    assert_eq!(allowed("https://games.example", "POST"), (429, named), "a page can read its refusal");
}

#[test]
fn pages_of_this_machine_may_use_the_store_unless_others_are_named() {
    let shop = Shop::with(|_| {});
    let allowed = |shop: &Shop, origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        let answer = send(shop.address(), "OPTIONS", "/v1/sync", &headers, b"");
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    let here = "http://localhost:8080";
    assert_eq!(allowed(&shop, here).as_deref(), Some(here));
    assert_eq!(allowed(&shop, "https://games.example"), None);
    for named in ["https://games.example", ""] {
        let shop = Shop::with(|config| config.allowed_origins = named.parse().expect("origins"));
        assert_eq!(allowed(&shop, here), None, "{named:?} are named");
    }
}

#[test]
fn server_that_is_dropped_keeps_its_folder_until_its_books_are_closed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = || ServerConfig::new(folder.path(), catalog());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let server = Server::start(config()).await.expect("starts");
        let address = server.address();
        let books = server.books().clone();
        let other = Connection::open(folder.path().join("store.sqlite")).expect("opens");
        other.execute_batch("BEGIN IMMEDIATE").expect("locks");
        // The writer waits for the lock with this.
        let enrolling = thread::spawn(move || Device::new().enrol(address).status);
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(server);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let error = Server::start(config()).await.expect_err("the books are still open");
        assert!(matches!(error, ServerError::FolderInUse(_)), "{error}");
        other.execute_batch("ROLLBACK").expect("unlocks");
        assert_eq!(enrolling.join().expect("ends"), 201, "what was begun is finished");
        let started = Instant::now();
        let again = loop {
            match Server::start(config()).await {
                Ok(server) => break server,
                Err(error) => assert!(started.elapsed() < Duration::from_secs(10), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(books.show(Device::new().account()).await.is_err(), "the old server's books are closed");
        again.stop().await;
    });
}
