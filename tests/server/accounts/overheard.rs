//! Questions about an account that somebody has overheard, and sends again.

use super::*;

#[test]
fn overheard_question_for_a_link_code_gives_no_second_code() {
    let shop = Shop::open();
    let (host, thief) = (shop.device(), shop.device());
    let question = signed(&host, AccountAsk::LinkCode);
    let made = read(&send(&shop, &question), shop.server.public_key(), host.id(), &question);
    let code = made.link_code.expect("is told").code;
    for _ in 0..2 {
        send(&shop, &question).assert_refused("/problems/conflict", 409);
    }
    // Nor does it void the code that the player is reading out.
    let told = told(&shop, &thief, AccountAsk::JoinByCode { code });
    assert_eq!(told.account, host.account());
}

#[test]
fn overheard_question_for_a_name_does_not_put_the_old_name_back() {
    let shop = Shop::open();
    let device = shop.device();
    let name = |name: &str| AccountAsk::NameDevice { device: device.id(), name: DeviceName::new(name).ok() };
    let question = signed(&device, name("the phone"));
    assert_eq!(send(&shop, &question).status, 200);
    // What changes nothing is answered as the first time.
    assert_eq!(send(&shop, &question).status, 200);
    told(&shop, &device, name("the old phone"));
    send(&shop, &question).assert_refused("/problems/conflict", 409);
    let shown = told(&shop, &device, AccountAsk::Show);
    assert_eq!(shown.devices[0].name, DeviceName::new("the old phone").ok());
    // The player may want that name again, whatever the device's clock says: all of these are of the same second.
    told(&shop, &device, name("the phone"));
}

#[test]
fn question_that_was_refused_does_nothing_later_either() {
    let shop = Shop::open();
    let (host, mut second) = (shop.device(), shop.device());
    let question = signed(&host, AccountAsk::RevokeDevice { device: second.id() });
    send(&shop, &question).assert_refused("/problems/not-your-device", 404);
    join(&shop, &mut second, &host);
    send(&shop, &question).assert_refused("/problems/conflict", 409);
    assert_eq!(second.sync(&shop, 0, &[]).receipts.len(), 0);
    told(&shop, &host, AccountAsk::RevokeDevice { device: second.id() });
}
