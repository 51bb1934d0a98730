//! A version of the game with other roots, which vouch for the keys of before by a list that comes with the next answer:
//! what was written is read twice, with the list and without it, and comes to the same.

use bevy_iap::client::machine::Input;
use bevy_iap::client::{AccountWish, OfflineGrants, OrderState, Record, Response};
use bevy_iap::protocol::sync::ChainHead;
use bevy_iap::protocol::{
    AccountAsk, AccountResponse, DeviceName, KeyList, ListedKey, Order, SecretKey, Status, Token,
};

use super::{
    account_records, answer, answer_with, ask, ask_after_a_sync, code, entry, joins_other, other_account, question,
};
use crate::allowance::{allowance, give};
use crate::world::{SERVER_TIME, World, game, order_id};

/// A list of the keys of `servers`, which the last of them signs.
fn list_of(servers: &[&SecretKey]) -> Token {
    let root = servers.last().expect("one signs it");
    let listed = |server: &&SecretKey| ListedKey::new(server.public(), 0, SERVER_TIME + 1_000_000);
    let keys = servers.iter().map(listed).collect();
    let list = KeyList { root: root.id(), game: game(), issued_at: SERVER_TIME, number: 1, keys };
    list.sign(root).expect("signs")
}

/// The next start, of a version that pins the key of another root; and the list by which that vouches for the key of before.
fn update(mut world: World) -> (World, Token) {
    let next = SecretKey::from_seed(&[77; 32]);
    let list = list_of(&[&world.server, &next]);
    world.server = next;
    (world.restart(), list)
}

/// Answers the question under way, with a list of keys before the answer.
fn answer_with_list(world: &mut World, list: &Token, change: impl FnOnce(&mut AccountResponse)) {
    let Response { body, .. } = answer_with(world, &world.server, change);
    let body = [list.as_str().as_bytes(), b"\n", &body[..]].concat();
    world.input(Input::Answered(Response { status: 200, retry_after: None, body }));
}

/// Answers a sync with some of the feed, up to a place in it.
fn page(world: &mut World, receipts: &[&Token], cursor: u64, more: bool) {
    let response = world.with_answer(|answer| {
        answer.receipts = receipts.iter().copied().cloned().collect();
        (answer.cursor, answer.more) = (cursor, more);
    });
    world.input(Input::Answered(response));
}

/// A device that has joined the other account.
fn joined() -> World {
    let mut world = World::new(OfflineGrants::Wait);
    ask_after_a_sync(&mut world, AccountWish::JoinByCode(code()));
    answer(&mut world, joins_other);
    world.answer(&[]);
    world
}

/// A device that goes on with another key, in whichever account it is.
fn with_another_key(mut world: World) -> World {
    let account = world.machine.account().clone();
    ask(&mut world, AccountWish::ReplaceKey);
    world.answer(&[]);
    let next = world.next_key.clone().expect("a key was asked for");
    world.input(Input::NextKeyMade(Ok(next.clone())));
    answer(&mut world, |answer| {
        answer.account = account;
        answer.device = next.id();
        answer.devices = vec![entry(next.id())];
    });
    world.input(Input::NextKeyTaken(Ok(())));
    world.answer(&[]);
    world
}

#[test]
fn what_was_bought_in_a_joined_account_is_owned_by_a_version_with_other_roots_of_which_one_has_vouched_for_it() {
    let mut world = joined();
    world.buy(1, "shield");
    world.buy(2, "shield");
    world.answer(&[(1, Status::Granted), (2, Status::Granted)]);
    let before = world.records.len();
    ask(&mut world, AccountWish::Devices);
    world.answer(&[]);
    answer(&mut world, |answer| {
        joins_other(answer);
        answer.devices[0].name = DeviceName::new("the tablet").ok();
    });
    assert_eq!(account_records(&world), 2);
    let next = SecretKey::from_seed(&[77; 32]);
    world.records.insert(before, Record::Keys(list_of(&[&world.server, &next])));
    world.server = next;
    for _ in 0..2 {
        world = world.restart();
        assert_eq!((world.left("shield"), world.machine.account()), (2, &other_account()));
        assert!(world.troubles.is_empty(), "{:?}", world.troubles);
        world.compact();
    }
}

#[test]
fn order_of_a_key_that_nothing_believed_says_to_be_the_devices_is_sent_once_the_server_has_said_so() {
    for is_joined in [false, true] {
        let world = with_another_key(if is_joined { joined() } else { World::new(OfflineGrants::Wait) });
        let (mut world, account) = (world, |world: &World| world.machine.account().clone());
        let (device, own) = (world.key.id(), account(&world));
        world.buy(1, "shield");
        let before = world.last_order();
        let (mut world, list) = update(world);
        assert!(world.state(1).is_some_and(OrderState::is_open), "{:?}", world.state(1));
        world.input(World::purchase(2, "shield"));
        assert_eq!(world.state(2), Some(OrderState::NotSaved), "nobody knows what it would follow");
        answer_with_list(&mut world, &list, |answer| {
            answer.account = own.clone();
            (answer.device, answer.devices) = (device, vec![entry(device)]);
        });
        assert_eq!((account(&world), world.sync_request().orders.len()), (own.clone(), 1), "joined: {is_joined}");
        world.buy(3, "shield");
        assert_eq!(world.last_order().sequence, before.sequence + 1);
        // Also where the process is killed then.
        let mut world = world.restart();
        assert_eq!((account(&world), world.sync_request().orders.len()), (own, 2), "joined: {is_joined}");
        world.answer(&[(1, Status::Granted), (3, Status::Granted)]);
        assert_eq!((world.state(1), world.left("shield")), (Some(OrderState::Granted), 2));
        assert!(world.troubles.is_empty(), "{:?}", world.troubles);
    }
}

/// A device that has ordered something with another key than its first.
fn bought_with_another_key() -> World {
    let mut world = with_another_key(World::new(OfflineGrants::Wait));
    world.buy(1, "shield");
    world
}

/// The next start of a version with other roots, with an order of a key of which nothing that is believed says that it took
/// the device's place; what was asked about that is lost, and the sync after it is under way.
fn asked_in_vain(world: World) -> (World, Token) {
    let (mut world, list) = update(world);
    assert_eq!(question(&world).ask, AccountAsk::Show);
    world.input(Input::NotAnswered("the network is gone".to_owned()));
    world.wait();
    assert!(world.sync_request().orders.is_empty(), "nothing is sent before the server has said whose it is");
    (world, list)
}

#[test]
fn order_of_a_key_that_the_server_answers_a_sync_of_is_sent_and_nothing_else_takes_its_place() {
    let (mut world, _) = asked_in_vain(bought_with_another_key());
    world.answer(&[]);
    assert_eq!(world.sync_request().orders.len(), 1);
    world.buy(2, "shield");
    assert_eq!(world.last_order().sequence, 2);
    world.answer(&[(1, Status::Granted), (2, Status::Granted)]);
    assert_eq!((world.state(1), world.left("shield")), (Some(OrderState::Granted), 2));
}

#[test]
fn order_of_a_key_that_the_server_answers_a_sync_of_keeps_its_place_where_the_feed_has_more_pages() {
    let (mut world, _) = asked_in_vain(bought_with_another_key());
    page(&mut world, &[], 0, true);
    world.buy(2, "shield");
    assert_eq!((world.last_order().sequence, world.sync_request().orders.len()), (2, 1));
    page(&mut world, &[], 0, false);
    assert_eq!(world.sync_request().orders.len(), 2);
}

#[test]
fn order_of_a_key_that_the_server_answers_a_sync_of_is_sent_before_what_follows_it_also_after_a_restart() {
    for is_answered in [false, true] {
        let world = bought_with_another_key();
        let first = world.last_order_token().sha256();
        let (mut world, list) = asked_in_vain(world);
        let (device, account) = (world.key.id(), world.machine.account().clone());
        world.answer(&[]);
        let mut world = world.restart();
        world.input(Input::NotAnswered("the network is gone".to_owned()));
        world.wait();
        assert_eq!(world.sync_request().orders.iter().map(Token::sha256).collect::<Vec<_>>(), [first]);
        page(&mut world, &[], 0, true);
        world.buy(2, "shield");
        let second = world.last_order_token().sha256();
        assert_eq!(world.last_order().previous, Some(first));
        let mut world = world.restart();
        if is_answered {
            answer_with_list(&mut world, &list, |answer| {
                answer.account = account.clone();
                (answer.device, answer.devices) = (device, vec![entry(device)]);
            });
        } else {
            world.input(Input::NotAnswered("the network is gone".to_owned()));
            world.wait();
        }
        let sent: Vec<_> = world.sync_request().orders.iter().map(Token::sha256).collect();
        assert_eq!(sent, [first, second], "answered: {is_answered}");
    }
}

#[test]
fn what_an_order_of_a_key_has_spent_is_not_spent_again_where_a_sync_says_that_the_key_is_the_devices() {
    let mut world = with_another_key(World::new(OfflineGrants::Allowance));
    let own = allowance(&world, 1, |_| {});
    give(&mut world, own);
    world.buy(1, "shield");
    assert_eq!(world.last_order().allowance.map(|spent| spent.orders), Some(1));
    let (mut world, _) = asked_in_vain(world);
    let again = allowance(&world, 1, |_| {});
    give(&mut world, again);
    world.buy(2, "shield");
    assert_eq!((world.last_order().sequence, world.last_order().allowance), (2, None));
    world.answer(&[(1, Status::Granted), (2, Status::Granted)]);
    assert_eq!(world.left("shield"), 2);
}

#[test]
fn nothing_follows_an_order_of_a_key_that_the_server_is_already_beyond() {
    let mut world = bought_with_another_key();
    let first = world.last_order();
    world.buy(2, "shield");
    let head = ChainHead { sequence: 2, order_sha256: world.last_order_token().sha256() };
    // Damage has taken the second.
    let is_second =
        |record: &Record| matches!(record, Record::Order(signed) if signed.token().sha256() == head.order_sha256);
    world.records.retain(|record| !is_second(record));
    let (mut world, _) = asked_in_vain(world);
    world.head = Some(head);
    page(&mut world, &[], 0, true);
    world.buy(3, "shield");
    assert_eq!((first.sequence, world.last_order().sequence), (1, 3));
    let mut world = world.restart();
    world.input(Input::NotAnswered("the network is gone".to_owned()));
    world.wait();
    page(&mut world, &[], 0, false);
    world.buy(4, "shield");
    assert_eq!(world.last_order().sequence, 4);
}

#[test]
fn order_that_was_answered_before_the_server_said_whose_it_is_counts_once() {
    let (mut world, list) = asked_in_vain(bought_with_another_key());
    let (device, account) = (world.key.id(), world.machine.account().clone());
    let receipt = world.receipt_with(1, |_| {}, &world.server);
    ask(&mut world, AccountWish::Devices);
    page(&mut world, &[&receipt], 1, true);
    answer_with_list(&mut world, &list, |answer| {
        answer.account = account.clone();
        (answer.device, answer.devices) = (device, vec![entry(device)]);
    });
    assert!(world.sync_request().orders.is_empty());
    page(&mut world, &[&receipt], 1, false);
    assert_eq!(world.left("shield"), 1);
}

#[test]
fn order_that_only_says_that_it_is_of_the_key_of_now_is_never_sent() {
    let mut world = bought_with_another_key();
    let forged = Order { id: order_id(2), ..world.last_order() }.sign(&SecretKey::from_seed(&[66; 32]));
    world.records.push(Record::Order(forged.expect("signs").into()));
    let (mut world, _) = asked_in_vain(world);
    world.answer(&[]);
    assert_eq!(world.sync_request().orders.len(), 1, "the one that it has signed");
}

#[test]
fn next_order_is_not_set_back_by_an_older_answer_where_the_first_word_of_the_account_is_lost() {
    let mut world = joined();
    world.buy(1, "shield");
    let head = |world: &World| ChainHead { sequence: 1, order_sha256: world.sync_request().orders[0].sha256() };
    world.head = Some(head(&world));
    world.answer(&[(1, Status::Granted)]);
    ask(&mut world, AccountWish::Devices);
    world.buy(2, "shield");
    answer(&mut world, |answer| {
        joins_other(answer);
        answer.devices[0].name = DeviceName::new("the tablet").ok();
    });
    world.answer(&[(2, Status::Granted)]);
    let first = world.records.iter().position(|record| matches!(record, Record::Account(_)));
    world.records.remove(first.expect("it is there"));
    let mut world = world.restart();
    world.input(Input::NotAnswered("the network is gone".to_owned()));
    world.buy(3, "shield");
    assert_eq!(world.last_order().sequence, 3);
}

#[test]
fn what_is_used_up_in_a_joined_account_stays_so_where_its_feed_is_read_again_page_by_page() {
    let mut world = joined();
    [1, 2, 4].into_iter().for_each(|number| world.buy(number, "shield"));
    let [one, two, four] = [1, 2, 4].map(|number| world.receipt_with(number, |_| {}, &world.server));
    page(&mut world, &[&one, &two], 2, false);
    world.consume(9, "shield", 1);
    let used = world.consumption_receipt(9, 3, |_| {});
    world.input(Input::SyncNow);
    page(&mut world, &[&used, &four], 4, false);
    assert_eq!(world.left("shield"), 2);
    let (mut world, list) = update(world);
    answer_with_list(&mut world, &list, joins_other);
    assert_eq!((world.machine.account(), world.sync_request().cursor), (&other_account(), 0));
    page(&mut world, &[&one, &two, &used], 3, true);
    page(&mut world, &[&four], 4, false);
    for _ in 0..3 {
        assert_eq!((world.left("shield"), world.machine.account()), (2, &other_account()));
        world = world.restart();
        assert_eq!((world.left("shield"), world.machine.account()), (2, &other_account()));
        world.compact();
    }
}

#[test]
fn nothing_is_said_of_receipts_of_an_account_that_was_left_whose_key_is_not_trusted_any_more() {
    let mut world = World::new(OfflineGrants::Wait);
    world.buy(1, "shield");
    world.answer(&[(1, Status::Granted)]);
    ask_after_a_sync(&mut world, AccountWish::JoinByCode(code()));
    answer(&mut world, joins_other);
    world.answer(&[]);
    // No list vouches for the key of before.
    let (mut world, _) = update(world);
    answer(&mut world, joins_other);
    world.answer(&[]);
    for _ in 0..2 {
        world.compact();
        world = world.restart();
        assert_eq!((world.left("shield"), world.machine.account()), (0, &other_account()));
        assert!(world.troubles.is_empty(), "{:?}", world.troubles);
    }
}
