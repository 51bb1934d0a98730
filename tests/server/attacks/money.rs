//! Getting money out, or more of it: by refunds, charge-backs, payouts, holds and a second account.

use std::thread;

use bevy_iap::protocol::sync::Balance;
use bevy_iap::protocol::{AccountId, Currency, Micros, Money, Reason, Status};
use bevy_iap::server::OperationError;
use bevy_iap::server::ledger::operation::{Hold, Payout, Post, RefundCredit, RefundOrder, Void};
use bevy_iap::server::ledger::{Action, Answer, Credit, Operation, OperationId, Refused};

use super::scene::{Scene, WELCOME, attack};
use crate::support::fresh_id;

fn money(micros: i64) -> Money {
    Money::new(Micros::new(micros).expect("in range"), Currency::EUR)
}

fn operate(scene: &Scene, action: impl Into<Action>) -> Result<Answer, OperationError> {
    scene.shop.server.operate(Operation::new(OperationId(fresh_id()), action))
}

fn refused(outcome: Result<Answer, OperationError>) -> Refused {
    match outcome {
        Err(OperationError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

/// A card pays something into the attacker's wallet.
fn credit(scene: &mut Scene, account: &AccountId, micros: i64) -> OperationId {
    let id = OperationId(fresh_id());
    let source = "card".parse().expect("a name");
    let credit = Credit { source, ..Credit::paid(account.clone(), money(micros)).expect("good") };
    scene.shop.server.operate(Operation::new(id, credit)).expect("credits");
    scene.moved(account, micros);
    id
}

fn wallet(scene: &Scene, account: &AccountId) -> Balance {
    scene.shop.server.show(account).expect("is there").wallet[0]
}

#[test]
fn refund_that_many_ask_for_at_once_is_paid_once() {
    attack(|scene| {
        let mut claims = scene.attacker.claims("skin", 1);
        claims.quantity = 4;
        let order = scene.attacker.sign(&claims);
        assert_eq!(scene.answer_to(&order).status, Status::Granted);
        let done = thread::scope(|scope| {
            let asked: Vec<_> = (0..24)
                .map(|number| {
                    let (server, order) = (&scene.shop.server, claims.id);
                    // In whole, in parts, and more than there is, each under an id of its own.
                    let quantity = [None, Some(1), Some(3), Some(5), Some(0), Some(u32::MAX)][number % 6];
                    let operation = Operation::new(OperationId(fresh_id()), RefundOrder { order, quantity });
                    scope.spawn(move || server.operate(operation).is_ok())
                })
                .collect();
            asked.into_iter().map(|asked| asked.join().expect("it is answered")).filter(|done| *done).count()
        });
        assert!((1..=4).contains(&done), "{done}");
        refused(operate(scene, RefundOrder { order: claims.id, quantity: None }));
        assert_eq!(scene.euros(), WELCOME);
    });
}

#[test]
fn refund_goes_to_the_account_that_has_paid_and_to_no_other() {
    attack(|scene| {
        let accomplice = scene.accomplice();
        let claims = scene.attacker.claims("skin", 1);
        let order = scene.attacker.sign(&claims);
        scene.answer_to(&order);
        // The accomplice sends the order under its own name too.
        let mut own = accomplice.claims("skin", 1);
        own.id = claims.id;
        let request = accomplice.request(0, &[own.sign(&accomplice.key).expect("signs")]);
        crate::support::send_sync(scene.shop.address(), &request.sign(&accomplice.key).expect("signs"))
            .assert_refused("/problems/order-conflict", 422);
        scene.shop.server.refund(claims.id).expect("refunds");
        assert_eq!((scene.euros(), accomplice.euros(&scene.shop)), (WELCOME, WELCOME));
    });
}

#[test]
fn credit_is_given_back_to_its_source_once_and_no_more_than_it_was() {
    attack(|scene| {
        let account = scene.attacker.account();
        let id = credit(scene, &account, 5_000_000);
        let back = |amount: Option<i64>| RefundCredit {
            credit: id,
            amount: amount.map(|micros| Micros::new(micros).expect("in range")),
            only_unspent: false,
            forced: true,
        };
        refused(operate(scene, back(Some(5_000_001))));
        refused(operate(scene, back(Some(0))));
        refused(operate(scene, back(Some(-1))));
        let done = thread::scope(|scope| {
            let asked: Vec<_> = (0..10)
                .map(|_| {
                    let (server, operation) =
                        (&scene.shop.server, Operation::new(OperationId(fresh_id()), back(Some(1_500_000))));
                    scope.spawn(move || server.operate(operation).is_ok())
                })
                .collect();
            asked.into_iter().map(|asked| asked.join().expect("it is answered")).filter(|done| *done).count()
        });
        assert_eq!(done, 3, "0.5 are left of 5, and 1.5 are more than that");
        scene.moved(&account, -4_500_000);
        assert!(operate(scene, back(None)).is_ok());
        scene.moved(&account, -500_000);
        refused(operate(scene, back(None)));
        // The welcome was no credit of anybody's, so there is nobody to give it back to.
        refused(operate(scene, RefundCredit { credit: OperationId(fresh_id()), ..back(None) }));
        assert_eq!(scene.euros(), WELCOME);
    });
}

#[test]
fn money_that_was_spent_and_charged_back_is_owed_and_buys_nothing_more() {
    attack(|scene| {
        let account = scene.attacker.account();
        let id = credit(scene, &account, 1_000_000_000);
        assert_eq!(scene.buy("palace", |_| {}).status, Status::Granted);
        let back = RefundCredit { credit: id, amount: None, only_unspent: false, forced: true };
        refused(operate(scene, RefundCredit { only_unspent: true, ..back.clone() }));
        operate(scene, back).expect("a charge-back is nobody's to refuse");
        scene.moved(&account, -1_000_000_000);
        scene.may_owe(&account);
        assert_eq!(scene.euros(), WELCOME - 1_000_000_000);
        for product in ["shield", "charm", "day_pass"] {
            assert_eq!(scene.buy(product, |_| {}).reason, Some(Reason::InsufficientFunds));
        }
        refused(operate(scene, Hold { account: account.clone(), money: money(1), expires_at: i64::MAX }));
        // A little more money pays the debt first.
        credit(scene, &account, 5_000_000);
        assert_eq!(scene.buy("shield", |_| {}).reason, Some(Reason::InsufficientFunds));
    });
}

#[test]
fn promotional_money_is_given_back_to_nobody_as_paid() {
    attack(|scene| {
        let account = scene.attacker.account();
        let id = OperationId(fresh_id());
        let gift = Credit {
            origin: bevy_iap::server::ledger::Origin::Promotional,
            source: "campaign".parse().expect("a name"),
            ..Credit::paid(account.clone(), money(3_000_000)).expect("good")
        };
        scene.shop.server.operate(Operation::new(id, gift)).expect("credits");
        scene.moved(&account, 3_000_000);
        // Spent and refunded, it is promotional again: nothing of it shows up as money that somebody has paid.
        let claims = scene.attacker.claims("skin", 1);
        let order = scene.attacker.sign(&claims);
        assert_eq!(scene.answer_to(&order).status, Status::Granted);
        scene.shop.server.refund(claims.id).expect("refunds");
        let data = scene.shop.folder.path().to_str().expect("UTF-8");
        let unused = crate::command::works(&["statement", "unused", "--data", data]);
        assert!(!unused.contains(account.as_str()), "{unused}");
        let back = RefundCredit { credit: id, amount: None, only_unspent: true, forced: false };
        operate(scene, back).expect("it goes back to the campaign");
        scene.moved(&account, -3_000_000);
    });
}

#[test]
fn creator_is_paid_no_more_than_the_shares_of_what_was_bought() {
    attack(|scene| {
        let payout = |micros: i64, creator: &str| Payout {
            creator: creator.parse().expect("a name"),
            money: money(micros),
            source: "bank".parse().expect("a name"),
        };
        refused(operate(scene, payout(1, "ann")));
        // The creator buys their own product, which costs them more than they get.
        let skins = (0..10).map(|_| scene.attacker.order("skin", 1)).collect::<Vec<_>>();
        assert_eq!(scene.send(&skins).status, 200);
        assert_eq!(scene.euros(), 300_000);
        for micros in [490_001, Micros::MAX.value(), 0, -1] {
            refused(operate(scene, payout(micros, "ann")));
        }
        let done = thread::scope(|scope| {
            let asked: Vec<_> = (0..8)
                .map(|_| {
                    let operation = Operation::new(OperationId(fresh_id()), payout(490_000, "ann"));
                    let server = &scene.shop.server;
                    scope.spawn(move || server.operate(operation).is_ok())
                })
                .collect();
            asked.into_iter().map(|asked| asked.join().expect("it is answered")).filter(|done| *done).count()
        });
        assert_eq!(done, 1);
        refused(operate(scene, payout(1, "mallory")));
    });
}

#[test]
fn creator_who_was_paid_gives_back_their_share_of_what_is_refunded_then() {
    attack(|scene| {
        let claims = scene.attacker.claims("skin", 1);
        let order = scene.attacker.sign(&claims);
        scene.answer_to(&order);
        let payout = |micros: i64| Payout {
            creator: "ann".parse().expect("a name"),
            money: money(micros),
            source: "bank".parse().expect("a name"),
        };
        operate(scene, payout(49_000)).expect("it is payable");
        scene.shop.server.refund(claims.id).expect("refunds");
        assert_eq!(scene.euros(), WELCOME);
        // The creator owes it: the next sales pay it off before anything is paid out.
        assert_eq!(scene.buy("skin", |_| {}).status, Status::Granted);
        refused(operate(scene, payout(1)));
        assert_eq!(scene.buy("skin", |_| {}).status, Status::Granted);
        operate(scene, payout(49_000)).expect("it is payable");
    });
}

#[test]
fn hold_is_taken_or_given_free_once() {
    attack(|scene| {
        let account = scene.attacker.account();
        let hold = OperationId(fresh_id());
        let all = Hold { account: account.clone(), money: money(600_000), expires_at: i64::MAX };
        scene.shop.server.operate(Operation::new(hold, all.clone())).expect("is set aside");
        refused(operate(scene, all));
        assert_eq!(scene.buy("skin", |order| order.quantity = 6).reason, Some(Reason::InsufficientFunds));
        let post = |micros: i64| Post { hold, amount: Some(Micros::new(micros).expect("in range")) };
        for micros in [600_001, 0, -1, Micros::MAX.value()] {
            refused(operate(scene, post(micros)));
        }
        let done = thread::scope(|scope| {
            let asked: Vec<_> = (0..12)
                .map(|number| {
                    let action: Action = if number % 2 == 0 { post(100_000).into() } else { Void { hold }.into() };
                    let (server, operation) = (&scene.shop.server, Operation::new(OperationId(fresh_id()), action));
                    scope.spawn(move || server.operate(operation).is_ok())
                })
                .collect();
            asked.into_iter().map(|asked| asked.join().expect("it is answered")).filter(|done| *done).count()
        });
        assert_eq!(done, 1);
        let taken = WELCOME - wallet(scene, &account).available.value();
        assert!(taken == 0 || taken == 100_000, "{taken}");
        scene.moved(&account, -taken);
    });
}

#[test]
fn no_operation_moves_money_from_one_player_to_another() {
    attack(|scene| {
        let accomplice = scene.accomplice();
        let (from, to) = (scene.attacker.account(), accomplice.account());
        let id = credit(scene, &from, 5_000_000);
        let skin = scene.attacker.claims("skin", 1);
        let order = scene.attacker.sign(&skin);
        scene.answer_to(&order);
        let hold = OperationId(fresh_id());
        let set_aside = Hold { account: from.clone(), money: money(1_000_000), expires_at: i64::MAX };
        scene.shop.server.operate(Operation::new(hold, set_aside)).expect("is set aside");
        // Whatever can be done to the first wallet, the second one stays as it was.
        let before = wallet(scene, &to);
        let back = RefundCredit { credit: id, amount: None, only_unspent: false, forced: true };
        for action in
            [Post { hold, amount: None }.into(), RefundOrder { order: skin.id, quantity: None }.into(), back.into()]
        {
            let action: Action = action;
            operate(scene, action).expect("it is done");
            assert_eq!(wallet(scene, &to), before);
        }
        scene.moved(&from, -6_000_000);
        scene.may_owe(&from);
        // The books have no other kinds of transfers between wallets than those that an account's own lots make.
        let description = crate::support::get(scene.shop.address(), "/openapi.json");
        let description: serde_json::Value = serde_json::from_slice(&description.body).expect("JSON");
        let paths = description["paths"].as_object().expect("paths");
        let admin = paths.keys().filter_map(|path| path.strip_prefix("/v1/admin/")).collect::<Vec<_>>();
        for path in &admin {
            let known = ["credit", "refund", "refund-credit", "hold", "post", "void", "payout"];
            assert!(
                known.contains(path) || path.ends_with("-device"),
                "{path} is new: does it move money between players?"
            );
        }
    });
}
