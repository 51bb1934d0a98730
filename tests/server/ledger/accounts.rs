//! Devices and their accounts: who may join whom, what moves along, and what a revoked device may still do.

mod joining;
mod moving;

use bevy_iap::protocol::account::{DeviceEntry, DeviceName, LINK_CODE_LIFE, LinkCode};
use bevy_iap::protocol::{AccountId, KeyId, SecretKey, Sha256, Status};
use bevy_iap::server::AccountRules;
use bevy_iap::server::ledger::operation::{FreezeDevice, NameDevice, RevokeDevice};
use bevy_iap::server::ledger::{AccountChange, AccountWish, Denied, Login, ManageError, Membership};

use super::*;
use crate::support::fresh_id;

impl Desk {
    fn ask(&mut self, device: &Device, change: AccountChange) -> Result<Membership, Denied> {
        self.ask_by(device, change, &AccountRules::default())
    }

    fn ask_by(&mut self, device: &Device, change: AccountChange, rules: &AccountRules) -> Result<Membership, Denied> {
        let wish = AccountWish { device: device.id(), question: Sha256::of(fresh_id()), change };
        self.asked(&wish, rules)
    }

    fn asked(&mut self, wish: &AccountWish, rules: &AccountRules) -> Result<Membership, Denied> {
        match self.ledger.manage(wish, rules, &mut self.signer, self.now) {
            Ok(told) => Ok(told),
            Err(ManageError::Denied(denied)) => Err(denied),
            Err(error) => panic!("{error}"),
        }
    }

    fn code(&mut self, device: &Device) -> LinkCode {
        self.ask(device, AccountChange::LinkCode).expect("makes one").link_code.expect("is told").code
    }

    /// Has a device join the account of another.
    pub(super) fn join(&mut self, device: &mut Device, host: &Device) -> Membership {
        let code = self.code(host);
        let told = self.ask(device, AccountChange::JoinByCode(code)).expect("joins");
        device.joined = Some(told.account.clone());
        told
    }

    /// A device with nothing, in an account of its own.
    pub(super) fn newcomer(&mut self) -> Device {
        let device = Device::new();
        self.ledger.enrol(&[device.key.public()], None, self.now).expect("enrols");
        device
    }
}

fn ann() -> Login {
    Login::new("https://login.example", "ann")
}

fn zoe() -> Login {
    Login::new("https://login.example", "zoe")
}

fn ids(told: &Membership) -> Vec<KeyId> {
    told.devices.iter().map(|entry| entry.id).collect()
}

fn device_is_told_its_account_and_its_devices_in_the_order_in_which_they_joined(desk: &mut Desk, device: &mut Device) {
    let told = desk.ask(device, AccountChange::Show).expect("shows");
    let alone = Membership {
        account: device.account(),
        device: device.id(),
        signed_in: false,
        devices: vec![DeviceEntry {
            id: device.id(),
            name: None,
            enrolled_at: desk.now,
            revoked: false,
            frozen: false,
        }],
        chain: None,
        link_code: None,
        changed: false,
    };
    assert_eq!(told, alone);
    let mut others: Vec<Device> = (0..4).map(|_| desk.newcomer()).collect();
    for other in &mut others {
        desk.now += 1;
        desk.join(other, device);
    }
    let told = desk.ask(&others[2], AccountChange::Show).expect("shows");
    let expected: Vec<KeyId> = std::iter::once(device.id()).chain(others.iter().map(Device::id)).collect();
    assert_eq!((told.account.clone(), ids(&told)), (device.account(), expected));
    let stranger = AccountWish { device: Device::new().id(), question: Sha256::of("x"), change: AccountChange::Show };
    let asked = desk.ledger.manage(&stranger, &AccountRules::default(), &mut desk.signer, desk.now);
    assert!(matches!(asked, Err(ManageError::Ledger(LedgerError::UnknownDevice(_)))), "{asked:?}");
}

fn player_names_the_devices_of_the_account_and_nobody_elses(desk: &mut Desk, device: &mut Device) {
    let mut second = desk.newcomer();
    desk.join(&mut second, device);
    let name = DeviceName::new("the tablet").expect("a name");
    let told = desk.ask(device, AccountChange::NameDevice(second.id(), Some(name.clone()))).expect("names");
    assert_eq!(told.devices[1].name, Some(name.clone()));
    let shown = desk.ledger.show(&device.account()).expect("reads").expect("is there");
    assert_eq!(shown.names.get(&second.id()), Some(&name));
    let told = desk.ask(&second, AccountChange::NameDevice(second.id(), None)).expect("takes it away");
    assert_eq!(told.devices[1].name, None);
    let stranger = desk.newcomer();
    let denied = Err(Denied::NotYourDevice(stranger.id()));
    assert_eq!(desk.ask(device, AccountChange::NameDevice(stranger.id(), Some(name))), denied);
}

fn revoked_device_buys_nothing_and_hears_nothing_for_ever(desk: &mut Desk, device: &mut Device) {
    let mut second = desk.newcomer();
    desk.join(&mut second, device);
    assert_eq!(desk.buy(&mut second, "shield", 1).1.status, Status::Granted);
    assert!(desk.allow(&second, None).is_some());
    for _ in 0..2 {
        let told = desk.ask(device, AccountChange::RevokeDevice(second.id())).expect("revokes");
        assert_eq!(ids(&told), [device.id()], "whoever was revoked is not listed");
    }
    assert_eq!(desk.standing(device, 0).wallet[0].held.value(), 0, "what it might have spent is free");
    let order = second.order("shield", 1);
    let order = verified(&second, &order);
    assert_eq!(desk.settle(std::slice::from_ref(&order)), [Outcome::DeviceRevoked]);
    assert_eq!(desk.allow(&second, None), None);
    let place = Place { device: second.id(), account: second.account(), cursor: 0 };
    let heard = desk.ledger.standings(&[place]);
    assert!(matches!(heard, Err(LedgerError::DeviceRevoked(id)) if id == second.id()), "{heard:?}");
    assert!(desk.ledger.device(second.id()).expect("reads").expect("is there").revoked);
    // It is told that it was, of itself alone, and does nothing else.
    let told = desk.ask(&second, AccountChange::Show).expect("shows");
    assert!(ids(&told) == [second.id()] && told.devices[0].revoked);
    for change in [
        AccountChange::LinkCode,
        AccountChange::SignIn(ann()),
        AccountChange::NameDevice(device.id(), None),
        AccountChange::RevokeDevice(device.id()),
    ] {
        assert_eq!(desk.ask(&second, change), Err(Denied::Revoked(second.id())));
    }
    // Nobody makes it a device of theirs again.
    let host = desk.newcomer();
    let code = desk.code(&host);
    assert_eq!(desk.ask(&second, AccountChange::JoinByCode(code)), Err(Denied::Revoked(second.id())));
    desk.reopen();
    if desk.engine != Engine::Model {
        assert_eq!(desk.settle(&[order]), [Outcome::DeviceRevoked]);
    }
    assert_eq!(desk.buy(device, "shield", 1).1.status, Status::Granted, "the others go on");
}

fn device_that_revokes_itself_is_answered_alike_again(desk: &mut Desk, device: &mut Device) {
    let mut second = desk.newcomer();
    desk.join(&mut second, device);
    assert_eq!(desk.buy(&mut second, "shield", 1).1.status, Status::Granted);
    for _ in 0..2 {
        let told = desk.ask(&second, AccountChange::RevokeDevice(second.id())).expect("revokes");
        assert_eq!(ids(&told), [second.id()]);
        assert!(told.devices[0].revoked);
        assert_eq!(told.chain, None, "nothing of it follows anything");
    }
    let stranger = desk.newcomer();
    let denied = Err(Denied::NotYourDevice(stranger.id()));
    assert_eq!(desk.ask(device, AccountChange::RevokeDevice(stranger.id())), denied);
}

fn code_of_a_device_that_was_revoked_or_frozen_lets_nobody_in(desk: &mut Desk, device: &mut Device) {
    let mut second = desk.newcomer();
    desk.join(&mut second, device);
    let code = desk.code(&second);
    desk.ask(device, AccountChange::RevokeDevice(second.id())).expect("revokes");
    let thief = desk.newcomer();
    assert_eq!(desk.ask(&thief, AccountChange::JoinByCode(code)), Err(Denied::WrongLinkCode));
    let code = desk.code(device);
    desk.operate(1, FreezeDevice { device: device.id() }).expect("freezes");
    assert_eq!(desk.ask(&thief, AccountChange::JoinByCode(code)), Err(Denied::WrongLinkCode));
    assert_eq!(desk.ask(device, AccountChange::LinkCode), Err(Denied::Frozen(device.id())));
}

fn new_key_takes_the_place_of_the_old_one(desk: &mut Desk, device: &mut Device) {
    let mut second = desk.newcomer();
    desk.join(&mut second, device);
    let name = DeviceName::new("the phone").expect("a name");
    desk.ask(device, AccountChange::NameDevice(device.id(), Some(name.clone()))).expect("names");
    desk.buy(device, "shield", 1);
    assert!(desk.allow(device, None).is_some());
    desk.now += 5;
    let mut next = Device { joined: Some(device.account()), ..Device::new() };
    let (key, account) = (next.key.public(), device.account());
    let replace = || AccountChange::ReplaceKey { key, account: account.clone() };
    let told = desk.ask(device, replace()).expect("replaces");
    assert_eq!(
        (told.account.clone(), told.device, ids(&told)),
        (device.account(), next.id(), vec![next.id(), second.id()])
    );
    assert_eq!((told.devices[0].name.clone(), told.devices[0].enrolled_at), (Some(name), desk.now));
    assert!(told.changed);
    // The same again is the same, but that the old key hears of no other device; another key is not.
    let again = desk.ask(device, replace()).expect("is answered alike");
    assert_eq!(again, Membership { changed: false, devices: told.devices[..1].to_vec(), ..told });
    let other = AccountChange::ReplaceKey { key: Device::new().key.public(), account: device.account() };
    assert_eq!(desk.ask(device, other), Err(Denied::Revoked(device.id())));
    // The old key is worth nothing, and the new one begins a chain of its own.
    let order = device.order("shield", 1);
    let order = verified(device, &order);
    assert_eq!(desk.settle(&[order]), [Outcome::DeviceRevoked]);
    assert_eq!(desk.standing(&next, 0).chain, None);
    assert_eq!(desk.buy(&mut next, "shield", 1).1.status, Status::Granted);
    assert_eq!(desk.ask(&next, AccountChange::Show).expect("shows").chain, next.chain);
    assert_eq!(desk.ask(device, replace()).expect("is answered alike").chain, None, "the old key hears nothing of it");
    assert_eq!(desk.standing(&next, 0).wallet[0].held.value(), 0, "what the old one might have spent is free");
    assert_eq!(desk.feed(&next).len(), 2);
    // Enrolling it again opens no account, and there is no welcome.
    desk.enrol(&next);
    assert_eq!(desk.ask(&next, AccountChange::Show).expect("shows").account, device.account());
    assert_eq!(desk.ledger.show(&next.id().guest_account()).expect("reads"), None);
}

fn key_that_is_enrolled_or_names_another_account_takes_no_place(desk: &mut Desk, device: &mut Device) {
    let other = desk.newcomer();
    let taken = AccountChange::ReplaceKey { key: other.key.public(), account: device.account() };
    assert_eq!(desk.ask(device, taken), Err(Denied::KeyTaken(other.id())));
    let named: AccountId = other.account();
    let key = SecretKey::from_seed(&[99; 32]).public();
    let elsewhere = AccountChange::ReplaceKey { key, account: named.clone() };
    assert_eq!(desk.ask(device, elsewhere), Err(Denied::WrongAccount { named, account: device.account() }));
    assert_eq!(desk.ask(device, AccountChange::Show).expect("shows").devices.len(), 1);
}

fn frozen_device_is_frozen_under_its_new_key(desk: &mut Desk, device: &mut Device) {
    desk.operate(1, FreezeDevice { device: device.id() }).expect("freezes");
    let next = Device { joined: Some(device.account()), ..Device::new() };
    let replace = AccountChange::ReplaceKey { key: next.key.public(), account: device.account() };
    assert!(desk.ask(device, replace).expect("replaces").devices[0].frozen);
    assert_eq!(desk.allow(&next, None), None);
}

fn frozen_device_takes_nothing_along_and_revokes_nobody_else(desk: &mut Desk, device: &mut Device) {
    let (mut second, host) = (desk.newcomer(), desk.newcomer());
    desk.join(&mut second, device);
    desk.operate(1, FreezeDevice { device: device.id() }).expect("freezes");
    let frozen = Err(Denied::Frozen(device.id()));
    assert_eq!(desk.ask(device, AccountChange::RevokeDevice(second.id())), frozen);
    let code = desk.code(&host);
    assert_eq!(desk.ask(device, AccountChange::JoinByCode(code)), frozen);
    desk.ask(&host, AccountChange::SignIn(ann())).expect("signs in");
    assert_eq!(desk.ask(device, AccountChange::SignIn(ann())), frozen);
    assert!(!desk.ask(&second, AccountChange::Show).expect("shows").devices[1].revoked);
    assert!(desk.ask(device, AccountChange::RevokeDevice(device.id())).is_ok(), "itself it may");
}

fn question_sent_again_changes_nothing_ever(desk: &mut Desk, device: &mut Device) {
    let (mut second, rules) = (desk.newcomer(), AccountRules::default());
    let wish = |device: &Device, change| AccountWish { device: device.id(), question: Sha256::of(fresh_id()), change };
    let name = |text: &str| AccountChange::NameDevice(device.id(), DeviceName::new(text).ok());
    // What was asked and refused: too early, and then too late.
    let too_early = wish(device, AccountChange::RevokeDevice(second.id()));
    assert_eq!(desk.asked(&too_early, &rules), Err(Denied::NotYourDevice(second.id())));
    let (code, named) = (wish(device, AccountChange::LinkCode), wish(device, name("the phone")));
    let made = desk.asked(&code, &rules).expect("makes one").link_code.expect("is told").code;
    let join = wish(&second, AccountChange::JoinByCode(made));
    second.joined = Some(desk.asked(&join, &rules).expect("joins").account);
    let sign_in = wish(device, AccountChange::SignIn(ann()));
    for wish in [&named, &sign_in] {
        assert!(desk.asked(wish, &rules).expect("is done").changed);
    }
    desk.now += 1_000_000;
    if desk.engine != Engine::Model {
        desk.reopen();
    }
    // What is done already is answered alike.
    for wish in [&join, &named, &sign_in] {
        assert!(!desk.asked(wish, &rules).expect("is answered").changed);
    }
    desk.ask(device, name("the old phone")).expect("names");
    let host = desk.newcomer();
    desk.join(&mut second, &host);
    let before = format!("{:?}", rows::Rows::of(&mut *desk.ledger));
    for wish in [&code, &named, &too_early] {
        for _ in 0..2 {
            let denied = desk.asked(wish, &rules).expect_err("it is not done again");
            assert!(matches!(denied, Denied::AskedBefore | Denied::NotYourDevice(_)), "{denied}");
        }
    }
    assert_eq!(desk.asked(&join, &rules), Err(Denied::WrongLinkCode), "it has left again");
    assert_eq!(format!("{:?}", rows::Rows::of(&mut *desk.ledger)), before);
    // A new question is never in the way, whatever was asked before.
    desk.ask(device, name("the phone")).expect("names");
}

fn operator_revokes_and_names_devices(desk: &mut Desk, device: &mut Device) {
    let stranger = Device::new().id();
    assert_eq!(desk.refused(1, RevokeDevice { device: stranger }), Refused::UnknownDevice(stranger));
    assert_eq!(desk.refused(2, NameDevice { device: stranger, name: None }), Refused::UnknownDevice(stranger));
    let mut second = desk.newcomer();
    desk.join(&mut second, device);
    let (account, name) = (device.account(), DeviceName::new("stolen").ok());
    let named = Answer::Named { device: second.id(), account: account.clone(), name: name.clone() };
    assert_eq!(desk.operate(3, NameDevice { device: second.id(), name }).expect("names"), named);
    for id in [4, 4, 5] {
        let revoked = Answer::Revoked { device: second.id(), account: account.clone() };
        assert_eq!(desk.operate(id, RevokeDevice { device: second.id() }).expect("revokes"), revoked);
    }
    let shown = desk.ledger.show(&account).expect("reads").expect("is there");
    assert_eq!((shown.revoked.len(), shown.names[&second.id()].as_str()), (1, "stolen"));
    let order = second.order("shield", 1);
    let order = verified(&second, &order);
    assert_eq!(desk.settle(&[order]), [Outcome::DeviceRevoked]);
}

suite!(
    device_is_told_its_account_and_its_devices_in_the_order_in_which_they_joined,
    player_names_the_devices_of_the_account_and_nobody_elses,
    revoked_device_buys_nothing_and_hears_nothing_for_ever,
    device_that_revokes_itself_is_answered_alike_again,
    code_of_a_device_that_was_revoked_or_frozen_lets_nobody_in,
    new_key_takes_the_place_of_the_old_one,
    key_that_is_enrolled_or_names_another_account_takes_no_place,
    frozen_device_is_frozen_under_its_new_key,
    frozen_device_takes_nothing_along_and_revokes_nobody_else,
    question_sent_again_changes_nothing_ever,
    operator_revokes_and_names_devices,
);
