//! What a player asks about their account, over HTTP: signed both ways, counted, and answered alike again.

mod operator;
mod overheard;
mod questions;
mod sign_in;

use bevy_iap::protocol::account::{AccountAsk, AccountRequest, AccountResponse, DeviceName, LinkCode};
use bevy_iap::protocol::sync::Enrolment;
use bevy_iap::protocol::{KeyId, PublicKey, ReceiptId, Token};
use bevy_iap::server::{AccountRules, Rate};

use crate::support::{Answer, Device, Shop, fresh_id, game, get, post, send_sync};

fn signed(device: &Device, ask: AccountAsk) -> Token {
    let request = AccountRequest {
        device: device.id(),
        account: device.account(),
        game: game(),
        issued_at: 0,
        id: ReceiptId(fresh_id()),
        ask,
    };
    request.sign(&device.key).expect("signs")
}

fn send(shop: &Shop, request: &Token) -> Answer {
    post(shop.address(), "/v1/account", "application/jose", request.as_str().as_bytes())
}

fn ask(shop: &Shop, device: &Device, what: AccountAsk) -> Answer {
    send(shop, &signed(device, what))
}

/// Reads an answer as a client does.
fn read(answer: &Answer, server: PublicKey, device: KeyId, request: &Token) -> AccountResponse {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/jose"));
    let token = Token::from_text(answer.text());
    AccountResponse::verify(&token, &[server], device, &game(), request).expect("the answer verifies")
}

fn told(shop: &Shop, device: &Device, what: AccountAsk) -> AccountResponse {
    let request = signed(device, what);
    read(&send(shop, &request), shop.server.public_key(), device.id(), &request)
}

fn code(shop: &Shop, device: &Device) -> LinkCode {
    told(shop, device, AccountAsk::LinkCode).link_code.expect("is told").code
}

pub fn join(shop: &Shop, device: &mut Device, host: &Device) {
    let code = code(shop, host);
    device.joined = Some(told(shop, device, AccountAsk::JoinByCode { code }).account);
}

#[test]
fn second_device_joins_by_a_code_and_hears_everything() {
    let shop = Shop::open();
    let (mut host, mut second) = (shop.device(), shop.device());
    let order = host.order("double_jump", 1);
    host.sync(&shop, 0, &[order]);
    let order = second.order("shield", 2);
    second.sync(&shop, 0, &[order]);
    let name = DeviceName::new("the phone").expect("a name");
    told(&shop, &host, AccountAsk::NameDevice { device: host.id(), name: Some(name.clone()) });
    join(&shop, &mut second, &host);
    let shown = told(&shop, &second, AccountAsk::Show);
    assert_eq!((shown.account.clone(), shown.device, shown.signed_in), (host.account(), second.id(), false));
    let listed: Vec<_> = shown.devices.iter().map(|entry| (entry.id, entry.name.clone())).collect();
    assert_eq!(listed, [(host.id(), Some(name)), (second.id(), None)]);
    let products: Vec<_> = second.receipts(&shop, 0, &[]).iter().map(|receipt| receipt.product.to_string()).collect();
    assert_eq!(products, ["double_jump", "shield"]);
    let order = second.order("gift", 1);
    assert_eq!(second.receipts(&shop, 2, &[order]).len(), 1);
    assert_eq!(host.receipts(&shop, 2, &[]).len(), 1);
    assert_eq!(
        second.enrol(shop.address()).text(),
        format!(r#"{{"account":"{}","device":"{}"}}"#, host.account(), second.id())
    );
    assert!(shop.server.audit().expect("audits").is_clean());
}

#[test]
fn device_that_missed_its_answer_asks_where_it_is() {
    let shop = Shop::open();
    let (host, second) = (shop.device(), shop.device());
    let request = signed(&second, AccountAsk::JoinByCode { code: code(&shop, &host) });
    let first = read(&send(&shop, &request), shop.server.public_key(), second.id(), &request);
    let again = read(&send(&shop, &request), shop.server.public_key(), second.id(), &request);
    assert_eq!((first.account.clone(), first.devices), (again.account, again.devices));
    // It still believes to be in its own account, in orders and requests too.
    let late = second.request(0, &[]).sign(&second.key).expect("signs");
    send_sync(shop.address(), &late).assert_refused("/problems/wrong-account", 422);
    let mut stale = second.clone();
    let order = stale.order("gift", 1);
    let joined = Device { joined: Some(host.account()), ..second.clone() };
    let late = joined.request(0, &[order]).sign(&second.key).expect("signs");
    send_sync(shop.address(), &late).assert_refused("/problems/wrong-account", 422);
    assert_eq!(told(&shop, &second, AccountAsk::Show).account, host.account());
    assert_eq!(joined.sync(&shop, 0, &[]).receipts.len(), 0);
}

#[test]
fn revoked_device_is_refused_and_told_so_by_a_signed_answer() {
    let shop = Shop::open();
    let (host, mut second) = (shop.device(), shop.device());
    join(&shop, &mut second, &host);
    second.sync(&shop, 0, &[]);
    told(&shop, &host, AccountAsk::RevokeDevice { device: second.id() });
    for orders in [vec![], vec![second.order("gift", 1)]] {
        let request = second.request(0, &orders).sign(&second.key).expect("signs");
        send_sync(shop.address(), &request).assert_refused("/problems/device-revoked", 403);
    }
    ask(&shop, &second, AccountAsk::LinkCode).assert_refused("/problems/device-revoked", 403);
    let shown = told(&shop, &second, AccountAsk::Show);
    assert!(shown.is_revoked());
    assert_eq!(told(&shop, &host, AccountAsk::Show).devices.len(), 1);
    assert_eq!(shop.server.show(&host.account()).expect("is there").orders.len(), 0);
}

#[test]
fn device_goes_on_under_another_key() {
    let shop = Shop::open();
    let mut device = shop.device();
    let order = device.order("double_jump", 1);
    device.sync(&shop, 0, &[order]);
    let mut next = Device { joined: Some(device.account()), ..Device::new() };
    let enrolment = Enrolment::sign_into(&next.key, &device.account(), &game(), 0).expect("signs");
    let request = signed(&device, AccountAsk::ReplaceKey { enrolment: enrolment.clone() });
    for _ in 0..2 {
        let response = read(&send(&shop, &request), shop.server.public_key(), next.id(), &request);
        assert_eq!((response.account.clone(), response.devices.len()), (device.account(), 1));
    }
    let late = device.request(0, &[]).sign(&device.key).expect("signs");
    send_sync(shop.address(), &late).assert_refused("/problems/device-revoked", 403);
    let order = next.order("gift", 1);
    assert_eq!(next.receipts(&shop, 0, &[order]).len(), 2);
    // A key of which nobody shows that they hold it takes no place, nor one that wants to be elsewhere.
    let other = Device::new();
    let forged = Enrolment { proof: enrolment.proof, ..Enrolment::sign(&other.key, &game(), 0).expect("signs") };
    ask(&shop, &next, AccountAsk::ReplaceKey { enrolment: forged }).assert_refused("/problems/bad-token", 400);
    let elsewhere = Enrolment::sign(&other.key, &game(), 0).expect("signs");
    ask(&shop, &next, AccountAsk::ReplaceKey { enrolment: elsewhere }).assert_refused("/problems/wrong-account", 422);
    let taken = Enrolment::sign_into(&shop.device().key, &next.account(), &game(), 0);
    let taken = AccountAsk::ReplaceKey { enrolment: taken.expect("signs") };
    let other = shop.device();
    let known = Enrolment::sign_into(&other.key, &next.account(), &game(), 0).expect("signs");
    ask(&shop, &next, AccountAsk::ReplaceKey { enrolment: known }).assert_refused("/problems/conflict", 409);
    ask(&shop, &next, taken).assert_refused("/problems/conflict", 409);
}

#[test]
fn what_cannot_be_done_is_told_by_its_own_problem() {
    let shop = Shop::with(|config| config.accounts = AccountRules { devices: 2 });
    let (host, mut second, third) = (shop.device(), shop.device(), shop.device());
    let wrong = AccountAsk::JoinByCode { code: "0000-0000".parse().expect("a code") };
    ask(&shop, &host, wrong).assert_refused("/problems/wrong-link-code", 422);
    join(&shop, &mut second, &host);
    let full = AccountAsk::JoinByCode { code: code(&shop, &host) };
    ask(&shop, &third, full).assert_refused("/problems/too-many-devices", 409);
    let other = AccountAsk::RevokeDevice { device: third.id() };
    ask(&shop, &host, other).assert_refused("/problems/not-your-device", 404);
    let sign_in = AccountAsk::SignIn { id_token: "a.b.c".to_owned() };
    ask(&shop, &host, sign_in).assert_refused("/problems/sign-in-unavailable", 422);
    ask(&shop, &Device::new(), AccountAsk::Show).assert_refused("/problems/unknown-device", 404);
    let request = second.request(0, &[]).sign(&second.key).expect("signs");
    send(&shop, &request).assert_refused("/problems/bad-token", 400);
    let lent = Device { key: third.key.clone(), ..host.clone() };
    let mut request = signed(&lent, AccountAsk::Show).to_string();
    request.replace_range(request.len() - 5.., "AAAAA");
    send(&shop, &Token::from_text(&request)).assert_refused("/problems/bad-token", 400);
    let long = "a".repeat(20_000);
    send(&shop, &Token::from_text(&long)).assert_refused("/problems/body-too-large", 413);
    post(shop.address(), "/v1/account", "application/json", b"{}")
        .assert_refused("/problems/unsupported-media-type", 415);
}

#[test]
fn codes_are_made_and_tried_so_often_and_no_more() {
    let shop = Shop::with(|config| {
        config.limits.codes_made_per_device = Rate::new(1, 2);
        config.limits.codes_tried_per_device = Rate::new(1, 3);
        config.limits.codes_tried = Rate::new(1, 4);
    });
    let (host, other) = (shop.device(), shop.device());
    for _ in 0..2 {
        code(&shop, &host);
    }
    ask(&shop, &host, AccountAsk::LinkCode).assert_refused("/problems/too-many-requests", 429);
    let guess = || AccountAsk::JoinByCode { code: LinkCode::new([3; 5]) };
    for _ in 0..3 {
        ask(&shop, &host, guess()).assert_refused("/problems/wrong-link-code", 422);
    }
    let answer = ask(&shop, &host, guess());
    answer.assert_refused("/problems/too-many-requests", 429);
    assert!(answer.header("retry-after").is_some());
    ask(&shop, &other, guess()).assert_refused("/problems/wrong-link-code", 422);
    ask(&shop, &other, guess()).assert_refused("/problems/too-many-requests", 429);
    let metrics = get(shop.address(), "/metrics");
    for limit in ["codes_made_per_device", "codes_tried_per_device", "codes_tried"] {
        let line = format!("iap_refused_requests_total{{limit=\"{limit}\"}} 1");
        assert!(metrics.text().contains(&line), "{line}");
    }
}

#[test]
fn address_guesses_so_often_and_no_more_whatever_devices_it_makes() {
    let shop = Shop::with(|config| {
        config.limits.loopback = true;
        config.limits.codes_tried_per_address = Rate::new(1, 3);
    });
    for number in 0..5 {
        let answer = ask(&shop, &shop.device(), AccountAsk::JoinByCode { code: LinkCode::new([number; 5]) });
        match number {
            0..3 => answer.assert_refused("/problems/wrong-link-code", 422),
            _ => answer.assert_refused("/problems/too-many-requests", 429),
        };
    }
}

#[cfg(all(unix, feature = "postgres"))]
mod shared {
    use bevy_iap::server::{Database, LocalServer, ServerConfig};

    use super::*;
    use crate::cluster;
    use crate::support::catalog;

    fn shop(folder: tempfile::TempDir, database: &str) -> Shop {
        let mut config = ServerConfig::new(folder.path(), catalog());
        config.welcome = Some("1EUR".parse().expect("money"));
        config.database = database.parse::<Database>().expect("a URL");
        Shop { server: LocalServer::start(config).expect("starts"), folder }
    }

    #[test]
    fn server_that_remembers_what_was_finds_out_from_the_books() {
        let Some(cluster) = cluster::shared() else { return };
        let (_, schema) = cluster.fresh_books();
        let url = cluster.text_url(&schema);
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let [one, other] = folders;
        let first = shop(one, &url);
        std::fs::copy(first.folder.path().join("server.key"), other.path().join("server.key")).expect("copies");
        let second = shop(other, &url);
        let (host, mut device) = (first.device(), first.device());
        // Both servers know the device as a guest's.
        for shop in [&first, &second] {
            device.sync(shop, 0, &[]);
        }
        let guest = device.clone();
        join(&first, &mut device, &host);
        let late = guest.clone().order("gift", 1);
        let late = guest.request(0, &[late]).sign(&guest.key).expect("signs");
        send_sync(second.address(), &late).assert_refused("/problems/wrong-account", 422);
        assert_eq!(told(&second, &guest, AccountAsk::Show).account, host.account());
        let order = device.order("gift", 1);
        assert_eq!(device.sync(&second, 0, &[order]).receipts.len(), 1);
        // And then that it was revoked.
        told(&first, &host, AccountAsk::RevokeDevice { device: device.id() });
        for orders in [vec![], vec![device.order("gift", 1)]] {
            let request = device.request(1, &orders).sign(&device.key).expect("signs");
            send_sync(second.address(), &request).assert_refused("/problems/device-revoked", 403);
        }
        assert!(first.server.audit().expect("audits").is_clean());
    }

    #[test]
    fn server_that_has_forgotten_an_earlier_account_takes_requests_for_the_new_one() {
        let Some(cluster) = cluster::shared() else { return };
        let (_, schema) = cluster.fresh_books();
        let url = cluster.text_url(&schema);
        let [one, other] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let first = shop(one, &url);
        std::fs::copy(first.folder.path().join("server.key"), other.path().join("server.key")).expect("copies");
        let second = shop(other, &url);
        let (host, mut device) = (first.device(), first.device());
        device.sync(&second, 0, &[]);
        join(&first, &mut device, &host);
        assert_eq!(device.sync(&second, 0, &[]).wallet.len(), 1, "it is looked up again before it is refused");
    }
}
