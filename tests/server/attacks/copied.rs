//! Devices that were copied with their key, put back from an older copy, or rewritten to spend more offline than they
//! were given.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use bevy_iap::protocol::{
    Allowance, AllowanceId, AllowanceRequest, AllowanceUse, Currency, Micros, Reason, Receipt, Status, Token,
};
use bevy_iap::server::clock::Clock;
use bevy_iap::server::ledger::operation::{FreezeDevice, Hold};
use bevy_iap::server::ledger::{Operation, OperationId};

use super::scene::{Scene, WELCOME, attack, attack_on, feed, read};
use crate::support::{Device, fresh_id, game};

/// Asks for an allowance in euros.
fn ask(scene: &Scene, device: &Device, current: Option<AllowanceId>, orders: &[Token]) -> Option<Allowance> {
    let mut request = device.request(u64::MAX - 1, orders);
    request.allowance = Some(AllowanceRequest { current, currency: Currency::EUR });
    let (response, keys) = read(scene, device, &request);
    let verify = |token: &Token| Allowance::verify(token, &keys.as_of(0), &game(), &device.account(), device.id());
    response.allowances.first().map(|token| verify(token).expect("verifies"))
}

/// Orders within an allowance, as the device tells it, and gives what became of it.
fn spend(scene: &Scene, device: &mut Device, product: &str, id: AllowanceId, spent: i64, orders: u64) -> Receipt {
    let mut claims = device.claims(product, 1);
    claims.allowance = Some(AllowanceUse { id, spent: Micros::new(spent).expect("in range"), orders });
    let token = device.sign(&claims);
    answer_to(scene, device, &token)
}

fn answer_to(scene: &Scene, device: &Device, order: &Token) -> Receipt {
    let receipts = device.receipts(&scene.shop, u64::MAX - 1, std::slice::from_ref(order));
    receipts.into_iter().find(|receipt| receipt.order_sha256 == order.sha256()).expect("it is answered")
}

/// Sets aside all that an account has left, so that nothing but an allowance can pay.
fn empty(scene: &Scene, device: &Device) {
    let available = Micros::new(device.euros(&scene.shop)).expect("in range");
    let money = bevy_iap::protocol::Money::new(available, Currency::EUR);
    let hold = Hold { account: device.account(), money, expires_at: i64::MAX };
    scene.shop.server.operate(Operation::new(OperationId(fresh_id()), hold)).expect("is set aside");
}

#[test]
fn two_copies_of_a_device_spend_its_money_once() {
    attack(|scene| {
        scene.buy("shield", |_| {});
        let (mut one, mut two) = (scene.attacker.clone(), scene.attacker.clone());
        let first: Vec<Token> = (0..12).map(|_| one.order("skin", 1)).collect();
        let second: Vec<Token> = (0..12).map(|_| two.order("skin", 1)).collect();
        thread::scope(|scope| {
            for (device, orders) in [(&one, &first), (&two, &second)] {
                let shop = &scene.shop;
                scope.spawn(move || device.sync(shop, 0, orders));
            }
        });
        let (_, receipts) = feed(scene, &scene.attacker);
        let broken = receipts.iter().filter(|receipt| receipt.reason == Some(Reason::ChainBroken)).count();
        assert_eq!((receipts.len(), broken), (25, 12));
        assert_eq!(scene.euros(), 995_000 - 12 * 70_000);
    });
}

#[test]
fn device_that_was_put_back_to_an_older_state_buys_nothing_anew_for_nothing() {
    attack(|scene| {
        scene.buy("shield", |_| {});
        let older = scene.attacker.clone();
        scene.buy("double_jump", |_| {});
        for _ in 0..3 {
            scene.attacker = older.clone();
            let receipt = scene.buy("double_jump", |_| {});
            assert_eq!((receipt.status, receipt.reason), (Status::Declined, Some(Reason::ChainBroken)));
        }
        // Put back to before its first order, and enrolled again.
        scene.attacker.chain = None;
        assert_eq!(scene.attacker.enrol(scene.shop.address()).status, 200);
        assert_eq!(scene.buy("skin", |_| {}).reason, Some(Reason::ChainBroken));
        assert_eq!(scene.euros(), 945_000);
    });
}

#[test]
fn allowance_that_two_copies_spend_is_paid_once_and_then_nothing_is_sold_to_them() {
    attack(|scene| {
        let allowance = ask(scene, &scene.attacker.clone(), None, &[]).expect("is given");
        let (mut one, mut two) = (scene.attacker.clone(), scene.attacker.clone());
        assert_eq!(spend(scene, &mut one, "skin", allowance.id, 70_000, 1).status, Status::Granted);
        let copy = spend(scene, &mut two, "double_jump", allowance.id, 50_000, 1);
        assert_eq!((copy.status, copy.reason), (Status::Declined, Some(Reason::ChainBroken)));
        for product in ["shield", "gift", "day_pass"] {
            let order = one.order(product, 1);
            assert_eq!(answer_to(scene, &one, &order).reason, Some(Reason::DeviceFrozen));
        }
        let within = spend(scene, &mut one, "skin", allowance.id, 140_000, 2);
        assert_eq!(within.reason, Some(Reason::DeviceFrozen));
        assert_eq!(ask(scene, &one, None, &[]), None, "it gets no other");
        assert_eq!(ask(scene, &one, Some(allowance.id), &[]), None);
        assert_eq!(scene.euros(), WELCOME - 70_000);
    });
}

#[test]
fn allowance_is_not_stretched_by_what_its_orders_say() {
    attack(|scene| {
        let mut device = scene.attacker.clone();
        let allowance = ask(scene, &device, None, &[]).expect("is given");
        assert_eq!(allowance.total.micros.value(), 200_000);
        empty(scene, &device);
        assert_eq!(spend(scene, &mut device, "skin", allowance.id, 70_000, 1).status, Status::Granted);
        for (spent, orders) in [
            (70_000, 2),    // as if this one cost nothing
            (139_999, 2),   // or a micro less
            (0, 2),         // or nothing had been spent
            (-70_000, 2),   // or less than nothing
            (140_000, 1),   // counted as the one before
            (140_000, 0),   // or not at all
            (140_000, 101), // or beyond the last one
            (200_001, 2),   // beyond what there is
            (Micros::MAX.value(), 2),
        ] {
            let mut claims = device.claims("skin", 1);
            claims.allowance =
                Some(AllowanceUse { id: allowance.id, spent: Micros::new(spent).expect("in range"), orders });
            let Ok(token) = claims.sign(&device.key) else { continue };
            let request = device.request(0, std::slice::from_ref(&token)).sign(&device.key).expect("signs");
            let answer = crate::support::send_sync(scene.shop.address(), &request);
            if answer.status == 400 {
                continue;
            }
            device.sign(&claims);
            let receipt = answer_to(scene, &device, &token);
            assert_eq!(receipt.reason, Some(Reason::InsufficientFunds), "{spent} {orders}");
        }
        assert_eq!(spend(scene, &mut device, "skin", allowance.id, 140_000, 2).status, Status::Granted);
        let last = spend(scene, &mut device, "skin", allowance.id, 200_000, 3);
        assert_eq!(last.reason, Some(Reason::InsufficientFunds), "60,000 are left, and it costs 70,000");
        assert_eq!(spend(scene, &mut device, "double_jump", allowance.id, 190_000, 4).status, Status::Granted);
    });
}

#[test]
fn allowance_of_somebody_else_pays_nothing() {
    attack(|scene| {
        let (mut thief, owner) = (scene.attacker.clone(), scene.accomplice());
        let allowance = ask(scene, &owner, None, &[]).expect("is given");
        empty(scene, &thief);
        for id in [allowance.id, AllowanceId([0; 16]), AllowanceId([0xff; 16])] {
            let receipt = spend(scene, &mut thief, "shield", id, 5_000, 1);
            assert_eq!(receipt.reason, Some(Reason::InsufficientFunds));
        }
        // Nor does naming it as one's own close it.
        ask(scene, &thief, Some(allowance.id), &[]);
        let mut owner = owner;
        empty(scene, &owner);
        assert_eq!(spend(scene, &mut owner, "shield", allowance.id, 5_000, 1).status, Status::Granted);
    });
}

#[test]
fn hold_of_the_operator_is_no_allowance() {
    attack(|scene| {
        let mut device = scene.attacker.clone();
        let id = fresh_id();
        let hold = Hold { account: device.account(), money: "1EUR".parse().expect("money"), expires_at: i64::MAX };
        scene.shop.server.operate(Operation::new(OperationId(id), hold)).expect("is set aside");
        let receipt = spend(scene, &mut device, "shield", AllowanceId(id), 5_000, 1);
        assert_eq!(receipt.reason, Some(Reason::InsufficientFunds));
        ask(scene, &device, Some(AllowanceId(id)), &[]);
        assert_eq!(device.euros(&scene.shop), 0, "it is still set aside");
    });
}

#[test]
fn allowances_asked_for_again_and_again_set_aside_no_more_than_there_is() {
    attack(|scene| {
        let device = scene.attacker.clone();
        let mut known = vec![None, Some(AllowanceId([9; 16]))];
        for round in 0..30 {
            let current = known[round % known.len()];
            known.extend(ask(scene, &device, current, &[]).map(|allowance| Some(allowance.id)));
        }
        let summary = scene.shop.server.show(&device.account()).expect("is there");
        assert!(summary.allowances.len() <= 3, "{:?}", summary.allowances);
        let balance = &summary.wallet[0];
        assert_eq!(balance.available.value() + balance.held.value(), WELCOME);
        // Where there is no money, there is none for offline either.
        let mut request = device.request(0, &[]);
        request.allowance = Some(AllowanceRequest { current: None, currency: Currency::USD });
        assert_eq!(read(scene, &device, &request).0.allowances, []);
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

#[test]
fn allowance_whose_time_is_over_pays_nothing_however_the_order_is_dated() {
    let watch = Arc::new(Watch(AtomicI64::new(1_800_000_000)));
    attack_on(
        |config| config.clock = watch.clone(),
        |scene| {
            let mut device = scene.attacker.clone();
            let allowance = ask(scene, &device, None, &[]).expect("is given");
            empty(scene, &device);
            watch.0.store(allowance.settle_by - 1, Ordering::SeqCst);
            assert_eq!(spend(scene, &mut device, "shield", allowance.id, 5_000, 1).status, Status::Granted);
            watch.0.store(allowance.settle_by, Ordering::SeqCst);
            // What is left of it comes back to the wallet, and is set aside at once for something else.
            ask(scene, &device, None, &[]);
            empty(scene, &device);
            let mut claims = device.claims("shield", 1);
            claims.issued_at = allowance.issued_at;
            claims.allowance =
                Some(AllowanceUse { id: allowance.id, spent: Micros::new(10_000).expect("in range"), orders: 2 });
            let order = device.sign(&claims);
            assert_eq!(answer_to(scene, &device, &order).reason, Some(Reason::InsufficientFunds));
        },
    );
}

#[test]
fn frozen_device_does_not_thaw_itself() {
    attack(|scene| {
        let device = scene.attacker.id();
        scene.shop.server.operate(Operation::new(OperationId(fresh_id()), FreezeDevice { device })).expect("freezes");
        assert_eq!(scene.attacker.enrol(scene.shop.address()).status, 200);
        for product in ["gift", "shield"] {
            assert_eq!(scene.buy(product, |_| {}).reason, Some(Reason::DeviceFrozen));
        }
        // From the beginning of its chain.
        scene.attacker.chain = None;
        assert_eq!(scene.buy("gift", |_| {}).reason, Some(Reason::ChainBroken));
        assert_eq!(ask(scene, &scene.attacker.clone(), None, &[]), None);
        assert_eq!(scene.euros(), WELCOME);
    });
}
