//! Allowances as a device asks for them when it syncs, and as an operator sees them.

use bevy_iap::protocol::sync::SyncResponse;
use bevy_iap::protocol::{
    Allowance, AllowanceId, AllowanceRequest, AllowanceUse, Currency, Micros, Order, Reason, Receipt, Status, Token,
};
use bevy_iap::server::cli;
use bevy_iap::server::ledger::operation::{Hold, ThawDevice};
use bevy_iap::server::ledger::{Operation, OperationId};

use crate::audit::audit_after;
use crate::support::{Device, Shop, game, send_sync};

/// Syncs as a device that wants an allowance in euros.
fn ask(shop: &Shop, device: &Device, current: Option<AllowanceId>, orders: &[Token]) -> SyncResponse {
    let mut request = device.request(0, orders);
    request.allowance = Some(AllowanceRequest { current, currency: Currency::EUR });
    let request = request.sign(&device.key).expect("signs");
    let answer = send_sync(shop.address(), &request);
    assert_eq!(answer.status, 200, "{}", answer.text());
    device.read(shop.server.public_key(), &request, &answer)
}

fn given(shop: &Shop, device: &Device, current: Option<AllowanceId>) -> Option<Allowance> {
    let tokens = ask(shop, device, current, &[]).allowances;
    assert!(tokens.len() <= 1);
    let verify = |token: &Token| {
        Allowance::verify(token, &[shop.server.public_key()], &game(), &device.account(), device.id())
            .expect("verifies")
    };
    tokens.first().map(verify)
}

fn within(device: &Device, product: &str, id: AllowanceId, spent: i64, orders: u64) -> Order {
    let claim = AllowanceUse { id, spent: Micros::new(spent).expect("in range"), orders };
    Order { allowance: Some(claim), ..device.claims(product, 1) }
}

fn told(shop: &Shop, response: &SyncResponse) -> Vec<(Status, Option<Reason>)> {
    let verify = |token| Receipt::verify(token, &[shop.server.public_key()], &game()).expect("verifies");
    response.receipts.iter().map(verify).map(|receipt| (receipt.status, receipt.reason)).collect()
}

/// Runs a command on a shop's folder, and returns what it printed.
fn run(shop: &Shop, arguments: &[&str]) -> String {
    let data = ["--data", shop.folder.path().to_str().expect("UTF-8")];
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let all = ["iap-server"].iter().chain(arguments).chain(&data).copied();
    let code = cli::run(all, &mut out, &mut err);
    assert_eq!(code, cli::SUCCESS, "{}", String::from_utf8_lossy(&err));
    String::from_utf8(out).expect("text")
}

#[test]
fn device_that_asks_is_given_an_allowance_and_one_that_does_not_is_not() {
    let shop = Shop::open();
    let mut device = shop.device();
    assert_eq!(device.sync(&shop, 0, &[]).allowances, []);
    let allowance = given(&shop, &device, None).expect("one euro is there");
    assert_eq!(allowance.total, "0.2EUR".parse().expect("money"));
    let response = ask(&shop, &device, Some(allowance.id), &[]);
    assert_eq!(response.allowances, [], "it has it");
    let balance = response.wallet.first().expect("a wallet");
    assert_eq!((balance.available.value(), balance.held.value()), (800_000, 200_000));
    assert_eq!(device.sync(&shop, 0, &[]).allowances, []);
    // Spent by other means meanwhile.
    let all = Hold { account: device.account(), money: "0.8EUR".parse().expect("money"), expires_at: i64::MAX };
    shop.server.operate(Operation::new(OperationId([1; 16]), all)).expect("sets aside");
    let order = within(&device, "double_jump", allowance.id, 50_000, 1);
    let order = device.sign(&order);
    let response = ask(&shop, &device, Some(allowance.id), &[order]);
    assert_eq!(told(&shop, &response), [(Status::Granted, None)]);
    let plain = device.order("shield", 1);
    let response = ask(&shop, &device, Some(allowance.id), &[plain]);
    let declined = (Status::Declined, Some(Reason::InsufficientFunds));
    assert_eq!(told(&shop, &response), [declined, (Status::Granted, None)], "what was sent, and then the feed");
}

#[test]
fn what_a_device_may_spend_is_renewed_with_the_answer_to_what_it_spent() {
    let shop = Shop::open();
    let mut device = shop.device();
    let first = given(&shop, &device, None).expect("is given");
    let spend = |device: &mut Device, spent, orders| {
        let order = within(device, "skin", first.id, spent, orders);
        device.sign(&order)
    };
    let orders = [spend(&mut device, 70_000, 1), spend(&mut device, 140_000, 2)];
    let response = ask(&shop, &device, Some(first.id), &orders);
    assert_eq!(told(&shop, &response), [(Status::Granted, None); 2]);
    assert_eq!(response.allowances.len(), 1);
    let second = given(&shop, &device, Some(first.id)).expect("it is told until it is taken");
    assert_ne!(second.id, first.id);
    // A fifth of 0.80 and 0.06.
    assert_eq!(second.total.micros.value(), 172_000);
    assert_eq!(given(&shop, &device, Some(second.id)), None);
    assert_eq!(device.euros(&shop), 860_000 - 172_000);
}

#[test]
fn operator_sees_what_devices_may_spend_and_thaws_the_one_that_was_copied() {
    let shop = Shop::open();
    let mut device = shop.device();
    let account = device.account().to_string();
    let allowance = given(&shop, &device, None).expect("is given");
    let shown = run(&shop, &["show", &account]);
    assert!(shown.contains("may spend 0.20 EUR of 0.20 EUR offline, in 100 orders, before "), "{shown}");
    let mut clone = device.clone();
    let one = within(&device, "shield", allowance.id, 5_000, 1);
    let one = device.sign(&one);
    let other = within(&clone, "skin", allowance.id, 70_000, 1);
    let other = clone.sign(&other);
    assert_eq!(told(&shop, &ask(&shop, &device, Some(allowance.id), &[one])), [(Status::Granted, None)]);
    let response = ask(&shop, &clone, Some(allowance.id), &[other]);
    assert_eq!(told(&shop, &response)[0], (Status::Declined, Some(Reason::ChainBroken)));
    assert_eq!(response.allowances, []);
    let shown = run(&shop, &["show", &account]);
    assert!(shown.contains("1 orders in its chain, frozen") && !shown.contains("may spend"), "{shown}");
    let thawed = run(&shop, &["device", "thaw", &device.id().to_string()]);
    assert!(thawed.starts_with("thawed the device "), "{thawed}");
    assert!(given(&shop, &device, None).is_some());
    let frozen = run(&shop, &["device", "freeze", &device.id().to_string()]);
    assert!(frozen.starts_with("froze the device "), "{frozen}");
    assert_eq!(given(&shop, &device, None), None);
    assert!(run(&shop, &["audit"]).contains("no differences"));
}

#[test]
fn audit_finds_whatever_was_done_to_allowances() {
    let shop = Shop::open();
    let (mut device, mut copied) = (shop.device(), shop.device());
    let allowance = given(&shop, &device, None).expect("is given");
    let order = within(&device, "skin", allowance.id, 70_000, 1);
    let order = device.sign(&order);
    ask(&shop, &device, Some(allowance.id), &[order]);
    let stolen = given(&shop, &copied, None).expect("is given");
    let mut clone = copied.clone();
    for (device, product) in [(&mut copied, "shield"), (&mut clone, "skin")] {
        let order = within(device, product, stolen.id, 70_000, 1);
        let order = device.sign(&order);
        ask(&shop, device, Some(stolen.id), &[order]);
    }
    for (change, told) in [
        ("UPDATE allowances SET spent = spent + 1", "and they say that"),
        ("UPDATE allowances SET orders = orders + 1", "and they say that"),
        ("UPDATE allowances SET per_order = per_order + 1", "it is not the one that was signed"),
        ("UPDATE allowances SET expires_at = expires_at + 1", "it is not the one that was signed"),
        ("UPDATE allowances SET catalog = zeroblob(32)", "it is not the one that was signed"),
        ("UPDATE allowances SET issued_at = issued_at + 1", "it is not the one that was signed"),
        ("UPDATE allowances SET token = token || 'A'", "allowance "),
        ("UPDATE allowances SET device = 'me'", "its account or its device is none"),
        ("UPDATE holds SET amount = amount + 1", "its transfers add up to"),
        ("UPDATE holds SET posted = posted + 1", "its transfers take"),
        ("UPDATE holds SET status = 'posted', resolved_at = 5", "that is not how it was resolved"),
        ("UPDATE holds SET expires_at = expires_at + 1", "it is not the one that was signed"),
        ("DELETE FROM allowances", "without an operation or an allowance"),
        ("DELETE FROM allowances", "no operation accounts for this hold"),
        ("DELETE FROM holds", "the hold behind it is missing"),
        ("UPDATE transfers SET hold_id = NULL WHERE kind = 'purchase'", "its transfers take 0"),
        ("UPDATE transfers SET created_at = created_at + 1 WHERE kind = 'hold'", "written at another time"),
        ("UPDATE transfers SET order_id = zeroblob(16) WHERE kind = 'purchase'", "which it does not name"),
        ("UPDATE devices SET frozen_at = 5", "it is frozen, and nothing says why"),
        ("DELETE FROM forks", "it is frozen, and nothing says why"),
        ("UPDATE forks SET first = second", "do not show it"),
        ("UPDATE forks SET sequence = 2", "do not show it"),
        ("UPDATE forks SET device = 'me'", "do not show it"),
    ] {
        let report = audit_after(&shop, change).to_string();
        assert!(report.contains(told), "{told} is not in {report} after {change}");
    }
    let device = copied.id();
    shop.server.operate(Operation::new(OperationId([7; 16]), ThawDevice { device })).expect("thaws");
    let change = "UPDATE operations SET sha256 = zeroblob(32)";
    assert!(audit_after(&shop, change).to_string().contains("not what it was asked to do"));
}
