//! The operator: credits, refunds, and the paths that need a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bevy_iap::protocol::{Micros, OrderId, Reason, Receipt, Status};
use bevy_iap::server::OperationError;
use bevy_iap::server::clock::Clock;
use bevy_iap::server::ledger::operation::Hold;
use bevy_iap::server::ledger::{Ledger as _, Operation, OperationId, Refused, SqliteLedger};

use crate::support::{Answer, Device, Shop, game, get, post, send};

const TOKEN: &str = "a long and secret token";

fn open() -> Shop {
    Shop::with(|config| config.admin_token = Some(TOKEN.to_owned()))
}

fn admin(shop: &Shop, path: &str, token: &str, body: &str) -> Answer {
    let headers = [("content-type", "application/json"), ("authorization", &*format!("Bearer {token}"))];
    send(shop.address(), "POST", path, &headers, body.as_bytes())
}

fn credit_body(device: &Device, id: char, micros: i64) -> String {
    let (id, account) = (id.to_string().repeat(32), device.account());
    format!(r#"{{"id":"{id}","account":"{account}","money":{{"micros":{micros},"currency":"EUR"}}}}"#)
}

#[test]
fn credit_is_made_once_per_id() {
    let shop = open();
    let device = shop.device();
    for _ in 0..3 {
        let answer = admin(&shop, "/v1/admin/credit", TOKEN, &credit_body(&device, 'a', 5_000));
        assert_eq!(answer.text(), r#"{"available":1005000,"currency":"EUR","held":0}"#);
    }
    let other = admin(&shop, "/v1/admin/credit", TOKEN, &credit_body(&device, 'a', 6_000));
    other.assert_refused("/problems/conflict", 409);
    admin(&shop, "/v1/admin/credit", TOKEN, &credit_body(&device, 'b', 1));
    assert_eq!(device.euros(&shop), 1_005_001);
    assert!(shop.server.audit().expect("audits").is_clean());
}

#[test]
fn credit_that_makes_no_sense_is_refused() {
    let shop = open();
    let (device, stranger) = (shop.device(), Device::new());
    let credit = |body: &str| admin(&shop, "/v1/admin/credit", TOKEN, body);
    credit(&credit_body(&device, 'a', 0)).assert_refused("/problems/malformed-body", 400);
    credit(&credit_body(&device, 'b', -5)).assert_refused("/problems/malformed-body", 400);
    credit(&credit_body(&stranger, 'c', 5)).assert_refused("/problems/not-found", 404);
    credit(&credit_body(&device, 'd', (1 << 53) - 1)).assert_refused("/problems/conflict", 409);
    credit("{}").assert_refused("/problems/malformed-body", 400);
    let error = shop.server.credit(&stranger.account(), "1EUR".parse().expect("money"));
    assert!(matches!(error, Err(OperationError::Refused(Refused::UnknownAccount(_)))), "{error:?}");
    assert_eq!(device.euros(&shop), 1_000_000);
}

#[test]
fn administrators_paths_need_the_token_and_are_closed_without_one() {
    let shop = open();
    let device = shop.device();
    let body = credit_body(&device, 'a', 5);
    for token in ["", "another", "a long and secret toke", "A LONG AND SECRET TOKEN"] {
        let answer = admin(&shop, "/v1/admin/credit", token, &body);
        answer.assert_refused("/problems/unauthorized", 401);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    post(shop.address(), "/v1/admin/refund", "application/json", b"{}").assert_refused("/problems/unauthorized", 401);
    for closed in [Shop::open(), Shop::with(|config| config.admin_token = Some(String::new()))] {
        admin(&closed, "/v1/admin/credit", "", &body).assert_refused("/problems/not-found", 404);
    }
    assert_eq!(device.euros(&shop), 1_000_000);
    assert!(!format!("{:?}", shop.server).contains(TOKEN));
    get(shop.address(), "/v1/admin/credit").assert_refused("/problems/method-not-allowed", 405);
}

#[test]
fn refund_gives_the_money_back_once_and_tells_the_feed() {
    let shop = open();
    let mut device = shop.device();
    let claims = device.claims("double_jump", 1);
    let order = device.sign(&claims);
    let bought = device.receipts(&shop, 0, std::slice::from_ref(&order));
    let refund = || admin(&shop, "/v1/admin/refund", TOKEN, &format!(r#"{{"order":"{}"}}"#, claims.id));
    let told: Receipt = serde_json::from_slice(&refund().body).expect("a receipt");
    refund().assert_refused("/problems/conflict", 409);
    assert_eq!(device.receipts(&shop, 1, &[]), std::slice::from_ref(&told));
    assert_eq!((told.status, told.reason, told.feed), (Status::Refunded, Some(Reason::Operator), 2));
    assert_eq!((told.amount, &told.grants), (bought[0].amount, &bought[0].grants));
    assert_eq!(device.euros(&shop), 1_000_000);
    // The order's answer stays what it was, and the unlock can be bought again.
    assert_eq!(device.receipts(&shop, 2, &[order]), bought);
    let again = device.order("double_jump", 1);
    assert_eq!(device.receipts(&shop, 2, &[again])[0].status, Status::Granted);
    assert!(shop.server.audit().expect("audits").is_clean());
}

#[test]
fn order_that_was_not_granted_is_not_refunded() {
    let shop = Shop::open();
    let mut device = shop.device();
    let claims = device.claims("palace", 1);
    let order = device.sign(&claims);
    device.sync(&shop, 0, &[order]);
    let error = shop.server.refund(claims.id);
    assert!(matches!(error, Err(OperationError::Refused(Refused::NotGranted(_)))), "{error:?}");
    let error = shop.server.refund(OrderId([9; 16]));
    assert!(matches!(error, Err(OperationError::Refused(Refused::UnknownOrder(_)))), "{error:?}");
}

/// The balance in an answer: available and held, in micros.
fn balance(answer: &Answer) -> (i64, i64) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let balance: bevy_iap::protocol::sync::Balance = serde_json::from_slice(&answer.body).expect("a balance");
    (balance.available.value(), balance.held.value())
}

#[test]
fn holds_are_made_taken_and_given_free_over_http_once_per_id() {
    let shop = open();
    let device = shop.device();
    let id = |digit: char| digit.to_string().repeat(32);
    let hold = |digit: char| {
        let (id, account) = (id(digit), device.account());
        let money = r#"{"micros":400000,"currency":"EUR"}"#;
        let body = format!(r#"{{"id":"{id}","account":"{account}","money":{money},"expires_at":9999999999}}"#);
        admin(&shop, "/v1/admin/hold", TOKEN, &body)
    };
    assert_eq!(balance(&hold('1')), (600_000, 400_000));
    assert_eq!(balance(&hold('1')), (600_000, 400_000));
    assert_eq!(balance(&hold('2')), (200_000, 800_000));
    let post = format!(r#"{{"id":"{}","hold":"{}","amount":100000}}"#, id('3'), id('1'));
    assert_eq!(balance(&admin(&shop, "/v1/admin/post", TOKEN, &post)), (500_000, 400_000));
    let void = |digit| format!(r#"{{"id":"{}","hold":"{}"}}"#, id(digit), id('2'));
    assert_eq!(balance(&admin(&shop, "/v1/admin/void", TOKEN, &void('4'))), (900_000, 0));
    admin(&shop, "/v1/admin/void", TOKEN, &void('5')).assert_refused("/problems/conflict", 409);
    let unknown = format!(r#"{{"id":"{}","hold":"{}"}}"#, id('6'), id('9'));
    admin(&shop, "/v1/admin/post", TOKEN, &unknown).assert_refused("/problems/not-found", 404);
    assert!(shop.server.audit().expect("audits").is_clean());
}

/// A clock that a test sets.
#[derive(Debug, Default)]
struct Watch(AtomicI64);

impl Clock for Watch {
    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[test]
fn hold_ends_by_itself_on_a_server_of_which_nobody_asks_anything() {
    let watch = Arc::new(Watch::default());
    let shop = Shop::with(|config| config.clock = watch.clone());
    let account = shop.device().account();
    let hold = Hold { account: account.clone(), money: "0.4EUR".parse().expect("money"), expires_at: 100 };
    shop.server.operate(Operation::new(OperationId([1; 16]), hold)).expect("is set aside");
    watch.0.store(100, Ordering::SeqCst);
    let mut books = SqliteLedger::open(&shop.folder.path().join("store.sqlite"), &game()).expect("opens");
    let mut held = || books.show(&account).expect("reads").expect("is there").wallet[0].held;
    let end = Instant::now() + Duration::from_secs(20);
    while held() != Micros::ZERO {
        assert!(Instant::now() < end, "it is still set aside");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn parts_credits_and_payouts_go_over_http() {
    let shop = open();
    let mut device = shop.device();
    let id = |digit: char| digit.to_string().repeat(32);
    let claims = device.claims("skin", 4);
    let order = device.sign(&claims);
    device.sync(&shop, 0, &[order]);
    let part =
        |id: &str| admin(&shop, "/v1/admin/refund", TOKEN, &format!(r#"{{{id}"order":"{}","quantity":1}}"#, claims.id));
    part("").assert_refused("/problems/malformed-body", 400);
    for _ in 0..2 {
        let told: Receipt = serde_json::from_slice(&part(&format!(r#""id":"{}","#, id('1'))).body).expect("a receipt");
        assert_eq!((told.status, told.reason, told.quantity), (Status::Granted, Some(Reason::RefundedInPart), 3));
    }
    let payout = |digit: char, micros: i64| {
        let money = format!(r#"{{"micros":{micros},"currency":"EUR"}}"#);
        let body = format!(r#"{{"id":"{}","creator":"ann","money":{money},"source":"bank"}}"#, id(digit));
        admin(&shop, "/v1/admin/payout", TOKEN, &body)
    };
    payout('2', 147_001).assert_refused("/problems/conflict", 409);
    payout('2', 147_000).assert_refused("/problems/conflict", 409);
    assert_eq!(payout('3', 147_000).text(), r#"{"payable":{"currency":"EUR","micros":0}}"#);

    let (account, credit) = (device.account(), id('4'));
    let money = r#"{"micros":2000000,"currency":"EUR"}"#;
    let body = format!(r#"{{"id":"{credit}","account":"{account}","money":{money},"source":"card","fee":90000}}"#);
    assert_eq!(balance(&admin(&shop, "/v1/admin/credit", TOKEN, &body)), (2_790_000, 0));
    let back = |digit: char, rest: &str| {
        let body = format!(r#"{{"id":"{}","credit":"{credit}"{rest}}}"#, id(digit));
        admin(&shop, "/v1/admin/refund-credit", TOKEN, &body)
    };
    back('5', r#","amount":2000001"#).assert_refused("/problems/conflict", 409);
    assert_eq!(balance(&back('6', r#","forced":true"#)), (790_000, 0));
    assert!(shop.server.audit().expect("audits").is_clean());
}
