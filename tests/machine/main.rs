//! The client's state machine, driven input by input, against a server that may lie.

mod account;
mod allowance;
mod clock;
mod consuming;
mod journal;
mod keys;
mod listening;
mod memory;
mod opening;
mod world;

use std::time::Duration;

use bevy_iap::client::machine::{Input, Output};
use bevy_iap::client::{Connection, OfflineGrants, OrderState, Record, Response, Update};
use bevy_iap::protocol::sync::ChainHead;
use bevy_iap::protocol::{Reason, SecretKey, Sha256, Status};
use world::{World, order_id};

#[test]
fn an_order_is_queued_only_once_it_is_durable() {
    let mut world = World::new(OfflineGrants::Wait);
    let outputs = world.input(World::purchase(1, "shield"));
    assert!(matches!(&outputs[..], [Output::Append(records)] if matches!(records[..], [Record::Order(_)])));
    assert_eq!(world.state(1), None);
    world.input(Input::Appended);
    assert_eq!(world.state(1), Some(OrderState::Sent), "queued, then sent at once");
}

#[test]
fn an_order_that_could_not_be_saved_is_never_sent() {
    let mut world = World::new(OfflineGrants::Provisional);
    world.input(World::purchase(1, "shield"));
    world.input(Input::AppendFailed("the disk is full".to_owned()));
    assert_eq!(world.state(1), Some(OrderState::NotSaved));
    assert_eq!(world.left("shield"), 0);
    let sent = world.sync_request();
    assert!(sent.orders.is_empty());
    // The next order takes the number that the lost one had.
    world.buy(2, "shield");
    assert_eq!(world.last_order().sequence, 1);
}

#[test]
fn nothing_is_granted_before_the_receipt_unless_the_game_says_so() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    assert_eq!(world.left("shield"), 0);
    world.answer(&[(1, Status::Granted)]);
    assert_eq!((world.left("shield"), world.state(1)), (1, Some(OrderState::Granted)));
}

#[test]
fn a_provisional_grant_says_so_and_is_undone_by_a_decline() {
    let mut world = World::new(OfflineGrants::Provisional);
    world.buy(1, "shield");
    assert_eq!(world.left("shield"), 1);
    assert!(world.orders[&order_id(1)].provisional);
    world.answer(&[(1, Status::Declined)]);
    assert_eq!((world.left("shield"), world.state(1)), (0, Some(OrderState::Declined)));
    assert!(!world.orders[&order_id(1)].provisional);
}

#[test]
fn a_provisional_grant_survives_a_restart() {
    let mut world = World::new(OfflineGrants::Provisional);
    world.input(Input::SetOffline(true));
    world.buy(1, "shield");
    let mut world = world.restart();
    assert_eq!((world.left("shield"), world.state(1)), (1, Some(OrderState::Sent)));
    world.answer(&[(1, Status::Granted)]);
    assert_eq!(world.left("shield"), 1);
}

#[test]
fn the_history_is_in_the_order_of_buying_also_after_a_restart() {
    let mut world = World::new(OfflineGrants::Wait);
    for number in [9, 3, 7, 1] {
        world.buy(number, "shield");
    }
    assert_eq!(world.restart().history, [9, 3, 7, 1].map(order_id));
}

#[test]
fn a_receipt_counts_only_once_it_is_durable_and_survives_a_restart() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    let response = world.response(&[(1, Status::Granted)]);
    let outputs = world.input_undurable(Input::Answered(response));
    assert!(outputs.iter().any(|output| matches!(output, Output::Append(_))));
    assert_eq!((world.left("shield"), world.state(1)), (0, Some(OrderState::Sent)));
    world.input(Input::Appended);
    assert_eq!(world.left("shield"), 1);
    assert_eq!(world.restart().left("shield"), 1);
}

#[test]
fn pp02_the_same_receipt_delivered_twenty_times_grants_once() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    for _ in 0..20 {
        world.answer(&[(1, Status::Granted)]);
        world.input(Input::SyncNow);
    }
    assert_eq!((world.left("shield"), world.receipts), (1, 1));
}

#[test]
fn pp22_a_late_receipt_changes_nothing_that_a_newer_one_decided() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    let granted = world.receipt(1, Status::Granted, 1);
    let refunded = world.receipt(1, Status::Refunded, 2);
    let response = world.respond(vec![refunded, granted], 2);
    world.input(Input::Answered(response));
    assert_eq!((world.left("shield"), world.state(1)), (0, Some(OrderState::Refunded)));
}

#[test]
fn a_retry_sends_the_same_bytes() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    let first = world.request.clone().expect("sent");
    world.input(Input::NotAnswered("the network is gone".to_owned()));
    world.buy(2, "shield");
    world.wait();
    assert_eq!(world.request, Some(first));
    world.answer(&[(1, Status::Granted)]);
    assert_eq!(world.sync_request().orders.len(), 1, "the second order follows in a request of its own");
}

#[test]
fn no_http_error_changes_an_orders_fate_whatever_its_body() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    for status in [400, 401, 402, 403, 404, 409, 410, 422, 429, 500, 503] {
        for body in ["", "{}", r#"{"type":"/problems/order-conflict","title":"x","status":422,"detail":"declined"}"#] {
            let body = body.as_bytes().to_vec();
            world.input(Input::Answered(Response { status, retry_after: None, body }));
            assert_eq!(world.state(1), Some(OrderState::Sent));
            assert!(matches!(world.connection, Connection::Retrying { .. }));
            world.wait();
        }
    }
    world.answer(&[(1, Status::Granted)]);
    assert_eq!(world.state(1), Some(OrderState::Granted));
}

#[test]
fn waits_grow_to_a_limit_are_spread_by_chance_and_respect_retry_after() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    let mut longest = Duration::ZERO;
    for attempt in 0..12u32 {
        let before = world.elapsed;
        world.random_byte = if attempt % 2 == 0 { 0xff } else { 0x00 };
        world.input(Input::NotAnswered("the network is gone".to_owned()));
        let wait = world.wake_at().map_or(Duration::ZERO, |at| at.saturating_sub(before));
        let limit = Duration::from_millis(500).saturating_mul(2u32.pow(attempt)).min(Duration::from_secs(60));
        assert!(matches!(world.connection, Connection::Retrying { .. }));
        assert_eq!(wait, if attempt % 2 == 0 { limit } else { Duration::ZERO }, "attempt {attempt}");
        longest = longest.max(wait);
        world.wait();
    }
    assert_eq!(longest, Duration::from_secs(60));
    let before = world.elapsed;
    let busy = Response { status: 503, retry_after: Some(Duration::from_secs(300)), body: Vec::new() };
    world.input(Input::Answered(busy));
    assert_eq!(world.wake_at().unwrap() - before, Duration::from_secs(300));
    world.wait();
    let before = world.elapsed;
    let too_many = Response { status: 429, retry_after: Some(Duration::from_secs(400)), body: Vec::new() };
    world.input(Input::Answered(too_many));
    world.buy(2, "shield");
    assert_eq!(world.wake_at().unwrap() - before, Duration::from_secs(400), "another order does not hurry it");
}

#[test]
fn a_disk_that_stays_full_makes_the_waits_grow_too() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.random_byte = 0xff;
    let mut waits = Vec::new();
    for _ in 0..6 {
        let response = world.response(&[(1, Status::Granted)]);
        world.input_undurable(Input::Answered(response));
        let before = world.elapsed;
        world.input(Input::AppendFailed("the disk is full".to_owned()));
        assert_eq!((world.left("shield"), world.state(1)), (0, Some(OrderState::Sent)));
        waits.push(world.wake_at().unwrap() - before);
        world.wait();
    }
    assert!(waits.windows(2).all(|pair| pair[1] == pair[0] * 2), "{waits:?}");
    world.answer(&[(1, Status::Granted)]);
    assert_eq!(world.left("shield"), 1, "there is room again");
}

/// Everything that a man in the middle, or a wrong server, could put into an answer.
#[test]
fn an_answer_that_is_wrong_in_anything_is_believed_in_nothing() {
    type Forge = fn(&World) -> Response;
    let forgeries: [(&str, Forge); 9] = [
        ("the server's key is not trusted", |world| world.with_key(&SecretKey::from_seed(&[66; 32]), &[])),
        ("the receipt is signed by a key that is not trusted", |world| {
            let receipt = world.receipt_with(1, |_| {}, &SecretKey::from_seed(&[66; 32]));
            world.respond(vec![receipt], 1)
        }),
        ("the receipt is another account's", |world| {
            world.forged(|receipt| receipt.account = "somebody".parse().unwrap())
        }),
        ("the receipt is for another game", |world| {
            world.forged(|receipt| receipt.game = "other_game".parse().unwrap())
        }),
        ("the receipt names another issuer", |world| {
            world.forged(|receipt| receipt.server = SecretKey::from_seed(&[1; 32]).id())
        }),
        ("the receipt answers other bytes", |world| world.forged(|receipt| receipt.order_sha256 = Sha256::of("other"))),
        ("the answer is to another request", |world| {
            world.with_answer(|answer| answer.request_sha256 = Sha256::of("old"))
        }),
        ("the answer is for another account", |world| {
            world.with_answer(|answer| answer.account = "somebody".parse().unwrap())
        }),
        ("the answer is for another game", |world| {
            world.with_answer(|answer| answer.game = "other_game".parse().unwrap())
        }),
    ];
    for (name, forge) in forgeries {
        let mut world = World::new(OfflineGrants::Wait);
        world.buy(1, "shield");
        let records = world.records.len();
        let response = forge(&world);
        world.input(Input::Answered(response));
        assert_eq!((world.state(1), world.left("shield")), (Some(OrderState::Sent), 0), "{name}");
        assert_eq!(world.records.len(), records, "{name}: nothing is journaled");
        assert!(matches!(world.connection, Connection::Retrying { .. }), "{name}");
        world.wait();
        world.answer(&[(1, Status::Granted)]);
        assert_eq!(world.left("shield"), 1, "{name}: the true answer still counts");
    }
}

#[test]
fn pp10_a_receipt_forged_into_the_journal_gives_nothing() {
    let mut world = World::new(OfflineGrants::Wait);
    let forged =
        world.receipt_with(7, |receipt| receipt.product = "mansion".parse().unwrap(), &SecretKey::from_seed(&[66; 32]));
    world.records.push(Record::Receipt(forged.into()));
    let world = world.restart();
    assert_eq!(world.left("shield"), 0);
    assert!(world.troubles.iter().any(|trouble| trouble.contains("not trusted")), "{:?}", world.troubles);
}

#[test]
fn an_unknown_device_is_enrolled_again_and_the_same_request_sent() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    let first = world.request.clone();
    let body = br#"{"type":"/problems/unknown-device","title":"x","status":404,"detail":"x"}"#.to_vec();
    world.input(Input::Answered(Response { status: 404, retry_after: None, body }));
    world.wait();
    assert_eq!(world.path(), "/v1/devices");
    world.input(Input::Answered(Response { status: 201, ..Response::default() }));
    assert_eq!(world.request, first);
}

#[test]
fn a_rolled_back_save_goes_on_from_where_the_server_is() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    let receipt = world.receipt_with(
        1,
        |receipt| {
            receipt.status = Status::Declined;
            receipt.reason = Some(Reason::ChainBroken);
            receipt.grants.clear();
        },
        &world.server,
    );
    let head = ChainHead { sequence: 41, order_sha256: Sha256::of("an order of the lost save") };
    let response = world.with_answer(|answer| {
        answer.receipts = vec![receipt.clone()];
        answer.chain = Some(head);
    });
    world.input(Input::Answered(response));
    assert_eq!(world.state(1), Some(OrderState::Declined));
    world.buy(2, "shield");
    let order = world.last_order();
    assert_eq!((order.sequence, order.previous), (42, Some(head.order_sha256)));
    let mut world = world.restart();
    world.buy(3, "shield");
    assert_eq!(world.last_order().sequence, 43, "also after a restart");
}

#[test]
fn orders_are_numbered_and_chained_to_the_one_before() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    let first = world.last_order_token();
    world.buy(2, "shield");
    assert_eq!(world.last_order().previous, Some(first.sha256()));
    let second = world.last_order_token();
    let mut world = world.restart();
    world.buy(3, "shield");
    assert_eq!((world.last_order().sequence, world.last_order().previous), (3, Some(second.sha256())));
}

#[test]
fn an_order_that_another_key_answered_is_never_sent_again() {
    let mut world = World::new(OfflineGrants::Provisional);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    // The game's new version trusts another server's key alone.
    world.server = SecretKey::from_seed(&[77; 32]);
    let mut world = world.restart();
    assert_eq!(world.left("shield"), 0, "nothing is granted on a receipt that is not believed");
    assert!(world.orders[&order_id(1)].trouble.as_ref().is_some_and(|trouble| trouble.contains("not trusted")));
    assert_eq!(world.state(1), Some(OrderState::Unverified), "and it can be ordered anew");
    world.input(Input::SyncNow);
    if world.path() == "/v1/devices" {
        world.input(Input::Answered(Response { status: 201, ..Response::default() }));
    }
    assert!(world.sync_request().orders.is_empty(), "the other server would charge it again");
}

#[test]
fn a_device_whose_chain_the_server_lost_begins_again() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    // The server's books were restored from a copy that does not know this device's order.
    world.buy(2, "shield");
    let declined = world.receipt_with(
        2,
        |receipt| {
            receipt.status = Status::Declined;
            receipt.reason = Some(Reason::ChainBroken);
            receipt.grants.clear();
        },
        &world.server,
    );
    let response = world.respond(vec![declined], 2);
    world.input(Input::Answered(response));
    world.buy(3, "shield");
    assert_eq!((world.last_order().sequence, world.last_order().previous), (1, None));
    let mut world = world.restart();
    world.buy(4, "shield");
    assert_eq!(world.last_order().sequence, 2, "also after a restart");
}

#[test]
fn an_order_that_waits_for_somebody_still_does_after_a_restart() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Pending)]);
    assert_eq!(world.state(1), Some(OrderState::Pending));
    assert_eq!(world.restart().state(1), Some(OrderState::Pending));
}

#[test]
fn an_order_that_nobody_could_verify_is_not_signed() {
    let mut world = World::new(OfflineGrants::Wait);
    world.input(Input::SyncNow);
    let response = world.with_answer(|answer| {
        answer.chain = Some(ChainHead { sequence: u64::MAX / 2, order_sha256: Sha256::of("an order at the end") });
    });
    world.input(Input::Answered(response));
    world.buy(1, "shield");
    assert_eq!(world.state(1), Some(OrderState::NotSaved), "there is no number after the last one");
    assert!(!world.records.iter().any(|record| matches!(record, Record::Order(_))));
}

#[test]
fn a_request_that_is_refused_for_good_does_not_hold_up_the_next() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    let first = world.request.clone();
    world.input(Input::Answered(Response { status: 422, ..Response::default() }));
    world.buy(2, "shield");
    world.wait();
    assert_ne!(world.request, first);
    assert_eq!(world.sync_request().orders.len(), 2);
}

#[test]
fn more_orders_than_one_request_holds_are_sent_in_turn_oldest_first() {
    let mut world = World::new(OfflineGrants::Wait);
    world.input(Input::SetOffline(true));
    for number in 0..=255u8 {
        world.buy(number, "shield");
    }
    let Input::Purchase(mut terms) = World::purchase(1, "shield") else { unreachable!("it is a purchase") };
    terms.id.0[0] = 200;
    world.input(Input::Purchase(terms));
    world.input(Input::Appended);
    world.input(Input::SetOffline(false));
    assert_eq!(world.sync_request().orders.len(), 256);
    world.answer(&[(1, Status::Declined)]);
    let next = world.sync_request().orders;
    assert_eq!(next.len(), 256, "those without a receipt, and the one that had no room");
    assert_eq!(next.last(), Some(&world.last_order_token()));
}

#[test]
fn offline_nothing_is_sent_and_coming_back_sends_at_once() {
    let mut world = World::new(OfflineGrants::Wait);
    world.answer(&[]);
    world.input(Input::SetOffline(true));
    world.request = None;
    world.buy(1, "shield");
    assert_eq!((world.request.is_none(), world.state(1)), (true, Some(OrderState::Queued)));
    assert_eq!(world.connection, Connection::Offline);
    world.input(Input::SetOffline(false));
    assert_eq!(world.sync_request().orders.len(), 1);
}

#[test]
fn a_poll_that_brings_nothing_costs_no_disk() {
    let mut world = World::new(OfflineGrants::Wait);
    world.answer(&[]);
    let records = world.records.len();
    for _ in 0..50 {
        world.input(Input::SyncNow);
        world.answer(&[]);
    }
    assert_eq!(world.records.len(), records);
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let mut world = World::new(OfflineGrants::Provisional);
        let mut trace = Vec::new();
        for number in 1..30u8 {
            trace.extend(world.input(World::purchase(number, if number % 3 == 0 { "pass" } else { "shield" })));
            trace.extend(world.input(Input::Appended));
            if number % 4 == 0 {
                trace.extend(world.input(Input::NotAnswered("gone".to_owned())));
                world.wait();
            }
            let response = world.response(&[(number, Status::Granted)]);
            trace.extend(world.input(Input::Answered(response)));
        }
        format!("{trace:?}")
    };
    assert_eq!(run(), run());
}

#[test]
fn a_connection_that_keeps_failing_is_told_once() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    for _ in 0..5 {
        world.input(Input::NotAnswered("the network is gone".to_owned()));
        world.wait();
    }
    let told = world.updates.iter().filter(|it| matches!(it, Update::Connection(Connection::Retrying { .. })));
    assert_eq!(told.count(), 1);
    world.answer(&[(1, Status::Granted)]);
    assert_eq!(world.connection, Connection::Online);
}

#[test]
fn pp12_every_update_of_an_order_ends_in_an_outcome_or_a_reason_to_wait() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.input(Input::NotAnswered("the server did not answer in time".to_owned()));
    assert_eq!(world.connection, Connection::Retrying { trouble: "the server did not answer in time".to_owned() });
    assert!(world.updates.iter().any(|update| matches!(update, Update::Connection(Connection::Retrying { .. }))));
}
