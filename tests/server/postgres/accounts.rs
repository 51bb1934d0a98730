//! Devices that join and are revoked while other servers settle their orders.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bevy_iap::protocol::account::LinkCode;
use bevy_iap::protocol::{KeyId, Sha256};
use bevy_iap::server::AccountRules;
use bevy_iap::server::ledger::{
    AccountChange, AccountWish, Denied, Ledger as _, Login, ManageError, Membership, Place,
};

use super::*;
use crate::cluster;
use crate::support::fresh_id;

const ROUNDS: usize = 12;

fn ask(till: &mut Till, device: KeyId, change: AccountChange) -> Result<Membership, Denied> {
    let wish = AccountWish { device, question: Sha256::of(fresh_id()), change };
    match till.ledger.manage(&wish, &AccountRules::default(), &mut till.signer, 1_000_000) {
        Ok(told) => Ok(told),
        Err(ManageError::Denied(denied)) => Err(denied),
        Err(error) => panic!("{error}"),
    }
}

fn code(till: &mut Till, host: &Device) -> LinkCode {
    ask(till, host.id(), AccountChange::LinkCode).expect("makes one").link_code.expect("is told").code
}

fn feed_length(till: &mut Till, device: &Device) -> u64 {
    let place = Place { device: device.id(), account: device.account(), cursor: 0 };
    till.ledger.standings(&[place]).expect("reads").remove(0).cursor
}

#[test]
fn guest_that_joins_while_another_server_settles_brings_all_that_was_settled_and_nothing_else() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, _) = cluster.fresh_books();
    let mut till = Till::at(&url);
    let mut other = Till::at(&url);
    for round in 0..ROUNDS {
        let mut devices = till.devices(2);
        let (mut host, guest) = (devices.remove(0), devices.remove(0));
        till.settle(&[order(&mut host, "gift")]).expect("settles");
        let code = code(&mut till, &host);
        let joined = AtomicBool::new(false);
        let settled = thread::scope(|scope| {
            let settling = scope.spawn(|| {
                let mut guest = guest.clone();
                let mut settled = 0;
                loop {
                    let after = joined.load(Ordering::SeqCst);
                    let batch = [order(&mut guest, "gift"), order(&mut guest, "gift")];
                    let outcomes = other.settle(&batch).expect("settles");
                    settled += outcomes.iter().filter(|outcome| is_new(outcome)).count();
                    assert!(!(after && is_new(&outcomes[0])), "{outcomes:?} after it has joined");
                    if outcomes[1] == Outcome::WrongAccount || settled > 200 {
                        return settled;
                    }
                }
            });
            thread::sleep(std::time::Duration::from_millis(3 * round as u64));
            let told = ask(&mut till, guest.id(), AccountChange::JoinByCode(code)).expect("joins");
            assert_eq!(told.account, host.account());
            joined.store(true, Ordering::SeqCst);
            settling.join().expect("ends")
        });
        assert_eq!(feed_length(&mut till, &host), 1 + settled as u64);
        till.assert_right();
    }
}

#[test]
fn code_lets_one_of_many_devices_in_however_many_servers_they_ask() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, _) = cluster.fresh_books();
    let mut tills: Vec<Till> = (0..4).map(|_| Till::at(&url)).collect();
    for _ in 0..ROUNDS {
        let devices = tills[0].devices(5);
        let code = code(&mut tills[0], &devices[0]);
        let joined = thread::scope(|scope| {
            let asking: Vec<_> = tills
                .iter_mut()
                .zip(&devices[1..])
                .map(|(till, device)| {
                    scope.spawn(move || ask(till, device.id(), AccountChange::JoinByCode(code)).is_ok())
                })
                .collect();
            asking.into_iter().filter_map(|asking| asking.join().expect("ends").then_some(())).count()
        });
        assert_eq!(joined, 1);
    }
    tills[0].assert_right();
}

#[test]
fn login_has_one_account_however_many_devices_sign_in_at_once() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, _) = cluster.fresh_books();
    let mut tills: Vec<Till> = (0..4).map(|_| Till::at(&url)).collect();
    for round in 0..ROUNDS {
        let devices = tills[0].devices(4);
        let login = Login::new("https://login.example", &format!("player {round}"));
        let accounts: Vec<_> = thread::scope(|scope| {
            let asking: Vec<_> = tills
                .iter_mut()
                .zip(&devices)
                .map(|(till, device)| scope.spawn(move || ask(till, device.id(), AccountChange::SignIn(login))))
                .collect();
            asking.into_iter().map(|asking| asking.join().expect("ends").expect("signs in").account).collect()
        });
        assert!(accounts.iter().all(|account| *account == accounts[0]), "{accounts:?}");
    }
    tills[0].assert_right();
}

#[test]
fn accounts_that_would_join_each_other_do_not_wait_for_each_other_for_good() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, _) = cluster.fresh_books();
    let mut tills: Vec<Till> = (0..2).map(|_| Till::at(&url)).collect();
    for _ in 0..ROUNDS {
        let devices = tills[0].devices(2);
        let codes = [code(&mut tills[0], &devices[1]), code(&mut tills[0], &devices[0])];
        let done: Vec<bool> = thread::scope(|scope| {
            let asking: Vec<_> = tills
                .iter_mut()
                .zip(devices.iter().zip(codes))
                .map(|(till, (device, code))| {
                    scope.spawn(move || ask(till, device.id(), AccountChange::JoinByCode(code)).is_ok())
                })
                .collect();
            asking.into_iter().map(|asking| asking.join().expect("ends")).collect()
        });
        // Whoever comes second finds that the account is closed, and its code with it.
        assert_eq!(done.iter().filter(|done| **done).count(), 1);
    }
    tills[0].assert_right();
}

#[test]
fn device_that_is_revoked_while_another_server_settles_buys_nothing_after_it() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, _) = cluster.fresh_books();
    let mut till = Till::at(&url);
    let mut other = Till::at(&url);
    for _ in 0..ROUNDS {
        let mut device = till.devices(1).remove(0);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let settling = scope.spawn(|| {
                let mut device = device.clone();
                for _ in 0..200 {
                    let after = done.load(Ordering::SeqCst);
                    let outcome = other.settle(&[order(&mut device, "gift")]).expect("settles").remove(0);
                    assert!(!(after && is_new(&outcome)), "{outcome:?}");
                    if outcome == Outcome::DeviceRevoked {
                        return;
                    }
                }
            });
            ask(&mut till, device.id(), AccountChange::RevokeDevice(device.id())).expect("revokes");
            done.store(true, Ordering::SeqCst);
            settling.join().expect("ends");
        });
        assert_eq!(till.settle(&[order(&mut device, "gift")]).expect("settles"), [Outcome::DeviceRevoked]);
    }
    till.assert_right();
}
