//! How a world ends: the faults stop, everybody comes to agree within a bound of time, and everything that was ever
//! promised is looked up in the books.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use super::books::Books;
use super::client::Version;
use super::goods::gift;
use super::plan::Network;
use super::run::World;
use super::store::{ALLOWANCES, BEGINNING};
use crate::client::OrderState;
use crate::client::machine::Input;
use crate::protocol::{OrderId, Reason, Status};

/// How long it may take until everybody agrees once nothing goes wrong any more, in milliseconds.
const BOUND: u64 = 1_200_000;
/// How often everybody asks for news meanwhile.
const POLL: u64 = 120_000;
/// How long it may take until a disk that failed is written again.
const ORDERED_WITHIN: u64 = 120_000;
/// How long it may take until an order is answered then.
const ANSWERED_WITHIN: u64 = 300_000;

impl World {
    /// The faults stop; what is under way may still come.
    fn heal(&mut self) {
        self.network = Network { delay: 50, ..Network::default() };
        self.cut_off.clear();
        self.meddling.clear();
        self.crash_server = false;
        self.down_until = 0;
        self.store.renew();
        self.store.start();
        for client in 0..self.clients.len() {
            self.heal_disk(client);
            self.clients[client].offline = false;
            match self.clients[client].session.is_some() {
                true => self.input(client, vec![Input::SetOffline(false), Input::SyncNow]),
                false => self.start(client),
            }
        }
    }

    /// Whether every client has heard all that there is to hear.
    fn agrees(&mut self) -> Result<bool, String> {
        if !self.is_quiet() {
            return Ok(false);
        }
        for client in &self.clients {
            let open = client.view.orders.values().any(|state| state.is_open());
            let server = self.store.server().ledger();
            let books = server.show(&client.account).map_err(|error| error.to_string())?;
            if !client.may_write() || open || books.is_none_or(|books| books.wallet != client.view.wallet) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn until_all_agree(&mut self, bound: u64) -> Result<(), String> {
        let end = self.now + bound;
        let mut poll = self.now + POLL;
        while !self.agrees()? {
            if self.now >= end {
                return Err(self.why_not());
            }
            self.pass(2_000)?;
            if self.now >= poll {
                poll = self.now + POLL;
                (0..self.clients.len()).for_each(|client| self.input(client, vec![Input::SyncNow]));
            }
        }
        Ok(())
    }

    fn why_not(&mut self) -> String {
        let mut why = "they do not agree:".to_owned();
        for (number, client) in self.clients.iter().enumerate() {
            let open: Vec<_> = client.view.orders.iter().filter(|(_, state)| state.is_open()).collect();
            let connection = client.session.as_ref().map(|session| session.machine().may_write());
            let books = self.store.server().ledger().show(&client.account).ok().flatten().map(|books| books.wallet);
            let troubles = client.troubles.iter().rev().take(2).collect::<Vec<_>>();
            why += &format!(
                "\nclient {number}: may write {connection:?}, waits for {:?}, {} of {open:?}, wallet {:?} of {books:?}, \
                 {troubles:?}",
                client.waits_for,
                open.len(),
                client.view.wallet,
            );
        }
        why
    }

    /// Lets everybody come to agree, and checks everything.
    pub(super) fn end(&mut self) -> Result<(), String> {
        self.heal();
        self.until_all_agree(BOUND)?;
        self.go_on()?;
        self.hear_all()?;
        self.check_all()?;
        self.check_messages()
    }

    fn hear_all(&mut self) -> Result<(), String> {
        (0..self.clients.len()).for_each(|client| self.input(client, vec![Input::SyncNow]));
        self.pass(1_000)?;
        self.until_all_agree(BOUND)
    }

    fn check_all(&mut self) -> Result<(), String> {
        let report = self.store.server().audit().map_err(|error| error.to_string())?;
        if !report.is_clean() {
            return Err(format!("the audit says: {report}"));
        }
        let books = Books::read(self.store.server().ledger())?;
        books.check_money(&self.store.operator)?;
        books.check_sales(&self.store.sold)?;
        books.check_allowances(&self.store.operator, self.store.now())?;
        self.coverage.add("forks found", books.forks());
        self.coverage.add("items used up", books.consumptions.len() as u64);
        let refused = self.clients.iter().map(|client| client.refused).sum();
        self.coverage.add("items used up that were not there", refused);
        self.check_orders(&books)?;
        self.check_holdings(&books)?;
        self.check_honest_devices(&books)
    }

    /// What clients were told of orders is what the books say.
    fn check_orders(&self, books: &Books) -> Result<(), String> {
        for (number, client) in self.clients.iter().enumerate() {
            for id in &client.told.queued {
                let Some(order) = books.orders.get(id) else {
                    return Err(format!("client {number}: the order {id} was queued, and never reached the books"));
                };
                if order.account != client.account.as_str() {
                    return Err(format!("client {number}: the order {id} is another account's"));
                }
            }
            let mut not_saved = client.told.not_saved.difference(&client.told.in_a_copy);
            if let Some(id) = not_saved.find(|id| books.orders.contains_key(id)) {
                return Err(format!("client {number}: the order {id} was said not to be saved, and is in the books"));
            }
            let own = books.orders.iter().filter(|(_, order)| order.account == client.account.as_str());
            for (id, order) in own {
                let state = client.view.orders.get(id);
                let agrees = match order.status.as_str() {
                    "granted" => state == Some(&OrderState::Granted),
                    "declined" => state == Some(&OrderState::Declined),
                    "refunded" => state == Some(&OrderState::Refunded),
                    _ => false,
                };
                if !agrees {
                    return Err(format!("client {number}: the order {id} is {}, and shown as {state:?}", order.status));
                }
            }
            let shown = client.view.orders.iter().filter(|(_, state)| **state != OrderState::NotSaved);
            for (id, state) in shown {
                if books.orders.get(id).is_none_or(|order| order.account != client.account.as_str()) {
                    return Err(format!("client {number}: the order {id} is {state:?}, and not in its books"));
                }
            }
        }
        Ok(())
    }

    /// What a client holds is what its receipts give, less what it has used up.
    fn check_holdings(&self, books: &Books) -> Result<(), String> {
        let now = self.store.now();
        for (number, client) in self.clients.iter().enumerate() {
            let given = books.given(&client.account, now);
            let held = &client.view.holdings;
            let left = books.left(&client.account);
            let shown: BTreeMap<_, _> = held.items.iter().map(|(item, it)| (item.clone(), it.left)).collect();
            if shown != left || held.items.values().any(|quantity| quantity.provisional > 0) {
                return Err(format!("client {number}: it has {:?}, and should have {left:?}", held.items));
            }
            // Where something was taken back, or another copy was faster, a consumption may be withdrawn.
            let taken_back = books.said_of(&client.account).any(|claims| match claims.status {
                Status::Declined => client.told.ever_given.contains(&claims.order),
                _ => claims.reason.is_some() || claims.status != Status::Granted,
            });
            let lost = client.told.used.iter().find(|id| !books.consumptions.contains(id));
            if let Some(id) = lost.filter(|_| !taken_back && !self.devices[client.device].copied) {
                return Err(format!("client {number}: the consumption {id} is lost"));
            }
            let owned: BTreeSet<_> = held.entitlements.keys().filter(|it| !given.ending.contains(*it)).collect();
            let rights: BTreeSet<_> = given.rights.iter().filter(|it| !given.ending.contains(*it)).collect();
            if owned != rights || held.entitlements.values().any(|right| right.provisional) {
                return Err(format!("client {number}: it owns {:?}, and should own {rights:?}", held.entitlements));
            }
        }
        Ok(())
    }

    /// A device that was never copied has one chain, and what it gave within an allowance is honoured.
    fn check_honest_devices(&mut self, books: &Books) -> Result<(), String> {
        for (number, device) in self.devices.iter().enumerate().filter(|(_, device)| !device.copied) {
            let id = device.key.id();
            let broken = books.said_of(&device.account).find(|claims| claims.reason == Some(Reason::ChainBroken));
            if let Some(broken) = broken {
                return Err(format!("the order {} of the honest device {number} broke its chain", broken.order));
            }
            if books.is_frozen(id) && !self.store.operator.froze.contains(&id) {
                return Err(format!("the honest device {number} is frozen"));
            }
            let excused = device.clock_set
                || self.store.sold.len() > 1
                || self.store.operator.froze.contains(&id)
                || self.store.operator.charged_back.contains(&device.account);
            let clients = self.clients.iter().filter(|client| client.device == number);
            for (order, at) in clients.flat_map(|client| &client.told.given) {
                let Some(row) = books.orders.get(order) else { continue };
                self.coverage.count("orders given before their receipt");
                let made_at = BEGINNING + i64::try_from(*at / 1_000).unwrap_or(i64::MAX);
                let in_time = row.settled_at < made_at + i64::from(ALLOWANCES.grace_days) * 86_400;
                let consumable = ["shield", "crate", "gift"].contains(&row.product.as_str());
                let owned = row.status == "declined" && !consumable;
                if in_time && !owned && !excused && books.is_not_honoured(*order) {
                    return Err(format!(
                        "the allowance of the order {order} on the device {number} has not paid for it"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Life goes on: everybody can get something, with the catalogue of now.
    fn go_on(&mut self) -> Result<(), String> {
        for number in 0..self.clients.len() {
            let version = Version { catalog: self.store.catalog, ..self.clients[number].version };
            if self.clients[number].version != version {
                self.update(number, version);
            }
            self.input(number, vec![Input::SyncNow]);
            self.pass(1_000)?;
            let id = self.get_a_gift(number)?;
            let end = self.now + ANSWERED_WITHIN;
            while self.clients[number].view.orders.get(&id).is_none_or(|state| state.is_open()) && self.now < end {
                self.pass(500)?;
            }
            let answer = self.store.said.decided(id);
            let fine = matches!(answer, Some((Status::Granted, _) | (Status::Declined, Some(Reason::DeviceFrozen))));
            if !fine {
                let state = self.clients[number].view.orders.get(&id);
                return Err(format!("client {number}: it cannot go on: {state:?}, {answer:?}"));
            }
        }
        Ok(())
    }

    /// Orders a gift, as soon as nothing is uncertain any more about what a disk that failed has kept.
    fn get_a_gift(&mut self, number: usize) -> Result<OrderId, String> {
        let end = self.now + ORDERED_WITHIN;
        while self.now < end {
            let client = &mut self.clients[number];
            let terms = gift(client.version.catalog, &mut client.random);
            let id = terms.id;
            let request = client.buy(vec![terms], self.now, &self.store.said);
            self.send(number, request);
            if self.clients[number].told.queued.contains(&id) {
                return Ok(id);
            }
            self.pass(5_000)?;
        }
        Err(format!("client {number}: nothing can be ordered any more"))
    }

    /// Whoever missed every message finds the truth: what a game is shown when it starts is what it was told.
    fn check_messages(&mut self) -> Result<(), String> {
        for number in 0..self.clients.len() {
            let mut heard = self.clients[number].view.clone();
            heard.orders.retain(|_, state| *state != OrderState::NotSaved);
            self.clients[number].offline = true;
            self.start(number);
            self.check_clients()?;
            let mut shown = self.clients[number].view.clone();
            // What ends by the clock may have ended, or rest while the clock is wrong.
            for view in [&mut heard, &mut shown] {
                view.holdings.entitlements.retain(|_, right| right.until.is_none());
            }
            let differ = |what: &str, heard: &dyn Debug, shown: &dyn Debug| {
                Err(format!("client {number}: of {what} it was told {heard:?}, and is shown {shown:?}"))
            };
            match (&heard, &shown) {
                _ if heard.wallet != shown.wallet => differ("the wallet", &heard.wallet, &shown.wallet)?,
                _ if heard.allowance != shown.allowance => differ("spending", &heard.allowance, &shown.allowance)?,
                _ if heard.holdings != shown.holdings => differ("holdings", &heard.holdings, &shown.holdings)?,
                _ if heard.orders != shown.orders => differ("orders", &heard.orders, &shown.orders)?,
                _ => {}
            }
        }
        Ok(())
    }
}
