//! From the records of a journal to a machine: what has this device's seal counts as it says, and everything else is
//! verified again before it gives anything.

mod identity;
mod recent;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use recent::{Names, Recent};

use super::account::Membership;
use super::consuming::Consumptions;
use super::orders::OpenOrders;
use super::{ChainHead, Inventory, Link, Machine, OrderState, PlacedOrder, Settings};
use crate::client::clock::Tick;
use crate::client::inventory::Holdings;
use crate::client::record::{Identity, Provisional, Record, Signed};
use crate::client::seal::{OrderSummary, ReceiptSummary, Sealer, Summary};
use crate::client::seeded::{Bug, seeded};
use crate::client::storage::Opened;
use crate::client::view::{Connection, RECENT, Snapshot};
use crate::protocol::{
    KeyId, Order, OrderError, OrderId, Receipt, ReceiptError, SecretKey, ServerKeys, Token, envelope,
};

/// A machine whose journal is being read.
#[derive(Debug)]
pub struct Opening {
    machine: Machine,
    identity: Option<Identity>,
    recent: VecDeque<Recent>,
    troubles: Vec<String>,
    /// How many orders and receipts had no seal that counts, and were verified.
    verified: u64,
    /// How many of them had a seal that is broken.
    broken_seals: u64,
    /// What is wrong with a list of keys.
    list_trouble: Option<String>,
    /// What is wrong with the first receipt of the account that is not believed; nothing once the device has joined another.
    not_believed: Option<String>,
    /// What is wrong with the first receipt that is of another account; nothing once it is said which account the device is
    /// in.
    elsewhere: Option<String>,
    /// Whether anything that a server signed was not believed: a list of keys that came later may vouch for it.
    is_doubted: bool,
    /// What is wrong with the last answer that says where the device belongs: what follows may be of another account.
    account_trouble: Option<String>,
    /// The device that the last answer which is not believed names.
    named_device: Option<KeyId>,
    /// The order that was read last, if what it gives before its receipt was not.
    torn: Option<OrderId>,
    names: Names,
}

impl Machine {
    /// Begins to read the journal of the device with `key`.
    pub fn opening(settings: Settings, key: SecretKey) -> Opening {
        let keys = ServerKeys::pinned(settings.server_keys.iter().copied());
        Self::opening_with(settings, key, keys)
    }

    /// The same, with the server keys that [`Opening::keys_to_read_it_with`] gave.
    pub fn opening_with(settings: Settings, key: SecretKey, keys: ServerKeys) -> Opening {
        let device = key.id();
        let account = device.guest_account();
        let machine = Self {
            sealer: Sealer::new(&key, &settings.game, &account, &keys.all()),
            keys,
            keys_saved: 0,
            offline: settings.offline,
            settings,
            key,
            device,
            account,
            access: crate::client::Access::ReadWrite,
            membership: Membership::default(),
            orders: OpenOrders::default(),
            settled: BTreeMap::new(),
            inventory: Inventory::default(),
            consumptions: Consumptions::default(),
            uncounted: Vec::new(),
            told: Holdings::default(),
            allowance: None,
            told_allowance: None,
            wallet: Vec::new(),
            chain: None,
            cursor: 0,
            server_time: 0,
            server_clock: None,
            told_clock: None,
            told_untrusted: false,
            waiting: VecDeque::new(),
            appending: None,
            next_place: 0,
            withheld: BTreeSet::new(),
            records: 0,
            receipts: 0,
            compaction_wanted: false,
            no_compaction_before: 0,
            link: Link::Idle,
            connection: Connection::NoServer,
            enrolled: false,
            sync_wanted: true,
            next_poll: Duration::ZERO,
            unheld: 0,
            failures: 0,
        };
        Opening {
            machine,
            identity: None,
            recent: VecDeque::new(),
            troubles: Vec::new(),
            verified: 0,
            broken_seals: 0,
            list_trouble: None,
            not_believed: None,
            elsewhere: None,
            is_doubted: false,
            account_trouble: None,
            named_device: None,
            torn: None,
            names: Names::default(),
        }
    }
}

impl Opening {
    /// Takes the next record.
    pub fn replay(&mut self, record: Record) {
        let machine = &mut self.machine;
        machine.records += 1;
        self.torn = None;
        match record {
            Record::Identity(identity) => self.replay_identity(identity),
            Record::Order(signed) => self.replay_order(signed),
            Record::Receipt(signed) => self.replay_receipt(signed),
            Record::Provisional(provisional) => {
                if let Some(open) = machine.orders.get_mut(provisional.order)
                    && open.order.state == OrderState::Queued
                    && open.provisional.is_none()
                {
                    if !provisional.grants.is_empty() {
                        open.provisional = Some(machine.inventory.grant(provisional.order, &provisional.grants, true));
                        open.order.provisional = true;
                    }
                    open.allowance = provisional.allowance.map(|order| order.id);
                }
                if let (Some(spending), Some(order)) = (&mut machine.allowance, provisional.allowance)
                    && !seeded(Bug::ForgetSpent)
                {
                    spending.spend(order);
                }
            }
            Record::Keys(token) => match machine.learn(&token) {
                Ok(()) => machine.keys_saved = machine.keys.number(),
                // Of a root that the game pins no longer, perhaps; the last list is the one that counts.
                Err(trouble) => self.list_trouble = Some(trouble),
            },
            Record::Account(token) => self.replay_account(&token),
            Record::Allowance(saved) => match machine.read_saved_allowance(&saved) {
                Ok(allowance) => machine.allowance = Some(allowance),
                Err(trouble) => {
                    machine.allowance = None;
                    self.troubles.push(format!("in the journal, {trouble}"));
                }
            },
            Record::Consumed(_) if seeded(Bug::ForgetConsumed) => {}
            Record::Consumed(consumed) => {
                machine.inventory.consume(&consumed.item, consumed.quantity);
            }
            Record::Consumption(_) if seeded(Bug::ForgetConsumed) => {}
            Record::Consumption(token) => machine.replay_consumption(token),
            Record::ConsumptionReceipt(token) => machine.replay_consumption_receipt(&token),
            Record::Counted(counted) => machine.take_counted(counted),
            Record::Synced(synced) if self.account_trouble.is_some() => machine.server_time = synced.server_time,
            Record::Synced(synced) => {
                if synced.cursor < machine.cursor {
                    machine.begin_counting_again();
                }
                // What was decided then was told then.
                machine.count_to(synced.cursor, &mut Vec::new());
                machine.withdraw_consumptions(&mut Vec::new());
                let last = machine.consumptions.last;
                machine.consumptions.last = last.max(synced.consumed_sequence.unwrap_or_default());
                machine.wallet = synced.wallet;
                machine.server_time = synced.server_time;
                machine.chain = synced.follow.map_or(machine.chain, |follow| follow.last);
                machine.enrolled = true;
            }
        }
    }

    /// Whether what is read now was written by a device whose place this one took, with a key that is gone.
    fn is_of_former_device(&self) -> bool {
        self.machine.device != self.machine.key.id()
    }

    fn replay_order(&mut self, signed: Signed) {
        let is_of_former_device = self.is_of_former_device();
        let machine = &mut self.machine;
        let verified;
        let sealed = machine.sealer.open_order(&signed).filter(|_| !is_of_former_device);
        let named = sealed.and_then(|summary| self.names.read(&summary.says).map(|named| (summary, named)));
        let (summary, (product, price)) = match named {
            Some(sealed) => sealed,
            None => {
                let token = signed.token();
                let read = match is_of_former_device {
                    // It is only for knowing what became of it: it is never sent.
                    true => envelope::claims_of_stored(&token).map_err(OrderError::from),
                    false => Order::verify(&token, machine.key.public(), &machine.account, &machine.settings.game),
                };
                // Or the key of now has signed it, which nothing that is believed has said yet to be the device's.
                let is_signed = |order: &Order| {
                    let game = &machine.settings.game;
                    Order::verify(&token, machine.key.public(), &order.account, game).is_ok()
                };
                let is_ahead = |order: &Order| is_of_former_device && is_signed(order);
                if matches!(&read, Err(OrderError::WrongAccount { .. })) || read.as_ref().is_ok_and(is_ahead) {
                    return self.put_aside(signed);
                }
                self.broken_seals += u64::from(!signed.seal().is_empty() && !is_of_former_device);
                match read {
                    Ok(order) => {
                        self.verified += 1;
                        verified = order;
                        (OrderSummary::new(&verified, &token), (verified.product.clone(), verified.price))
                    }
                    Err(error) => {
                        return self.troubles.push(format!("an order in the journal is not believed: {error}"));
                    }
                }
            }
        };
        let Summary { sha256, order: id, says } = summary;
        machine.not_put_aside(id);
        machine.follow_order(id, ChainHead { sequence: says.sequence, order_sha256: sha256 });
        if machine.settled.contains_key(&id) {
            return;
        }
        let order = PlacedOrder {
            id,
            product,
            quantity: says.quantity + u32::from(seeded(Bug::AlterOrder)),
            total: price.checked_mul(says.quantity).unwrap_or(price),
            state: OrderState::Queued,
            provisional: false,
            reason: None,
            trouble: None,
            placed_at: says.issued_at,
        };
        let unanswered = (!seeded(Bug::ForgetUnanswered)).then_some(signed);
        machine.open_order(order, sha256, unanswered, None, None);
        self.torn = Some(id);
    }

    /// Takes an order of this device for another account than that of now, perhaps for one of which nothing else is kept:
    /// it is only for telling what became of it, unless the server says that the device belongs there.
    fn put_aside(&mut self, signed: Signed) {
        let token = signed.token();
        if let Ok(order) = envelope::claims_of_stored::<Order>(&token) {
            let machine = &mut self.machine;
            machine.follow_order(order.id, ChainHead { sequence: order.sequence, order_sha256: token.sha256() });
            machine.put_stray_aside(order, signed);
        }
    }

    fn replay_receipt(&mut self, signed: Signed) {
        let is_of_former_device = self.is_of_former_device();
        let machine = &mut self.machine;
        machine.receipts += 1;
        let (summary, sealed, claims) = match machine.sealer.open_receipt(&signed) {
            Some(summary) => {
                let sealed = Some(summary.sha256);
                (summary, sealed, None)
            }
            None => {
                let token = signed.token();
                let read =
                    Receipt::verify_for(&token, &machine.keys.vouched(), &machine.settings.game, &machine.account);
                self.is_doubted |= read.is_err();
                // Its seal is another account's, of which damage has perhaps taken the word.
                let is_elsewhere = read.is_err() && machine.is_of_another_account(&token);
                machine.membership.is_place_unknown |= is_elsewhere;
                self.broken_seals += u64::from(!signed.seal().is_empty() && !is_of_former_device && !is_elsewhere);
                match read {
                    Ok(claims) => {
                        self.verified += u64::from(claims.status.is_final());
                        let summary = ReceiptSummary::new(&claims, &token);
                        machine.open_pending(&claims);
                        (summary, None, Some(claims))
                    }
                    Err(error @ ReceiptError::WrongAccount { .. }) => {
                        self.elsewhere.get_or_insert_with(|| not_believed(&error));
                        return machine.was_answered_by(&token);
                    }
                    Err(error) => {
                        let trouble = machine.withhold(&token, &error);
                        self.not_believed.get_or_insert(trouble);
                        return;
                    }
                }
            }
        };
        let Some(before) = machine.apply(&summary) else { return };
        // An order that is still open was not decided for good: such receipts are never sealed.
        if let Some(claims) = claims
            && let Some(open) = machine.orders.get_mut(claims.order)
        {
            open.order.decide(&claims);
        }
        self.recent.push_back(Recent { token: signed.token(), sealed, before });
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// The server keys to read the whole journal again with: some receipts in it are not believed, and a list that came
    /// after them may vouch for them, as when the game pins other roots than it did.
    pub fn keys_to_read_it_with(&self) -> Option<ServerKeys> {
        let keys = &self.machine.keys;
        (self.is_doubted && keys.number() > 0).then(|| keys.clone())
    }

    /// The device whose journal this is, if its key is another than the one that it was read with.
    pub fn other_device(&self) -> Option<KeyId> {
        self.is_of_former_device().then_some(self.machine.device)
    }

    /// There is a key that may take the place of the device's, as [`Output::MakeNextKey`](super::Output) asked for.
    pub fn next_key(&mut self, key: SecretKey) {
        self.machine.membership.next_key = Some(key);
    }

    /// The last append may have been cut short between an order and what it gives before its receipt. What it has spent
    /// of an allowance is spent, for later starts too: gives the record that says so, in the place of the lost one.
    fn spend_what_is_torn(&mut self) -> Option<Record> {
        let machine = &mut self.machine;
        let open = machine.orders.get_mut(self.torn?)?;
        let claims = envelope::claims_of_stored::<Order>(&open.unanswered.as_ref()?.token()).ok()?;
        let allowance = claims.allowance?;
        open.allowance = Some(allowance.id);
        if let Some(spending) = &mut machine.allowance {
            spending.spend(allowance);
        }
        Some(Record::Provisional(Provisional { order: claims.id, grants: Vec::new(), allowance: Some(allowance) }))
    }

    /// All records were read. Gives the machine, what to show the game, and the records to append first.
    ///
    /// # Errors
    /// The journal belongs to another game or to another device's key; in words for a person.
    pub fn finish(mut self, opened: Opened, tick: Tick) -> Result<(Machine, Snapshot, Vec<Record>), String> {
        let identity = self.take_the_place_that_is_lost(opened.is_damaged);
        let mut first = Vec::from_iter(self.identity()?.or(identity));
        first.extend(self.spend_what_is_torn().filter(|_| !seeded(Bug::ForgetTorn)));
        self.troubles.extend(self.not_believed.take());
        self.troubles.extend(self.elsewhere.take());
        if let Some(trouble) = self.list_trouble.take().filter(|_| self.machine.keys.number() == 0) {
            self.troubles.push(format!("in the journal, {trouble}"));
        }
        if let Some(trouble) = self.account_trouble.take() {
            self.troubles.push(trouble);
            self.machine.membership.is_place_unknown = true;
        }
        if self.machine.membership.is_place_unknown {
            self.machine.doubt_its_place();
        }
        let (receipts, mut orders) = self.recent();
        orders.splice(0..0, self.machine.unanswered_former_orders());
        self.machine.membership.news.clear();
        let Self { mut machine, mut troubles, verified, broken_seals, .. } = self;
        machine.access = opened.access;
        if opened.is_damaged {
            // What was spent of it may be among what is missing; and who spends twice is taken for two.
            machine.allowance = None;
        }
        troubles.splice(0..0, opened.troubles);
        if broken_seals > 0 {
            troubles.push(format!(
                "{broken_seals} seals in the journal are broken, or of an older version of the game; what they were on \
                 was verified again"
            ));
        }
        troubles.extend(machine.drop_bad_consumptions());
        machine.inventory.forget_ended(machine.server_time);
        machine.told = machine.holdings_now(tick);
        machine.told_allowance = machine.offline_allowance();
        // What was verified for want of a seal gets one, so that the next start is faster.
        machine.compaction_wanted = verified > 0;
        if machine.withheld.len() > 1 {
            troubles.push(format!("receipts of {} orders are not believed in all", machine.withheld.len()));
        }
        let snapshot = Snapshot {
            device: machine.device,
            account: machine.account.clone(),
            access: machine.access.clone(),
            orders,
            receipts,
            holdings: machine.told.clone(),
            wallet: machine.wallet.clone(),
            allowance: machine.told_allowance,
            membership: machine.account_view(),
            troubles,
        };
        Ok((machine, snapshot, first))
    }
}

impl Machine {
    /// The next order follows this one, which is read; unless it was read before, and is written again.
    fn follow_order(&mut self, id: OrderId, head: ChainHead) {
        let is_behind = self.chain.is_some_and(|chain| head.sequence <= chain.sequence);
        let was_read = self.orders.contains(id) || self.is_put_aside(id) || self.settled.contains_key(&id) && is_behind;
        if !was_read {
            self.chain = Some(head);
        }
    }

    /// A receipt that is not believed gives nothing; but its order was answered by somebody, perhaps by a server whose
    /// key this game no longer knows, so it must not be sent, and charged, again.
    fn withhold(&mut self, token: &Token, error: &ReceiptError) -> String {
        let trouble = not_believed(error);
        let claims = envelope::claims_of_stored::<Receipt>(token);
        // One that names no order is as little to be thrown away: another version of the game may read it.
        let nameless = || OrderId(*token.sha256().0.first_chunk().unwrap_or(&[0; 16]));
        self.withheld.insert(claims.as_ref().map_or_else(|_| nameless(), |claims| claims.order));
        let Ok(claims) = claims else { return trouble };
        self.not_put_aside(claims.order);
        if let Some(open) = self.orders.get_mut(claims.order) {
            open.unanswered = None;
            open.order.state = OrderState::Unverified;
            open.order.provisional = false;
            open.order.trouble = Some(trouble.clone());
            if let Some(bundle) = open.provisional.take() {
                self.inventory.take_back(claims.order, bundle, true);
            }
        }
        trouble
    }

    /// An order was answered in another account, as a receipt says that is not one of this account.
    fn was_answered_by(&mut self, receipt: &Token) {
        if let Ok(claims) = envelope::claims_of_stored::<Receipt>(receipt) {
            self.not_put_aside(claims.order);
        }
    }

    fn is_of_another_account(&self, receipt: &Token) -> bool {
        envelope::claims_of_stored::<Receipt>(receipt).is_ok_and(|claims| claims.account != self.account)
    }
}

fn not_believed(error: &ReceiptError) -> String {
    format!("a receipt in the journal is not believed: {error}")
}
