//! Allowances: what a device may spend while it is offline, and what nobody can get out of them.

use bevy_iap::protocol::{
    Allowance, AllowanceId, AllowanceRequest, AllowanceUse, Currency, Micros, Reason, Receipt, Status,
};
use bevy_iap::server::ledger::operation::{Hold, Post, RefundCredit, RefundOrder, Void};
use bevy_iap::server::ledger::{AllowanceRules, AllowanceWish};

use super::*;

const DAY: i64 = 86_400;

impl Desk {
    /// Asks for an allowance in euros, as a device does that makes orders within `current`.
    pub fn allow(&mut self, device: &Device, current: Option<&Allowance>) -> Option<Allowance> {
        self.allow_by(&AllowanceRules::default(), device, current)
    }

    fn allow_by(&mut self, rules: &AllowanceRules, device: &Device, current: Option<&Allowance>) -> Option<Allowance> {
        let request = AllowanceRequest { current: current.map(|allowance| allowance.id), currency: Currency::EUR };
        let wish = AllowanceWish { device: device.id(), account: device.account(), request };
        let mut context = Context { catalog: &self.catalog, signer: &mut self.signer, now: self.now };
        let token = self.ledger.allow(&[wish], rules, &mut context).expect("allows").remove(0)?;
        let key = self.key();
        Some(Allowance::verify(&token, &[key], &game(), &device.account(), device.id()).expect("verifies"))
    }

    /// What is available and held, in micros of a euro.
    pub fn wallet(&mut self, device: &Device) -> (i64, i64) {
        let wallet = self.standing(device, 0).wallet;
        let euros = wallet.iter().find(|balance| balance.currency == Currency::EUR).expect("a wallet");
        (euros.available.value(), euros.held.value())
    }

    /// The receipts in a device's feed after a place.
    pub fn feed_from(&mut self, device: &Device, mut cursor: u64) -> Vec<Receipt> {
        let (key, mut receipts) = (self.key(), Vec::new());
        loop {
            let Standing { page, cursor: next, more, .. } = self.standing(device, cursor);
            receipts.extend(page.iter().map(|entry| Receipt::verify(&entry.token, &[key], &game()).expect("verifies")));
            if !more {
                return receipts;
            }
            cursor = next;
        }
    }

    /// Makes an order within an allowance, and gives its receipt.
    pub fn spend(&mut self, device: &mut Device, purse: &mut Purse, product: &str, quantity: u32) -> Receipt {
        let order = purse.order(device, product, quantity);
        let outcome = self.settle(&[order]).remove(0);
        receipt(self, &outcome)
    }
}

/// An allowance as a device keeps it.
#[derive(Clone)]
pub struct Purse {
    pub allowance: Allowance,
    pub spent: i64,
    pub orders: u64,
}

impl Purse {
    pub fn of(allowance: Allowance) -> Self {
        Self { allowance, spent: 0, orders: 0 }
    }

    fn claim(&self) -> AllowanceUse {
        AllowanceUse {
            id: self.allowance.id,
            spent: Micros::new(self.spent).expect("in range"),
            orders: self.orders.max(1),
        }
    }

    pub fn order(&mut self, device: &mut Device, product: &str, quantity: u32) -> VerifiedOrder {
        let mut claims = device.claims(product, quantity);
        self.spent += claims.price.micros.value() * i64::from(quantity);
        self.orders += 1;
        claims.allowance = Some(self.claim());
        let token = device.sign(&claims);
        verified(device, &token)
    }
}

/// Spends all that is in the wallet beside what is set aside.
pub fn empty_the_wallet(desk: &mut Desk, device: &mut Device) {
    while desk.wallet(device).0 >= 5_000 {
        let most = (desk.wallet(device).0 / 5_000).min(1_000);
        let (_, receipt) = desk.buy(device, "shield", u32::try_from(most).expect("small"));
        assert_eq!(receipt.status, Status::Granted);
    }
    let rest = desk.wallet(device).0;
    if rest > 0 {
        desk.buy(device, "charm", u32::try_from(rest.min(1_000)).expect("small"));
    }
}

fn allowance_is_set_aside_and_shown_as_held(desk: &mut Desk, device: &mut Device) {
    let allowance = desk.allow(device, None).expect("one euro is there");
    assert_eq!(allowance.total.micros.value(), 200_000);
    assert_eq!((allowance.per_order.value(), allowance.orders), (200_000, 100));
    assert_eq!((allowance.expires_at, allowance.settle_by), (desk.now + 7 * DAY, desk.now + 14 * DAY));
    assert_eq!(desk.wallet(device), (800_000, 200_000));
    let shown = desk.ledger.show(&device.account()).expect("reads").expect("is there").allowances;
    assert_eq!(shown.len(), 1);
    assert_eq!((shown[0].id, shown[0].device, shown[0].orders_left), (allowance.id, device.id(), 100));
    assert_eq!((shown[0].left, shown[0].total), (allowance.total, allowance.total));
}

fn order_within_an_allowance_is_granted_though_the_rest_of_the_wallet_is_spent(desk: &mut Desk, device: &mut Device) {
    let mut purse = Purse::of(desk.allow(device, None).expect("is given"));
    empty_the_wallet(desk, device);
    assert_eq!(desk.wallet(device), (0, 200_000));
    let (_, declined) = desk.buy(device, "shield", 1);
    assert_eq!(declined.reason, Some(Reason::InsufficientFunds));
    assert_eq!(desk.spend(device, &mut purse, "shield", 2).status, Status::Granted);
    assert_eq!(desk.spend(device, &mut purse, "double_jump", 1).status, Status::Granted);
    assert_eq!(desk.wallet(device), (0, 140_000));
    // Creators get their shares of it as of any other.
    assert_eq!(desk.spend(device, &mut purse, "skin", 2).status, Status::Granted);
    assert_eq!(desk.wallet(device), (0, 0));
    assert_eq!(desk.spend(device, &mut purse, "charm", 1).reason, Some(Reason::InsufficientFunds));
}

fn order_within_an_allowance_is_charged_once_however_often_it_is_sent(desk: &mut Desk, device: &mut Device) {
    let mut purse = Purse::of(desk.allow(device, None).expect("is given"));
    let order = purse.order(device, "shield", 3);
    let first = desk.settle(&[order.clone(), order.clone()]);
    let again = desk.settle(&[order]);
    assert_eq!(receipt(desk, &first[0]), receipt(desk, &again[0]));
    assert!(matches!((&first[1], &again[0]), (Outcome::Replayed(one), Outcome::Replayed(other)) if one == other));
    assert_eq!(desk.wallet(device), (800_000, 185_000));
}

fn orders_of_one_batch_take_from_an_allowance_one_after_the_other(desk: &mut Desk, device: &mut Device) {
    let mut purse = Purse::of(desk.allow(device, None).expect("is given"));
    empty_the_wallet(desk, device);
    let orders: Vec<_> = (0..41).map(|_| purse.order(device, "shield", 1)).collect();
    let outcomes = desk.settle(&orders);
    let granted = outcomes.iter().filter(|outcome| receipt(desk, outcome).status == Status::Granted).count();
    assert_eq!((granted, desk.wallet(device)), (40, (0, 0)));
}

fn order_that_is_not_within_its_allowance_is_paid_from_the_wallet_or_declined(desk: &mut Desk, device: &mut Device) {
    let mut other = Device::new();
    desk.enrol(&other);
    let rules = AllowanceRules { orders: 5, ..AllowanceRules::default() };
    let allowance = desk.allow_by(&rules, device, None).expect("is given");
    let others = desk.allow_by(&rules, &other, None).expect("is given");
    let mut purse = Purse::of(allowance.clone());
    assert_eq!(desk.spend(device, &mut purse, "shield", 1).status, Status::Granted);
    let claim =
        |spent: i64, orders| AllowanceUse { id: allowance.id, spent: Micros::new(spent).expect("in range"), orders };
    // A total that is behind, a count that is behind, beyond the total, beyond the number, another device's, and none.
    let wrong = [
        (claim(9_999, 2), "shield", 1),
        (claim(10_000, 1), "shield", 1),
        (claim(200_001, 2), "shield", 1),
        (claim(10_000, 6), "shield", 1),
        (claim(250_000, 2), "skin", 3),
        (AllowanceUse { id: others.id, ..claim(10_000, 2) }, "shield", 1),
        (AllowanceUse { id: AllowanceId([9; 16]), ..claim(10_000, 2) }, "shield", 1),
    ];
    for enough in [true, false] {
        if !enough {
            empty_the_wallet(desk, device);
        }
        for (claim, product, quantity) in wrong {
            let (before, held) = desk.wallet(device);
            let order = Order { allowance: Some(claim), ..device.claims(product, quantity) };
            let price = order.price.micros.value() * i64::from(quantity);
            let token = device.sign(&order);
            let outcome = desk.settle(&[verified(device, &token)]).remove(0);
            let told = receipt(desk, &outcome);
            match enough {
                true => assert_eq!((told.status, desk.wallet(device)), (Status::Granted, (before - price, held))),
                false => {
                    assert_eq!(told.reason, Some(Reason::InsufficientFunds), "{claim:?}");
                    assert_eq!(desk.wallet(device), (before, held));
                }
            }
        }
    }
    // In another currency there is nothing of it either.
    let price = "0.06USD".parse().expect("money");
    let order = Order { price, allowance: Some(claim(65_000, 2)), ..device.claims("double_jump", 1) };
    let token = device.sign(&order);
    let outcome = desk.settle(&[verified(device, &token)]).remove(0);
    assert_eq!(receipt(desk, &outcome).reason, Some(Reason::InsufficientFunds));
    assert_eq!(desk.spend(device, &mut purse, "shield", 1).status, Status::Granted, "what is right still counts");
    assert_eq!(desk.spend(&mut other, &mut Purse::of(others), "shield", 1).status, Status::Granted);
}

fn order_that_is_declined_between_takes_nothing_from_those_after_it(desk: &mut Desk, device: &mut Device) {
    let mut purse = Purse::of(desk.allow(device, None).expect("is given"));
    empty_the_wallet(desk, device);
    assert_eq!(desk.spend(device, &mut purse, "double_jump", 1).status, Status::Granted);
    assert_eq!(desk.spend(device, &mut purse, "double_jump", 1).reason, Some(Reason::AlreadyOwned));
    assert_eq!(desk.spend(device, &mut purse, "shield", 1).status, Status::Granted);
    // The declined one is paid by nobody, and what it would have taken is free with the rest.
    assert_eq!(desk.wallet(device), (0, 145_000));
}

fn device_gets_another_one_only_when_less_than_half_is_left(desk: &mut Desk, device: &mut Device) {
    desk.credit(device, "99EUR", 1);
    let first = desk.allow(device, None).expect("is given");
    assert_eq!(first.total.micros.value(), 5_000_000, "no more than the most");
    assert_eq!(desk.allow(device, Some(&first)), None, "it has all of it");
    // Its answer was lost: it is told again, and nothing is set aside.
    assert_eq!(desk.allow(device, None), Some(first.clone()));
    assert_eq!(desk.wallet(device), (95_000_000, 5_000_000));
    let mut purse = Purse::of(first.clone());
    desk.spend(device, &mut purse, "shield", 500);
    assert_eq!(desk.allow(device, Some(&first)), None, "half is left");
    desk.spend(device, &mut purse, "charm", 1);
    let second = desk.allow(device, Some(&first)).expect("less than half is left");
    assert_eq!(desk.wallet(device), (90_000_000, 7_499_999));
    // It does not make orders within it yet.
    assert_eq!(desk.allow(device, Some(&first)), Some(second.clone()));
    desk.spend(device, &mut purse, "charm", 1);
    assert_eq!(desk.allow(device, Some(&second)), None);
    assert_eq!(desk.wallet(device), (92_499_998, 5_000_000), "what was left of the first is free");
    assert_eq!(desk.spend(device, &mut purse, "shield", 1).status, Status::Granted, "from the wallet");
    assert_eq!(desk.wallet(device), (92_494_998, 5_000_000));
    // Half of its time is over.
    desk.now += 7 * DAY / 2;
    assert_eq!(desk.allow(device, Some(&second)), None);
    desk.now += 1;
    let third = desk.allow(device, Some(&second)).expect("less than half of its time is left");
    assert_eq!((third.total, third.expires_at), (second.total, desk.now + 7 * DAY));
    assert_eq!(desk.allow(device, Some(&third)), None);
    assert_eq!(desk.wallet(device), (92_494_998, 5_000_000));
}

fn device_keeps_what_is_more_than_it_would_get(desk: &mut Desk, device: &mut Device) {
    let first = desk.allow(device, None).expect("is given");
    let mut purse = Purse::of(first.clone());
    desk.buy(device, "shield", 150);
    desk.spend(device, &mut purse, "shield", 21);
    // A fifth of 0.05 and 0.095 is 0.029.
    assert_eq!(desk.wallet(device), (50_000, 95_000));
    assert_eq!(desk.allow(device, Some(&first)), None);
    desk.spend(device, &mut purse, "shield", 14);
    // A fifth of 0.05 and 0.025 is 0.015.
    assert_eq!(desk.allow(device, Some(&first)), None);
    desk.spend(device, &mut purse, "shield", 3);
    assert_eq!(desk.allow(device, Some(&first)).expect("is given").total.micros.value(), 12_000);
}

fn device_that_has_lost_its_allowance_gets_another_one(desk: &mut Desk, device: &mut Device) {
    let first = desk.allow(device, None).expect("is given");
    desk.spend(device, &mut Purse::of(first.clone()), "shield", 1);
    // A save that knows of none would begin to count at nothing.
    let second = desk.allow(device, None).expect("is given");
    assert_ne!(first.id, second.id);
    assert_eq!(desk.spend(device, &mut Purse::of(second.clone()), "shield", 1).status, Status::Granted);
    let third = desk.allow(device, None).expect("is given");
    desk.spend(device, &mut Purse::of(third.clone()), "shield", 1);
    let held = desk.wallet(device).1;
    assert_eq!(desk.allow(device, None), None, "three at most back something");
    assert_eq!(desk.wallet(device).1, held);
    assert_eq!(desk.allow(device, Some(&third)), None);
    assert_eq!(desk.wallet(device).1, third.total.micros.value() - 5_000);
    // An old request that comes late closes nothing.
    assert_eq!(desk.allow(device, Some(&first)).map(|other| other.id == third.id), Some(false));
    assert_eq!(desk.spend(device, &mut Purse { spent: 5_000, orders: 1, ..Purse::of(third) }, "shield", 1).feed, 4);
}

fn what_is_unused_is_free_again_when_its_time_and_grace_are_over(desk: &mut Desk, device: &mut Device) {
    let first = desk.allow(device, None).expect("is given");
    let mut purse = Purse::of(first.clone());
    desk.spend(device, &mut purse, "shield", 1);
    empty_the_wallet(desk, device);
    desk.now = first.expires_at;
    // Made in time, heard of late: it is honoured.
    assert_eq!(desk.spend(device, &mut purse, "shield", 1).status, Status::Granted);
    assert_eq!(desk.wallet(device), (0, 190_000));
    desk.now = first.settle_by - 1;
    assert_eq!(desk.ledger.expire(desk.now).expect("expires"), 0);
    assert_eq!(desk.spend(device, &mut purse, "shield", 1).status, Status::Granted);
    desk.now = first.settle_by;
    assert_eq!(desk.ledger.expire(desk.now).expect("expires"), 1);
    assert_eq!(desk.wallet(device), (185_000, 0));
    // Later still, the wallet pays if it can.
    assert_eq!(desk.spend(device, &mut purse, "skin", 2).status, Status::Granted);
    assert_eq!(desk.wallet(device), (45_000, 0));
    assert_eq!(desk.spend(device, &mut purse, "skin", 1).reason, Some(Reason::InsufficientFunds));
}

fn end_of_an_allowance_is_noticed_before_anything_else_is_decided(desk: &mut Desk, device: &mut Device) {
    let first = desk.allow(device, None).expect("is given");
    let mut purse = Purse::of(first.clone());
    desk.spend(device, &mut purse, "shield", 1);
    empty_the_wallet(desk, device);
    desk.now = first.settle_by;
    let orders = [purse.order(device, "skin", 2), purse.order(device, "shield", 11), purse.order(device, "charm", 1)];
    let told: Vec<_> = desk.settle(&orders).iter().map(|outcome| receipt(desk, outcome).status).collect();
    assert_eq!(told, [Status::Granted, Status::Granted, Status::Declined]);
    assert_eq!(desk.wallet(device), (0, 0));
}

fn nothing_is_set_aside_where_nothing_is_there_or_the_operator_gives_none(desk: &mut Desk, device: &mut Device) {
    let none = AllowanceRules { percent: 0, ..AllowanceRules::default() };
    assert_eq!(desk.allow_by(&none, device, None), None);
    empty_the_wallet(desk, device);
    assert_eq!(desk.allow(device, None), None);
    desk.credit(device, "0.000004EUR", 1);
    assert_eq!(desk.allow(device, None), None, "a fifth of it is no micro");
    desk.credit(device, "0.000001EUR", 2);
    assert_eq!(desk.allow(device, None).expect("is given").total.micros.value(), 1);
    let all = AllowanceRules { percent: 100, ..AllowanceRules::default() };
    let (mut other, mut least) = (Device::new(), Device::new());
    desk.enrol(&other);
    assert_eq!(desk.allow_by(&all, &other, None).expect("is given").total.micros.value(), 1_000_000);
    assert_eq!(desk.buy(&mut other, "charm", 1).1.reason, Some(Reason::InsufficientFunds));
    desk.enrol(&least);
    let most = AllowanceRules { most: Micros::new(7).expect("in range"), ..all };
    assert_eq!(desk.allow_by(&most, &least, None).expect("is given").total.micros.value(), 7);
    assert_eq!(desk.buy(&mut least, "charm", 1).1.status, Status::Granted);
}

fn one_device_cannot_spend_what_is_set_aside_for_another(desk: &mut Desk, device: &mut Device) {
    // Both are of one wallet only where accounts have several devices; across accounts nothing is shared at all.
    let mut other = Device::new();
    desk.enrol(&other);
    let allowance = desk.allow(device, None).expect("is given");
    empty_the_wallet(desk, &mut other);
    let mut purse = Purse::of(allowance);
    assert_eq!(desk.spend(&mut other, &mut purse, "shield", 1).reason, Some(Reason::InsufficientFunds));
    assert_eq!(desk.wallet(device), (800_000, 200_000));
}

fn what_an_allowance_has_paid_goes_back_to_its_lots(desk: &mut Desk, device: &mut Device) {
    desk.credit(device, "1EUR", 1);
    let rules = AllowanceRules { percent: 60, ..AllowanceRules::default() };
    let mut purse = Purse::of(desk.allow_by(&rules, device, None).expect("is given"));
    assert_eq!(desk.wallet(device), (800_000, 1_200_000));
    // The welcome pays first, then the credit.
    let bought = desk.spend(device, &mut purse, "skin", 17);
    assert_eq!(desk.wallet(device), (800_000, 10_000));
    desk.operate(2, RefundOrder { order: bought.order, quantity: Some(7) }).expect("refunds");
    assert_eq!(desk.wallet(device), (1_290_000, 10_000), "it is free, and not of the allowance again");
    desk.operate(3, RefundOrder { order: bought.order, quantity: None }).expect("refunds");
    assert_eq!(desk.wallet(device), (1_990_000, 10_000));
    let spent =
        desk.operate(4, RefundCredit { credit: OperationId([1; 16]), amount: None, only_unspent: true, forced: false });
    assert!(
        matches!(spent, Err(OperateError::Refused(Refused::Spent { .. }))),
        "a part of it is still set aside: {spent:?}"
    );
    assert_eq!(
        desk.done(5, RefundCredit { credit: OperationId([1; 16]), amount: None, only_unspent: false, forced: true }),
        (990_000, 10_000)
    );
    assert_eq!(desk.spend(device, &mut purse, "shield", 2).status, Status::Granted, "what is set aside is");
}

fn operator_neither_takes_nor_gives_free_what_backs_an_allowance(desk: &mut Desk, device: &mut Device) {
    let allowance = desk.allow(device, None).expect("is given");
    let hold = OperationId(allowance.id.0);
    assert_eq!(desk.refused(1, Post { hold, amount: None }), Refused::UnknownHold(hold));
    assert_eq!(desk.refused(2, Void { hold }), Refused::UnknownHold(hold));
    let money = "0.1EUR".parse().expect("money");
    let operation = Operation::new(hold, Hold { account: device.account(), money, expires_at: desk.now + 1 });
    let used = desk.ledger.operate(&operation, &mut desk.signer, desk.now);
    assert!(matches!(used, Err(OperateError::IdUsed(id)) if id == hold), "{used:?}");
    // Not even where another operation has its id.
    desk.ledger.operate(&Operation::new(hold, paid(device, "1EUR")), &mut desk.signer, desk.now).expect("credits");
    assert_eq!(desk.refused(3, Post { hold, amount: None }), Refused::UnknownHold(hold));
    assert_eq!(desk.wallet(device), (1_800_000, 200_000));
}

fn request_that_changes_nothing_writes_nothing(desk: &mut Desk, device: &mut Device) {
    let first = desk.allow(device, None).expect("is given");
    let before = rows::Rows::of(&mut *desk.ledger);
    for _ in 0..3 {
        assert_eq!(desk.allow(device, None).as_ref(), Some(&first));
        assert_eq!(desk.allow(device, Some(&first)), None);
        desk.now += 60;
    }
    assert_eq!(rows::Rows::of(&mut *desk.ledger), before);
}

fn allowance_for_another_catalogue_is_replaced(desk: &mut Desk, device: &mut Device) {
    let first = desk.allow(device, None).expect("is given");
    desk.catalog = Catalog::parse("catalog.ron", &crate::support::CATALOG.replace("0.07", "0.08")).expect("is good");
    let second = desk.allow(device, Some(&first)).expect("is given");
    assert_eq!(second.catalog, desk.catalog.digest());
    assert_eq!(desk.allow(device, Some(&second)), None);
    desk.catalog = catalog();
}

suite!(
    allowance_is_set_aside_and_shown_as_held,
    order_within_an_allowance_is_granted_though_the_rest_of_the_wallet_is_spent,
    order_within_an_allowance_is_charged_once_however_often_it_is_sent,
    orders_of_one_batch_take_from_an_allowance_one_after_the_other,
    order_that_is_not_within_its_allowance_is_paid_from_the_wallet_or_declined,
    order_that_is_declined_between_takes_nothing_from_those_after_it,
    device_gets_another_one_only_when_less_than_half_is_left,
    device_keeps_what_is_more_than_it_would_get,
    device_that_has_lost_its_allowance_gets_another_one,
    what_is_unused_is_free_again_when_its_time_and_grace_are_over,
    end_of_an_allowance_is_noticed_before_anything_else_is_decided,
    nothing_is_set_aside_where_nothing_is_there_or_the_operator_gives_none,
    one_device_cannot_spend_what_is_set_aside_for_another,
    what_an_allowance_has_paid_goes_back_to_its_lots,
    operator_neither_takes_nor_gives_free_what_backs_an_allowance,
    request_that_changes_nothing_writes_nothing,
    allowance_for_another_catalogue_is_replaced,
);
