//! The journal and the key files of a script's device: what becomes durable, and what the next start finds.

use std::collections::BTreeSet;
use std::mem;
use std::time::Duration;

use bevy_iap::client::machine::Input;
use bevy_iap::client::storage::Opened;
use bevy_iap::client::{Access, Holdings, Machine, OrderState, Record, Response, Settings, Signed, Tick};
use bevy_iap::protocol::{AccountId, KeyId, Order, Receipt, SecretKey, ServerKeys, Token};

use super::feed;
use super::spending::Spending;
use super::store::Store;
use super::{Game, Heard, NOW, Told, World, consumption_id};
use crate::Json;
use crate::model::{payload, text};
use crate::parties::PARTIES;

impl World {
    /// Opens a journal as a session does, with the keys that are in its folder.
    pub(super) fn open(
        game: Game,
        records: Vec<Record>,
        mut key: SecretKey,
        mut next_key: Option<SecretKey>,
        tampered: bool,
    ) -> Self {
        let mut settings = Settings::new(PARTIES.game.clone(), vec![PARTIES.server.public()]);
        (settings.offline_grants, settings.listen) = (game.offline_grants, game.listen);
        let mut keys = ServerKeys::pinned([PARTIES.server.public()]);
        let mut is_taken = false;
        let opening = loop {
            let mut opening = Machine::opening_with(settings.clone(), key.clone(), keys.clone());
            records.iter().cloned().for_each(|record| opening.replay(record));
            match &next_key {
                Some(next) if opening.other_device() == Some(next.id()) => {
                    (key, next_key, is_taken) = (next.clone(), None, true);
                    continue;
                }
                next => next.iter().filter(|_| !is_taken).for_each(|next| opening.next_key(next.clone())),
            }
            match opening.keys_to_read_it_with().filter(|better| *better != keys) {
                Some(better) => keys = better,
                None => break opening,
            }
        };
        let opened = Opened { key: key.clone(), access: Access::ReadWrite, troubles: Vec::new(), is_damaged: false };
        let tick = Tick { elapsed: Duration::ZERO, unix: NOW, random: [0; 16] };
        let (machine, snapshot, first) = opening.finish(opened, tick).expect("it is this device's journal");
        assert!(snapshot.troubles.is_empty() || tampered, "{:?}", snapshot.troubles);
        let server_time = records.iter().rev().find_map(|record| match record {
            Record::Synced(synced) => Some(synced.server_time),
            _ => None,
        });
        let place = (machine.account().clone(), machine.device());
        Self {
            machine,
            game,
            key,
            next_key,
            key_fails: false,
            records: records.into_iter().chain(first).collect(),
            appending: None,
            uncertain: false,
            tampered,
            request: None,
            holdings: snapshot.holdings,
            states: snapshot.orders.iter().map(|order| (order.id, order.state)).collect(),
            heard: Heard::default(),
            server_time: server_time.unwrap_or_default(),
            store: Store::new(),
            told: Told { places: BTreeSet::from([place]), account: Some(snapshot.account), ..Told::default() },
            elapsed: Duration::ZERO,
            ticks: 0,
        }
    }

    pub(super) fn durable(&mut self) {
        if let Some(mut records) = self.appending.take() {
            records.iter().for_each(|record| self.note(record));
            let used: Vec<_> = records.iter().filter_map(feed::used).collect();
            self.records.append(&mut records);
            self.input(Input::Appended);
            for item in used {
                match self.heard.saved.iter().position(|saved| *saved == item) {
                    Some(saved) => drop(self.heard.saved.swap_remove(saved)),
                    // It was taken back just before.
                    None => self.told.feed.give_up(&item),
                }
            }
        }
    }

    /// Remembers what a record means that is durable now.
    fn note(&mut self, record: &Record) {
        let told = &mut self.told;
        told.feed.note(record);
        match record {
            Record::Order(signed) => {
                let (token, key) = (signed.token(), self.machine.public_key());
                let order = Order::verify(&token, key, self.machine.account(), &PARTIES.game).expect("it signed it");
                if let Some(within) = order.allowance {
                    told.spending.as_mut().expect("it has an allowance").spend(&order, within);
                    told.covered.insert(order.id);
                }
                if self.store.answered().contains(&order.id) {
                    told.foretold.insert(order.id);
                }
                told.open.insert(order.id, (token.sha256(), 0));
                told.orders.insert(order.id, token);
            }
            Record::Receipt(signed) => {
                let claims = payload(signed.token().as_str()).expect("a token");
                told.decide(&serde_json::from_slice(&claims).expect("a receipt"));
            }
            Record::Consumption(token) => {
                let claims = payload(token.as_str()).and_then(|claims| Json::strict(&claims)).expect("claims");
                let id = claims.member("jti").and_then(text).and_then(|id| id.parse().ok()).expect("an id");
                assert!((1..=9).any(|number| consumption_id(number) == id), "nobody used it up");
                told.consumed.insert(id, token.clone());
            }
            Record::Allowance(saved) => told.spending = Some(Spending::of(saved)),
            Record::Keys(token) => self.store.list_is_saved(token),
            Record::Account(token) => {
                let (account, device) = place(token);
                if account != *self.machine.account() {
                    told.open.clear();
                    told.settled.clear();
                }
                if account != *self.machine.account() || device != self.machine.device() {
                    told.spending = None;
                    told.feed.leave();
                    let ordered = &told.ordered;
                    told.open.retain(|id, _| !ordered.contains_key(id));
                }
            }
            _ => {}
        }
    }

    pub(super) fn not_durable(&mut self) {
        if self.appending.take().is_some() {
            self.input(Input::AppendFailed("the disk is full".to_owned()));
        }
    }

    pub(super) fn not_known_whether_durable(&mut self) {
        if self.appending.take().is_some() {
            self.uncertain = true;
            self.input(Input::AppendUncertain("the disk does not answer".to_owned()));
        }
    }

    /// Writes the journal anew, as a storage would, if nothing is on its way to it.
    pub(super) fn write_anew(&mut self) -> Option<Input> {
        if self.appending.is_some() || self.uncertain {
            return None;
        }
        let kept = mem::take(&mut self.records).into_iter().filter_map(self.machine.keeping());
        self.records = kept.chain(self.machine.closing_records(self.tick())).collect();
        Some(Input::Compacted)
    }

    pub(super) fn change_seals(&mut self, change: impl Fn(&mut Vec<u8>)) {
        for record in &mut self.records {
            if let Record::Order(signed) | Record::Receipt(signed) = record {
                let mut seal = signed.seal().to_vec();
                change(&mut seal);
                *signed = Signed::new(&seal, signed.token().as_str());
            }
        }
    }

    /// Makes a key that may take the place of the device's.
    pub(super) fn make_key(&mut self) -> Result<SecretKey, String> {
        if mem::take(&mut self.key_fails) {
            return Err("the disk is full".to_owned());
        }
        self.told.keys += 1;
        let key = SecretKey::from_seed(&[0x40 + self.told.keys; 32]);
        self.next_key = Some(key.clone());
        Ok(key)
    }

    /// Puts it there. The journal has said so by then.
    pub(super) fn take_key(&mut self) -> Result<(), String> {
        if mem::take(&mut self.key_fails) {
            return Err("the disk is full".to_owned());
        }
        if let Some(next) = self.next_key.take() {
            let says_so = |record: &Record| matches!(record, Record::Account(token) if place(token).1 == next.id());
            assert!(self.records.iter().any(says_so), "a key was replaced before that was durable");
            self.key = next;
        }
        Ok(())
    }

    pub(super) fn restart(&mut self) {
        let settled = self.appending.is_none() && !self.uncertain;
        let (key, next_key) = (self.key.clone(), self.next_key.clone());
        let mut next = Self::open(self.game, self.records.clone(), key, next_key, self.tampered);
        if settled {
            assert_eq!(next.holdings.items, self.holdings.items, "items after a restart");
            let rights = |holdings: &Holdings| -> BTreeSet<_> {
                let endless = holdings.entitlements.iter().filter(|(_, right)| right.until.is_none());
                endless.map(|(name, right)| (name.clone(), right.provisional)).collect()
            };
            assert_eq!(rights(&next.holdings), rights(&self.holdings), "rights without an end after a restart");
            let place = |world: &Self| (world.machine.account().clone(), world.machine.device());
            assert_eq!(place(&next), place(self), "where the device belongs after a restart");
        }
        for (id, before) in self.states.iter().filter(|(id, _)| !self.told.foretold.contains(id)) {
            let expected = match before {
                OrderState::Placed | OrderState::NotSaved => continue,
                OrderState::Sent => OrderState::Queued,
                state => *state,
            };
            assert_eq!(next.states.get(id), Some(&expected), "the order {id} after a restart");
        }
        next.told = mem::take(&mut self.told);
        next.store = mem::take(&mut self.store);
        next.store.forget_what_is_not_saved();
        // An append that was under way may have become durable or not; here, not.
        *self = next;
        self.input(Input::TimePassed);
        if self.request.as_ref().is_some_and(|request| request.path == "/v1/devices") {
            self.answer(Response { status: 200, ..Response::default() });
        }
    }
}

impl Told {
    /// A receipt is durable.
    fn decide(&mut self, receipt: &Receipt) {
        let (id, feed) = (receipt.order, receipt.feed);
        let decided_at = self.open.get(&id).map(|(_, decided_at)| *decided_at);
        if decided_at.is_some_and(|decided_at| feed <= decided_at) || self.settled.contains(&id) {
            return;
        }
        if receipt.status.is_final() {
            self.open.remove(&id);
            self.settled.insert(id);
        } else {
            self.open.entry(id).or_insert((receipt.order_sha256, feed)).1 = feed;
        }
    }

    /// An answer says where this device belongs.
    pub(super) fn note_place(&mut self, token: &Token) {
        self.places.insert(place(token));
    }
}

/// The account and the device that an answer names.
fn place(answer: &Token) -> (AccountId, KeyId) {
    let claims = payload(answer.as_str()).and_then(|claims| Json::strict(&claims)).expect("claims");
    let said = |name| claims.member(name).and_then(text).unwrap_or_default();
    (said("sub").parse().expect("an account"), said("device").parse().expect("a device"))
}
