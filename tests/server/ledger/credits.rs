//! Credits, their lots, and their way back to the source, on every engine.

use bevy_iap::protocol::{Catalog, Micros, Reason};
use bevy_iap::server::ledger::operation::{Payout, RefundCredit, RefundOrder};
use bevy_iap::server::ledger::{Answer, Credit, OperateError, OperationId, Origin, Refused};
use bevy_iap::server::statement;

use super::rows::Rows;
use super::{Desk, paid, receipt, suite, verified};
use crate::support::{CATALOG, Device, game};

suite!(
    credits_that_make_no_sense_are_refused,
    credit_is_made_once_and_answered_alike_for_ever,
    refused_id_stays_refused_when_the_reason_is_gone,
    id_of_one_operation_is_no_other_operations,
    promotional_money_is_spent_first_then_the_oldest,
    purchase_pays_creators_and_game_to_the_micro,
    price_of_one_micro_is_paid_in_whole,
    fee_is_what_the_source_keeps,
    credit_goes_back_to_its_source_in_parts_and_no_further,
    credit_that_was_spent_is_owed_and_nothing_is_sold_until_it_is_covered,
    spent_credit_can_be_spared,
    credit_that_covers_what_is_owed_can_be_spared,
    credit_is_refundable_until_its_time_unless_it_is_forced,
    creator_is_paid_what_is_payable_and_may_owe_after_a_refund,
    creator_may_be_owed_and_may_owe_more_than_an_amount_can_be,
    worked_example_of_the_document_is_what_happens,
);

fn refund(credit: u8) -> RefundCredit {
    RefundCredit { credit: OperationId([credit; 16]), amount: None, only_unspent: false, forced: false }
}

fn part(credit: u8, micros: i64) -> RefundCredit {
    RefundCredit { amount: Some(Micros::new(micros).expect("in range")), ..refund(credit) }
}

/// What is in each lot, in the order in which they were opened: source, balance.
fn lots(desk: &mut Desk) -> Vec<(String, i64)> {
    let mut rows: Vec<_> = Rows::of(&mut *desk.ledger).accounts.into_iter().filter(|row| row.lot.is_some()).collect();
    rows.sort_by_key(|row| row.lot.as_ref().map(|lot| lot.opened_at));
    let lot = |row: bevy_iap::server::ledger::AccountRow| {
        (row.lot.expect("a lot").source, row.credits_posted - row.debits_posted)
    };
    rows.into_iter().map(lot).collect()
}

fn credits_that_make_no_sense_are_refused(desk: &mut Desk, device: &mut Device) {
    let stranger = Device::new();
    assert!(matches!(desk.refused(1, paid(device, "0EUR")), Refused::NotPositive(_)));
    assert!(matches!(desk.refused(2, paid(device, "-1EUR")), Refused::NotPositive(_)));
    assert!(matches!(desk.refused(3, paid(&stranger, "1EUR")), Refused::UnknownAccount(_)));
    assert!(matches!(desk.refused(4, paid(device, "9007199254.740991EUR")), Refused::TooMuch(_)));
    let fee = |micros| Credit { fee: Micros::new(micros).ok(), ..paid(device, "1EUR") };
    assert!(matches!(desk.refused(5, fee(-1)), Refused::FeeOutOfRange(_)));
    assert!(matches!(desk.refused(6, fee(1_000_001)), Refused::FeeOutOfRange(_)));
    let promotional = Credit { origin: Origin::Promotional, ..fee(1) };
    assert!(matches!(desk.refused(7, promotional), Refused::FeeOutOfRange(_)));
    assert_eq!(desk.done(8, paid(device, "9007199253.740991EUR")).0, (1 << 53) - 1);
    assert!(matches!(desk.refused(9, paid(device, "0.000001EUR")), Refused::TooMuch(_)));
}

fn credit_is_made_once_and_answered_alike_for_ever(desk: &mut Desk, device: &mut Device) {
    assert_eq!(desk.done(1, paid(device, "1EUR")), (2_000_000, 0));
    desk.buy(device, "shield", 1);
    desk.reopen();
    assert_eq!(desk.done(1, paid(device, "1EUR")), (2_000_000, 0));
    assert_eq!(desk.euros(device), 1_995_000);
}

fn refused_id_stays_refused_when_the_reason_is_gone(desk: &mut Desk, device: &mut Device) {
    let late = Device::new();
    let before = desk.refused(1, paid(&late, "1EUR"));
    desk.enrol(&late);
    assert_eq!(desk.refused(1, paid(&late, "1EUR")), before);
    assert_eq!(desk.euros(&late), 1_000_000);
    assert_eq!(desk.done(2, paid(&late, "1EUR")), (2_000_000, 0));
    assert!(matches!(desk.operate(1, paid(device, "1EUR")), Err(OperateError::IdUsed(_))));
}

fn id_of_one_operation_is_no_other_operations(desk: &mut Desk, device: &mut Device) {
    desk.credit(device, "1EUR", 1);
    for other in [paid(device, "1.000001EUR"), Credit { origin: Origin::Promotional, ..paid(device, "1EUR") }] {
        assert!(matches!(desk.operate(1, other), Err(OperateError::IdUsed(OperationId(id))) if id == [1; 16]));
    }
    assert!(matches!(desk.operate(1, refund(1)), Err(OperateError::IdUsed(_))));
    assert_eq!(desk.euros(device), 2_000_000);
}

fn promotional_money_is_spent_first_then_the_oldest(desk: &mut Desk, device: &mut Device) {
    let source = |name: &str| Credit { source: name.parse().expect("a source"), ..paid(device, "0.01EUR") };
    for (id, name) in [(1, "first"), (2, "second")] {
        desk.now += 1;
        desk.done(id, source(name));
    }
    desk.now += 1;
    desk.done(3, Credit { origin: Origin::Promotional, ..source("gift") });
    let named = |lots: [(&str, i64); 4]| lots.map(|(name, balance)| (name.to_owned(), balance));
    desk.buy(device, "shield", 201);
    assert_eq!(lots(desk), named([("welcome", 0), ("first", 10_000), ("second", 10_000), ("gift", 5_000)]));
    desk.buy(device, "shield", 2);
    assert_eq!(lots(desk), named([("welcome", 0), ("first", 5_000), ("second", 10_000), ("gift", 0)]));
    desk.buy(device, "shield", 2);
    assert_eq!(lots(desk), named([("welcome", 0), ("first", 0), ("second", 5_000), ("gift", 0)]));
}

fn purchase_pays_creators_and_game_to_the_micro(desk: &mut Desk, device: &mut Device) {
    desk.buy(device, "skin", 3);
    let rows = Rows::of(&mut *desk.ledger);
    assert_eq!(rows.sums("payable", "ann"), (0, 147_000));
    assert_eq!(rows.sums("payable", "zoe"), (0, 26_250));
    assert_eq!(rows.sums("revenue", game().as_str()), (0, 36_750));
    assert_eq!(desk.euros(device), 1_000_000 - 210_000);
}

fn price_of_one_micro_is_paid_in_whole(desk: &mut Desk, device: &mut Device) {
    desk.buy(device, "charm", 1);
    let rows = Rows::of(&mut *desk.ledger);
    // The largest remainder is the game's own.
    assert_eq!((rows.sums("payable", "ann").1, rows.sums("revenue", game().as_str()).1), (0, 1));
    desk.buy(device, "charm", 2);
    let rows = Rows::of(&mut *desk.ledger);
    let paid = ["ann", "zoe"].map(|creator| rows.sums("payable", creator).1);
    assert_eq!((paid, rows.sums("revenue", game().as_str()).1), ([1, 0], 2));
}

fn fee_is_what_the_source_keeps(desk: &mut Desk, device: &mut Device) {
    let card = "card".parse().expect("a source");
    let fee = Micros::new(300_000).ok();
    desk.done(1, Credit { source: card, fee, ..paid(device, "5EUR") });
    let rows = Rows::of(&mut *desk.ledger);
    // The source owes 4.70, has kept 0.30, and the player has 5.00.
    assert_eq!(rows.sums("funding", "card"), (5_000_000, 300_000));
    assert_eq!(rows.sums("fees", "card"), (300_000, 0));
    assert_eq!(desk.euros(device), 6_000_000);
}

fn credit_goes_back_to_its_source_in_parts_and_no_further(desk: &mut Desk, device: &mut Device) {
    desk.credit(device, "0.10EUR", 1);
    assert!(matches!(desk.refused(2, refund(9)), Refused::UnknownCredit(_)));
    assert_eq!(desk.done(3, part(1, 30_000)), (1_070_000, 0));
    assert!(matches!(desk.refused(4, part(1, 70_001)), Refused::AboveCredit { .. }));
    assert!(matches!(desk.refused(5, part(1, 0)), Refused::NotPositive(_)));
    assert_eq!(desk.done(6, refund(1)), (1_000_000, 0));
    assert!(matches!(desk.refused(7, refund(1)), Refused::AboveCredit { .. }));
    assert!(matches!(desk.refused(8, part(1, 1)), Refused::AboveCredit { .. }));
    assert_eq!(Rows::of(&mut *desk.ledger).sums("funding", "operator"), (100_000, 100_000));
}

fn credit_that_was_spent_is_owed_and_nothing_is_sold_until_it_is_covered(desk: &mut Desk, device: &mut Device) {
    desk.credit(device, "0.10EUR", 1);
    let (order, _) = desk.buy(device, "shield", 212);
    assert_eq!(desk.euros(device), 40_000);
    assert_eq!(desk.done(2, refund(1)), (-60_000, 0));
    assert_eq!(desk.euros(device), -60_000);
    assert_eq!(desk.buy(device, "shield", 1).1.reason, Some(Reason::InsufficientFunds));
    assert_eq!(desk.buy(device, "gift", 1).1.reason, None, "what is free is given");
    desk.credit(device, "0.06EUR", 3);
    assert_eq!(desk.buy(device, "shield", 1).1.reason, Some(Reason::InsufficientFunds));
    desk.credit(device, "0.005EUR", 4);
    assert_eq!(desk.buy(device, "shield", 1).1.reason, None);
    assert_eq!(desk.euros(device), 0);
    desk.assert_right();
    // The order's refund goes to the lots that paid, the owed one among them.
    desk.operate(5, RefundOrder { order, quantity: None }).expect("refunds");
    assert_eq!(desk.euros(device), 1_060_000);
}

fn spent_credit_can_be_spared(desk: &mut Desk, device: &mut Device) {
    desk.credit(device, "0.10EUR", 1);
    desk.buy(device, "shield", 204);
    let spare = |amount: Option<i64>| RefundCredit {
        only_unspent: true,
        amount: amount.and_then(|micros| Micros::new(micros).ok()),
        ..refund(1)
    };
    assert!(matches!(desk.refused(2, spare(None)), Refused::Spent { .. }));
    assert!(matches!(desk.refused(3, spare(Some(80_001))), Refused::Spent { .. }));
    assert_eq!(desk.done(4, spare(Some(80_000))), (0, 0));
}

fn credit_that_covers_what_is_owed_can_be_spared(desk: &mut Desk, device: &mut Device) {
    desk.buy(device, "shield", 200);
    desk.credit(device, "0.05EUR", 1);
    desk.buy(device, "shield", 10);
    assert_eq!(desk.done(2, refund(1)), (-50_000, 0));
    desk.credit(device, "0.07EUR", 3);
    let spare = |credit: RefundCredit| RefundCredit { only_unspent: true, ..credit };
    let Refused::Spent { unspent, .. } = desk.refused(4, spare(refund(3))) else { panic!("another") };
    assert_eq!(unspent.to_string(), "0.02 EUR", "the rest of it covers what is owed");
    assert!(matches!(desk.refused(5, spare(part(3, 20_001))), Refused::Spent { .. }));
    assert_eq!(desk.done(6, spare(part(3, 20_000))), (0, 0));
    assert!(matches!(desk.refused(7, spare(part(3, 1))), Refused::Spent { .. }));
}

fn credit_is_refundable_until_its_time_unless_it_is_forced(desk: &mut Desk, device: &mut Device) {
    let until = Some(desk.now + 100);
    desk.done(1, Credit { refundable_until: until, ..paid(device, "1EUR") });
    desk.now += 99;
    desk.done(2, part(1, 10));
    desk.now += 1;
    assert!(matches!(desk.refused(3, part(1, 10)), Refused::TooLate { .. }));
    assert_eq!(desk.done(4, RefundCredit { forced: true, ..refund(1) }), (1_000_000, 0));
}

fn creator_is_paid_what_is_payable_and_may_owe_after_a_refund(desk: &mut Desk, device: &mut Device) {
    let payout = |money: &str| Payout {
        creator: "ann".parse().expect("a creator"),
        money: money.parse().expect("money"),
        source: "bank".parse().expect("a source"),
    };
    let (order, _) = desk.buy(device, "skin", 1);
    assert!(matches!(desk.refused(1, payout("0.049001EUR")), Refused::AbovePayable { .. }));
    assert!(matches!(desk.refused(2, payout("0EUR")), Refused::NotPositive(_)));
    assert!(matches!(desk.refused(3, payout("0.01USD")), Refused::AbovePayable { .. }));
    let Answer::Creator { payable, .. } = desk.operate(4, payout("0.04EUR")).expect("pays") else { panic!("another") };
    assert_eq!(payable.to_string(), "0.009 EUR");
    desk.operate(5, RefundOrder { order, quantity: None }).expect("refunds");
    let Refused::AbovePayable { payable, .. } = desk.refused(6, payout("0.01EUR")) else { panic!("another") };
    assert_eq!(payable.to_string(), "-0.04 EUR");
}

fn creator_may_be_owed_and_may_owe_more_than_an_amount_can_be(desk: &mut Desk, _: &mut Device) {
    let dear = CATALOG.replace(
        r#"Unlock(title: "Palace", prices: { "EUR": "1000" })"#,
        r#"Unlock(title: "Palace", prices: { "EUR": "9000000000" }, shares: { "ann": "100" })"#,
    );
    desk.catalog = Catalog::parse("dear.ron", &dear).expect("a good catalogue");
    let payout = |money: &str| Payout {
        creator: "ann".parse().expect("a creator"),
        money: money.parse().expect("money"),
        source: "bank".parse().expect("a source"),
    };
    let mut orders = Vec::new();
    for id in 1..=3 {
        let mut player = Device::new();
        desk.enrol(&player);
        desk.credit(&player, "9000000000EUR", id);
        let mut claims = player.claims("palace", 1);
        (claims.price, claims.catalog) = ("9000000000EUR".parse().expect("money"), desk.catalog.digest());
        orders.push(claims.id);
        let token = player.sign(&claims);
        let outcome = desk.settle(&[verified(&player, &token)]).remove(0);
        assert_eq!(receipt(desk, &outcome).reason, None);
    }
    let paid = |answer: Answer| match answer {
        Answer::Creator { payable, .. } => payable.to_string(),
        answer => panic!("{answer:?}"),
    };
    let most = || payout("9007199254.740991EUR");
    assert_eq!(paid(desk.operate(4, most()).expect("pays")), "17992800745.259009 EUR");
    assert_eq!(paid(desk.operate(5, most()).expect("pays")), "8985601490.518018 EUR");
    assert_eq!(paid(desk.operate(4, most()).expect("as before")), "17992800745.259009 EUR");
    assert!(matches!(desk.refused(6, payout("8985601490.518019EUR")), Refused::AbovePayable { .. }));
    for (id, order) in (7..).zip(&orders) {
        desk.operate(id, RefundOrder { order: *order, quantity: None }).expect("refunds");
    }
    let Refused::AbovePayable { payable, .. } = desk.refused(10, payout("1EUR")) else { panic!("another") };
    assert_eq!(payable.to_string(), "-18014398509.481982 EUR");
    assert!(matches!(desk.refused(10, payout("1EUR")), Refused::AbovePayable { .. }), "it is read back");
    let ann = "ann".parse().expect("a creator");
    let statement = statement::creator(&mut *desk.ledger, &ann, 0, desk.now + 1).expect("adds up").remove(0);
    assert_eq!(statement.closing.to_string(), "-18014398509.481982 EUR");
    let unused = statement::unused(&mut *desk.ledger, desk.now + 1).expect("adds up");
    assert_eq!(unused.unused[0].to_string(), "27000000000.00 EUR");
}

fn worked_example_of_the_document_is_what_happens(desk: &mut Desk, device: &mut Device) {
    let card =
        Credit { source: "card".parse().expect("a source"), fee: Micros::new(300_000).ok(), ..paid(device, "5EUR") };
    desk.now += 1;
    desk.done(1, card);
    let (order, _) = desk.buy(device, "skin", 20);
    desk.operate(2, RefundOrder { order, quantity: Some(5) }).expect("refunds");
    let (creator, source) = ("ann".parse().expect("a creator"), "bank".parse().expect("a source"));
    desk.operate(3, Payout { creator, money: "0.5EUR".parse().expect("money"), source }).expect("pays");
    let rows = Rows::of(&mut *desk.ledger);
    for (kind, owner, debits, credits) in [
        ("payable", "ann", 745_000, 980_000),
        ("payable", "zoe", 43_750, 175_000),
        ("revenue", "arcade", 61_250, 245_000),
        ("promotion", "welcome", 1_000_000, 0),
        ("funding", "card", 5_000_000, 300_000),
        ("fees", "card", 300_000, 0),
        ("funding", "bank", 0, 500_000),
    ] {
        assert_eq!(rows.sums(kind, owner), (debits, credits), "{kind} {owner}");
    }
    assert_eq!(lots(desk), [("welcome".to_owned(), 250_000), ("card".to_owned(), 4_700_000)]);
    let refunds: Vec<_> = rows.transfers.iter().filter(|row| row.kind == "refund").map(|row| row.amount).collect();
    assert_eq!((refunds.len(), refunds.iter().sum::<i64>()), (4, 350_000));
}
