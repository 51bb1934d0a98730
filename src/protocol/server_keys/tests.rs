//! The table of decisions in `docs/keys.md`, row by row.

use super::*;
use crate::protocol::digest::Sha256;
use crate::protocol::sync::{SyncError, SyncResponse};
use crate::protocol::{AccountId, Money, OrderId, Receipt, ReceiptError, ReceiptId, Status};

const DAY: UnixSeconds = 86_400;
/// When the first list is signed, in these tests.
const START: UnixSeconds = 1_800_000_000;

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

fn root() -> SecretKey {
    key(1)
}

fn second_root() -> SecretKey {
    key(2)
}

fn signing() -> SecretKey {
    key(3)
}

fn game() -> GameId {
    "arcade".parse().expect("a name")
}

fn account() -> AccountId {
    key(9).id().guest_account()
}

fn keys() -> ServerKeys {
    ServerKeys::pinned([root().public(), second_root().public()])
}

fn list_of(root: &SecretKey, number: u64, keys: Vec<ListedKey>) -> Token {
    let list = KeyList { root: root.id(), game: game(), issued_at: START, number, keys };
    list.sign(root).expect("signs")
}

fn listed(key: &SecretKey, from: UnixSeconds, until: UnixSeconds) -> ListedKey {
    ListedKey::new(key.public(), from, until)
}

fn revoked(key: &SecretKey, at: UnixSeconds) -> ListedKey {
    ListedKey { revoked_at: Some(at), ..listed(key, START, START + 90 * DAY) }
}

/// The pinned keys after the list number 1: the signing key for ninety days, and what the root signed before.
fn rotated() -> ServerKeys {
    let mut keys = keys();
    let list = vec![listed(&signing(), START, START + 90 * DAY), listed(&root(), 0, START + DAY)];
    assert_eq!(keys.learn(&list_of(&root(), 1, list), &game()), Ok(true));
    keys
}

fn receipt(key: &SecretKey, at: UnixSeconds, keys: &ServerKeys) -> Result<(), ReceiptError> {
    let receipt = Receipt {
        id: ReceiptId([1; 16]),
        server: key.id(),
        game: game(),
        account: account(),
        issued_at: at,
        feed: 1,
        order: OrderId([2; 16]),
        order_sha256: Sha256::of("an order"),
        status: Status::Granted,
        reason: None,
        product: "shield".parse().expect("a name"),
        quantity: 1,
        amount: "0.01EUR".parse::<Money>().expect("an amount"),
        grants: Vec::new(),
    };
    Receipt::verify_for(&receipt.sign(key).expect("signs"), &keys.as_of(0), &game(), &account()).map(|_| ())
}

/// An answer of `key` at `at`, for a device that heard from the server that it was `heard`.
fn answer(key: &SecretKey, at: UnixSeconds, heard: UnixSeconds, keys: &ServerKeys) -> Result<(), SyncError> {
    let request = Token::from_text("a request");
    let response = SyncResponse {
        server: key.id(),
        account: account(),
        game: game(),
        issued_at: at,
        request_sha256: request.sha256(),
        receipts: Vec::new(),
        cursor: 0,
        more: false,
        wallet: Vec::new(),
        chain: None,
        catalog: Sha256::of("a catalogue"),
        allowances: Vec::new(),
        consumed_sequence: 0,
    };
    let token = response.sign(key).expect("signs");
    SyncResponse::verify(&token, &keys.as_of(heard), &account(), &game(), &request).map(|_| ())
}

fn unknown(key: &SecretKey) -> EnvelopeError {
    EnvelopeError::UnknownKey(key.id())
}

#[test]
fn t01_without_a_list_a_pinned_key_signs_for_ever() {
    assert_eq!(receipt(&root(), 0, &keys()), Ok(()));
    assert_eq!(answer(&second_root(), START, START + 1_000 * DAY, &keys()), Ok(()));
}

#[test]
fn t02_without_a_list_no_other_key_signs() {
    assert_eq!(receipt(&signing(), START, &keys()), Err(unknown(&signing()).into()));
    assert_eq!(answer(&signing(), START, 0, &keys()), Err(unknown(&signing()).into()));
}

#[test]
fn t03_a_listed_key_signs_in_its_time() {
    for at in [START, START + 90 * DAY - 1] {
        assert_eq!(receipt(&signing(), at, &rotated()), Ok(()));
        assert_eq!(answer(&signing(), at, at, &rotated()), Ok(()));
    }
}

#[test]
fn t04_a_listed_key_does_not_sign_before_its_time() {
    let early = TrustError::NotYet { kid: signing().id(), from: START };
    assert_eq!(receipt(&signing(), START - 1, &rotated()), Err(early.into()));
    assert_eq!(answer(&signing(), START - 1, 0, &rotated()), Err(early.into()));
}

#[test]
fn t05_a_listed_key_does_not_sign_after_its_time() {
    let until = START + 90 * DAY;
    let late = TrustError::Expired { kid: signing().id(), until };
    assert_eq!(receipt(&signing(), until, &rotated()), Err(late.into()));
    assert_eq!(answer(&signing(), until, 0, &rotated()), Err(late.into()));
}

#[test]
fn t06_an_expired_key_signs_no_answers_by_writing_an_earlier_time() {
    let until = START + 90 * DAY;
    let late = TrustError::Expired { kid: signing().id(), until };
    assert_eq!(answer(&signing(), until - 1, until, &rotated()), Err(late.into()));
    // What it signed in its time still counts.
    assert_eq!(receipt(&signing(), until - 1, &rotated()), Ok(()));
}

#[test]
fn t07_a_root_that_is_listed_until_a_time_signs_until_then() {
    assert_eq!(receipt(&root(), START, &rotated()), Ok(()));
    let late = TrustError::Expired { kid: root().id(), until: START + DAY };
    assert_eq!(receipt(&root(), START + DAY, &rotated()), Err(late.into()));
}

#[test]
fn t08_once_there_is_a_list_a_root_that_it_does_not_name_signs_nothing_but_lists() {
    assert_eq!(receipt(&second_root(), START, &rotated()), Err(unknown(&second_root()).into()));
    assert_eq!(answer(&second_root(), START, 0, &rotated()), Err(unknown(&second_root()).into()));
}

#[test]
fn t09_the_list_with_the_higher_number_counts() {
    let mut keys = rotated();
    let next = listed(&key(4), START, START + 180 * DAY);
    let second = list_of(&root(), 2, vec![next, listed(&signing(), START, START + 30 * DAY)]);
    assert_eq!(keys.learn(&second, &game()), Ok(true));
    assert_eq!((keys.number(), keys.list()), (2, Some(&second)));
    assert_eq!(answer(&key(4), START + 100 * DAY, 0, &keys), Ok(()));
    assert!(answer(&signing(), START + 30 * DAY, 0, &keys).is_err());
}

#[test]
fn t10_an_older_list_and_another_of_the_same_number_change_nothing() {
    let mut keys = rotated();
    let second = list_of(&root(), 2, vec![listed(&signing(), START, START + 90 * DAY)]);
    assert_eq!(keys.learn(&second, &game()), Ok(true));
    let before = keys.clone();
    for number in [1, 2] {
        assert_eq!(keys.learn(&list_of(&root(), number, vec![listed(&key(4), 0, i64::MAX)]), &game()), Ok(false));
    }
    assert_eq!(keys, before);
}

#[test]
fn t11_either_root_signs_the_next_list() {
    let mut keys = rotated();
    assert_eq!(keys.learn(&list_of(&second_root(), 2, vec![listed(&key(4), 0, i64::MAX)]), &game()), Ok(true));
    assert_eq!(keys.learn(&list_of(&root(), 3, vec![listed(&key(5), 0, i64::MAX)]), &game()), Ok(true));
    assert_eq!(answer(&key(5), START, 0, &keys), Ok(()));
}

#[test]
fn t12_a_list_that_no_root_signed_is_refused() {
    let mut keys = rotated();
    let before = keys.clone();
    for thief in [signing(), key(7)] {
        let forged = list_of(&thief, 9, vec![listed(&thief, 0, i64::MAX)]);
        assert_eq!(keys.learn(&forged, &game()), Err(unknown(&thief).into()));
    }
    let wrong = KeyList { root: second_root().id(), game: game(), issued_at: START, number: 9, keys: Vec::new() };
    let wrong_issuer = KeyListError::WrongIssuer { expected: root().id(), found: second_root().id() };
    assert_eq!(keys.learn(&wrong.sign(&root()).expect("signs"), &game()), Err(wrong_issuer));
    assert_eq!(keys, before);
}

#[test]
fn t13_a_list_for_another_game_is_refused() {
    let mut keys = rotated();
    let list = list_of(&root(), 2, Vec::new());
    let other: GameId = "chess".parse().expect("a name");
    let error = KeyListError::WrongAudience { expected: other.clone(), found: game() };
    assert_eq!(keys.learn(&list, &other), Err(error));
    assert_eq!(keys, rotated());
}

#[test]
fn t14_a_revoked_key_signs_no_answers_whatever_time_it_writes() {
    let mut keys = rotated();
    let at = START + 10 * DAY;
    keys.learn(&list_of(&root(), 2, vec![revoked(&signing(), at)]), &game()).expect("a list");
    let error = TrustError::Revoked { kid: signing().id(), revoked_at: at };
    for time in [START, at - 1, at, at + 1] {
        assert_eq!(answer(&signing(), time, 0, &keys), Err(error.into()));
    }
}

#[test]
fn t15_what_a_key_signed_before_it_was_revoked_counts_and_nothing_after() {
    let mut keys = rotated();
    let at = START + 10 * DAY;
    keys.learn(&list_of(&root(), 2, vec![revoked(&signing(), at)]), &game()).expect("a list");
    assert_eq!(receipt(&signing(), at - 1, &keys), Ok(()));
    assert_eq!(receipt(&signing(), at, &keys), Err(TrustError::Revoked { kid: signing().id(), revoked_at: at }.into()));
}

#[test]
fn t16_a_root_that_is_revoked_signs_no_more_lists() {
    let mut keys = rotated();
    let at = START + 10 * DAY;
    let list = vec![revoked(&root(), at), listed(&key(4), START, i64::MAX)];
    assert_eq!(keys.learn(&list_of(&second_root(), 2, list), &game()), Ok(true));
    let again = list_of(&root(), 3, vec![listed(&key(7), 0, i64::MAX)]);
    assert_eq!(keys.learn(&again, &game()), Err(unknown(&root()).into()));
    assert_eq!(answer(&key(4), at, 0, &keys), Ok(()));
}

#[test]
fn t17_a_key_that_a_later_list_leaves_out_signs_nothing() {
    let mut keys = rotated();
    keys.learn(&list_of(&root(), 2, vec![listed(&key(4), START, i64::MAX)]), &game()).expect("a list");
    assert_eq!(receipt(&signing(), START, &keys), Err(unknown(&signing()).into()));
}

#[test]
fn t18_a_key_of_an_algorithm_that_is_not_known_is_passed_over() {
    let mut keys = rotated();
    let later = ListedKey { alg: "ML-DSA-65".to_owned(), x: "anything".to_owned(), ..listed(&key(4), 0, i64::MAX) };
    // In a list an algorithm has one name, whatever a header may say.
    let other_name = ListedKey { alg: "Ed25519".to_owned(), ..listed(&key(5), 0, i64::MAX) };
    let list = list_of(&root(), 2, vec![later, other_name, listed(&signing(), START, START + 90 * DAY)]);
    assert_eq!(keys.learn(&list, &game()), Ok(true));
    assert_eq!(keys.all(), [signing().public()]);
}

#[test]
fn t19_a_list_with_a_key_that_breaks_the_enrolment_rule_is_refused() {
    let mut keys = rotated();
    let small = ListedKey { x: "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(), ..listed(&key(4), 0, 1) };
    let error = keys.learn(&list_of(&root(), 2, vec![small]), &game());
    assert_eq!(error, Err(KeyListError::Key(KeyError::SmallOrder)));
    assert_eq!(keys, rotated());
}

#[test]
fn t20_a_list_of_too_many_keys_is_refused() {
    let mut keys = rotated();
    let many = vec![listed(&key(4), 0, 1); MAX_KEYS + 1];
    let error = keys.learn(&list_of(&root(), 2, many), &game());
    assert_eq!(error, Err(KeyListError::TooManyKeys(MAX_KEYS + 1)));
    let longest = ListedKey { revoked_at: Some(i64::MIN), ..listed(&key(4), i64::MIN, i64::MIN) };
    assert_eq!(keys.learn(&list_of(&root(), i64::MAX.unsigned_abs(), vec![longest; MAX_KEYS]), &game()), Ok(true));
}
