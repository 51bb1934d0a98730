//! What was set aside for this device is given at once, to the micro, and nothing beyond it.

use std::time::Duration;

use bevy_iap::client::machine::Input;
use bevy_iap::client::{OfflineGrants, OrderState, Record};
use bevy_iap::protocol::allowance::AllowanceUse;
use bevy_iap::protocol::sync::ChainHead;
use bevy_iap::protocol::{Allowance, AllowanceId, Micros, Money, Reason, Receipt, SecretKey, Sha256, Status, Token};

use crate::world::{SERVER_TIME, World, game, order_id};

/// What a test does to an allowance.
type Change = fn(&mut Allowance);

fn micros(value: i64) -> Micros {
    Micros::new(value).expect("in range")
}

/// An allowance of two and a half of the 5,000 micros that everything costs.
pub fn allowance(world: &World, number: u8, change: impl FnOnce(&mut Allowance)) -> Token {
    let mut allowance = Allowance {
        id: AllowanceId([number; 16]),
        server: world.server.id(),
        game: game(),
        account: world.machine.account().clone(),
        issued_at: SERVER_TIME,
        device: world.key.id(),
        total: "0.0125EUR".parse::<Money>().expect("an amount"),
        per_order: micros(12_500),
        orders: 100,
        catalog: Sha256::of("catalog"),
        expires_at: SERVER_TIME + 86_400,
        settle_by: SERVER_TIME + 2 * 86_400,
        policy: "standard".parse().expect("a name"),
    };
    change(&mut allowance);
    allowance.sign(&world.server).expect("signs")
}

/// The next request is answered with an allowance.
pub fn give(world: &mut World, token: Token) {
    if world.wake_at().is_some() {
        world.input(Input::SyncNow);
    }
    let response = world.with_answer(|answer| answer.allowances = vec![token]);
    world.input(Input::Answered(response));
}

/// A device with an allowance, in the middle of a journey without a network.
fn traveller(change: impl FnOnce(&mut Allowance)) -> World {
    let mut world = World::new(OfflineGrants::Allowance);
    let token = allowance(&world, 1, change);
    give(&mut world, token);
    world.input(Input::SetOffline(true));
    world
}

fn used(number: u8, spent: i64, orders: u64) -> Option<AllowanceUse> {
    Some(AllowanceUse { id: AllowanceId([number; 16]), spent: micros(spent), orders })
}

#[test]
fn orders_within_the_allowance_are_given_at_once_and_beyond_it_they_wait() {
    let mut world = traveller(|_| {});
    for (number, spent) in [(1, 5_000), (2, 10_000)] {
        world.buy(number, "shield");
        assert_eq!(world.last_order().allowance, used(1, spent, u64::from(number)));
        assert_eq!((world.left("shield"), world.state(number)), (u64::from(number), Some(OrderState::Queued)));
    }
    world.buy(3, "shield");
    assert_eq!(world.last_order().allowance, None);
    assert_eq!((world.left("shield"), world.state(3)), (2, Some(OrderState::Queued)), "it waits for its receipt");

    world.input(Input::SetOffline(false));
    assert_eq!(world.sync_request().orders.len(), 3);
    world.answer(&[(1, Status::Granted), (2, Status::Granted), (3, Status::Declined)]);
    assert_eq!(world.left("shield"), 2);
}

#[test]
fn what_is_bought_together_is_counted_one_after_the_other() {
    let mut world = traveller(|_| {});
    for number in 1..=4 {
        world.input(World::purchase(number, "shield"));
    }
    world.input(Input::Appended);
    world.input(Input::Appended);
    assert_eq!(world.left("shield"), 2);
}

#[test]
fn what_is_spent_is_known_after_a_restart_and_after_the_journal_was_written_anew() {
    let mut world = traveller(|_| {});
    world.buy(1, "shield");
    let mut world = world.restart();
    assert_eq!(world.left("shield"), 1, "what was given at once is still there");
    world.input(Input::SetOffline(true));
    world.buy(2, "shield");
    assert_eq!(world.last_order().allowance, used(1, 10_000, 2));
    world.compact();
    let mut world = world.restart();
    world.input(Input::SetOffline(true));
    world.buy(3, "shield");
    assert_eq!((world.last_order().allowance, world.left("shield")), (None, 2));
}

#[test]
fn what_is_spent_is_known_when_its_orders_were_answered_and_left_out() {
    let mut world = traveller(|_| {});
    world.buy(1, "shield");
    world.input(Input::SetOffline(false));
    world.answer(&[(1, Status::Granted)]);
    world.compact();
    let mut world = world.restart();
    world.input(Input::SetOffline(true));
    world.buy(2, "shield");
    assert_eq!(world.last_order().allowance, used(1, 10_000, 2));
}

#[test]
fn what_an_order_has_spent_is_known_when_a_crash_left_nothing_but_the_order() {
    let mut world = traveller(|_| {});
    world.buy(1, "shield");
    assert!(matches!(world.records.pop(), Some(Record::Provisional(_))), "it is written after the order");
    let mut world = world.restart();
    world.input(Input::SetOffline(true));
    world.buy(2, "shield");
    assert_eq!(world.last_order().allowance, used(1, 10_000, 2));
    world.input(Input::SetOffline(false));
    assert_eq!(world.sync_request().allowance.and_then(|wanted| wanted.current), Some(AllowanceId([1; 16])));
}

#[test]
fn an_order_that_was_not_saved_has_spent_nothing() {
    let mut world = traveller(|_| {});
    world.input(World::purchase(1, "shield"));
    world.input(Input::AppendFailed("the disk is full".to_owned()));
    assert_eq!(world.left("shield"), 0);
    world.buy(2, "shield");
    assert_eq!(world.last_order().allowance, used(1, 5_000, 1));
}

#[test]
fn each_limit_of_an_allowance_holds_alone() {
    let limits: [(&str, Change); 5] = [
        ("the money", |it| it.total = "0.004999EUR".parse().expect("an amount")),
        ("the most for one order", |it| it.per_order = micros(4_999)),
        ("the time", |it| it.expires_at = SERVER_TIME),
        ("the currency", |it| it.total = "1.00USD".parse().expect("an amount")),
        ("the price list", |it| it.catalog = Sha256::of("another")),
    ];
    for (what, change) in limits {
        let mut world = traveller(change);
        world.buy(1, "shield");
        assert_eq!((world.last_order().allowance, world.left("shield")), (None, 0), "{what}");
    }
    let mut world = traveller(|it| it.orders = 1);
    world.buy(1, "shield");
    world.buy(2, "shield");
    assert_eq!((world.last_order().allowance, world.left("shield")), (None, 1), "the number of orders");
}

#[test]
fn an_allowance_does_not_live_longer_for_a_clock_that_was_set_back() {
    let world = traveller(|it| it.expires_at = SERVER_TIME + 100);
    let mut world = world.restart_at(-10_000);
    world.input(Input::SetOffline(true));
    world.buy(1, "shield");
    assert_eq!(world.left("shield"), 1, "it sells within its limits, whatever the clock says");
    world.elapsed += Duration::from_secs(100);
    world.buy(2, "shield");
    assert_eq!(world.left("shield"), 1, "so long has passed at least");
}

#[test]
fn an_allowance_that_is_not_this_devices_spoils_the_whole_answer() {
    let wrong: [Change; 4] = [
        |it| it.device = SecretKey::from_seed(&[9; 32]).id(),
        |it| it.account = "somebody".parse().expect("an account"),
        |it| it.game = "chess".parse().expect("a name"),
        |it| it.server = SecretKey::from_seed(&[9; 32]).id(),
    ];
    for change in wrong {
        let mut world = World::new(OfflineGrants::Allowance);
        let records = world.records.len();
        let token = allowance(&world, 1, change);
        give(&mut world, token);
        assert_eq!(world.records.len(), records);
        world.input(Input::SetOffline(true));
        world.buy(1, "shield");
        assert_eq!((world.last_order().allowance, world.left("shield")), (None, 0));
    }
}

#[test]
fn a_newer_allowance_is_named_once_no_open_order_names_the_older() {
    let mut world = traveller(|_| {});
    let wanted = |world: &World| world.sync_request().allowance.expect("it wants one").current;
    world.buy(1, "shield");
    world.input(Input::SetOffline(false));
    assert_eq!(wanted(&world), Some(AllowanceId([1; 16])));
    // The answer gives a newer one, and the order is not answered yet: it is one of many.
    let token = allowance(&world, 2, |_| {});
    let response = world.with_answer(|answer| answer.allowances = vec![token]);
    world.input(Input::Answered(response));
    assert_eq!(wanted(&world), None, "an order of the older one is on its way");
    world.answer(&[(1, Status::Granted)]);
    world.input(Input::SyncNow);
    assert_eq!(wanted(&world), Some(AllowanceId([2; 16])));
    world.answer(&[]);
    world.input(Input::SetOffline(true));
    world.buy(2, "shield");
    assert_eq!(world.last_order().allowance, used(2, 5_000, 1));
}

#[test]
fn the_same_allowance_again_costs_no_disk_and_changes_nothing() {
    let mut world = World::new(OfflineGrants::Allowance);
    let token = allowance(&world, 1, |_| {});
    give(&mut world, token.clone());
    let records = world.records.len();
    give(&mut world, token);
    assert_eq!(world.records.len(), records);
}

#[test]
fn a_game_that_waits_for_receipts_or_gives_everything_at_once_asks_for_no_allowance() {
    for policy in [OfflineGrants::Wait, OfflineGrants::Provisional] {
        let mut world = World::new(policy);
        world.input(Input::SyncNow);
        assert_eq!(world.sync_request().allowance, None);
    }
}

#[test]
fn a_decline_takes_back_what_an_allowance_gave() {
    let mut world = traveller(|_| {});
    world.buy(1, "shield");
    assert!(world.orders[&order_id(1)].provisional);
    world.input(Input::SetOffline(false));
    world.answer(&[(1, Status::Declined)]);
    assert_eq!((world.left("shield"), world.state(1)), (0, Some(OrderState::Declined)));
    assert!(world.records.iter().any(|record| matches!(record, Record::Provisional(_))));
}

/// Within an allowance, an order in a place that is taken is an order of a copy: the device would be frozen for it.
#[test]
fn device_that_does_not_know_what_its_next_order_follows_takes_no_allowance() {
    let mut world = World::new(OfflineGrants::Allowance);
    // Of six orders damage has left nothing.
    world.head = Some(ChainHead { sequence: 6, order_sha256: Sha256::of("an order that damage took") });
    world.input(Input::SyncNow);
    let token = allowance(&world, 1, |_| {});
    let unheard = world.with_answer(|answer| answer.allowances = vec![token.clone()]);
    world.buy(1, "shield");
    world.input(Input::Answered(unheard));
    world.buy(2, "shield");
    let order = world.last_order();
    assert_eq!((order.sequence, order.allowance), (2, None), "it is in the place of one that the server knows");

    let broken = |receipt: &mut Receipt| {
        (receipt.status, receipt.reason) = (Status::Declined, Some(Reason::ChainBroken));
        receipt.grants.clear();
    };
    let receipts = [1, 2].map(|number| world.receipt_with(number, broken, &world.server)).to_vec();
    while world.sync_request().orders.len() < 2 {
        world.answer(&[]);
        world.input(Input::SyncNow);
    }
    let response = world.with_answer(|answer| {
        (answer.receipts, answer.cursor, answer.allowances) = (receipts, 2, vec![token]);
    });
    world.input(Input::Answered(response));
    world.buy(3, "shield");
    assert_eq!((world.last_order().sequence, world.last_order().allowance), (7, used(1, 5_000, 1)));
}

/// What is spent of an allowance is known from the journal, which damage has taken, or from orders that the server has not
/// answered yet.
#[test]
fn device_that_has_forgotten_its_allowance_takes_none_while_an_order_is_not_answered() {
    let mut world = traveller(|_| {});
    world.buy(1, "shield");
    world.records.retain(|record| !matches!(record, Record::Allowance(_)));
    let mut world = world.restart();
    let token = allowance(&world, 1, |_| {});
    let same_again = world.with_answer(|answer| answer.allowances = vec![token.clone()]);
    world.input(Input::Answered(same_again));
    world.buy(2, "shield");
    assert_eq!(world.last_order().allowance, None, "the server will know that one order was made within it");
    while world.sync_request().orders.len() < 2 {
        world.answer(&[]);
        world.input(Input::SyncNow);
    }
    let receipts = [1, 2].map(|number| world.receipt_with(number, |_| {}, &world.server)).to_vec();
    let another = allowance(&world, 2, |_| {});
    let response = world.with_answer(|answer| {
        (answer.receipts, answer.cursor, answer.allowances) = (receipts, 2, vec![another]);
    });
    world.input(Input::Answered(response));
    world.buy(3, "shield");
    assert_eq!(world.last_order().allowance, used(2, 5_000, 1));
}
