use super::*;
use crate::protocol::keys::TrustError;
use crate::protocol::sync::SyncRequest;
use crate::protocol::{KeyList, ListedKey, ServerKeys, base64url};

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn game() -> GameId {
    "arcade".parse().expect("a name")
}

fn request(ask: AccountAsk) -> AccountRequest {
    let device = key(2).id();
    let (account, game) = (device.guest_account(), game());
    AccountRequest { device, account, game, issued_at: 1_000, id: ReceiptId([7; 16]), ask }
}

fn entry(seed: u8, revoked: bool) -> DeviceEntry {
    DeviceEntry { id: key(seed).id(), name: None, enrolled_at: 5, revoked, frozen: false }
}

fn response(request: &Token) -> AccountResponse {
    AccountResponse {
        server: key(1).id(),
        account: key(3).id().guest_account(),
        game: game(),
        issued_at: 1_001,
        request_sha256: request.sha256(),
        device: key(2).id(),
        signed_in: false,
        devices: vec![entry(3, false), entry(2, false)],
        chain: None,
        link_code: None,
    }
}

/// Any claims under the `typ` of `C`.
fn signed<C: Claims>(claims: &serde_json::Value, key: &SecretKey) -> Token {
    let header = serde_json::json!({ "alg": "EdDSA", "typ": C::TYPE, "kid": key.id() });
    let part = |value: &serde_json::Value| base64url::encode(value.to_string().as_bytes());
    let text = format!("{}.{}", part(&header), part(claims));
    let signature = base64url::encode(&key.sign(text.as_bytes()));
    Token::from_text(&format!("{text}.{signature}"))
}

#[test]
fn every_question_reads_back_as_it_was_signed() {
    let device = key(4).id();
    let enrolment = Enrolment::sign_into(&key(5), &device.guest_account(), &game(), 7).expect("signs");
    for ask in [
        AccountAsk::Show,
        AccountAsk::LinkCode,
        AccountAsk::JoinByCode { code: LinkCode::new([1, 2, 3, 4, 5]) },
        AccountAsk::SignIn { id_token: "a.b.c".to_owned() },
        AccountAsk::NameDevice { device, name: Some(DeviceName::new("the tablet").expect("a name")) },
        AccountAsk::NameDevice { device, name: None },
        AccountAsk::RevokeDevice { device },
        AccountAsk::ReplaceKey { enrolment },
    ] {
        let request = request(ask);
        let token = request.sign(&key(2)).expect("signs");
        assert_eq!(AccountRequest::claimed_device(&token), Ok(key(2).id()));
        assert_eq!(AccountRequest::verify(&token, key(2).public(), &game()), Ok(request));
    }
}

#[test]
fn question_is_of_the_device_that_signs_it_and_of_its_game_but_of_any_account() {
    let asked = request(AccountAsk::Show);
    let verify = |request: &AccountRequest| {
        AccountRequest::verify(&request.sign(&key(2)).expect("signs"), key(2).public(), &game())
    };
    let moved = AccountRequest { account: "another".parse().expect("an account"), ..asked.clone() };
    assert_eq!(verify(&moved), Ok(moved.clone()));
    let lent = AccountRequest { device: key(3).id(), ..asked.clone() };
    assert!(matches!(verify(&lent), Err(SyncError::WrongIssuer { .. })));
    let chess = AccountRequest { game: "chess".parse().expect("a name"), ..asked.clone() };
    assert!(matches!(verify(&chess), Err(SyncError::WrongAudience { .. })));
    let token = asked.sign(&key(3)).expect("signs");
    assert!(AccountRequest::verify(&token, key(2).public(), &game()).is_err());
}

#[test]
fn message_of_another_kind_is_no_question() {
    let other = signed::<SyncRequest>(&serde_json::to_value(request(AccountAsk::Show)).expect("serialises"), &key(2));
    assert!(AccountRequest::verify(&other, key(2).public(), &game()).is_err());
    assert!(AccountRequest::claimed_device(&other).is_err());
    let long = AccountAsk::SignIn { id_token: "a".repeat(AccountRequest::MAX_LENGTH) };
    let long = signed::<AccountRequest>(&serde_json::to_value(request(long)).expect("serialises"), &key(2));
    assert!(matches!(AccountRequest::claimed_device(&long), Err(EnvelopeError::TooLong { .. })));
}

/// What comes of a question whose `ask` is this.
fn asks(ask: &serde_json::Value) -> Result<AccountAsk, SyncError> {
    let mut claims = serde_json::to_value(request(AccountAsk::Show)).expect("serialises");
    claims["ask"] = ask.clone();
    let token = signed::<AccountRequest>(&claims, &key(2));
    AccountRequest::verify(&token, key(2).public(), &game()).map(|request| request.ask)
}

#[test]
fn what_is_asked_has_its_members() {
    let shown = serde_json::to_value(request(AccountAsk::Show)).expect("serialises");
    assert_eq!(shown["ask"], serde_json::json!({ "what": "show" }));
    assert_eq!(asks(&shown["ask"]), Ok(AccountAsk::Show));
    for ask in [
        serde_json::json!({ "what": "dance" }),
        serde_json::json!({ "what": "join_by_code" }),
        serde_json::json!({ "what": "join_by_code", "code": "ABCD" }),
        serde_json::json!({ "what": "name_device", "device": key(3).id(), "name": " \n" }),
        serde_json::json!({ "name": "no question" }),
        serde_json::json!("show"),
    ] {
        assert!(asks(&ask).is_err(), "{ask}");
    }
}

#[test]
fn what_is_asked_may_have_members_that_are_of_later_versions_or_of_another_question() {
    let device = key(3).id();
    let revoke = AccountAsk::RevokeDevice { device };
    assert_eq!(asks(&serde_json::json!({ "what": "revoke_device", "device": device, "later": 1 })), Ok(revoke.clone()));
    assert_eq!(
        asks(&serde_json::json!({ "what": "revoke_device", "device": device, "later": [1.5, null] })),
        Ok(revoke)
    );
    assert_eq!(asks(&serde_json::json!({ "what": "show", "code": 5 })), Ok(AccountAsk::Show));
}

#[test]
fn what_is_asked_is_read_as_strictly_as_all_that_is_signed() {
    let device = key(3).id();
    let enrolment = Enrolment::sign(&key(3), &game(), 0).expect("signs");
    let (jwk, proof) = (&enrolment.jwk, &enrolment.proof);
    let replace = |enrolment: serde_json::Value| serde_json::json!({ "what": "replace_key", "enrolment": enrolment });
    assert!(asks(&replace(serde_json::json!({ "jwk": jwk, "proof": proof }))).is_ok());
    for ask in [
        serde_json::json!(["show"]),
        serde_json::json!(["revoke_device", device]),
        serde_json::json!({ "what": "name_device", "device": device, "name": null }),
        replace(serde_json::json!([jwk, proof])),
        replace(serde_json::json!({ "jwk": ["OKP", "Ed25519", jwk.x], "proof": proof })),
        replace(
            serde_json::json!({ "jwk": { "kty": "OKP", "crv": "Ed25519", "x": jwk.x, "kid": null }, "proof": proof }),
        ),
        replace(serde_json::json!({ "jwk": jwk, "proof": proof, "later": 1 })),
    ] {
        assert!(asks(&ask).is_err(), "{ask}");
    }
}

#[test]
fn longest_id_token_fits_into_a_question_and_a_longer_one_is_none() {
    let request = request(AccountAsk::SignIn { id_token: "a".repeat(MAX_ID_TOKEN) });
    let token = request.sign(&key(2)).expect("signs");
    assert_eq!(AccountRequest::verify(&token, key(2).public(), &game()), Ok(request));
    assert!(asks(&serde_json::json!({ "what": "sign_in", "id_token": "a".repeat(MAX_ID_TOKEN + 1) })).is_err());
}

#[test]
fn answer_is_believed_of_a_trusted_server_to_this_question_of_this_device_alone() {
    let asked = request(AccountAsk::Show).sign(&key(2)).expect("signs");
    let (keys, device) = ([key(1).public()], key(2).id());
    let verify = |response: &AccountResponse, signer: &SecretKey| {
        AccountResponse::verify(&response.sign(signer).expect("signs"), &keys, device, &game(), &asked)
    };
    let right = response(&asked);
    assert_eq!(verify(&right, &key(1)), Ok(right.clone()), "the account may be another than before");
    assert!(matches!(verify(&right, &key(9)), Err(AccountError::Message(SyncError::Envelope(_)))));
    let other = AccountResponse { device: key(3).id(), ..right.clone() };
    let expected = AccountError::WrongDevice { expected: device, found: key(3).id() };
    assert_eq!(verify(&other, &key(1)), Err(expected));
    let old = AccountResponse { request_sha256: Sha256::of("another"), ..right.clone() };
    assert_eq!(verify(&old, &key(1)), Err(SyncError::AnswersAnotherRequest.into()));
    let chess = AccountResponse { game: "chess".parse().expect("a name"), ..right.clone() };
    assert!(matches!(verify(&chess, &key(1)), Err(AccountError::Message(SyncError::WrongAudience { .. }))));
    let lent = AccountResponse { server: key(9).id(), ..right };
    assert!(matches!(verify(&lent, &key(1)), Err(AccountError::Message(SyncError::WrongIssuer { .. }))));
}

#[test]
fn answer_of_a_key_whose_time_is_over_is_not_believed() {
    let asked = request(AccountAsk::Show).sign(&key(2)).expect("signs");
    let (root, kid) = (key(8), key(1).id());
    let list = KeyList {
        root: root.id(),
        game: game(),
        issued_at: 900,
        number: 900,
        keys: vec![ListedKey::new(key(1).public(), 0, 1_001)],
    };
    let mut keys = ServerKeys::pinned([root.public()]);
    assert_eq!(keys.learn(&list.sign(&root).expect("signs"), &game()), Ok(true));
    let token = response(&asked).sign(&key(1)).expect("signs");
    let found = AccountResponse::verify(&token, &keys.as_of(1_001), key(2).id(), &game(), &asked);
    assert_eq!(found, Err(SyncError::Trust(TrustError::Expired { kid, until: 1_001 }).into()));
}

#[test]
fn asker_that_was_revoked_is_told_so_and_nobody_else() {
    let asked = request(AccountAsk::Show).sign(&key(2)).expect("signs");
    let told = |devices| AccountResponse { devices, ..response(&asked) };
    assert!(!told(vec![entry(3, false), entry(2, false)]).is_revoked());
    assert!(told(vec![entry(3, false), entry(2, true)]).is_revoked());
    assert!(!told(vec![entry(3, true), entry(2, false)]).is_revoked());
}

#[test]
fn answer_without_anything_special_names_nothing_special() {
    let asked = request(AccountAsk::Show).sign(&key(2)).expect("signs");
    let claims = serde_json::to_value(response(&asked)).expect("serialises");
    assert!(claims.get("link_code").is_none());
    assert_eq!(claims["devices"][0], serde_json::json!({ "id": key(3).id(), "enrolled_at": 5 }));
}

#[test]
fn link_code_has_one_spelling_and_is_read_from_many() {
    let code = LinkCode::new([0x39, 0xe7, 0x44, 0xaf, 0xed]);
    let text = code.to_string();
    assert_eq!(text, "77KM-9BZD");
    for spelled in ["77KM-9BZD", "77km9bzd", " 7 7 K M 9 - - b z d "] {
        assert_eq!(spelled.parse(), Ok(code), "{spelled}");
    }
    assert_eq!("O0oI-1iLl".parse::<LinkCode>(), "0001-1111".parse());
    for wrong in ["", "77KM-9BZ", "77KM-9BZDD", "77KM-9BZU", "77KM_9BZD", "77KM-9BZé"] {
        assert_eq!(wrong.parse::<LinkCode>(), Err(LinkCodeError), "{wrong}");
    }
    for bits in [[0; 5], [255; 5], [1, 2, 3, 4, 5]] {
        assert_eq!(LinkCode::new(bits).to_string().parse(), Ok(LinkCode::new(bits)));
    }
}

#[test]
fn link_code_is_in_no_log() {
    let code: LinkCode = "77KM-9BZD".parse().expect("a code");
    let asked = request(AccountAsk::JoinByCode { code });
    assert!(!format!("{asked:?}").contains("77KM"));
    assert_eq!(code.sha256(), Sha256::of("link code\x0077KM-9BZD"));
}

#[test]
fn name_of_a_device_is_one_short_line() {
    assert_eq!(DeviceName::new("  Ann's phone ").map(|name| name.to_string()), Ok("Ann's phone".to_owned()));
    assert!(DeviceName::new(&"ü".repeat(MAX_DEVICE_NAME)).is_ok());
    for wrong in ["", "   ", "two\nlines", "bell\u{7}", &"a".repeat(MAX_DEVICE_NAME + 1)] {
        assert_eq!(DeviceName::new(wrong), Err(DeviceNameError), "{wrong:?}");
    }
}

#[test]
fn name_that_is_signed_with_a_blank_at_an_end_is_refused_and_not_mended() {
    let asked = |name: &str| asks(&serde_json::json!({ "what": "name_device", "device": key(3).id(), "name": name }));
    assert!(asked("Ann's phone").is_ok());
    for name in [" Ann's phone", "Ann's phone\u{a0}"] {
        assert!(asked(name).is_err(), "{name:?}");
    }
}
