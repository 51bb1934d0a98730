//! Refunds, quantities, and what was bought and decided elsewhere, in a real game with a real server.

use bevy_iap::client::OrderState;
use bevy_iap::protocol::{Money, OrderId, Reason};
use bevy_iap::server::ledger::operation::{RefundCredit, RefundOrder};
use bevy_iap::server::ledger::{Credit, Operation, OperationId};

use crate::shop::{Game, Shop};

fn refund_some(shop: &Shop, id: u8, order: OrderId, quantity: u32) {
    let refund = RefundOrder { order, quantity: Some(quantity) };
    shop.server().operate(Operation::new(OperationId([id; 16]), refund)).expect("refunds");
}

fn hears(game: &mut Game, what: &str, available: &str) {
    game.store().sync_now();
    game.until(what, |store| store.wallet().first().is_some_and(|it| it.available.to_string() == available));
}

/// Syncs until the server has decided so many consumptions.
fn until_used(game: &mut Game, shop: &Shop, count: u64) {
    game.until("the server knows what was used", |store| {
        store.sync_now();
        let account = store.account().expect("open");
        let summary = shop.server().show(account).expect("is there");
        summary.consumptions.values().map(|numbers| numbers.decided()).sum::<u64>() == count
    });
}

#[test]
fn pp06_a_refund_in_part_takes_back_that_part_and_stays_so() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play("save");
    let order = game.store_mut().purchase_many("shield", 10).expect("ordered");
    game.wait_for(order, OrderState::Granted);
    game.store_mut().consume("shield", 8).expect("used");
    until_used(&mut game, &shop, 1);
    refund_some(&shop, 1, order, 7);
    hears(&mut game, "the refund", "0.985");
    assert_eq!((game.store().quantity("shield"), game.order(order).quantity), (0, 3));
    assert_eq!(game.order(order).reason, Some(Reason::RefundedInPart));
    drop(game);

    let mut game = shop.play("save");
    assert_eq!((game.store().quantity("shield"), game.order(order).quantity), (0, 3), "after a restart");
    game.buy_until("shield", OrderState::Granted);
    assert_eq!(game.store().quantity("shield"), 1, "what was used beyond it is no debt");
    refund_some(&shop, 2, order, 3);
    game.store().sync_now();
    game.wait_for(order, OrderState::Refunded);
    assert_eq!(game.store().quantity("shield"), 0, "one is paid for, and more than that were used");
    drop(game);
    shop.keep_only_the_key("save");
    let mut game = shop.play("save");
    game.until("the feed is there", |store| store.receipts().len() == 4);
    assert_eq!(game.store().quantity("shield"), 0, "the feed says what was used");
    shop.audit();
}

#[test]
fn pp06_a_charge_back_of_what_was_spent_is_owed_and_shown() {
    let shop = Shop::open("0.000001EUR");
    let mut game = shop.play("save");
    game.until("it is online", |store| !store.wallet().is_empty());
    let account = game.store().account().expect("open").clone();
    let money: Money = "0.05EUR".parse().expect("money");
    let operate = |id: u8, action: bevy_iap::server::ledger::Action| {
        shop.server().operate(Operation::new(OperationId([id; 16]), action)).expect("is done")
    };
    operate(1, Credit::paid(account.clone(), money).expect("a good source").into());
    let jump = game.buy_until("double_jump", OrderState::Granted);
    let credit = OperationId([1; 16]);
    operate(2, RefundCredit { credit, amount: None, only_unspent: false, forced: true }.into());
    hears(&mut game, "the debt", "-0.049999");
    let declined = game.buy_until("shield", OrderState::Declined);
    assert_eq!(game.order(declined).reason, Some(Reason::InsufficientFunds));
    assert!(game.store().owns("double_jump"), "the operator has not taken it back");
    shop.server().refund(jump).expect("refunds");
    hears(&mut game, "nothing is owed", "0.000001");
    assert!(!game.store().owns("double_jump"));
    shop.audit();
}

#[test]
fn pp16_a_quantity_is_charged_granted_and_refunded_as_many_times_as_it_says() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play("save");
    for (quantity, available) in [(1, "0.995"), (7, "0.96"), (100, "0.46")] {
        let before = game.store().quantity("shield");
        let order = game.store_mut().purchase_many("shield", quantity).expect("ordered");
        game.wait_for(order, OrderState::Granted);
        assert_eq!(game.store().quantity("shield"), before + u64::from(quantity));
        assert_eq!(game.available(), available);
        assert_eq!(game.order(order).quantity, quantity);
        let receipt = game.store().receipts().last().expect("a receipt").claims.clone();
        assert_eq!((receipt.order, receipt.quantity), (order, quantity));
        assert_eq!(receipt.amount.micros.value(), 5_000 * i64::from(quantity));
    }
    let account = game.store().account().expect("open").clone();
    let latest = shop.server().show(&account).expect("shown").latest;
    assert_eq!(latest.iter().map(|order| order.quantity).collect::<Vec<_>>(), [100, 7, 1]);
    refund_some(&shop, 1, latest[0].id, 30);
    hears(&mut game, "the refund", "0.61");
    assert_eq!(game.store().quantity("shield"), 78);
    shop.audit();
}

#[test]
fn pp22_news_that_comes_twice_or_after_later_news_changes_nothing() {
    let shop = Shop::open("1.00EUR");
    let mut game = shop.play("save");
    let order = game.store_mut().purchase_many("shield", 4).expect("ordered");
    game.wait_for(order, OrderState::Granted);
    refund_some(&shop, 1, order, 1);
    refund_some(&shop, 1, order, 1);
    refund_some(&shop, 2, order, 2);
    hears(&mut game, "both refunds", "0.995");
    assert_eq!(game.store().quantity("shield"), 1);
    for start in 0..3 {
        drop(game);
        // Without its journal it gets the whole feed again; the first receipt of the order among it.
        shop.keep_only_the_key("save");
        game = shop.play("save");
        game.until("the feed is there", |store| store.receipts().len() == 3);
        assert_eq!((game.store().quantity("shield"), game.available()), (1, "0.995".to_owned()), "{start}");
    }
    shop.audit();
}
