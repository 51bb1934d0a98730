//! Joining an account, by a link code or by signing in.

use super::*;

fn code_lets_one_device_in_once_and_for_ten_minutes(desk: &mut Desk, device: &mut Device) {
    let mut second = desk.newcomer();
    let made = desk.ask(device, AccountChange::LinkCode).expect("makes one");
    let code = made.link_code.expect("is told");
    assert_eq!(code.expires_at, desk.now + LINK_CODE_LIFE);
    let told = desk.ask(&second, AccountChange::JoinByCode(code.code)).expect("joins");
    assert_eq!((told.account.clone(), ids(&told)), (device.account(), vec![device.id(), second.id()]));
    assert!(told.changed);
    second.joined = Some(told.account);
    // Again by the one that has joined by it, it is the same; by anybody else, it is used.
    let again = desk.ask(&second, AccountChange::JoinByCode(code.code)).expect("is answered alike");
    assert!(!again.changed && again.account == device.account());
    let third = desk.newcomer();
    assert_eq!(desk.ask(&third, AccountChange::JoinByCode(code.code)), Err(Denied::WrongLinkCode));
    let code = desk.code(device);
    desk.now += LINK_CODE_LIFE;
    assert_eq!(desk.ask(&third, AccountChange::JoinByCode(code)), Err(Denied::WrongLinkCode));
}

fn newer_code_replaces_the_last_one_of_the_account(desk: &mut Desk, device: &mut Device) {
    let mut second = desk.newcomer();
    desk.join(&mut second, device);
    let old = desk.code(device);
    let new = desk.code(&second);
    let third = desk.newcomer();
    assert_eq!(desk.ask(&third, AccountChange::JoinByCode(old)), Err(Denied::WrongLinkCode));
    assert_eq!(desk.ask(&third, AccountChange::JoinByCode(LinkCode::new([9; 5]))), Err(Denied::WrongLinkCode));
    desk.reopen();
    if desk.engine != Engine::Model {
        assert!(desk.ask(&third, AccountChange::JoinByCode(new)).is_ok());
    }
}

fn code_of_the_own_account_changes_nothing(desk: &mut Desk, device: &mut Device) {
    let code = desk.code(device);
    assert!(!desk.ask(device, AccountChange::JoinByCode(code)).expect("is its own").changed);
    let other = desk.newcomer();
    assert!(desk.ask(&other, AccountChange::JoinByCode(code)).is_ok(), "it is not used up by that");
}

fn codes_are_kept_by_their_digests_alone(desk: &mut Desk, device: &mut Device) {
    let code = desk.code(device).to_string();
    assert!(!format!("{:?}", rows::Rows::of(&mut *desk.ledger)).contains(&code));
    if desk.engine == Engine::Sqlite {
        for file in ["store.sqlite", "store.sqlite-wal"] {
            let bytes = std::fs::read(desk.folder.path().join(file)).expect("reads");
            let code = code.replace('-', "");
            assert!(!bytes.windows(code.len()).any(|found| found == code.as_bytes()), "{file}");
        }
    }
}

fn first_to_sign_in_owns_the_account_and_others_join_it(desk: &mut Desk, device: &mut Device) {
    let told = desk.ask(device, AccountChange::SignIn(ann())).expect("signs in");
    assert!(told.signed_in && told.changed && told.account == device.account());
    assert!(!desk.ask(device, AccountChange::SignIn(ann())).expect("is signed in").changed);
    assert!(desk.ledger.show(&device.account()).expect("reads").expect("is there").signed_in);
    let second = desk.newcomer();
    for changed in [true, false] {
        let told = desk.ask(&second, AccountChange::SignIn(ann())).expect("joins");
        assert_eq!((told.account, told.signed_in, told.changed), (device.account(), true, changed));
    }
}

fn account_of_somebody_is_not_given_to_somebody_else(desk: &mut Desk, device: &mut Device) {
    desk.ask(device, AccountChange::SignIn(ann())).expect("signs in");
    assert_eq!(desk.ask(device, AccountChange::SignIn(zoe())), Err(Denied::OtherLogin));
    // Where the other one has an account, the device goes there, and leaves everything behind.
    let mut second = desk.newcomer();
    desk.ask(&second, AccountChange::SignIn(zoe())).expect("signs in");
    desk.buy(device, "double_jump", 1);
    let left = device.account();
    let told = desk.ask(device, AccountChange::SignIn(zoe())).expect("joins");
    device.joined = Some(told.account.clone());
    assert_eq!((told.account.clone(), ids(&told).len()), (second.account(), 2));
    assert_eq!(desk.feed(&second), []);
    let shown = desk.ledger.show(&left).expect("reads").expect("it is still an account");
    assert_eq!((shown.signed_in, shown.devices.len(), shown.receipts, shown.moved_to), (true, 0, 1, None));
    assert_eq!(shown.wallet[0].available.value(), 950_000);
    // Ann comes back to all of it, on another device.
    let mut third = desk.newcomer();
    let told = desk.ask(&third, AccountChange::SignIn(ann())).expect("joins");
    third.joined = Some(told.account);
    assert_eq!(desk.feed(&third).len(), 1);
    desk.done(3, paid(&third, "1EUR"));
    assert_eq!(desk.buy(&mut third, "shield", 1).1.feed, 2);
    assert_eq!(desk.buy(&mut second, "gift", 1).1.feed, 1);
}

fn account_without_devices_is_credited_like_any_other(desk: &mut Desk, device: &mut Device) {
    desk.ask(device, AccountChange::SignIn(ann())).expect("signs in");
    let (order, _) = desk.buy(device, "double_jump", 1);
    let left = Device { key: device.key.clone(), chain: None, joined: None };
    let other = desk.newcomer();
    desk.ask(&other, AccountChange::SignIn(zoe())).expect("signs in");
    device.joined = Some(desk.ask(device, AccountChange::SignIn(zoe())).expect("joins").account);
    assert_eq!(desk.done(1, paid(&left, "1EUR")), (1_950_000, 0));
    let refund = bevy_iap::server::ledger::operation::RefundOrder { order, quantity: None };
    let Answer::Order { receipt, .. } = desk.operate(2, refund).expect("refunds") else { panic!("no refund") };
    assert_eq!((receipt.account, receipt.feed), (left.account(), 2));
}

fn account_has_so_many_devices_and_no_more(desk: &mut Desk, device: &mut Device) {
    let rules = AccountRules { devices: 2 };
    let mut second = desk.newcomer();
    desk.join(&mut second, device);
    let third = desk.newcomer();
    let code = desk.code(device);
    assert_eq!(desk.ask_by(&third, AccountChange::JoinByCode(code), &rules), Err(Denied::TooManyDevices));
    desk.ask(device, AccountChange::RevokeDevice(second.id())).expect("revokes");
    let code = desk.code(device);
    assert!(desk.ask_by(&third, AccountChange::JoinByCode(code), &rules).is_ok(), "who is revoked takes no room");
    // So many may ever join: ten in all, with those that were revoked since, and those that took another's place.
    let mut ever = 3;
    let mut last = third;
    while ever < 9 {
        desk.ask(device, AccountChange::RevokeDevice(last.id())).expect("revokes");
        last = desk.newcomer();
        let code = desk.code(device);
        desk.ask_by(&last, AccountChange::JoinByCode(code), &rules).expect("joins");
        ever += 1;
    }
    let next = Device::new();
    let replace = |next: &Device| AccountChange::ReplaceKey { key: next.key.public(), account: device.account() };
    desk.ask_by(&last, replace(&next), &rules).expect("replaces");
    assert_eq!(desk.ask_by(&next, replace(&Device::new()), &rules), Err(Denied::TooManyEver));
    desk.ask(device, AccountChange::RevokeDevice(next.id())).expect("revokes");
    let (late, code) = (desk.newcomer(), desk.code(device));
    assert_eq!(desk.ask_by(&late, AccountChange::JoinByCode(code), &rules), Err(Denied::TooManyEver));
}

fn device_that_comes_and_goes_counts_once(desk: &mut Desk, device: &mut Device) {
    let rules = AccountRules { devices: 2 };
    let (mut restless, other) = (desk.newcomer(), desk.newcomer());
    for _ in 0..12 {
        for host in [&*device, &other] {
            let code = desk.code(host);
            let told = desk.ask_by(&restless, AccountChange::JoinByCode(code), &rules).expect("joins");
            restless.joined = Some(told.account);
        }
    }
    let (third, code) = (desk.newcomer(), desk.code(device));
    let told = desk.ask_by(&third, AccountChange::JoinByCode(code), &rules).expect("joins");
    assert_eq!(ids(&told), [device.id(), third.id()]);
}

suite!(
    code_lets_one_device_in_once_and_for_ten_minutes,
    newer_code_replaces_the_last_one_of_the_account,
    code_of_the_own_account_changes_nothing,
    codes_are_kept_by_their_digests_alone,
    first_to_sign_in_owns_the_account_and_others_join_it,
    account_of_somebody_is_not_given_to_somebody_else,
    account_without_devices_is_credited_like_any_other,
    account_has_so_many_devices_and_no_more,
    device_that_comes_and_goes_counts_once,
);
