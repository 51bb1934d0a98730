//! The server of a script: it signs whatever the script says, and knows what of it counts.

use std::collections::{BTreeMap, BTreeSet};

use bevy_iap::client::Request;
use bevy_iap::protocol::{ConsumptionId, Grant, KeyId, OrderId, Receipt, Sha256, Status, Token};

use super::feed::Feed;
use crate::Json;
use crate::model::keys::List;
use crate::model::{Kind, has_times_in_order, payload, text, time};
use crate::parties::{PARTIES, Party, forge, genuine_tokens};

/// What was signed, and what is believed of it.
#[derive(Default)]
pub(super) struct Store {
    /// Everything that was signed with a key of the server's, by its text.
    signed: BTreeMap<String, Said>,
    /// What it signed as receipts of orders.
    receipts: Vec<(Party, Receipt)>,
    /// The list of keys that counts.
    keys: Option<List>,
    /// The number of the last list that the journal has, and what that list says.
    saved_keys: Option<List>,
    /// Whether the key that no game pins was ever listed.
    is_signing_known: bool,
    /// What goes into the next answer.
    pub(super) next: Next,
}

/// What was signed for the next answer, and perhaps by a stranger.
#[derive(Default)]
pub(super) struct Next {
    pub(super) receipts: Vec<Token>,
    pub(super) allowances: Vec<Token>,
    pub(super) list: Option<Token>,
}

struct Said {
    kind: Kind,
    signer: Party,
    /// What it says, if that is what its kind may.
    claims: Option<Json>,
}

/// Who has asked, and what an answer must fit.
pub(super) struct Asker<'a> {
    pub(super) request: &'a Request,
    pub(super) account: String,
    pub(super) device: KeyId,
    /// When the server was last heard.
    pub(super) heard: i64,
    /// The orders that wait for their answer.
    pub(super) open: &'a BTreeMap<OrderId, (Sha256, u64)>,
    /// All orders of this device that it ever asked for.
    pub(super) ordered: &'a BTreeMap<OrderId, Grant>,
    /// What this device has used up.
    pub(super) consumed: &'a BTreeMap<ConsumptionId, Token>,
    pub(super) feed: &'a Feed,
}

impl Store {
    pub(super) fn new() -> Self {
        let mut store = Self::default();
        for (kind, token) in genuine_tokens() {
            if Party::of(*kind) == Party::Server {
                store.note(*kind, token, Party::Server);
            }
        }
        store
    }

    /// Signs claims in the server's name.
    pub(super) fn sign(&mut self, kind: Kind, claims: &str, signer: Party) -> Token {
        let named = if signer == Party::Stranger { Party::Server } else { signer };
        let token = forge(named.header(kind).as_bytes(), claims.as_bytes(), signer);
        if signer != Party::Stranger {
            self.note(kind, &token, signer);
        }
        token
    }

    fn note(&mut self, kind: Kind, token: &Token, signer: Party) {
        let is_right = |claims: &Json| kind.has_claims(claims) && token.as_str().len() <= kind.longest();
        let claims = payload(token.as_str()).and_then(|payload| Json::strict(&payload)).filter(is_right);
        if kind == Kind::Receipt {
            let read = Receipt::verify(token, &[signer.key().public()], &PARTIES.game);
            self.receipts.extend(read.ok().map(|receipt| (signer, receipt)));
        }
        self.signed.insert(token.as_str().to_owned(), Said { kind, signer, claims });
    }

    /// What the server says with a text, if it has signed it with one of these keys as a token of this kind, and as one
    /// for this game.
    fn said(&self, text: &str, kind: Kind) -> Option<(Party, &Json)> {
        let said = self.signed.get(text).filter(|said| said.kind == kind)?;
        let claims = said.claims.as_ref()?;
        let is_its_own = says(claims, "iss", &said.signer.key().id().to_string());
        (is_its_own && says(claims, "aud", PARTIES.game.as_str())).then_some((said.signer, claims))
    }

    /// Whether a text is one of the server's of this kind.
    pub(super) fn has_signed(&self, token: &Token, kind: Kind) -> bool {
        self.said(token.as_str(), kind).is_some()
    }

    /// The receipts that grant something to an account, and that a key signed which ever counted.
    pub(super) fn granted(&self, account: &str) -> Vec<&Receipt> {
        let counts = |signer: Party| signer == Party::Server || self.is_signing_known;
        let receipts = self.receipts.iter().filter(|(signer, _)| counts(*signer)).map(|(_, receipt)| receipt);
        receipts.filter(|it| it.status == Status::Granted && it.account.as_str() == account).collect()
    }

    /// The orders that receipts speak of.
    pub(super) fn answered(&self) -> BTreeSet<OrderId> {
        self.receipts.iter().map(|(_, receipt)| receipt.order).collect()
    }

    /// Takes a list of keys as `docs/keys.md` says. Says whether it is one.
    pub(super) fn learn(&mut self, token: &Token) -> bool {
        let list = self.list(token);
        if let Some(list) = list.clone().filter(|list| list.number > self.number()) {
            self.is_signing_known |= list.listed(&PARTIES.signing.public().to_bytes()).is_some();
            self.keys = Some(list);
        }
        list.is_some()
    }

    fn list(&self, token: &Token) -> Option<List> {
        let root = PARTIES.server.public();
        let (_, claims) = self.said(token.as_str(), Kind::Keys).filter(|(signer, _)| *signer == Party::Server)?;
        let known = self.keys.as_ref().and_then(|keys| keys.listed(&root.to_bytes()));
        let is_revoked = known.is_some_and(|listed| listed.revoked_at.is_some());
        List::read(claims, &root.id().to_string(), PARTIES.game.as_str()).filter(|_| !is_revoked)
    }

    /// The number of the list that counts; 0 for none.
    pub(super) fn number(&self) -> i128 {
        self.keys.as_ref().map_or(0, |list| list.number)
    }

    /// The journal has this list.
    pub(super) fn list_is_saved(&mut self, token: &Token) {
        let claims = self.said(token.as_str(), Kind::Keys).map(|(_, claims)| claims);
        let root = PARTIES.server.id().to_string();
        let list = claims.and_then(|claims| List::read(claims, &root, PARTIES.game.as_str()));
        self.saved_keys = list.or(self.saved_keys.take());
    }

    /// The client starts again, and knows what its journal says.
    pub(super) fn forget_what_is_not_saved(&mut self) {
        self.keys.clone_from(&self.saved_keys);
        self.next = Next::default();
    }

    /// Whether what a key signed counts inside of an answer that does.
    fn is_listed(&self, signer: Party) -> bool {
        match &self.keys {
            Some(list) => list.listed(&signer.key().public().to_bytes()).is_some(),
            None => signer == Party::Server,
        }
    }

    /// Whether an answer of this key counts.
    fn may_answer(&self, signer: Party, claims: &Json, heard: i64) -> bool {
        let at = time(claims, "iat").unwrap_or_default();
        match &self.keys {
            Some(list) => {
                list.listed(&signer.key().public().to_bytes()).is_some_and(|listed| listed.answers(at, heard))
            }
            None => signer == Party::Server,
        }
    }

    /// Whether the document has a client believe this as the answer to its sync; nothing, where it leaves that open.
    pub(super) fn is_right_response(&self, token: &Token, asker: &Asker<'_>) -> Option<bool> {
        let Some((signer, claims)) = self.said(token.as_str(), Kind::Response) else { return Some(false) };
        let allowances = texts(claims.member("allowances"));
        let is_right = asker.request.path == "/v1/sync"
            && says(claims, "sub", &asker.account)
            && says(claims, "request_sha256", &Sha256::of(&asker.request.body).to_string())
            && self.may_answer(signer, claims, asker.heard)
            && allowances.iter().all(|text| self.is_right_allowance(text, asker));
        if !is_right {
            return Some(false);
        }
        let verdicts: Vec<_> =
            texts(claims.member("receipts")).iter().map(|text| self.is_right_receipt(text, asker)).collect();
        match verdicts.contains(&Some(false)) {
            true => Some(false),
            false => (!verdicts.contains(&None)).then_some(true),
        }
    }

    fn is_right_allowance(&self, text: &str, asker: &Asker<'_>) -> bool {
        self.said(text, Kind::Allowance).is_some_and(|(signer, claims)| {
            self.is_listed(signer)
                && says(claims, "sub", &asker.account)
                && says(claims, "device", &asker.device.to_string())
                && has_times_in_order(claims)
        })
    }

    fn is_right_receipt(&self, receipt: &str, asker: &Asker<'_>) -> Option<bool> {
        let is_right = |signer, claims: &Json| self.is_listed(signer) && says(claims, "sub", &asker.account);
        let said = |name, claims: &Json| claims.member(name).and_then(text).unwrap_or_default().to_owned();
        if let Some((signer, claims)) = self.said(receipt, Kind::Receipt) {
            let id: OrderId = said("order", claims).parse().ok()?;
            let sha256 = said("order_sha256", claims);
            let signed = asker.open.get(&id).map(|(sha256, _)| sha256.to_string());
            return match signed {
                _ if !is_right(signer, claims) => Some(false),
                Some(signed) => Some(signed == sha256),
                // What it has signed long ago, or is about to, it does not compare.
                None => (!asker.ordered.contains_key(&id)).then_some(true),
            };
        }
        let Some((signer, claims)) = self.said(receipt, Kind::ConsumptionReceipt) else { return Some(false) };
        if !is_right(signer, claims) {
            return Some(false);
        }
        let id: ConsumptionId = said("consumption", claims).parse().ok()?;
        let Some(signed) = asker.consumed.get(&id) else { return Some(true) };
        let request = payload(&String::from_utf8_lossy(&asker.request.body)).and_then(|it| Json::strict(&it))?;
        // What is in the request waits for its answer. Of others it may have been given up.
        let is_sent = texts(request.member("consumptions")).contains(&signed.as_str());
        (is_sent || asker.feed.waits_for(id)).then(|| signed.sha256().to_string() == said("consumption_sha256", claims))
    }

    /// Whether the document has a client believe this as the answer to a question about its account.
    pub(super) fn is_right_answer(&self, token: &Token, asker: &Asker<'_>) -> bool {
        let question = payload(&String::from_utf8_lossy(&asker.request.body)).and_then(|it| Json::strict(&it));
        let Some(question) = question.filter(|_| asker.request.path == "/v1/account") else { return false };
        let said = |claims: &Json, name| claims.member(name).and_then(text).unwrap_or_default().to_owned();
        let next = ["ask", "enrolment", "jwk"].into_iter().try_fold(&question, |it, name| it.member(name));
        let next = next.map(|jwk| said(jwk, "kid"));
        self.said(token.as_str(), Kind::Answer).is_some_and(|(signer, claims)| {
            let device = said(claims, "device");
            says(claims, "request_sha256", &Sha256::of(&asker.request.body).to_string())
                && (device == said(&question, "iss") || next == Some(device))
                && self.may_answer(signer, claims, asker.heard)
        })
    }
}

fn says(claims: &Json, name: &str, wanted: &str) -> bool {
    claims.member(name).and_then(text) == Some(wanted)
}

fn texts(list: Option<&Json>) -> Vec<&str> {
    match list {
        Some(Json::List(items)) => items.iter().filter_map(text).collect(),
        _ => Vec::new(),
    }
}
