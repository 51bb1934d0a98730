//! Devices that are copied to spend an allowance twice, and those that an operator freezes.

use bevy_iap::protocol::{Reason, Status};
use bevy_iap::server::ledger::operation::{FreezeDevice, ThawDevice};

use super::allowances::{Purse, empty_the_wallet};
use super::*;

fn device_that_is_cloned_a_hundred_times_gets_its_allowance_once(desk: &mut Desk, device: &mut Device) {
    let mut honest = Device::new();
    desk.enrol(&honest);
    let purse = Purse::of(desk.allow(device, None).expect("is given"));
    let mut honest_purse = Purse::of(desk.allow(&honest, None).expect("is given"));
    empty_the_wallet(desk, device);
    let limit = desk.wallet(device).1;
    let before = desk.feed(device).len() as u64;
    // Every clone spends all of it, in its own way, from the same save.
    let mut clones: Vec<Vec<VerifiedOrder>> = (0..100)
        .map(|_| {
            let mut clone = device.clone();
            let mut purse = purse.clone();
            (0..4).map(|_| purse.order(&mut clone, "shield", 10)).collect()
        })
        .collect();
    // They sync by turns, some orders at a time.
    let mut random: u64 = 7;
    while clones.iter().any(|orders| !orders.is_empty()) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = (random >> 33) as usize % clones.len();
        let some = 1 + (random >> 60) as usize % 3;
        let orders = &mut clones[number];
        let sent: Vec<_> = orders.drain(..some.min(orders.len())).collect();
        desk.settle(&sent);
        assert!(desk.wallet(device).0 >= 0);
    }
    let receipts = desk.feed_from(device, before);
    let granted: i64 = receipts.iter().map(|receipt| receipt.amount.micros.value()).sum();
    assert!((50_000..=limit).contains(&granted), "{granted} of {limit} was granted");
    assert!(receipts.iter().any(|receipt| receipt.reason == Some(Reason::ChainBroken)));
    // Its allowance is closed, it gets no other one, and buys nothing, whatever follows its chain.
    assert_eq!(desk.wallet(device), (limit - granted, 0));
    assert_eq!(desk.allow(device, None), None);
    device.chain = desk.standing(device, 0).chain;
    assert_eq!(desk.buy(device, "charm", 1).1.reason, Some(Reason::DeviceFrozen));
    assert_eq!(desk.buy(device, "gift", 1).1.reason, Some(Reason::DeviceFrozen));
    let shown = desk.ledger.show(&device.account()).expect("reads").expect("is there");
    assert_eq!((shown.frozen.contains(&device.id()), shown.allowances), (true, Vec::new()));
    let mut rows = rows::Rows::of(&mut *desk.ledger);
    assert_eq!(rows.forks.len(), 1, "the evidence is kept");
    let fork = rows.forks.pop().expect("one");
    assert_eq!(fork.device, device.id().to_string());
    // Whoever is honest goes on.
    assert_eq!(desk.spend(&mut honest, &mut honest_purse, "shield", 1).status, Status::Granted);
    // The operator has looked into it.
    desk.operate(9, ThawDevice { device: device.id() }).expect("thaws");
    desk.credit(device, "1EUR", 8);
    assert_eq!(desk.buy(device, "charm", 1).1.status, Status::Granted);
    assert!(desk.allow(device, None).is_some());
}

fn save_that_is_restored_without_an_allowance_is_honest(desk: &mut Desk, device: &mut Device) {
    let save = device.chain;
    desk.buy(device, "shield", 1);
    device.chain = save;
    assert_eq!(desk.buy(device, "shield", 1).1.reason, Some(Reason::ChainBroken));
    // It names one, but stands behind the end of the chain, where nothing else is.
    let allowance = desk.allow(device, None).expect("is given");
    device.chain = desk.standing(device, 0).chain;
    device.chain.as_mut().expect("it has bought").sequence += 1;
    let broken = desk.spend(device, &mut Purse::of(allowance.clone()), "shield", 1);
    assert_eq!(broken.reason, Some(Reason::ChainBroken));
    device.chain = desk.standing(device, 0).chain;
    assert_eq!(desk.spend(device, &mut Purse::of(allowance), "shield", 1).status, Status::Granted);
    assert!(desk.ledger.show(&device.account()).expect("reads").expect("is there").frozen.is_empty());
}

fn fork_within_one_batch_is_found_too(desk: &mut Desk, device: &mut Device) {
    let purse = Purse::of(desk.allow(device, None).expect("is given"));
    let mut clone = device.clone();
    let one = purse.clone().order(device, "shield", 1);
    let other = purse.clone().order(&mut clone, "shield", 2);
    let next = Purse { spent: 5_000, orders: 1, ..purse }.order(device, "shield", 1);
    let told: Vec<_> = desk.settle(&[one, other, next]).iter().map(|outcome| receipt(desk, outcome).reason).collect();
    assert_eq!(told, [None, Some(Reason::ChainBroken), Some(Reason::DeviceFrozen)]);
    assert_eq!(desk.wallet(device), (995_000, 0));
}

fn operator_freezes_a_device_and_thaws_it(desk: &mut Desk, device: &mut Device) {
    let stranger = Device::new().id();
    assert_eq!(desk.refused(1, FreezeDevice { device: stranger }), Refused::UnknownDevice(stranger));
    let mut purse = Purse::of(desk.allow(device, None).expect("is given"));
    desk.spend(device, &mut purse, "shield", 1);
    for _ in 0..2 {
        let answer = desk.operate(2, FreezeDevice { device: device.id() }).expect("freezes");
        assert!(matches!(answer, Answer::Device { frozen: true, .. }), "{answer:?}");
    }
    assert_eq!(desk.wallet(device), (995_000, 0));
    assert_eq!(desk.spend(device, &mut purse, "shield", 1).reason, Some(Reason::DeviceFrozen));
    assert_eq!(desk.allow(device, None), None);
    desk.reopen();
    if desk.engine != Engine::Model {
        assert_eq!(desk.spend(device, &mut purse, "shield", 1).reason, Some(Reason::DeviceFrozen));
        desk.operate(3, ThawDevice { device: device.id() }).expect("thaws");
        assert_eq!(desk.spend(device, &mut purse, "shield", 1).status, Status::Granted, "from the wallet");
        assert!(desk.allow(device, None).is_some());
    }
}

suite!(
    device_that_is_cloned_a_hundred_times_gets_its_allowance_once,
    save_that_is_restored_without_an_allowance_is_honest,
    fork_within_one_batch_is_found_too,
    operator_freezes_a_device_and_thaws_it,
);
