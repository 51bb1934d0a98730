//! What a thief sends, and what the books look like afterwards: as before.

use bevy_iap::protocol::{Order, Status, Token};

use crate::support::{Device, Shop, send_sync};

/// An order of `thief`, changed by `forge`, signed with the thief's key.
fn forged(thief: &Device, forge: impl FnOnce(&mut Order)) -> Token {
    let mut claims = thief.claims("double_jump", 1);
    forge(&mut claims);
    claims.sign(&thief.key).expect("signs")
}

#[test]
fn pp10_forged_purchases_are_refused_and_charge_and_give_nobody_anything() {
    let shop = Shop::open();
    let (mut victim, thief) = (shop.device(), shop.device());
    let bought = victim.order("shield", 1);
    victim.sync(&shop, 0, std::slice::from_ref(&bought));
    let mut parts: Vec<&str> = bought.as_str().split('.').collect();
    let other = forged(&victim, |order| order.quantity = 1_000);
    parts[1] = other.as_str().split('.').nth(1).expect("a payload");
    for (what, order) in [
        ("for the victim's account", forged(&thief, |order| order.account = victim.account())),
        ("in the victim's name", forged(&thief, |order| order.device = victim.id())),
        ("wholly the victim's", forged(&thief, |order| *order = victim.claims("double_jump", 1))),
        ("for another game", forged(&thief, |order| order.game = "chess".parse().expect("a name"))),
        ("the victim's own, once more", bought.clone()),
        ("the victim's signature on other claims", Token::from_text(&parts.join("."))),
        ("no order at all", Token::from_text("e30.e30.e30")),
    ] {
        let request = thief.request(0, &[order]).sign(&thief.key).expect("signs");
        let answer = send_sync(shop.address(), &request);
        assert!((400..500).contains(&answer.status), "{what}: {}", answer.status);
        assert!(answer.text().contains("order 0: "), "{what}: {}", answer.text());
    }
    assert_eq!((victim.euros(&shop), thief.euros(&shop)), (995_000, 1_000_000));
    assert_eq!((victim.receipts(&shop, 0, &[]).len(), thief.receipts(&shop, 0, &[]).len()), (1, 0));
    assert!(shop.server.audit().expect("audits").is_clean());
}

#[test]
fn pp10_order_that_is_forged_in_its_price_or_product_is_declined() {
    let shop = Shop::open();
    let mut thief = shop.device();
    let cheap = |order: &mut Order| order.price = "0.000001EUR".parse().expect("money");
    let unknown = |order: &mut Order| order.product = "admin".parse().expect("a name");
    for forge in [&cheap as &dyn Fn(&mut Order), &unknown] {
        let mut claims = thief.claims("double_jump", 1);
        forge(&mut claims);
        let order = thief.sign(&claims);
        let receipt = thief.receipts(&shop, u64::MAX - 1, &[order]).remove(0);
        assert_eq!((receipt.status, receipt.grants.len(), receipt.order), (Status::Declined, 0, claims.id));
    }
    assert_eq!(thief.euros(&shop), 1_000_000);
}

#[test]
fn pp08_feed_of_one_account_never_holds_what_another_bought() {
    let shop = Shop::open();
    let (mut first, second) = (shop.device(), shop.device());
    let order = first.order("double_jump", 1);
    let receipt = first.receipts(&shop, 0, &[order]).remove(0);
    assert_eq!(receipt.account, first.account());
    // A restore on another device reads its own feed, from whatever place.
    for cursor in [0, 1, u64::MAX] {
        assert_eq!(second.receipts(&shop, cursor, &[]), []);
    }
    // Nor can it ask for the other feed, by account or in the other's name.
    let mut request = second.request(0, &[]);
    request.account = first.account();
    send_sync(shop.address(), &request.sign(&second.key).expect("signs"))
        .assert_refused("/problems/wrong-account", 422);
    let request = first.request(0, &[]).sign(&second.key).expect("signs");
    assert_eq!(send_sync(shop.address(), &request).status, 400);
    // The same order id on another account is another order's.
    let mut claims = second.claims("double_jump", 1);
    claims.id = receipt.order;
    let request = second.request(0, &[claims.sign(&second.key).expect("signs")]).sign(&second.key).expect("signs");
    send_sync(shop.address(), &request).assert_refused("/problems/order-conflict", 422);
    assert_eq!(second.euros(&shop), 1_000_000);
    assert!(shop.server.audit().expect("audits").is_clean());
}
