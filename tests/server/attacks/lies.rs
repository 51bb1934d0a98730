//! Lies told to a real client: by somebody on the network, by a server that only looks like the game's, and by a player
//! who edits the save.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bevy_iap::client::journal::{self, FrameWriter};
use bevy_iap::client::record::{Identity, Provisional, Record};
use bevy_iap::client::{OrderState, Request, Response};
use bevy_iap::protocol::sync::{SyncRequest, SyncResponse};
use bevy_iap::protocol::{Catalog, Grant, Order, OrderId, Receipt, ReceiptId, SecretKey, Status, Token};
use serde_json::{Value, json};

use super::forgery::{RawKey, claims, decode, encode, parts};
use super::scene::{Scene, WELCOME, attack, feed};
use super::victim::{Lie, Victim};
use crate::support::{CATALOG, catalog, fresh_id, game};

/// An answer of a server.
fn answer(text: impl Into<String>) -> Response {
    Response { status: 200, retry_after: None, body: text.into().into_bytes() }
}

/// The text of an answer.
fn text(response: &Response) -> String {
    String::from_utf8(response.body.clone()).expect("text")
}

/// What a client asks for in the body of a request.
pub fn asked(body: &[u8]) -> SyncRequest {
    let token = Token::from_text(std::str::from_utf8(body).expect("text"));
    serde_json::from_str(&decode(parts(&token)[1])).expect("a request")
}

/// What a server with this key would answer to a request, if it granted everything.
pub fn granted(key: &SecretKey, body: &[u8]) -> String {
    let (token, request) = (Token::from_text(std::str::from_utf8(body).expect("text")), asked(body));
    let mut feed = request.cursor;
    let receipts = request.orders.iter().map(|token| {
        let order: Order = serde_json::from_str(&decode(parts(token)[1])).expect("an order");
        feed += 1;
        let (_, product) =
            catalog().product(order.product.as_str()).map(|(id, it)| (id.clone(), it.clone())).expect("sold");
        let receipt = Receipt {
            id: ReceiptId(fresh_id()),
            server: key.id(),
            game: game(),
            account: request.account.clone(),
            issued_at: now(),
            feed,
            order: order.id,
            order_sha256: token.sha256(),
            status: Status::Granted,
            reason: None,
            product: order.product,
            quantity: order.quantity,
            amount: order.price,
            grants: product.grants(order.quantity, now()),
        };
        receipt.sign(key).expect("signs")
    });
    let response = SyncResponse {
        server: key.id(),
        account: request.account.clone(),
        game: game(),
        issued_at: now(),
        request_sha256: token.sha256(),
        receipts: receipts.collect(),
        cursor: feed,
        more: false,
        wallet: Vec::new(),
        chain: None,
        catalog: catalog().digest(),
        allowances: Vec::new(),
        consumed_sequence: 0,
    };
    response.sign(key).expect("signs").to_string()
}

fn now() -> i64 {
    use bevy_iap::server::clock::{Clock as _, SystemClock};
    SystemClock.now()
}

/// Checks that each lie is disbelieved for its reason, and gives nothing.
fn disbelieved<'a>(scene: &mut Scene, lies: impl IntoIterator<Item = (&'a str, Lie)>) {
    let mut victim = Victim::new(scene);
    for (told, lie) in lies {
        let before = victim.holdings.clone();
        victim.lie(lie);
        let order = victim.order("skin");
        victim.disbelieves(told);
        assert_eq!(victim.holdings, before, "{told}");
        assert_eq!(victim.orders[&order].state, OrderState::Sent, "{told}");
        victim.let_through();
        victim.wait_for(order, OrderState::Granted);
    }
    victim.check(scene);
}

#[test]
fn server_with_a_key_of_its_own_is_not_believed() {
    attack(|scene| {
        let (own, pinned) = (SecretKey::from_seed(&[0x77; 32]), scene.shop.server.public_key().id());
        let renamed = move |body: &[u8]| {
            let token = Token::from_text(&granted(&SecretKey::from_seed(&[0x77; 32]), body));
            let mut payload: Value = serde_json::from_str(&decode(parts(&token)[1])).expect("claims");
            payload["iss"] = json!(pinned);
            let raw = RawKey::new(&[0x77; 32]);
            let header =
                raw.header("iap-sync-response+jwt").to_string().replace(&raw.id.to_string(), &pinned.to_string());
            raw.token(&header, &payload.to_string()).to_string()
        };
        disbelieved(
            scene,
            [
                ("not trusted", Box::new(move |request: &Request, _| answer(granted(&own, &request.body))) as Lie),
                ("does not verify", Box::new(move |request: &Request, _| answer(renamed(&request.body)))),
            ],
        );
    });
}

#[test]
fn device_does_not_answer_itself() {
    attack(|scene| {
        // Signed by the device's own key, which a rewritten client has.
        let key = scene.attacker.key.clone();
        disbelieved(
            scene,
            [("not trusted", Box::new(move |request: &Request, _| answer(granted(&key, &request.body))) as Lie)],
        );
    });
}

#[test]
fn words_that_nobody_signed_neither_give_nor_take_anything() {
    attack(|scene| {
        let mut victim = Victim::new(scene);
        victim.buy("double_jump");
        let owned = victim.holdings.clone();
        for (status, body) in [
            (200, ""),
            (200, "{\"status\":\"granted\",\"grants\":[{\"entitlement\":\"palace\"}]}"),
            (200, "<html>Log in to use this network</html>"),
            (201, "{\"status\":\"granted\"}"),
            (204, ""),
            (302, ""),
            (400, "{\"type\":\"/problems/bad-token\",\"title\":\"x\",\"status\":400,\"detail\":\"declined\"}"),
            (402, "{\"status\":\"declined\"}"),
            (403, "{\"type\":\"/problems/device-revoked\",\"title\":\"x\",\"status\":403,\"detail\":\"x\"}"),
            (404, "{\"type\":\"/problems/unknown-device\",\"title\":\"x\",\"status\":404,\"detail\":\"x\"}"),
            (409, "{\"type\":\"/problems/conflict\",\"title\":\"x\",\"status\":409,\"detail\":\"x\"}"),
            (410, "gone"),
            (422, "{\"type\":\"/problems/order-conflict\",\"title\":\"x\",\"status\":422,\"detail\":\"x\"}"),
            (422, "{\"type\":\"/problems/wrong-account\",\"title\":\"x\",\"status\":422,\"detail\":\"x\"}"),
            (500, "{\"type\":\"/problems/internal\",\"title\":\"x\",\"status\":500,\"detail\":\"x\"}"),
        ] {
            let told = Arc::new(AtomicUsize::new(0));
            let lies = told.clone();
            victim.lie(move |_, _| {
                lies.fetch_add(1, Ordering::SeqCst);
                Response { status, retry_after: None, body: body.as_bytes().to_vec() }
            });
            let order = victim.order("charm");
            victim.until("it is told twice", |victim| {
                victim.orders.contains_key(&order) && told.load(Ordering::SeqCst) > 1
            });
            let state = victim.orders[&order].state;
            assert!(
                state.is_open() && victim.holdings.entitlements == owned.entitlements,
                "{status} {body}: {state:?}"
            );
            victim.let_through();
            victim.wait_for(order, OrderState::Granted);
        }
        victim.check(scene);
    });
}

#[test]
fn answer_of_before_a_refund_does_not_hide_it() {
    attack(|scene| {
        let mut victim = Victim::new(scene);
        let kept = Arc::new(Mutex::new(String::new()));
        let keeps = kept.clone();
        victim.lie(move |_, response| {
            *keeps.lock().expect("not poisoned") = text(&response);
            response
        });
        let order = victim.buy("double_jump");
        let old = kept.lock().expect("not poisoned").clone();
        scene.shop.server.refund(order).expect("refunds");
        victim.lie(move |_, _| answer(old.clone()));
        victim.sync_now();
        victim.disbelieves("answers another request");
        victim.check(scene);
    });
}

#[test]
fn answer_to_another_player_gives_this_one_nothing() {
    attack(|scene| {
        let mut rich = Victim::new(scene);
        let kept = Arc::new(Mutex::new(String::new()));
        let keeps = kept.clone();
        rich.lie(move |_, response| {
            *keeps.lock().expect("not poisoned") = text(&response);
            response
        });
        rich.buy("double_jump");
        let theirs = kept.lock().expect("not poisoned").clone();
        // Their answer as it is, and their receipts within one's own.
        let response: Value = serde_json::from_str(&decode(parts(&Token::from_text(&theirs))[1])).expect("claims");
        let receipts = response["receipts"].clone();
        disbelieved(
            scene,
            [
                ("is for the account", Box::new(move |_: &_, _| answer(theirs.clone())) as Lie),
                (
                    "does not verify",
                    Box::new(move |_: &_, response: Response| {
                        let token = Token::from_text(&text(&response));
                        let [header, payload, signature] = parts(&token);
                        let mut payload: Value = serde_json::from_str(&decode(payload)).expect("claims");
                        payload["receipts"] = receipts.clone();
                        answer(format!("{header}.{}.{signature}", encode(payload.to_string().as_bytes())))
                    }),
                ),
            ],
        );
        rich.check(scene);
    });
}

#[test]
fn answer_that_was_downgraded_on_the_way_is_not_believed() {
    attack(|scene| {
        let with_header = |change: fn(&mut Value)| -> Lie {
            Box::new(move |_: &_, response: Response| {
                let token = Token::from_text(&text(&response));
                let [header, payload, signature] = parts(&token);
                let mut header: Value = serde_json::from_str(&decode(header)).expect("a header");
                change(&mut header);
                answer(format!("{}.{payload}.{signature}", encode(header.to_string().as_bytes())))
            })
        };
        disbelieved(
            scene,
            [
                ("`alg` is \"none\"", with_header(|header| header["alg"] = "none".into())),
                ("`alg` is \"HS256\"", with_header(|header| header["alg"] = "HS256".into())),
                ("`typ` is", with_header(|header| header["typ"] = "JWT".into())),
                ("`typ` is", with_header(|header| header["typ"] = "iap-receipt+jwt".into())),
                ("\"jku\"", with_header(|header| header["jku"] = "https://evil.example/keys".into())),
                ("\"crit\"", with_header(|header| header["crit"] = json!(["b64"]))),
                (
                    "not a compact JWS",
                    Box::new(|_: &_, response: Response| {
                        let token = Token::from_text(&text(&response));
                        answer(format!("{}.{}", parts(&token)[0], parts(&token)[1]))
                    }),
                ),
            ],
        );
    });
}

#[test]
fn redirection_leads_the_client_to_nobody() {
    attack(|scene| {
        let trap = TcpListener::bind("127.0.0.1:0").expect("listens");
        trap.set_nonblocking(true).expect("is set");
        let place = trap.local_addr().expect("an address");
        let (url, heard) = http_server(move || {
            format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{place}/v1/sync\r\ncontent-length: 0\r\n\r\n")
        });
        let mut victim = Victim::somewhere(scene, &url);
        victim.start(scene);
        victim.order("shield");
        victim.until("it asks again and again", |_| heard.load(Ordering::SeqCst) > 3);
        assert!(trap.accept().is_err() && victim.owns_nothing());
    });
}

#[test]
fn order_whose_id_somebody_took_before_it_arrived_costs_the_player_nothing() {
    attack(|scene| {
        let mut victim = Victim::new(scene);
        victim.buy("shield");
        // Somebody who can read what is sent holds it back, and uses the id for an order of their own.
        victim.hold_back(true);
        let order = victim.order("double_jump");
        victim.wait_for(order, OrderState::Sent);
        assert_eq!(scene.buy("charm", |claims| claims.id = order).status, Status::Granted);
        victim.hold_back(false);
        victim.disbelieves("status 422");
        let account = victim.device.account();
        let summary = scene.shop.server.show(&account).expect("is there");
        assert_eq!((summary.receipts, summary.wallet[0].available.value()), (1, WELCOME - 5_000));
        assert!(!victim.holdings.entitlements.contains_key("double_jump"));
        // What waits behind it waits too, until the device begins anew with its key: then everything is as the books say.
        victim.stop();
        std::fs::remove_file(victim.journal()).expect("is removed");
        victim.start(scene);
        victim.until("it is online", Victim::is_online);
        victim.buy("double_jump");
        victim.check(scene);
    });
}

#[test]
fn answer_without_end_is_given_up() {
    attack(|scene| {
        let (url, heard) = http_server(|| {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/jose\r\ncontent-length: 99999999\r\n\r\n";
            format!("{head}{}", "A".repeat(34 * 1024 * 1024))
        });
        let mut victim = Victim::somewhere(scene, &url);
        victim.start(scene);
        victim.disbelieves("longer than 33554432 bytes");
        assert!(heard.load(Ordering::SeqCst) > 0 && victim.owns_nothing());
    });
}

/// A server that answers everything alike, and counts what it was asked.
fn http_server(say: impl Fn() -> String + Send + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = heard.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            counted.fetch_add(1, Ordering::SeqCst);
            // A client that has seen enough reads no more.
            let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
            let _ = stream.read(&mut [0; 65_536]);
            let _ = stream.write_all(say().as_bytes());
        }
    });
    (url, heard)
}

/// A journal that the player wrote: with right sums, and whatever records they like.
fn write_journal(victim: &Victim, records: Vec<Record>) {
    let mut bytes = journal::header().to_vec();
    FrameWriter::default().append(&records, &mut bytes);
    std::fs::write(victim.journal(), bytes).expect("writes");
}

fn identity(victim: &Victim) -> Record {
    let (device, account) = (victim.device.id(), victim.device.account());
    Record::Identity(Identity { game: game(), device, account })
}

#[test]
fn receipts_that_the_player_put_into_the_journal_give_nothing() {
    attack(|scene| {
        let mut victim = Victim::new(scene);
        victim.buy("skin");
        let (own, own_receipts) = feed(scene, &victim.device);
        let (theirs, _) = feed(scene, &scene.other);
        victim.stop();
        // Signed by the device, by a key in the likeness of the server's, for more than was bought, and by the server
        // for somebody else.
        let mut more = own_receipts[0].clone();
        more.product = "palace".parse().expect("a name");
        more.grants = vec![Grant::Entitlement { entitlement: "palace".parse().expect("a name"), until: None }];
        let by_device = more.sign(&victim.device.key).expect("signs");
        let by_nobody = more.sign(&SecretKey::from_seed(&[0x31; 32])).expect("signs");
        let [header, _, signature] = parts(&own[0]);
        let edited = format!("{header}.{}.{signature}", encode(claims(&more).to_string().as_bytes()));
        let forged = [by_device, by_nobody, Token::from_text(&edited)].into_iter().chain(theirs);
        let records = [identity(&victim)].into_iter().chain(forged.map(|token| Record::Receipt(token.into())));
        write_journal(&victim, records.collect());
        victim.start_with(scene, true);
        assert!(victim.owns_nothing(), "{:?}", victim.holdings);
        assert!(!victim.troubles.is_empty());
        // Online, what was bought comes back, and nothing else.
        victim.stop();
        victim.start(scene);
        victim.check(scene);
    });
}

#[test]
fn what_the_player_wrote_as_provisional_is_gone_when_the_server_declines() {
    attack(|scene| {
        let mut victim = Victim::new(scene);
        victim.stop();
        let mut claims = victim.device.claims("palace", 1);
        claims.id = OrderId(fresh_id());
        let order = victim.device.sign(&claims);
        let given = Grant::Entitlement { entitlement: "palace".parse().expect("a name"), until: None };
        let provisional = Provisional { order: claims.id, grants: vec![given.clone()], allowance: None };
        let nothing = Provisional { order: OrderId(fresh_id()), grants: vec![given], allowance: None };
        let records = vec![
            identity(&victim),
            Record::Provisional(nothing),
            Record::Order(order.into()),
            Record::Provisional(provisional),
        ];
        write_journal(&victim, records);
        victim.start_with(scene, true);
        // On a device of one's own one can show oneself anything; it says that it is not final, and whose word it is.
        assert!(victim.holdings.entitlements.values().all(|owned| owned.provisional));
        victim.stop();
        victim.start(scene);
        victim.wait_for(claims.id, OrderState::Declined);
        victim.check(scene);
    });
}

#[test]
fn catalogue_that_the_player_edited_changes_no_price() {
    attack(|scene| {
        let mut victim = Victim::new(scene);
        let edited = CATALOG.replace("\"1000\"", "\"0\"").replace("\"0.05\"", "\"0.000001\"");
        let edited = Catalog::parse("edited.ron", &edited).expect("a good catalogue");
        for product in ["palace", "double_jump"] {
            let order = victim.order_from(&edited, product);
            victim.wait_for(order, OrderState::Declined);
        }
        assert!(victim.owns_nothing());
        victim.check(scene);
    });
}
