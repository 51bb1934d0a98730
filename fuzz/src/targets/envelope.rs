//! Bytes as a token, through verification: what verifies was signed by the key, and is what `docs/protocol.md` says.
//!
//! The first byte chooses. A small letter is a kind: `d`evice proof, `o`rder, `r`eceipt, sync re`q`uest, its `a`nswer,
//! al`l`owance, `c`onsumption, its recei`p`t, ques`t`ion about the account, its a`n`swer, list of `k`eys. The rest is a
//! header and a payload with a line end between them, and the party that signs this kind signs them, so that everything
//! after the signature is reached; an empty header stands for the right one. A capital is the same kind, signed by
//! somebody whom nobody trusts. With `u` there is a third line: bytes for a signature. Anything else is the text of a
//! token.

use std::fmt::Debug;

use bevy_iap::protocol::envelope::{self, Claims};
use bevy_iap::protocol::sync::{DeviceProof, SyncRequest, SyncResponse};
use bevy_iap::protocol::{
    AccountAsk, AccountRequest, AccountResponse, Allowance, Consumption, ConsumptionReceipt, EnvelopeError,
    FeedReceipt, KeyList, Order, PublicKey, Receipt, ServerKeys, Token, TrustedKeys,
};

use crate::model::keys::List;
use crate::model::{has_short_lists, has_times_in_order, text};
use crate::parties::{Party, encode, genuine, is_genuine};
use crate::{Json, Kind, PARTIES, forge};

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
        b'l' => Kind::Allowance,
        b'c' => Kind::Consumption,
        b'p' => Kind::ConsumptionReceipt,
        b't' => Kind::Question,
        b'n' => Kind::Answer,
        b'k' => Kind::Keys,
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

/// `iss`, `aud` and `sub` count as well, and what else the document wants, in what checks them.
fn believed_only_of_the_right_parties(kind: Kind, token: &Token, claims: Option<&Json>) {
    let (account, game) = (&PARTIES.account, &PARTIES.game);
    let (device, server) = (PARTIES.device.public(), PARTIES.server.public());
    let says = |name, wanted: &str| claims.and_then(|claims| claims.member(name)).and_then(text) == Some(wanted);
    let of_the_signer = says("iss", &Party::of(kind).key().id().to_string());
    let for_the_game = of_the_signer && says("aud", game.as_str());
    let for_the_account = for_the_game && says("sub", account.as_str());
    let for_the_device = says("device", &PARTIES.device.id().to_string());
    // Of an answer, whatever it was that was asked.
    let request = genuine(Kind::Request);
    let answers = says("request_sha256", &request.sha256().to_string());
    let is_feed = FeedReceipt::verify_for(token, &[server], game, account).is_ok();
    assert_eq!(is_feed, for_the_account && matches!(kind, Kind::Receipt | Kind::ConsumptionReceipt));
    match kind {
        Kind::Order => assert_eq!(Order::verify(token, device, account, game).is_ok(), for_the_account),
        Kind::Receipt => {
            assert_eq!(Receipt::verify(token, &[server], game).is_ok(), for_the_game);
            assert_eq!(Receipt::verify_for(token, &[server], game, account).is_ok(), for_the_account);
        }
        Kind::Request => {
            let believed = SyncRequest::verify(token, device, account, game);
            let are_short = claims.is_some_and(has_short_lists);
            assert_eq!(believed.is_ok(), for_the_account && are_short, "{believed:?}");
        }
        Kind::Response => {
            let believed = SyncResponse::verify(token, &[server], account, game, request).is_ok();
            assert_eq!(believed, for_the_account && answers);
        }
        Kind::Allowance => {
            let believed = Allowance::verify(token, &[server], game, account, PARTIES.device.id());
            let is_in_order = claims.is_some_and(has_times_in_order);
            assert_eq!(believed.is_ok(), for_the_account && for_the_device && is_in_order, "{believed:?}");
        }
        Kind::Consumption => assert_eq!(Consumption::verify(token, device, account, game).is_ok(), for_the_account),
        Kind::ConsumptionReceipt => {
            assert_eq!(ConsumptionReceipt::verify_for(token, &[server], game, account).is_ok(), for_the_account);
        }
        Kind::Question => question(token, for_the_game),
        Kind::Answer => {
            let believed = AccountResponse::verify(token, &[server], PARTIES.device.id(), game, request).is_ok();
            assert_eq!(believed, for_the_game && for_the_device && answers);
            assert_eq!(AccountResponse::verify_kept(token, &[server], game).is_ok(), for_the_game);
        }
        Kind::Keys => keys(token, claims),
        Kind::Proof => {}
    }
}

/// Whoever asks, asks for this game, and enrols no key but one whose proof is genuine.
fn question(token: &Token, is_right: bool) {
    let read = AccountRequest::verify(token, PARTIES.device.public(), &PARTIES.game);
    assert_eq!(read.is_ok(), is_right, "{read:?}");
    if let Ok(AccountRequest { ask: AccountAsk::ReplaceKey { enrolment }, .. }) = read {
        assert!(enrolment.verify_anywhere(&PARTIES.game).is_err() || is_genuine(&enrolment.proof));
    }
}

/// A list is taken exactly where the document says so, and then each key in it counts for what that says.
fn keys(token: &Token, claims: Option<&Json>) {
    let root = PARTIES.server.id().to_string();
    let expected = claims.and_then(|claims| List::read(claims, &root, PARTIES.game.as_str()));
    let mut keys = ServerKeys::pinned([PARTIES.server.public()]);
    let unlisted = keys.clone();
    let learned = keys.learn(token, &PARTIES.game);
    assert_eq!(learned.as_ref().ok(), expected.as_ref().map(|_| &true), "{learned:?}");
    let Some(list) = expected else { return assert_eq!(keys, unlisted, "what was believed before") };
    assert_eq!(i128::from(keys.number()), list.number);
    let known = keys.clone();
    assert_ne!(keys.learn(token, &PARTIES.game), Ok(true), "the same list again");
    assert_eq!(keys, known, "the same list again");
    assert_eq!(keys.vouched().find(PARTIES.stranger.id()).is_some(), lists(&list, PARTIES.stranger.public()));
    assert_eq!(keys.vouched().find(PARTIES.server.id()).is_some(), lists(&list, PARTIES.server.public()));
    // One that is listed again counts as it was the first time.
    for listed in list.keys.iter().filter_map(|listed| list.listed(&listed.key)) {
        let kid = PublicKey::new(&listed.key).expect("it was taken").id();
        assert!(keys.vouched().find(kid).is_some());
        let edges = [listed.from, listed.until, listed.revoked_at.unwrap_or(0)];
        let around = |edge: &i128| [edge - 1, *edge].map(|it| i64::try_from(it).unwrap_or(i64::MIN));
        let times: Vec<_> = edges.iter().flat_map(around).chain([i64::MAX]).collect();
        for &at in &times {
            assert_eq!(keys.as_of(i64::MIN).judge(kid, at).is_ok(), listed.counts(at), "{listed:?} at {at}");
            for &heard in &times {
                let judged = keys.as_of(heard).judge_answer(kid, at);
                assert_eq!(judged.is_ok(), listed.answers(at, heard), "{listed:?} at {at}, heard {heard}");
            }
        }
    }
    // A root that is revoked signs no more lists, whatever their numbers.
    let last = format!(r#"{{"iss":"{root}","aud":"arcade","iat":0,"number":{},"keys":[]}}"#, i64::MAX);
    let last = forge(Party::Server.header(Kind::Keys).as_bytes(), last.as_bytes(), Party::Server);
    if let Some(listed) = list.listed(&PARTIES.server.public().to_bytes()) {
        assert_eq!(keys.learn(&last, &PARTIES.game).is_ok(), listed.revoked_at.is_none(), "{listed:?}");
    }
}

fn lists(list: &List, key: PublicKey) -> bool {
    list.keys.iter().any(|listed| listed.key == key.to_bytes())
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
    let _ = AccountRequest::claimed_device(token);
    for asked in Kind::ALL {
        let verdict = verify(asked, token, &[PARTIES.device.public(), PARTIES.server.public()]);
        assert!(verdict.is_err() || is_genuine(token), "{asked:?} {token}");
    }
}

fn verify(kind: Kind, token: &Token, keys: &[PublicKey]) -> Result<(), EnvelopeError> {
    match kind {
        Kind::Proof => read::<DeviceProof>(kind, token, keys),
        Kind::Order => read::<Order>(kind, token, keys),
        Kind::Receipt => read::<Receipt>(kind, token, keys),
        Kind::Request => read::<SyncRequest>(kind, token, keys),
        Kind::Response => read::<SyncResponse>(kind, token, keys),
        Kind::Allowance => read::<Allowance>(kind, token, keys),
        Kind::Consumption => read::<Consumption>(kind, token, keys),
        Kind::ConsumptionReceipt => read::<ConsumptionReceipt>(kind, token, keys),
        Kind::Question => read::<AccountRequest>(kind, token, keys),
        Kind::Answer => read::<AccountResponse>(kind, token, keys),
        Kind::Keys => read::<KeyList>(kind, token, keys),
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
