//! What a device and its server say to each other: signed, read, and acted upon by the client's state machine.
//!
//! The first byte chooses. `q`: the claims of a sync request. `f`: the claims of a device proof. `e`: the body of an
//! enrolment. `k`: a key set. `K`: the bytes of a public key. `p`: a problem. `m`, `M`, `w`: a script for the machine, which
//! grants within an allowance, provisionally, or with the receipt; `l`: for one that has its answers held; see `script`.

use bevy_iap::client::OfflineGrants;
use bevy_iap::protocol::problem::Problem;
use bevy_iap::protocol::sync::{Enrolment, SyncRequest};
use bevy_iap::protocol::{Jwk, JwkSet, Order, PublicKey, Sha256};

use crate::machine::script;
use crate::model::{has_short_lists, keys, text};
use crate::parties::{Party, is_genuine};
use crate::{Json, Kind, PARTIES, forge};

/// Tries these bytes.
///
/// # Panics
/// The crate broke a promise.
pub fn run(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    match first {
        b'q' => request(rest),
        b'f' => proof(rest),
        b'e' => enrolment(rest),
        b'k' => key_set(rest),
        b'K' => public_key(rest),
        b'p' => problem(rest),
        b'm' => script(rest, OfflineGrants::Allowance, false),
        b'M' => script(rest, OfflineGrants::Provisional, false),
        b'w' => script(rest, OfflineGrants::Wait, false),
        b'l' => script(rest, OfflineGrants::Allowance, true),
        _ => {}
    }
}

/// Whether claims name the device, its account and the game.
fn names_the_parties(claims: &Json) -> bool {
    let says = |name, wanted: &str| claims.member(name).and_then(text) == Some(wanted);
    let device = PARTIES.device.id().to_string();
    says("iss", &device) && says("aud", PARTIES.game.as_str()) && says("sub", PARTIES.account.as_str())
}

fn request(payload: &[u8]) {
    let token = forge(Party::Device.header(Kind::Request).as_bytes(), payload, Party::Device);
    let claims = Json::strict(payload).filter(|claims| Kind::Request.has_claims(claims) && names_the_parties(claims));
    let claims = claims.filter(has_short_lists);
    let read = SyncRequest::verify(&token, PARTIES.device.public(), &PARTIES.account, &PARTIES.game);
    assert_eq!(read.is_ok(), claims.is_some(), "{read:?}");
    assert_eq!(SyncRequest::claimed_device(&token), Ok(PARTIES.device.id()));
    let Ok(request) = read else { return };
    for (name, list) in [("orders", &request.orders), ("consumptions", &request.consumptions)] {
        let said = claims.as_ref().and_then(|claims| claims.member(name));
        let said = if let Some(Json::List(said)) = said { said.iter().filter_map(text).collect() } else { Vec::new() };
        assert!(said.into_iter().eq(list.iter().map(|token| token.as_str())), "{name}");
    }
    for order in &request.orders {
        if Order::verify(order, PARTIES.device.public(), &PARTIES.account, &PARTIES.game).is_ok() {
            assert!(is_genuine(order));
        }
    }
}

fn proof(payload: &[u8]) {
    let proof = forge(Party::Device.header(Kind::Proof).as_bytes(), payload, Party::Device);
    let is_right =
        Json::strict(payload).is_some_and(|claims| Kind::Proof.has_claims(&claims) && names_the_parties(&claims));
    let enrolment = Enrolment { jwk: PARTIES.device.public().into(), proof };
    assert_eq!(enrolment.verify(&PARTIES.game).is_ok(), is_right);
    // Somebody else's word is no proof, whatever it says.
    let other = Enrolment { jwk: PARTIES.stranger.public().into(), ..enrolment };
    assert!(other.verify(&PARTIES.game).is_err());
}

/// Whoever holds no key enrols none.
fn enrolment(body: &[u8]) {
    let Ok(enrolment) = serde_json::from_slice::<Enrolment>(body) else { return };
    if let Ok((key, claims)) = enrolment.verify(&PARTIES.game) {
        assert!(is_genuine(&enrolment.proof));
        assert_eq!((key, claims.device), (PARTIES.device.public(), PARTIES.device.id()));
        let again = serde_json::to_vec(&enrolment).expect("it serialises");
        let again: Enrolment = serde_json::from_slice(&again).expect("what was written can be read");
        assert!(again.verify(&PARTIES.game).is_ok());
    }
}

/// The keys of a set are those that may be used, in their order, whatever others are among them.
fn key_set(body: &[u8]) {
    let read = serde_json::from_slice::<JwkSet>(body);
    let found: Option<Vec<_>> =
        read.as_ref().ok().map(|set| set.public_keys().into_iter().map(PublicKey::to_bytes).collect());
    if let Some(expected) = Json::strict(body).map(|set| keys::of_set(&set)) {
        assert_eq!(found, expected, "{read:?}");
    }
    found.into_iter().flatten().for_each(|key| public_key(&key));
}

/// A key that is accepted has one spelling, and no signature of nothing.
fn public_key(bytes: &[u8]) {
    let Some(bytes) = bytes.first_chunk::<32>() else { return };
    let read = PublicKey::new(bytes);
    assert_eq!(read.is_ok(), keys::is_usable(bytes), "{read:?}");
    let Ok(key) = read else { return };
    assert_eq!(key.to_bytes(), *bytes);
    assert_eq!(key.to_string().parse(), Ok(key));
    let jwk = Jwk::from(key);
    assert_eq!(jwk.public_key(), Ok(key));
    let thumbprint = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, jwk.x);
    assert_eq!(key.id().0, Sha256::of(thumbprint));
    assert!(!key.verifies(b"", &[0; 64]) && !key.verifies(bytes, &[1; 64]));
}

fn problem(body: &[u8]) {
    if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
        let again = serde_json::to_vec(&problem).expect("it serialises");
        assert_eq!(serde_json::from_slice::<Problem>(&again).ok(), Some(problem));
    }
    // And as the machine gets it: in answer to anything, with any status.
    for status in ["404", "422", "503", "200"] {
        let steps = [b"b1 shield\nd\nu", status.as_bytes(), b" ", body, b"\nt"].concat();
        script(&steps, OfflineGrants::Allowance, false);
    }
}
