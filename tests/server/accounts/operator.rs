//! What the operator does about devices, on the command line and over HTTP.

use super::*;
use crate::command::{text, works};
use crate::support::send as send_with;

const TOKEN: &str = "a long and secret token";

fn admin(shop: &Shop, path: &str, id: char, device: &str, more: &str) -> Answer {
    let headers = [("content-type", "application/json"), ("authorization", &*format!("Bearer {TOKEN}"))];
    let id = id.to_string().repeat(32);
    let body = format!(r#"{{"id":"{id}","device":"{device}"{more}}}"#);
    send_with(shop.address(), "POST", path, &headers, body.as_bytes())
}

#[test]
fn operators_back_end_names_freezes_thaws_and_revokes_devices() {
    let shop = Shop::with(|config| config.admin_token = Some(TOKEN.to_owned()));
    let mut device = shop.device();
    device.sync(&shop, 0, &[]);
    let (id, account) = (device.id().to_string(), device.account());
    let named = admin(&shop, "/v1/admin/name-device", 'a', &id, r#","name":"lost""#);
    assert_eq!(named.text(), format!(r#"{{"account":"{account}","device":"{id}","name":"lost"}}"#));
    assert_eq!(told(&shop, &device, AccountAsk::Show).devices[0].name.as_ref().map(DeviceName::as_str), Some("lost"));
    admin(&shop, "/v1/admin/name-device", 'b', &id, r#","name":"""#).assert_refused("/problems/malformed-body", 400);
    for (path, letter, frozen) in [("freeze-device", 'c', true), ("thaw-device", 'd', false)] {
        let answer = admin(&shop, &format!("/v1/admin/{path}"), letter, &id, "");
        assert_eq!(answer.text(), format!(r#"{{"account":"{account}","device":"{id}","frozen":{frozen}}}"#));
    }
    for _ in 0..2 {
        let answer = admin(&shop, "/v1/admin/revoke-device", 'e', &id, "");
        assert_eq!(answer.text(), format!(r#"{{"account":"{account}","device":"{id}"}}"#));
    }
    admin(&shop, "/v1/admin/freeze-device", 'e', &id, "").assert_refused("/problems/conflict", 409);
    let stranger = Device::new().id().to_string();
    admin(&shop, "/v1/admin/revoke-device", 'f', &stranger, "").assert_refused("/problems/not-found", 404);
    let order = device.order("gift", 1);
    let request = device.request(0, &[order]).sign(&device.key).expect("signs");
    send_sync(shop.address(), &request).assert_refused("/problems/device-revoked", 403);
    let body = format!(r#"{{"id":"{}","device":"{id}"}}"#, "a".repeat(32));
    let without = post(shop.address(), "/v1/admin/revoke-device", "application/json", body.as_bytes());
    without.assert_refused("/problems/unauthorized", 401);
    assert!(shop.server.audit().expect("audits").is_clean());
}

#[test]
fn operator_lists_names_and_revokes_devices_beside_a_server() {
    let shop = Shop::open();
    let (host, mut second) = (shop.device(), shop.device());
    join(&shop, &mut second, &host);
    let data = text(shop.folder.path()).to_owned();
    let (account, id) = (host.account().to_string(), second.id().to_string());
    let named = works(&["device", "name", &id, "the lost phone", "--data", &data]);
    assert!(named.starts_with(&format!("named the device {id} of {account}\n")), "{named}");
    let revoked = works(&["device", "revoke", &id, "--data", &data]);
    assert!(revoked.starts_with(&format!("revoked the device {id} of {account}\n")), "{revoked}");
    for listed in [works(&["device", "list", &account, "--data", &data]), works(&["show", &account, "--data", &data])] {
        let line = format!("device    {id}, 0 orders in its chain, called \"the lost phone\", revoked");
        assert!(listed.lines().any(|found| found == line), "{listed}");
        assert!(listed.contains(&format!("device    {}, 0 orders in its chain\n", host.id())), "{listed}");
    }
    // The server that runs beside it hears of it with the next request.
    let request = second.request(0, &[]).sign(&second.key).expect("signs");
    send_sync(shop.address(), &request).assert_refused("/problems/device-revoked", 403);
    let closed = works(&["show", second.id().guest_account().as_str(), "--data", &data]);
    assert!(closed.contains(&format!("closed    everything that it had is in {account}\n")), "{closed}");
    let (_, _, credit) =
        crate::command::run(&["credit", second.id().guest_account().as_str(), "1", "EUR", "--data", &data]);
    assert!(credit.contains("was closed: everything that it had is in"), "{credit}");
}
