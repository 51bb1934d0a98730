//! What moves along with a guest's last device, and what stays.

use bevy_iap::protocol::{AllowanceRequest, Reason, Receipt};
use bevy_iap::server::ledger::operation::{Hold, Post, RefundCredit, RefundOrder, Void};
use bevy_iap::server::ledger::{AllowanceRules, AllowanceWish, Origin};

use super::*;
use crate::ledger::allowances::Purse;
use crate::ledger::rows::Rows;

/// What the account of a device holds, in micros: available and held.
fn wallet(desk: &mut Desk, device: &Device) -> (i64, i64) {
    let wallet = desk.standing(device, 0).wallet;
    wallet.first().map_or((0, 0), |balance| (balance.available.value(), balance.held.value()))
}

fn what_a_guest_bought_moves_along_once(desk: &mut Desk, device: &mut Device) {
    let mut host = desk.newcomer();
    desk.credit(&host, "2EUR", 1);
    desk.buy(&mut host, "gift", 1);
    let (jump, granted) = desk.buy(device, "double_jump", 1);
    desk.buy(device, "shield", 3);
    let guest = device.account();
    desk.credit(device, "3EUR", 2);
    desk.now += 7;
    desk.join(device, &host);
    let feed = desk.feed(&host);
    assert_eq!(feed.len(), 3);
    let moved = |first: Receipt, at: usize| {
        let (id, issued_at, account) = (feed[at].id, desk.now, host.account());
        Receipt { id, issued_at, account, feed: at as u64 + 1, reason: Some(Reason::Moved), ..first }
    };
    assert_eq!(feed[1], moved(granted, 1));
    assert_eq!((feed[2].product.as_str(), feed[2].quantity, feed[2].status), ("shield", 3, Status::Granted));
    // What was paid moves, and what is left of the welcome does not.
    assert_eq!(wallet(desk, &host), (5_000_000, 0));
    let rows = Rows::of(&mut *desk.ledger);
    assert_eq!(rows.sums("promotion", "welcome"), (1_000_000, 1_000_000 - 65_000));
    let shown = desk.ledger.show(&guest).expect("reads").expect("is there");
    assert_eq!((shown.moved_to, shown.receipts, shown.devices.len()), (Some(host.account()), 2, 0));
    assert_eq!((shown.orders.len(), shown.latest.len()), (0, 0));
    let shown = desk.ledger.show(&host.account()).expect("reads").expect("is there");
    assert_eq!((shown.orders["granted"], shown.latest.len()), (3, 3));
    // The account is the host's now: it owns what the guest has bought, and the device's chain goes on.
    assert_eq!(desk.buy(&mut host, "double_jump", 1).1.reason, Some(Reason::AlreadyOwned));
    let again = desk.buy(device, "shield", 1).1;
    assert_eq!((again.status, again.feed, again.account.clone()), (Status::Granted, 5, host.account()));
    // A refund is told there, and goes to the lot that has paid.
    let refund = RefundOrder { order: jump, quantity: None };
    let Answer::Order { receipt, .. } = desk.operate(3, refund).expect("refunds") else { panic!("no refund") };
    assert_eq!((receipt.account, receipt.feed, receipt.status), (host.account(), 6, Status::Refunded));
    assert_eq!(wallet(desk, &host), (5_000_000 - 5_000 + 50_000, 0));
    // Nothing comes into an account that was closed.
    let guest = Device { key: device.key.clone(), chain: None, joined: None };
    let to = host.account();
    assert_eq!(desk.refused(4, paid(&guest, "1EUR")), Refused::AccountMoved { account: guest.account(), to });
    // Money that was paid for it can be booked under the same id, which is the payment's, to where it went.
    assert_eq!(desk.done(4, paid(&host, "1EUR")), (6_000_000 - 5_000 + 50_000, 0));
    assert!(matches!(desk.operate(4, paid(&guest, "1EUR")), Err(OperateError::IdUsed(_))), "it is done once");
}

fn order_that_was_signed_for_the_account_before_is_never_settled(desk: &mut Desk, device: &mut Device) {
    let host = desk.newcomer();
    let settled = device.order("shield", 1);
    let settled = verified(device, &settled);
    desk.settle(std::slice::from_ref(&settled));
    let late = device.order("shield", 1);
    let late = verified(device, &late);
    assert_eq!(desk.join(device, &host).chain, Some(head(&settled)), "what comes next follows it");
    assert_eq!(desk.settle(&[settled.clone(), late.clone()]), [Outcome::WrongAccount, Outcome::WrongAccount]);
    let place = Place { device: device.id(), account: device.id().guest_account(), cursor: 0 };
    let heard = desk.ledger.standings(&[place]);
    assert!(matches!(heard, Err(LedgerError::WrongAccount { device: id }) if id == device.id()), "{heard:?}");
    desk.reopen();
    if desk.engine != Engine::Model {
        assert_eq!(desk.settle(&[late]), [Outcome::WrongAccount]);
        device.chain = Some(head(&settled));
        assert_eq!(desk.buy(device, "gift", 1).1.status, Status::Granted, "its chain goes on where it was settled");
    }
}

fn orders_of_one_batch_are_of_the_account_that_each_names(desk: &mut Desk, device: &mut Device) {
    let mut host = desk.newcomer();
    let for_the_guest = device.order("gift", 1);
    let for_the_guest = verified(device, &for_the_guest);
    desk.join(device, &host);
    device.chain = None;
    let of_the_device = device.order("gift", 1);
    let of_the_host = host.order("gift", 1);
    let batch = [verified(device, &of_the_device), for_the_guest, verified(&host, &of_the_host)];
    let told = desk.settle(&batch);
    assert!(matches!(&told[..], [Outcome::Settled { .. }, Outcome::WrongAccount, Outcome::Settled { .. }]), "{told:?}");
}

fn device_that_leaves_others_behind_takes_nothing_along(desk: &mut Desk, device: &mut Device) {
    let mut second = desk.newcomer();
    desk.join(&mut second, device);
    desk.buy(&mut second, "double_jump", 1);
    let mut host = desk.newcomer();
    assert!(desk.allow(&second, None).is_some());
    desk.join(&mut second, &host);
    assert_eq!(desk.feed(&host), []);
    assert_eq!(wallet(desk, device), (950_000, 0), "what it might have spent offline is free");
    assert_eq!(desk.feed(device).len(), 1);
    assert_eq!(desk.buy(device, "shield", 1).1.feed, 2, "who stays goes on");
    assert_eq!(desk.buy(&mut host, "gift", 1).1.feed, 1);
    assert_eq!(desk.buy(&mut second, "gift", 1).1.feed, 2);
}

fn last_device_that_is_not_revoked_takes_all_along(desk: &mut Desk, device: &mut Device) {
    let mut second = desk.newcomer();
    desk.join(&mut second, device);
    desk.buy(device, "double_jump", 1);
    desk.ask(&second, AccountChange::RevokeDevice(device.id())).expect("revokes");
    let host = desk.newcomer();
    desk.join(&mut second, &host);
    assert_eq!(desk.feed(&host).len(), 1);
    // Again, with what moved here before.
    let mut other = desk.newcomer();
    desk.buy(&mut other, "gift", 1);
    desk.ask(&second, AccountChange::RevokeDevice(host.id())).expect("revokes");
    desk.join(&mut second, &other);
    let feed = desk.feed(&other);
    assert_eq!(feed.len(), 2);
    assert_eq!((feed[1].product.as_str(), feed[1].reason), ("double_jump", Some(Reason::Moved)));
    assert_eq!(desk.buy(&mut second, "double_jump", 1).1.reason, Some(Reason::AlreadyOwned));
}

fn what_is_left_of_an_order_moves_and_is_refunded_once(desk: &mut Desk, device: &mut Device) {
    let (order, _) = desk.buy(device, "skin", 10);
    desk.operate(1, RefundOrder { order, quantity: Some(4) }).expect("refunds");
    let (gone, _) = desk.buy(device, "shield", 1);
    desk.operate(2, RefundOrder { order: gone, quantity: None }).expect("refunds");
    let host = desk.newcomer();
    desk.join(device, &host);
    let feed = desk.feed(&host);
    assert_eq!(feed.len(), 1, "what was refunded whole, or declined, stays");
    assert_eq!((feed[0].quantity, feed[0].amount.micros.value()), (6, 420_000));
    let Answer::Order { receipt, .. } = desk.operate(3, RefundOrder { order, quantity: Some(1) }).expect("refunds")
    else {
        panic!("no refund")
    };
    let items = |receipt: &Receipt| match &receipt.grants[0] {
        bevy_iap::protocol::Grant::Item { quantity, .. } => *quantity,
        grant => panic!("{grant:?}"),
    };
    assert_eq!((receipt.quantity, items(&receipt)), (5, 15));
    desk.operate(4, RefundOrder { order, quantity: None }).expect("refunds");
    let rest = desk.operate(5, RefundOrder { order, quantity: None });
    assert!(matches!(rest, Err(OperateError::Refused(Refused::AlreadyRefunded(_)))), "{rest:?}");
}

fn charge_back_of_a_guests_credit_is_owed_where_it_went(desk: &mut Desk, device: &mut Device) {
    // Spent to the last, before it moves: its lot is closed.
    desk.credit(device, "0.05EUR", 1);
    desk.operate(2, RefundCredit { credit: OperationId([1; 16]), amount: None, only_unspent: false, forced: false })
        .expect("gives back");
    desk.credit(device, "1EUR", 3);
    desk.buy(device, "skin", 28);
    let host = desk.newcomer();
    desk.join(device, &host);
    assert_eq!(wallet(desk, &host), (40_000, 0));
    let back = RefundCredit { credit: OperationId([3; 16]), amount: None, only_unspent: false, forced: false };
    assert_eq!(desk.done(4, back), (-960_000, 0), "nobody gets rid of a debt by joining another account");
}

fn holds_of_the_operator_move_with_their_money(desk: &mut Desk, device: &mut Device) {
    desk.credit(device, "1EUR", 1);
    let hold = |account, money: &str, ends| Hold { account, money: money.parse().expect("money"), expires_at: ends };
    let (account, ends) = (device.account(), desk.now + 100);
    desk.done(2, hold(account.clone(), "0.3EUR", ends));
    desk.done(3, hold(account.clone(), "1.2EUR", ends));
    desk.done(4, hold(account, "0.1EUR", desk.now + 5));
    desk.now += 5;
    let host = desk.newcomer();
    desk.join(device, &host);
    // The welcome is set aside as a whole, so nothing of it goes back; what was free of the credit is free.
    assert_eq!(wallet(desk, &host), (500_000, 1_500_000));
    assert_eq!(desk.done(5, Post { hold: OperationId([2; 16]), amount: None }), (500_000, 1_200_000));
    assert_eq!(desk.done(6, Void { hold: OperationId([3; 16]) }), (1_700_000, 0));
}

fn allowance_of_the_account_before_backs_nothing(desk: &mut Desk, device: &mut Device) {
    desk.credit(device, "1EUR", 1);
    let mut purse = Purse::of(desk.allow(device, None).expect("is given"));
    let mut host = desk.newcomer();
    desk.join(device, &host);
    assert_eq!(wallet(desk, &host), (1_000_000, 0));
    let told = desk.spend(device, &mut purse, "shield", 1);
    assert_eq!((told.status, wallet(desk, &host)), (Status::Granted, (995_000, 0)), "from the wallet");
    assert!(desk.allow(device, None).is_some(), "it is given another one");
    assert_eq!(desk.buy(&mut host, "gift", 1).1.status, Status::Granted);
    // One for the account that it has left is not.
    let wish = AllowanceWish {
        device: device.id(),
        account: device.id().guest_account(),
        request: AllowanceRequest { current: None, currency: bevy_iap::protocol::Currency::EUR },
    };
    let mut context = Context { catalog: &desk.catalog, signer: &mut desk.signer, now: desk.now };
    let given = desk.ledger.allow(&[wish], &AllowanceRules::default(), &mut context).expect("answers");
    assert_eq!(given, [None]);
}

fn throw_away_guests_bring_no_welcome(desk: &mut Desk, device: &mut Device) {
    let before = wallet(desk, device);
    for _ in 0..5 {
        let mut guest = Device::new();
        desk.enrol(&guest);
        desk.join(&mut guest, device);
    }
    assert_eq!(wallet(desk, device), before);
    let mut credit = paid(device, "1EUR");
    credit.origin = Origin::Promotional;
    desk.operate(9, credit).expect("credits");
    assert_eq!(wallet(desk, device), (2_000_000, 0));
}

fn too_many_purchases_stay_where_they_are(desk: &mut Desk, device: &mut Device) {
    if desk.engine == Engine::Model {
        // It copies all of its books for each batch.
        return;
    }
    for _ in 0..11 {
        let batch: Vec<_> = (0..910).map(|_| device.order("gift", 1)).collect();
        let batch: Vec<_> = batch.iter().map(|token| verified(device, token)).collect();
        desk.settle(&batch);
    }
    let host = desk.newcomer();
    let code = desk.code(&host);
    assert_eq!(desk.ask(device, AccountChange::JoinByCode(code)), Err(Denied::TooManyPurchases));
    assert_eq!(desk.ask(device, AccountChange::Show).expect("shows").account, device.account());
    assert_eq!(desk.buy(device, "gift", 1).1.feed, 10_011);
}

suite!(
    what_a_guest_bought_moves_along_once,
    order_that_was_signed_for_the_account_before_is_never_settled,
    orders_of_one_batch_are_of_the_account_that_each_names,
    device_that_leaves_others_behind_takes_nothing_along,
    last_device_that_is_not_revoked_takes_all_along,
    what_is_left_of_an_order_moves_and_is_refunded_once,
    charge_back_of_a_guests_credit_is_owed_where_it_went,
    holds_of_the_operator_move_with_their_money,
    allowance_of_the_account_before_backs_nothing,
    throw_away_guests_bring_no_welcome,
    too_many_purchases_stay_where_they_are,
);
