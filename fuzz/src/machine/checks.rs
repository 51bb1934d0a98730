//! What holds after every step of a script, of everything that is sent and saved, and after what is not believed.

use std::collections::{BTreeMap, BTreeSet};

use bevy_iap::client::{Holdings, OfflineGrants, OrderState, Record, Request, Response};
use bevy_iap::protocol::consumption::MAX_CONSUMPTIONS;
use bevy_iap::protocol::sync::{Enrolment, MAX_ORDERS, SyncRequest};
use bevy_iap::protocol::{AccountRequest, Consumption, Grant, OrderId, SecretKey, Token};

use super::World;
use crate::model::Kind;
use crate::parties::PARTIES;

impl World {
    /// Everything that is owned is backed by a receipt that verifies, or by an order of this device that was made within
    /// an allowance, or where the game is set to grant before the receipt.
    pub(super) fn check(&self) {
        let believed = self.store.granted(self.machine.account().as_str());
        let is_given_at_once = |id: &OrderId| match self.game.offline_grants {
            OfflineGrants::Provisional => true,
            OfflineGrants::Allowance => self.told.covered.contains(id),
            OfflineGrants::Wait => false,
        };
        let ids: BTreeSet<_> =
            believed.iter().map(|receipt| receipt.order).chain(self.told.ordered.keys().copied()).collect();
        let provisional = |id: &OrderId| self.told.ordered.get(id).filter(|_| is_given_at_once(id)).into_iter();
        for (item, quantity) in &self.holdings.items {
            let given = |grants: &mut dyn Iterator<Item = &Grant>| {
                grants.fold(0_u64, |sum, grant| match grant {
                    Grant::Item { item: found, quantity } if found == item => sum.saturating_add(*quantity),
                    _ => sum,
                })
            };
            let most = ids.iter().fold(0_u64, |sum, id| {
                let receipts = believed.iter().filter(|receipt| receipt.order == *id);
                let most = receipts.map(|receipt| given(&mut receipt.grants.iter())).max().unwrap_or(0);
                sum.saturating_add(most.max(given(&mut provisional(id))))
            });
            assert!(quantity.left <= most, "{item}: {quantity:?}, and {most} were given");
            let before_receipts = given(&mut ids.iter().flat_map(provisional));
            assert!(quantity.provisional <= before_receipts, "{item}: {quantity:?}");
        }
        let open = self.told.orders.keys().flat_map(|id| provisional(id).map(|grant| (*id, grant.clone())));
        if let Some(left) = self.told.feed.left(&open.collect()) {
            let shown: BTreeMap<_, _> = self.holdings.items.iter().map(|(item, it)| (item.clone(), it.left)).collect();
            assert_eq!(shown, left, "what is left by the feed");
        }
        for (name, right) in &self.holdings.entitlements {
            let is_it = |grant: &Grant| matches!(grant, Grant::Entitlement { entitlement, .. } if entitlement == name);
            let by_receipt = believed.iter().any(|receipt| receipt.grants.iter().any(is_it));
            let by_order = ids.iter().flat_map(provisional).any(is_it);
            assert!(if right.provisional { by_order } else { by_receipt }, "{name} was never given");
        }
        for (id, state) in &self.states {
            let is_granted = believed.iter().any(|receipt| receipt.order == *id);
            assert!(*state != OrderState::Granted || is_granted, "the order {id} was never granted");
        }
        let place = (self.machine.account().clone(), self.machine.device());
        assert!(self.told.places.contains(&place), "no answer has put the device there: {place:?}");
    }

    /// What is to be made durable of the server's is the server's.
    pub(super) fn check_records(&mut self, records: &[Record]) {
        let is_signed =
            |token: &Token, kind| assert!(self.store.has_signed(token, kind), "only the server signs {kind:?}");
        let mut ends = self.told.spending.as_ref().map(super::Spending::ends);
        let mut is_news = false;
        for record in records {
            match record {
                Record::Receipt(signed) => is_signed(&signed.token(), Kind::Receipt),
                Record::ConsumptionReceipt(token) => is_signed(token, Kind::ConsumptionReceipt),
                Record::Keys(token) => is_signed(token, Kind::Keys),
                Record::Account(token) => is_signed(token, Kind::Answer),
                Record::Allowance(saved) => {
                    is_signed(&saved.token, Kind::Allowance);
                    ends = Some(super::Spending::of(saved).ends());
                }
                Record::Synced(_) | Record::Counted(_) => {}
                Record::Provisional(provisional) => {
                    // What may have been saved before was signed before.
                    let is_over = ends.is_some_and(|ends| ends <= self.server_time) && !self.uncertain;
                    assert!(provisional.allowance.is_none() || !is_over, "an allowance that has ended is spent");
                    continue;
                }
                _ => continue,
            }
            is_news = true;
        }
        // What is tried again was believed when it was tried first.
        self.heard.news |= is_news && !self.uncertain;
    }

    /// What is sent is signed, within the limits, and was made durable before.
    pub(super) fn check_request(&mut self, request: &Request) {
        let text = std::str::from_utf8(&request.body).expect("it is text");
        let (key, account, game) = (self.machine.public_key(), self.machine.account(), &PARTIES.game);
        match request.path {
            "/v1/devices" => {
                let enrolment: Enrolment = serde_json::from_str(text).expect("an enrolment");
                assert!(enrolment.verify(game).is_ok_and(|(found, _)| found == key));
            }
            "/v1/account" => {
                let token = Token::from_text(text);
                let keys = [Some(key), self.next_key.as_ref().map(SecretKey::public)];
                let is_right = |key| AccountRequest::verify(&token, key, game).is_ok();
                // A retry repeats the bytes, whoever the device is by now.
                let is_retry = self.told.questions.contains(token.as_str());
                assert!(is_retry || keys.into_iter().flatten().any(is_right), "the device or its next key signs");
                self.told.questions.insert(text.to_owned());
            }
            _ => {
                let token = Token::from_text(text);
                let request = SyncRequest::verify(&token, key, account, game).expect("it signed it");
                // A retry repeats the bytes, whatever is known by now.
                let is_retry = self.told.last_sync.as_ref() == Some(&token);
                let number = i128::from(request.keys);
                assert!(is_retry || number == self.store.number(), "it has another list of keys than {number}");
                self.check_sync(&request);
                if !is_retry {
                    self.check_that_all_is_sent(&request);
                }
                self.told.last_sync = Some(token);
            }
        }
    }

    fn check_sync(&self, request: &SyncRequest) {
        assert!(request.orders.len() <= MAX_ORDERS && request.consumptions.len() <= MAX_CONSUMPTIONS);
        for order in &request.orders {
            let is_durable = self.told.orders.values().any(|token| token == order);
            assert!(is_durable, "an order was sent before it was durable");
        }
        let (key, account, game) = (self.machine.public_key(), self.machine.account(), &PARTIES.game);
        let consumptions = request.consumptions.iter().map(|token| {
            let is_durable = self.told.consumed.values().any(|durable| durable == token);
            assert!(is_durable, "what was used up was sent before it was durable");
            Consumption::verify(token, key, account, game).expect("it signed it").sequence
        });
        let sequences: Vec<_> = consumptions.collect();
        assert!(sequences.is_sorted_by(|one, next| one < next), "the oldest ones first: {sequences:?}");
        let wanted = request.allowance.is_some();
        assert_eq!(wanted, self.game.offline_grants == OfflineGrants::Allowance);
        let current = request.allowance.as_ref().and_then(|wanted| wanted.current);
        assert!(current.is_none() || current == self.told.spending.as_ref().map(super::Spending::id));
        assert!(request.wait.is_none() || (self.game.listen && request.orders.is_empty() && sequences.is_empty()));
    }

    /// What has no receipt yet is in every new request, however often it was refused.
    fn check_that_all_is_sent(&self, request: &SyncRequest) {
        let sent: BTreeSet<_> = request.orders.iter().map(Token::sha256).collect();
        for (id, (sha256, decided_at)) in &self.told.open {
            let waits = *decided_at == 0 && self.told.ordered.contains_key(id) && !self.told.foretold.contains(id);
            assert!(!waits || sent.contains(sha256), "the order {id} is not sent any more");
        }
        for (id, token) in &self.told.consumed {
            let waits = self.told.feed.waits_for(*id);
            assert!(!waits || request.consumptions.contains(token), "{id} is not sent any more, and was used up");
        }
    }

    /// Gives an answer that is not to be believed, if anything was asked. An order's fate changes on a signed receipt and
    /// on nothing else, and so does everything that the server says.
    pub(super) fn disbelieve(&mut self, response: Response) {
        if self.request.is_none() {
            return;
        }
        let (states, holdings) = (self.states.clone(), self.holdings.clone());
        self.answer(response);
        let open = |state: &OrderState| matches!(state, OrderState::Queued | OrderState::Sent);
        for (id, state) in &states {
            let now = self.states.get(id);
            assert!(now == Some(state) || (open(state) && now.is_some_and(open)), "{state:?} became {now:?}");
        }
        assert_eq!(lasting(&self.holdings), lasting(&holdings));
        let is_kept = |name| holdings.entitlements.contains_key(name);
        assert!(self.holdings.entitlements.keys().all(is_kept), "{:?}", self.holdings);
        assert!(
            !self.heard.clock && !self.heard.account && !self.heard.news,
            "an answer that is not right was believed"
        );
    }
}

/// What does not end by itself at any second.
fn lasting(holdings: &Holdings) -> Holdings {
    let mut lasting = holdings.clone();
    lasting.entitlements.retain(|_, right| right.until.is_none());
    lasting
}
