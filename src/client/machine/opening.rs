//! From the records of a journal to a machine: every receipt is verified again before it gives anything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::{ChainHead, Inventory, Known, Link, Machine, OrderState, PlacedOrder, Settings, SignedReceipt};
use crate::client::clock::Tick;
use crate::client::inventory::Holdings;
use crate::client::record::{Identity, Record};
use crate::client::storage::Opened;
use crate::client::view::{Connection, Snapshot};
use crate::protocol::{Money, Order, Receipt, ReceiptError, Token, envelope};

impl Machine {
    /// Reads what a storage opened. Gives the machine, what to show the game, and the records to append first.
    ///
    /// # Errors
    /// The journal belongs to another game or to another device's key; in words for a person.
    pub fn open(settings: Settings, opened: Opened, tick: Tick) -> Result<(Self, Snapshot, Vec<Record>), String> {
        let device = opened.key.id();
        let identity = Identity { game: settings.game.clone(), device, account: device.guest_account() };
        // Damage can take the record that says whose the journal is. The others are each verified by themselves.
        let first = match opened.records.iter().find_map(identity_of) {
            None => Some(Record::Identity(identity.clone())),
            Some(found) if *found == identity => None,
            Some(found) if found.game != identity.game => {
                return Err(format!(
                    "the journal belongs to the game {}, and this is {}; choose another folder for one of them",
                    found.game, identity.game
                ));
            }
            Some(found) => {
                return Err(format!(
                    "the journal belongs to the device {}, and the key in `device.key` is {device}; put the right key \
                     back, or move the journal away to start as a new player",
                    found.device
                ));
            }
        };

        let mut machine = Self {
            offline: settings.offline,
            settings,
            key: opened.key,
            device,
            account: identity.account,
            access: opened.access,
            orders: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            receipt_ids: BTreeSet::new(),
            inventory: Inventory::default(),
            told: Holdings::default(),
            wallet: Vec::new(),
            chain: None,
            cursor: 0,
            server_time: 0,
            server_clock: None,
            told_clock: None,
            waiting: VecDeque::new(),
            appending: Vec::new(),
            appending_chain: None,
            link: Link::Idle,
            connection: Connection::NoServer,
            enrolled: false,
            sync_wanted: true,
            next_poll: Duration::ZERO,
            failures: 0,
        };
        let mut receipts = Vec::new();
        let mut troubles = opened.troubles;
        for record in opened.records {
            if let Err(trouble) = machine.replay(record, &mut receipts) {
                troubles.push(trouble);
            }
        }
        machine.told = machine.inventory.holdings(machine.now(tick));
        let snapshot = machine.snapshot(tick, receipts, troubles);
        Ok((machine, snapshot, first.into_iter().collect()))
    }

    fn replay(&mut self, record: Record, receipts: &mut Vec<SignedReceipt>) -> Result<(), String> {
        match record {
            Record::Identity(_) => {}
            Record::Order(token) => self.replay_order(token)?,
            Record::Receipt(token) => {
                let keys = &self.settings.server_keys;
                let verified = Receipt::verify_for(&token, keys, &self.settings.game, &self.account);
                let claims = match verified {
                    Ok(claims) => claims,
                    Err(error) => return Err(self.withhold(&token, &error)),
                };
                let receipt = SignedReceipt { claims, token };
                if self.apply(&receipt) {
                    receipts.push(receipt);
                }
            }
            Record::Provisional(provisional) => {
                let unanswered = self.unanswered.values().any(|(id, _)| *id == provisional.order);
                if let Some(known) = self.orders.get_mut(&provisional.order)
                    && unanswered
                {
                    self.inventory.grant(provisional.order, provisional.grants, true);
                    known.order.provisional = true;
                }
            }
            Record::Consumed(consumed) => self.inventory.consume(&consumed.item, consumed.quantity),
            Record::Synced(synced) => {
                self.cursor = synced.cursor;
                self.wallet = synced.wallet;
                self.server_time = self.server_time.max(synced.server_time);
                self.chain = synced.follow.map_or(self.chain, |follow| follow.last);
                self.enrolled = true;
            }
        }
        Ok(())
    }

    /// A receipt that is not believed gives nothing; but its order was answered by somebody, perhaps by a server whose
    /// key this game no longer knows, so it must not be sent, and charged, again.
    fn withhold(&mut self, token: &Token, error: &ReceiptError) -> String {
        let trouble = format!("a receipt in the journal is not believed: {error}");
        if let Ok(claims) = envelope::claims_of_stored::<Receipt>(token) {
            self.unanswered.retain(|_, (id, _)| *id != claims.order);
            self.inventory.take_back(claims.order);
            if let Some(known) = self.orders.get_mut(&claims.order) {
                known.order.state = OrderState::Unverified;
                known.order.provisional = false;
                known.order.trouble = Some(trouble.clone());
            }
        }
        trouble
    }

    fn replay_order(&mut self, token: Token) -> Result<(), String> {
        let order = Order::verify(&token, self.key.public(), &self.account, &self.settings.game)
            .map_err(|error| format!("an order in the journal is not believed: {error}"))?;
        let sha256 = token.sha256();
        self.chain = Some(ChainHead { sequence: order.sequence, order_sha256: sha256 });
        let total = order.price.checked_mul(order.quantity);
        let placed = PlacedOrder {
            id: order.id,
            product: order.product,
            quantity: order.quantity,
            total: total.unwrap_or(Money::new(order.price.micros, order.price.currency)),
            state: OrderState::Queued,
            provisional: false,
            reason: None,
            trouble: None,
            placed_at: order.issued_at,
        };
        let known = Known { order: placed, place: self.orders.len(), sha256: Some(sha256), decided_at: 0 };
        self.orders.insert(order.id, known);
        self.unanswered.insert(order.sequence, (order.id, token));
        Ok(())
    }
}

fn identity_of(record: &Record) -> Option<&Identity> {
    match record {
        Record::Identity(identity) => Some(identity),
        _ => None,
    }
}
