//! Using up what was bought, over HTTP, and what the operator sees of it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use bevy_iap::protocol::sync::{SyncRequest, SyncResponse, Wait};
use bevy_iap::protocol::{Consumption, ConsumptionReceipt, ConsumptionStatus, FeedReceipt, SecretKey, Sha256, Token};
use bevy_iap::server::AccountRules;
use bevy_iap::server::ledger::{AccountChange, AccountWish, Ledger as _, Membership, SqliteLedger};
use bevy_iap::server::signing::Signer;
use rusqlite::Connection;

use crate::audit::audit_after;
use crate::support::{Answer, Device, Shop, fresh_id, game, get, send_sync};

fn signed(device: &Device, consumption: &Consumption) -> Token {
    consumption.sign(&device.key).expect("signs")
}

fn send(shop: &Shop, device: &Device, cursor: u64, orders: &[Token], consumptions: &[Token]) -> (Token, Answer) {
    let mut request = device.request(cursor, orders);
    request.consumptions = consumptions.to_vec();
    let request = request.sign(&device.key).expect("signs");
    let answer = send_sync(shop.address(), &request);
    (request, answer)
}

fn sync(shop: &Shop, device: &Device, cursor: u64, orders: &[Token], consumptions: &[Token]) -> SyncResponse {
    let (request, answer) = send(shop, device, cursor, orders, consumptions);
    assert_eq!(answer.status, 200, "{}", answer.text());
    device.read(shop.server.public_key(), &request, &answer)
}

/// The receipts of consumptions in an answer.
fn consumed(shop: &Shop, device: &Device, response: &SyncResponse) -> Vec<ConsumptionReceipt> {
    let keys = [shop.server.public_key()];
    let read = response.receipts.iter().filter_map(|token| {
        match FeedReceipt::verify_for(token, &keys, &game(), &device.account()).expect("verifies") {
            FeedReceipt::Consumption(receipt) => Some(receipt),
            FeedReceipt::Order(_) => None,
        }
    });
    read.collect()
}

#[test]
fn what_is_bought_and_used_up_in_one_request_is_answered_in_one() {
    let shop = Shop::open();
    let mut device = shop.device();
    let orders = [device.order("shield", 2)];
    let consumptions = [1, 2, 3].map(|number| signed(&device, &device.consumption(number, "shield", 1)));
    let response = sync(&shop, &device, 0, &orders, &consumptions);
    assert_eq!((response.receipts.len(), response.cursor, response.more), (4, 4, false));
    assert_eq!(response.consumed_sequence, 3);
    let told = consumed(&shop, &device, &response);
    let statuses: Vec<_> = told.iter().map(|receipt| (receipt.feed, receipt.status)).collect();
    use ConsumptionStatus::{Consumed, Refused};
    assert_eq!(statuses, [(2, Consumed), (3, Consumed), (4, Refused)]);
    // The same again changes nothing, and is told by the feed alone.
    let again = sync(&shop, &device, 4, &orders, &consumptions);
    assert_eq!((again.receipts.len(), again.cursor), (1, 4), "the order's receipt, byte for byte");
    let from_the_beginning = sync(&shop, &device, 0, &[], &[]);
    assert_eq!(consumed(&shop, &device, &from_the_beginning), told);
    assert!(shop.server.audit().expect("audits").is_clean());
}

#[test]
fn consumptions_that_are_not_the_devices_own_refuse_the_whole_request() {
    let shop = Shop::open();
    let mut device = shop.device();
    device.sync(&shop, 0, &[device.clone().order("shield", 2)]);
    let good = signed(&device, &device.consumption(1, "shield", 1));
    let stranger = Device { key: SecretKey::from_seed(&[3; 32]), chain: None, joined: None };
    let strangers = signed(&stranger, &stranger.consumption(1, "shield", 1));
    let (_, answer) = send(&shop, &device, 0, &[], &[good.clone(), strangers]);
    let problem = answer.assert_refused("/problems/bad-token", 400);
    assert!(problem.detail.starts_with("consumption 1: "), "{}", problem.detail);
    let elsewhere = Consumption { game: "chess".parse().expect("a name"), ..device.consumption(1, "shield", 1) };
    let (_, answer) = send(&shop, &device, 0, &[], &[signed(&device, &elsewhere)]);
    answer.assert_refused("/problems/wrong-audience", 422);
    let others = Consumption { account: stranger.account(), ..device.consumption(1, "shield", 1) };
    let (_, answer) = send(&shop, &device, 0, &[], &[signed(&device, &others)]);
    answer.assert_refused("/problems/wrong-account", 422);
    let too_many = vec![good.clone(); 257];
    let (_, answer) = send(&shop, &device, 0, &[], &too_many);
    answer.assert_refused("/problems/too-many-consumptions", 422);
    let nothing: u64 = sync(&shop, &device, 0, &[], &[]).consumed_sequence;
    assert_eq!(nothing, 0);
    // An order that does not verify as a consumption, and the other way round.
    let order = device.order("shield", 1);
    let (_, answer) = send(&shop, &device, 0, &[], &[order]);
    answer.assert_refused("/problems/bad-token", 400);
    let (_, answer) = send(&shop, &device, 0, &[good], &[]);
    answer.assert_refused("/problems/bad-token", 400);
}

#[test]
fn id_that_was_used_for_another_consumption_is_refused_and_the_rest_stands() {
    let shop = Shop::open();
    let mut device = shop.device();
    let first = device.consumption(1, "shield", 1);
    let other = Consumption { quantity: 2, ..first.clone() };
    let orders = [device.order("shield", 9)];
    let (_, answer) = send(&shop, &device, 0, &orders, &[signed(&device, &first), signed(&device, &other)]);
    let problem = answer.assert_refused("/problems/consumption-conflict", 422);
    assert!(problem.detail.starts_with("consumption 1: its id was used before"), "{}", problem.detail);
    let response = sync(&shop, &device, 0, &[], &[]);
    assert_eq!((response.receipts.len(), consumed(&shop, &device, &response)[0].quantity), (2, 1));
}

#[test]
fn operator_sees_what_is_used_up_and_which_numbers_came_twice() {
    let shop = Shop::open();
    let mut device = shop.device();
    let orders = [device.order("shield", 5)];
    let consumptions = [1, 3, 3].map(|number| signed(&device, &device.consumption(number, "shield", 2)));
    sync(&shop, &device, 0, &orders, &consumptions);
    sync(&shop, &device, 0, &[], &consumptions[..1]);
    let text = get(shop.address(), "/metrics").text().to_owned();
    for line in [
        "iap_consumptions_total{status=\"consumed\"} 2",
        "iap_consumptions_total{status=\"refused\"} 1",
        "iap_consumptions_total{status=\"replayed\"} 1",
        "iap_consumptions_total{status=\"undecided\"} 0",
        "iap_repeated_consumptions_total 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing: {text}");
    }
    let shown = shop.server.show(&device.account()).expect("is there").consumptions[&device.id()];
    assert_eq!(shown.to_string(), "3 consumptions, 1 with a number that was passed, 1 numbers missing");
    let report = shop.server.audit().expect("audits");
    assert_eq!((report.consumptions, report.differences.len()), (3, 0));
}

#[test]
fn what_is_used_up_reaches_whoever_waits_and_is_not_held_itself() {
    let shop = Shop::open();
    let mut device = shop.device();
    let orders = [device.order("shield", 2)];
    let known = sync(&shop, &device, 0, &orders, &[]);
    let waiting = || SyncRequest {
        wait: Some(Wait { seconds: 30, wallet: known.wallet.clone() }),
        ..device.request(known.cursor, &[])
    };
    let started = Instant::now();
    thread::scope(|scope| {
        let held = scope.spawn(|| {
            let request = waiting().sign(&device.key).expect("signs");
            let answer = send_sync(shop.address(), &request);
            device.read(shop.server.public_key(), &request, &answer)
        });
        thread::sleep(Duration::from_millis(300));
        let consumptions = vec![signed(&device, &device.consumption(1, "shield", 1))];
        let request = SyncRequest { consumptions, ..waiting() }.sign(&device.key).expect("signs");
        let answer = send_sync(shop.address(), &request);
        let response = device.read(shop.server.public_key(), &request, &answer);
        assert_eq!(consumed(&shop, &device, &response).len(), 1);
        let heard = held.join().expect("it ends");
        assert_eq!(consumed(&shop, &device, &heard).len(), 1);
    });
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

/// A shop in which two devices have used things up, of which one order was refunded in part.
fn worn_shop() -> Shop {
    let shop = Shop::open();
    for _ in 0..2 {
        let mut device = shop.device();
        let bought = device.claims("skin", 3);
        let orders = [device.sign(&bought)];
        let consumptions = [1, 2].map(|number| signed(&device, &device.consumption(number, "skin", 4)));
        sync(&shop, &device, 0, &orders, &consumptions);
        let part = bevy_iap::server::ledger::operation::RefundOrder { order: bought.id, quantity: Some(1) };
        let id = bevy_iap::server::ledger::OperationId(crate::support::fresh_id());
        shop.server.operate(bevy_iap::server::ledger::Operation::new(id, part)).expect("refunds");
        let rest = [3, 4].map(|number| signed(&device, &device.consumption(number, "skin", 5 - number)));
        sync(&shop, &device, 0, &[], &rest);
    }
    shop
}

#[test]
fn change_to_what_is_used_up_is_found_by_the_audit() {
    let shop = worn_shop();
    let report = shop.server.audit().expect("audits");
    assert_eq!((report.consumptions, report.is_clean()), (8, true), "{report}");
    for (change, told) in [
        ("UPDATE consumptions SET consumed = 1 - consumed WHERE sequence = 2", "does not say what became of its"),
        ("UPDATE consumptions SET quantity = 1 WHERE sequence = 1", "it is not the one that was signed"),
        ("UPDATE consumptions SET item = 'shield' WHERE sequence = 1", "it is not the one that was signed"),
        ("UPDATE consumptions SET sequence = 9 WHERE sequence = 1", "it is not the one that was signed"),
        ("UPDATE consumptions SET settled_at = 9 WHERE sequence = 1", "does not say what became of its"),
        ("UPDATE consumptions SET feed = 9 WHERE sequence = 1", "no receipt answers it where it says"),
        ("UPDATE consumptions SET account = 'other' WHERE sequence = 1", "and this is other"),
        ("UPDATE consumptions SET token = replace(token, '.', '.A') WHERE sequence = 1", "its digest"),
        (
            "UPDATE consumptions SET token = (SELECT token FROM consumptions WHERE sequence = 2 LIMIT 1) WHERE sequence = 1",
            "its digest",
        ),
        ("DELETE FROM consumptions WHERE sequence = 1", "its consumption is missing"),
        ("DELETE FROM consumptions WHERE sequence = 4", "and says 4 consumptions up to 4"),
        ("UPDATE receipts SET token = replace(token, '.', '.A') WHERE feed = 2", "receipt 2"),
        ("UPDATE receipts SET token = (SELECT token FROM receipts WHERE feed = 3 LIMIT 1) WHERE feed = 2", "receipt 2"),
        ("UPDATE receipts SET order_id = zeroblob(16) WHERE feed = 2", "it is not the one that was signed"),
        ("UPDATE inventories SET counts = replace(counts, '\"used\":6', '\"used\":5')", "what is counted of its items"),
        (
            "UPDATE inventories SET counts = replace(counts, '\"given\":6', '\"given\":7')",
            "what is counted of its items",
        ),
        ("UPDATE inventories SET counts = 'x'", "what is counted of its items"),
        ("UPDATE inventories SET feed = 2", "what is counted of its items"),
        ("UPDATE inventories SET feed = 99", "more is counted of its items than is in its feed"),
        ("UPDATE devices SET consumed_sequence = 9", "and says 9 consumptions up to 9"),
        ("UPDATE devices SET consumed_repeated = 1", "and says 5 consumptions"),
        ("UPDATE devices SET consumed_missing = 1", "and says 3 consumptions"),
    ] {
        let report = audit_after(&shop, change);
        assert!(report.to_string().contains(told), "{change}: {report}");
    }
    // What is counted is only kept so that nobody counts it twice.
    assert!(audit_after(&shop, "DELETE FROM inventories").is_clean());
}

#[test]
fn what_is_counted_is_counted_again_when_it_is_gone() {
    let shop = worn_shop();
    let books = Connection::open(shop.folder.path().join("store.sqlite")).expect("opens");
    let counted = || -> Vec<String> {
        let mut statement =
            books.prepare("SELECT account || feed || counts FROM inventories ORDER BY 1").expect("reads");
        let rows = statement.query_map([], |row| row.get(0)).expect("reads");
        rows.collect::<Result<_, _>>().expect("reads")
    };
    assert_eq!(counted().len(), 2);
    books.execute_batch("DELETE FROM inventories").expect("deletes");
    let mut device = shop.device();
    let orders = [device.order("skin", 1)];
    let consumptions = [signed(&device, &device.consumption(1, "skin", 3))];
    let response = sync(&shop, &device, 0, &orders, &consumptions);
    assert_eq!(consumed(&shop, &device, &response)[0].status, ConsumptionStatus::Consumed);
    assert_eq!(counted().len(), 1);
    assert!(shop.server.audit().expect("audits").is_clean());
}

#[test]
fn consumption_of_a_device_that_was_revoked_or_has_moved_is_refused_for_what_it_is() {
    let shop = Shop::open();
    let (host, mut device) = (shop.device(), shop.device());
    device.sync(&shop, 0, &[device.clone().order("shield", 2)]);
    let late = signed(&device, &device.consumption(1, "shield", 1));
    let guest = device.clone();
    // Another server sees to it, so that this one remembers the device as it was.
    let mut elsewhere = Elsewhere::beside(&shop);
    let code = elsewhere.ask(&host, AccountChange::LinkCode).link_code.expect("is told").code;
    device.joined = Some(elsewhere.ask(&device, AccountChange::JoinByCode(code)).account);
    let (_, answer) = send(&shop, &guest, 0, &[], std::slice::from_ref(&late));
    answer.assert_refused("/problems/wrong-account", 422);
    sync(&shop, &device, 0, &[], &[]);
    elsewhere.ask(&host, AccountChange::RevokeDevice(device.id()));
    let late = signed(&device, &device.consumption(1, "shield", 1));
    for _ in 0..2 {
        let (_, answer) = send(&shop, &device, 0, &[], std::slice::from_ref(&late));
        answer.assert_refused("/problems/device-revoked", 403);
    }
    assert!(shop.server.audit().expect("audits").is_clean());
}

/// Another server with the same books.
struct Elsewhere {
    ledger: SqliteLedger,
    signer: Signer,
}

impl Elsewhere {
    fn beside(shop: &Shop) -> Self {
        let ledger = SqliteLedger::open(&shop.folder.path().join("store.sqlite"), &game()).expect("opens");
        let text = std::fs::read_to_string(shop.folder.path().join("server.key")).expect("reads");
        let seed = Base64UrlUnpadded::decode_vec(text.trim()).expect("base64url").try_into().expect("32 bytes");
        Self { ledger, signer: Signer::new(Arc::new(SecretKey::from_seed(&seed)), game()) }
    }

    fn ask(&mut self, device: &Device, change: AccountChange) -> Membership {
        let wish = AccountWish { device: device.id(), question: Sha256::of(fresh_id()), change };
        let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs().cast_signed();
        self.ledger.manage(&wish, &AccountRules::default(), &mut self.signer, now).expect("it is done")
    }
}

/// A guest has used something up, has joined the second device's account, and used up more there.
fn joined_shop() -> Shop {
    let shop = Shop::open();
    let (mut guest, host) = (shop.device(), shop.device());
    let order = guest.order("shield", 3);
    sync(&shop, &guest, 0, &[order], &[signed(&guest, &guest.consumption(1, "shield", 1))]);
    crate::accounts::join(&shop, &mut guest, &host);
    sync(&shop, &guest, 0, &[], &[signed(&guest, &guest.consumption(2, "shield", 1))]);
    assert!(shop.server.audit().expect("audits").is_clean());
    shop
}

#[test]
fn consumption_of_a_device_that_was_never_one_of_the_account_is_found_by_the_audit() {
    let report = audit_after(&joined_shop(), "DELETE FROM moves; UPDATE devices SET account = id");
    assert!(report.to_string().contains("its device has never belonged to its account"), "{report}");
}

#[test]
fn what_was_used_up_before_a_move_is_what_the_move_says_in_all() {
    let shop = joined_shop();
    for change in ["UPDATE moves SET moved_at = moved_at + 1", "UPDATE moves SET number = 2"] {
        let report = audit_after(&shop, change);
        assert!(report.to_string().contains("were used up before they came here"), "{change}: {report}");
    }
}
