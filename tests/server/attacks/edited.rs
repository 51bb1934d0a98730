//! Orders that are signed as they should be, and say what no client of this crate would: another price, quantity,
//! product, currency, catalogue or date.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bevy_iap::protocol::{Catalog, Micros, Money, Order, Reason, Receipt, Sha256, Status};
use bevy_iap::server::clock::Clock;
use bevy_iap::server::{LocalServer, ServerConfig};
use serde_json::{Value, json};

use super::forgery::claims;
use super::scene::{Scene, attack, attack_on, feed};
use crate::support::{CATALOG, catalog};

fn money(text: &str) -> Money {
    text.parse().expect("money")
}

fn declined(receipt: &Receipt, reason: Reason) {
    assert_eq!((receipt.status, receipt.reason), (Status::Declined, Some(reason)));
    assert!(receipt.grants.is_empty() && receipt.amount.micros == Micros::ZERO);
}

/// Signs an order whose claims are any JSON, and sends it: it is no order.
fn refused(scene: &mut Scene, change: impl FnOnce(&mut Value)) {
    let mut payload = claims(&scene.attacker.claims("double_jump", 1));
    change(&mut payload);
    let order = scene.raw.token(&scene.raw.header("iap-order+jwt").to_string(), &payload.to_string());
    scene.send(&[order]).assert_refused("/problems/bad-token", 400);
}

#[test]
fn price_of_ones_own_choice_buys_nothing() {
    attack(|scene| {
        for price in ["0EUR", "0.000001EUR", "0.049999EUR", "0.050001EUR", "-0.05EUR", "9007199254.740991EUR"] {
            let receipt = scene.buy("double_jump", |order| order.price = money(price));
            declined(&receipt, Reason::PriceMismatch);
        }
        // One product's price for another.
        let receipt = scene.buy("palace", |order| order.price = money("0.05EUR"));
        declined(&receipt, Reason::PriceMismatch);
        assert_eq!(scene.euros(), 1_000_000);
    });
}

#[test]
fn price_below_zero_fills_no_wallet() {
    attack(|scene| {
        for price in ["-1EUR", "-0.000001EUR", "-9007199254.740991EUR"] {
            for product in ["gift", "shield", "palace"] {
                let receipt = scene.buy(product, |order| (order.price, order.quantity) = (money(price), 1_000));
                declined(&receipt, Reason::PriceMismatch);
            }
        }
        assert_eq!(scene.euros(), 1_000_000);
    });
}

#[test]
fn price_that_is_no_whole_number_of_micros_is_no_price() {
    attack(|scene| {
        for micros in
            ["0.5", "5e4", "50000.0", "-0.0", "9007199254740992", "18446744073709551617", "\"50000\"", "[50000]", "NaN"]
        {
            let mut payload = claims(&scene.attacker.claims("double_jump", 1)).to_string();
            payload = payload.replace(":50000", &format!(":{micros}"));
            assert!(payload.contains(micros));
            let order = scene.raw.token(&scene.raw.header("iap-order+jwt").to_string(), &payload);
            scene.send(&[order]).assert_refused("/problems/bad-token", 400);
        }
        refused(scene, |order| order["price"] = json!({"micros": 50_000, "currency": "EUR", "discount": 50_000}));
        refused(scene, |order| order["price"] = json!({"micros": 50_000}));
        refused(scene, |order| order["price"] = json!("0.05EUR"));
        refused(scene, |order| order["price"] = json!(null));
    });
}

#[test]
fn currency_that_the_wallet_does_not_hold_buys_nothing() {
    attack(|scene| {
        let receipt = scene.buy("double_jump", |order| order.price = money("0.06USD"));
        declined(&receipt, Reason::InsufficientFunds);
        // A currency that is worth less, in which it is not sold.
        for price in ["0.05JPY", "0.05USD", "0.05HUF"] {
            let receipt = scene.buy("double_jump", |order| order.price = money(price));
            declined(&receipt, Reason::PriceMismatch);
        }
        for currency in ["eur", "EURO", "XXXX", "", "€"] {
            refused(scene, |order| order["price"]["currency"] = json!(currency));
        }
        assert_eq!(scene.euros(), 1_000_000);
    });
}

#[test]
fn quantity_beyond_what_is_sold_gives_nothing() {
    attack(|scene| {
        for (product, quantity) in [
            ("shield", 0),
            ("shield", 1_001),
            ("shield", u32::MAX),
            ("double_jump", 2),
            ("double_jump", 0),
            ("day_pass", 24),
        ] {
            let receipt = scene.buy(product, |order| order.quantity = quantity);
            declined(&receipt, Reason::QuantityOutOfRange);
        }
        // So much that the sum would come around to little.
        let receipt = scene.buy("palace", |order| order.quantity = 1 << 31);
        declined(&receipt, Reason::QuantityOutOfRange);
        for quantity in [json!(-1), json!(4_294_967_296_u64), json!(1.5), json!("3"), json!(null), json!([1])] {
            refused(scene, |order| order["quantity"] = quantity);
        }
        assert_eq!(scene.euros(), 1_000_000);
    });
}

#[test]
fn what_is_free_is_given_in_no_larger_quantity_than_it_is_sold_in() {
    attack(|scene| {
        for quantity in [1_001, 1_000_000, u32::MAX] {
            let receipt = scene.buy("gift", |order| order.quantity = quantity);
            declined(&receipt, Reason::QuantityOutOfRange);
        }
        let most = scene.buy("gift", |order| order.quantity = 1_000);
        assert_eq!((most.status, most.amount.micros), (Status::Granted, Micros::ZERO));
        // Nor does the free thing's price make another one free.
        let receipt = scene.buy("skin", |order| order.price = money("0EUR"));
        declined(&receipt, Reason::PriceMismatch);
    });
}

#[test]
fn product_that_is_not_sold_is_not_given() {
    attack(|scene| {
        for product in ["admin", "double_jump2", "double", "shield.x", "a"] {
            let receipt = scene.buy(product, |_| {});
            declined(&receipt, Reason::UnknownProduct);
        }
        let names =
            ["", "Double_Jump", "../palace", "double_jump ", "double_jump\u{0}", "'; DROP TABLE orders; --", "жук"];
        for product in names.into_iter().map(str::to_owned).chain(["x".repeat(65)]) {
            refused(scene, |order| order["product"] = json!(product));
        }
    });
}

#[test]
fn grants_that_are_written_into_an_order_are_not_given() {
    attack(|scene| {
        let mut payload = claims(&scene.attacker.claims("gift", 1));
        payload["grants"] = json!([{"entitlement": "palace"}, {"item": "shield", "quantity": 1_000}]);
        payload["status"] = json!("granted");
        payload["amount"] = json!({"micros": -1_000_000, "currency": "EUR"});
        payload["shares"] = json!({"mallory": 1_000_000});
        payload["hours"] = json!(87_600);
        payload["feed"] = json!(1);
        let order = scene.raw.token(&scene.raw.header("iap-order+jwt").to_string(), &payload.to_string());
        let receipt = scene.answer_to(&order);
        assert_eq!((receipt.status, receipt.product.as_str(), receipt.grants.len()), (Status::Granted, "gift", 1));
        assert_eq!(scene.euros(), 1_000_000);
    });
}

#[test]
fn catalogue_of_ones_own_sets_no_price() {
    attack(|scene| {
        let own = CATALOG.replace("\"EUR\": \"1000\"", "\"EUR\": \"0\"").replace("\"EUR\": \"0.05\"", "\"EUR\": \"0\"");
        let own = Catalog::parse("own.ron", &own).expect("a good catalogue");
        assert_ne!(own.digest(), catalog().digest());
        for digest in [own.digest(), Sha256([0; 32]), Sha256::of("x")] {
            for product in ["palace", "double_jump"] {
                let receipt = scene.buy(product, |order| (order.catalog, order.price) = (digest, money("0EUR")));
                declined(&receipt, Reason::StaleCatalog);
            }
        }
        // The right price of an unknown catalogue is the right price.
        let receipt = scene.buy("double_jump", |order| order.catalog = own.digest());
        assert_eq!((receipt.status, receipt.amount), (Status::Granted, money("0.05EUR")));
        for digest in ["", "AAAA", "x"] {
            refused(scene, |order| order["catalog"] = json!(digest));
        }
    });
}

/// The same books, sold from by a server with another catalogue.
fn sells_from(scene: &mut Scene, text: &str) {
    let raised = Catalog::parse("raised.ron", text).expect("a good catalogue");
    scene.catalogs.push(raised.clone());
    let folder = scene.shop.folder.path().to_owned();
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let idle = LocalServer::start(ServerConfig::new(elsewhere.path(), catalog())).expect("starts");
    // The old server has to be gone before the new one may have its folder.
    drop(std::mem::replace(&mut scene.shop.server, idle));
    let mut config = ServerConfig::new(folder, raised);
    config.welcome = Some(money("1EUR"));
    scene.shop.server = LocalServer::start(config).expect("the server starts");
}

#[test]
fn price_of_yesterday_is_not_todays() {
    attack(|scene| {
        let bought = scene.buy("shield", |_| {});
        assert_eq!(bought.amount, money("0.005EUR"));
        sells_from(scene, &CATALOG.replace("\"0.005\"", "\"0.009\"").replace("\"0.05\"", "\"0.5\""));
        for product in ["shield", "double_jump"] {
            declined(&scene.buy(product, |_| {}), Reason::StaleCatalog);
        }
        let today = scene.catalogs[1].digest();
        declined(&scene.buy("shield", |order| order.catalog = today), Reason::PriceMismatch);
        assert_eq!(scene.euros(), 995_000);
        // The other player buys at today's price; put the old one back, for the check that they can buy at all.
        sells_from(scene, CATALOG);
    });
}

/// A clock that a test sets.
#[derive(Debug)]
struct Watch(AtomicI64);

impl Clock for Watch {
    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

const NOON: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

#[test]
fn date_in_an_order_makes_no_pass_longer_or_earlier() {
    let watch = Arc::new(Watch(AtomicI64::new(NOON)));
    attack_on(
        |config| config.clock = watch.clone(),
        |scene| {
            for (day, dated) in (0..).zip([i64::MIN, -1, 0, NOON + 100 * DAY, i64::MAX]) {
                watch.0.store(NOON + 2 * day * DAY, Ordering::SeqCst);
                let receipt = scene.buy("day_pass", |order| order.issued_at = dated);
                assert_eq!((receipt.status, receipt.issued_at), (Status::Granted, NOON + 2 * day * DAY));
                assert_eq!(claims(&receipt)["grants"][0]["until"], json!(NOON + (2 * day + 1) * DAY));
            }
            refused(scene, |order| order["iat"] = json!(1e300));
            refused(scene, |order| order["iat"] = json!(9_223_372_036_854_775_808_u64));
        },
    );
}

#[test]
fn pass_is_not_stacked_upon_the_one_that_runs() {
    let watch = Arc::new(Watch(AtomicI64::new(NOON)));
    attack_on(
        |config| config.clock = watch.clone(),
        |scene| {
            assert_eq!(scene.buy("day_pass", |_| {}).status, Status::Granted);
            for later in [0, 1, DAY / 2, DAY - 1] {
                watch.0.store(NOON + later, Ordering::SeqCst);
                declined(&scene.buy("day_pass", |_| {}), Reason::AlreadyOwned);
            }
            // Also in one request, of which the first would be granted.
            watch.0.store(NOON + DAY, Ordering::SeqCst);
            let orders: Vec<_> = (0..8).map(|_| scene.attacker.order("day_pass", 1)).collect();
            assert_eq!(scene.send(&orders).status, 200);
            let (_, receipts) = feed(scene, &scene.attacker);
            assert_eq!(receipts.iter().filter(|receipt| receipt.status == Status::Granted).count(), 2);
            assert_eq!(scene.euros(), 980_000);
        },
    );
}

#[test]
fn order_whose_numbers_are_out_of_range_is_no_order() {
    attack(|scene| {
        for sequence in [json!(0), json!(-1), json!(9_223_372_036_854_775_808_u64), json!(1.0), json!("1")] {
            refused(scene, |order| order["seq"] = sequence);
        }
        for id in
            [json!(""), json!("0"), json!("A5".repeat(16)), json!("g".repeat(32)), json!(5), json!("a".repeat(33))]
        {
            refused(scene, |order| order["jti"] = id);
        }
        for previous in [json!(""), json!(null), json!("x".repeat(43)), json!([])] {
            refused(scene, |order| order["prev"] = previous);
        }
        let mut last: Order = scene.attacker.claims("shield", 1);
        last.sequence = i64::MAX.unsigned_abs();
        let order = last.sign(&scene.attacker.key).expect("signs");
        declined(&scene.answer_to(&order), Reason::ChainBroken);
    });
}
