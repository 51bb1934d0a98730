//! Books of an older version are brought up to this one, and go on.

use bevy_iap::protocol::ConsumptionStatus;
use bevy_iap::server::ledger::operation::{FreezeDevice, RefundOrder, ThawDevice};
use bevy_iap::server::ledger::{Answer, ConsumptionOutcome, Operation, OperationId, VerifiedConsumption};

use super::{Till, order};
use crate::cluster;
use crate::support::{Device, game};

/// What questions that are remembered have changed, undone.
const VERSION_5: &str = "
    DROP TABLE questions;
    UPDATE meta SET value = '5' WHERE name = 'version';
";

/// What accounts of several devices have changed, undone.
const VERSION_4: &str = "
    DROP TABLE logins;
    DROP TABLE link_codes;
    DROP TABLE moves;
    ALTER TABLE devices DROP COLUMN place;
    ALTER TABLE devices DROP COLUMN name;
    ALTER TABLE devices DROP COLUMN revoked_at;
    ALTER TABLE devices DROP COLUMN replaced_by;
    UPDATE meta SET value = '4' WHERE name = 'version';
";

/// What consumptions have changed, undone.
const VERSION_3: &str = "
    DROP TABLE consumptions;
    DROP TABLE inventories;
    ALTER TABLE devices DROP COLUMN consumed_sequence;
    ALTER TABLE devices DROP COLUMN consumed_repeated;
    ALTER TABLE devices DROP COLUMN consumed_missing;
    UPDATE meta SET value = '3' WHERE name = 'version';
";

/// What version 3 has changed, undone.
const VERSION_2: &str = "
    DROP TABLE allowances;
    DROP TABLE forks;
    ALTER TABLE devices DROP COLUMN frozen_at;
    UPDATE meta SET value = '2' WHERE name = 'version';
";

/// What version 2 has changed, undone.
const VERSION_1: &str = "
    DROP INDEX transfers_refunding;
    CREATE INDEX transfers_by_order ON transfers (order_id) WHERE order_id IS NOT NULL;
    DROP INDEX orders_owned;
    ALTER TABLE orders DROP COLUMN owned;
    CREATE INDEX orders_owned ON orders (account, product) WHERE status = 'granted';
    ALTER TABLE devices DROP COLUMN feed;
    UPDATE meta SET value = '1' WHERE name = 'version';
";

fn refund(till: &mut Till, id: u8, order: bevy_iap::protocol::OrderId) -> u64 {
    let refund = RefundOrder { order, quantity: None };
    let operation = Operation::new(OperationId([id; 16]), refund);
    match till.operate(&operation).expect("refunds") {
        Answer::Order { receipt, .. } => receipt.feed,
        answer => panic!("{answer:?}"),
    }
}

#[test]
fn books_of_version_1_keep_their_feeds_and_their_refunds_and_go_on() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, schema) = cluster.fresh_books();
    let mut till = Till::at(&url);
    let mut devices = till.devices(2);
    let buy = |till: &mut Till, devices: &mut [Device], product: &str| {
        let order = order(&mut devices[0], product);
        till.settle(std::slice::from_ref(&order)).expect("settles");
        order.order().id
    };
    let first = buy(&mut till, &mut devices, "skin");
    let second = buy(&mut till, &mut devices, "double_jump");
    assert_eq!(refund(&mut till, 1, first), 3);
    drop(till);
    cluster.admin_at(&schema, VERSION_5);
    cluster.admin_at(&schema, VERSION_4);
    cluster.admin_at(&schema, VERSION_3);
    cluster.admin_at(&schema, VERSION_2);
    cluster.admin_at(&schema, VERSION_1);

    let mut till = Till::at(&url);
    till.assert_right();
    assert_eq!(till.euros(&devices[0]), 950_000);
    let third = buy(&mut till, &mut devices, "charm");
    assert_eq!(refund(&mut till, 2, second), 5, "the feed goes on where it was");
    assert_eq!(refund(&mut till, 3, third), 6);
    assert_eq!(till.euros(&devices[0]), 1_000_000);
    till.assert_right();
}

#[test]
fn books_of_version_2_freeze_and_thaw_devices_from_then_on() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, schema) = cluster.fresh_books();
    let mut till = Till::at(&url);
    let mut devices = till.devices(1);
    let bought = order(&mut devices[0], "skin");
    till.settle(&[bought]).expect("settles");
    drop(till);
    cluster.admin_at(&schema, VERSION_5);
    cluster.admin_at(&schema, VERSION_4);
    cluster.admin_at(&schema, VERSION_3);
    cluster.admin_at(&schema, VERSION_2);

    let mut till = Till::at(&url);
    till.assert_right();
    let device = devices[0].id();
    till.operate(&Operation::new(OperationId([1; 16]), FreezeDevice { device })).expect("freezes");
    let declined = order(&mut devices[0], "charm");
    till.settle(&[declined]).expect("settles");
    assert_eq!(till.euros(&devices[0]), 930_000);
    till.operate(&Operation::new(OperationId([2; 16]), ThawDevice { device })).expect("thaws");
    let granted = order(&mut devices[0], "skin");
    till.settle(&[granted]).expect("settles");
    assert_eq!(till.euros(&devices[0]), 860_000);
    till.assert_right();
}

#[test]
fn books_of_version_3_use_up_what_was_bought_before() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, schema) = cluster.fresh_books();
    let mut till = Till::at(&url);
    let mut devices = till.devices(1);
    let bought = order(&mut devices[0], "shield");
    till.settle(&[bought]).expect("settles");
    drop(till);
    cluster.admin_at(&schema, VERSION_5);
    cluster.admin_at(&schema, VERSION_4);
    cluster.admin_at(&schema, VERSION_3);

    let mut till = Till::at(&url);
    till.assert_right();
    let device = &devices[0];
    let consume = |sequence| {
        let token = device.consumption(sequence, "shield", 1).sign(&device.key).expect("signs");
        VerifiedConsumption::verify(token, device.key.public(), &device.account(), &game()).expect("verifies")
    };
    let outcomes = till.consume(&[consume(1), consume(2)]).expect("decides");
    let status = |status| ConsumptionOutcome::Settled { status, repeated: false };
    assert_eq!(outcomes, [status(ConsumptionStatus::Consumed), status(ConsumptionStatus::Refused)]);
    till.assert_right();
}

#[test]
fn feed_that_a_device_says_is_longer_or_shorter_is_found_by_the_audit() {
    let Some(cluster) = cluster::shared() else { return };
    let (url, schema) = cluster.fresh_books();
    let mut till = Till::at(&url);
    let mut devices = till.devices(1);
    let order = order(&mut devices[0], "shield");
    till.settle(&[order]).expect("settles");
    for (feed, said) in [(2, "its feed is 1 long, and its devices say 2"), (0, "its devices say 0")] {
        cluster.admin_at(&schema, &format!("UPDATE devices SET feed = {feed}"));
        let report = till.audit().to_string();
        assert!(report.contains(said), "{report}");
    }
}
