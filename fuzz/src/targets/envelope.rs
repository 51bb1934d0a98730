//! Bytes as a token, through verification: what verifies was signed by the key, and is what `docs/protocol.md` says.
//!
//! The first byte chooses. A small letter is a kind (`d`evice proof, `o`rder, `r`eceipt, sync re`q`uest, sync
//! `a`nswer): the rest is a header and a payload with a line end between them, and the party that signs this kind signs
//! them, so that everything after the signature is reached; an empty header stands for the right one. A capital is the
//! same kind, signed by somebody whom nobody trusts. With `u` there is a third line: bytes for a signature. Anything
//! else is the text of a token.

use std::fmt::Debug;

use crate::model::text;
use crate::parties::{Party, encode};
use crate::{Json, Kind, PARTIES, forge, genuine_tokens};
use bevy_iap::protocol::envelope::{self, Claims};
use bevy_iap::protocol::sync::{DeviceProof, MAX_ORDERS, SyncRequest, SyncResponse};
use bevy_iap::protocol::{EnvelopeError, Order, PublicKey, Receipt, Token};

/// Tries these bytes.
///
/// # Panics
/// The crate broke a promise.
pub fn run(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    match kind(first.to_ascii_lowercase()) {
        Some(kind) if first.is_ascii_lowercase() => signed(kind, rest),
        Some(kind) => signed_by_a_stranger(kind, rest),
        None if first == b'u' => unsigned(rest),
        None => raw(&String::from_utf8_lossy(bytes)),
    }
}

fn kind(letter: u8) -> Option<Kind> {
    Some(match letter {
        b'd' => Kind::Proof,
        b'o' => Kind::Order,
        b'r' => Kind::Receipt,
        b'q' => Kind::Request,
        b'a' => Kind::Response,
        _ => return None,
    })
}

/// What is before the first line end, and what is after it.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}

/// Signed as it should be: it is accepted exactly where the document says so.
fn signed(kind: Kind, rest: &[u8]) {
    let signer = Party::of(kind);
    let (header, payload) = line(rest);
    let right = signer.header(kind);
    let header = if header.is_empty() { right.as_bytes() } else { header };
    let token = forge(header, payload, signer);
    let claims = Json::strict(payload).filter(|claims| kind.has_claims(claims));
    let expected = claims
        .filter(|_| kind.has_header(header, &signer.key().id().to_string()) && token.as_str().len() <= kind.longest());
    for asked in Kind::ALL {
        let verdict = verify(asked, &token, &[PARTIES.device.public(), PARTIES.server.public()]);
        assert_eq!(verdict.is_ok(), asked == kind && expected.is_some(), "asked for {asked:?}: {verdict:?}");
    }
    believed_only_of_the_right_parties(kind, &token, expected.as_ref());
    if expected.is_some() {
        let unknown = verify(kind, &token, &[PARTIES.stranger.public()]);
        assert!(matches!(unknown, Err(EnvelopeError::UnknownKey(_))), "{unknown:?}");
        // One bit more or less in the text, wherever it is.
        let mut changed = token.as_str().as_bytes().to_vec();
        let place = payload.len().wrapping_mul(31) % changed.len();
        changed[place] ^= 1;
        raw(&String::from_utf8_lossy(&changed));
    }
}

/// `iss`, `aud` and `sub` count as well, in what checks them.
fn believed_only_of_the_right_parties(kind: Kind, token: &Token, claims: Option<&Json>) {
    let (account, game) = (&PARTIES.account, &PARTIES.game);
    let (device, server) = (PARTIES.device.public(), PARTIES.server.public());
    let says = |name, wanted: &str| claims.and_then(|claims| claims.member(name)).and_then(text) == Some(wanted);
    let of_the_signer = says("iss", &Party::of(kind).key().id().to_string());
    let for_the_game = of_the_signer && says("aud", game.as_str());
    let for_the_account = for_the_game && says("sub", account.as_str());
    match kind {
        Kind::Order => assert_eq!(Order::verify(token, device, account, game).is_ok(), for_the_account),
        Kind::Receipt => {
            assert_eq!(Receipt::verify(token, &[server], game).is_ok(), for_the_game);
            assert_eq!(Receipt::verify_for(token, &[server], game, account).is_ok(), for_the_account);
        }
        Kind::Request => {
            let orders = claims.and_then(|claims| claims.member("orders"));
            let few = matches!(orders, Some(Json::List(orders)) if orders.len() <= MAX_ORDERS);
            assert_eq!(SyncRequest::verify(token, device, account, game).is_ok(), for_the_account && few);
        }
        Kind::Response => {
            let request = &genuine_tokens()[2];
            let answers = says("request_sha256", &request.sha256().to_string());
            let believed = SyncResponse::verify(token, &[server], account, game, request).is_ok();
            assert_eq!(believed, for_the_account && answers);
        }
        Kind::Proof => {}
    }
}

fn signed_by_a_stranger(kind: Kind, rest: &[u8]) {
    let (header, payload) = line(rest);
    // The header names the trusted key, or whatever was fuzzed.
    let right = Party::of(kind).header(kind);
    let header = if header.is_empty() { right.as_bytes() } else { header };
    nothing_verifies(&forge(header, payload, Party::Stranger));
}

fn unsigned(rest: &[u8]) {
    let (header, rest) = line(rest);
    let (payload, signature) = line(rest);
    let parts = [header, payload, signature].map(encode);
    nothing_verifies(&Token::from_text(&parts.join(".")));
}

fn raw(text: &str) {
    nothing_verifies(&Token::from_text(text));
}

/// A token that nobody signed here is refused, unless it is one of the document's own, byte for byte.
fn nothing_verifies(token: &Token) {
    let _ = SyncRequest::claimed_device(token);
    for asked in Kind::ALL {
        let verdict = verify(asked, token, &[PARTIES.device.public(), PARTIES.server.public()]);
        assert!(verdict.is_err() || genuine_tokens().contains(token), "{asked:?} {token}");
    }
}

fn verify(kind: Kind, token: &Token, keys: &[PublicKey]) -> Result<(), EnvelopeError> {
    match kind {
        Kind::Proof => read::<DeviceProof>(kind, token, keys),
        Kind::Order => read::<Order>(kind, token, keys),
        Kind::Receipt => read::<Receipt>(kind, token, keys),
        Kind::Request => read::<SyncRequest>(kind, token, keys),
        Kind::Response => read::<SyncResponse>(kind, token, keys),
    }
}

/// Verifies a token; claims that were read are signed again and read as the same.
fn read<C: Claims + Debug + PartialEq>(kind: Kind, token: &Token, keys: &[PublicKey]) -> Result<(), EnvelopeError> {
    let (kid, claims) = envelope::verify::<C>(token, keys).inspect_err(|error| {
        assert!(!error.to_string().is_empty());
    })?;
    assert!(token.as_str().len() <= kind.longest());
    let key = [&PARTIES.device, &PARTIES.server].into_iter().find(|key| key.id() == kid).expect("a trusted key");
    let again = envelope::sign(&claims, key).expect("claims serialise");
    // What was left out of a member list may make the second token longer than the first, but never by much.
    if again.as_str().len() <= kind.longest() {
        assert_eq!(envelope::verify::<C>(&again, keys), Ok((kid, claims)));
    }
    Ok(())
}
