//! What happens in a world, step by step: what players, operators, machines and thieves do.

use super::client::Version;
use super::goods::terms;
use super::plan::Act;
use super::run::{Meddling, World};
use super::store::pick;
use crate::client::OfflineGrants;
use crate::client::machine::Input;
use crate::simulation::disk::{Content, Fault, FaultKind, SimulatedDisk};
use crate::simulation::formats::as_format_1;

/// The most games on one device's save.
const MOST_COPIES: usize = 3;
/// The most days that pass in a world by being skipped.
const MOST_DAYS: u64 = 60;

impl World {
    fn client_of(&self, client: u8) -> usize {
        usize::from(client) % self.clients.len()
    }

    /// Does one thing.
    pub(super) fn act(&mut self, act: Act) -> Result<(), String> {
        let now = self.now;
        match act {
            Act::Buy { client, product, quantity } => self.buy(client, &[(product, quantity)]),
            Act::BuyMany { client, count } => {
                let many: Vec<_> = (0..count).map(|number| (number, 1)).collect();
                self.buy(client, &many);
            }
            Act::Consume { client } => {
                let client = self.client_of(client);
                let request = self.clients[client].consume(now, &self.store.said);
                self.send(client, request);
            }
            Act::Sync { client } => self.input(self.client_of(client), vec![Input::SyncNow]),
            Act::Offline { client, offline } => {
                let client = self.client_of(client);
                self.clients[client].offline = offline;
                self.input(client, vec![Input::SetOffline(offline)]);
            }
            Act::Compact { client } => {
                let client = self.client_of(client);
                if let Some(session) = self.clients[client].session.as_mut().filter(|it| it.machine().may_write()) {
                    session.compact_next();
                    self.coverage.count("journals written anew");
                    self.input(client, vec![Input::TimePassed]);
                }
            }
            Act::Kill { client } => {
                self.coverage.count("games killed");
                self.start(self.client_of(client));
            }
            Act::Crash { client } => {
                let client = self.client_of(client);
                let content = self.clients[client].disk.content();
                self.crash(client, &content);
            }
            Act::CrashWhileBuying { client, call } => self.crash_while_buying(client, call),
            Act::CrashWhileStarting { client, call } => self.crash_while_starting(client, call),
            Act::Fail { client, kind, call, for_ever } => {
                let client = self.client_of(client);
                self.devices[self.clients[client].device].disk_lost |= kind == FaultKind::SyncLost;
                let disk = &self.clients[client].disk;
                let call = disk.calls() + u64::from(call);
                disk.fail(Fault { call, kind, for_ever });
                self.coverage.count("disks that began to fail");
            }
            Act::Heal { client } => self.heal_disk(self.client_of(client)),
            Act::SetClock { client, seconds } => {
                let client = self.client_of(client);
                self.devices[self.clients[client].device].clock_set = true;
                self.clients[client].clock = i64::from(seconds);
                self.coverage.count("clocks set wrong");
                self.input(client, vec![Input::TimePassed]);
            }
            Act::Copy { client } => self.copy(client),
            Act::Keep { client } => {
                let client = self.client_of(client);
                self.clients[client].told.save_is_copied();
                let kept = (self.clients[client].disk.content(), self.clients[client].told.clone());
                self.clients[client].kept = Some(kept);
            }
            Act::PutBack { client } => self.put_back(client),
            Act::Update { client, grants, catalog } => {
                let ways = [OfflineGrants::Allowance, OfflineGrants::Wait, OfflineGrants::Provisional];
                let version = Version { grants: ways[usize::from(grants) % ways.len()], catalog: catalog % 2 };
                self.update(self.client_of(client), version);
            }
            Act::OlderJournal { client } => self.older_journal(self.client_of(client)),
            Act::Partition { client, seconds } => {
                let client = self.client_of(client);
                self.cut_off.insert(client, now + u64::from(seconds) * 1_000);
            }
            Act::Outage { seconds } => self.outage(u64::from(seconds)),
            Act::Replay { nth } => {
                if !self.requests.is_empty() {
                    let sent = self.requests[usize::from(nth) % self.requests.len()].clone();
                    self.replay(sent);
                }
            }
            Act::OldAnswer { client, nth } => {
                self.meddling.insert(self.client_of(client), Meddling::OldAnswer(nth));
            }
            Act::Lie { client, lie } => drop(self.meddling.insert(self.client_of(client), Meddling::Lie(lie))),
            Act::Overspend { client } => self.overspend(client),
            Act::OtherOrder { client, nth } => self.other_order(client, nth)?,
            Act::Restart { seconds, catalog } => {
                self.store.sell(catalog);
                self.coverage.count("server started again");
                self.outage(u64::from(seconds));
            }
            Act::CrashServer => self.crash_server = true,
            Act::RotateKeys => {
                self.coverage.count("keys rotated");
                self.store.rotate(false);
            }
            Act::RevokeKey => {
                self.coverage.count("keys revoked");
                self.store.rotate(true);
            }
            Act::Days { count } => self.days(u64::from(count))?,
            _ => self.operate(act)?,
        }
        self.check_clients()
    }
}

impl World {
    fn buy(&mut self, client: u8, products: &[(u8, u8)]) {
        let number = self.client_of(client);
        let client = &mut self.clients[number];
        let version = client.version.catalog;
        let terms = products
            .iter()
            .map(|(product, quantity)| terms(version, *product, *quantity, &mut client.random))
            .collect();
        let request = client.buy(terms, self.now, &self.store.said);
        self.send(number, request);
    }

    /// The machine of a client crashes while this is on its disk, and starts again with what that leaves.
    fn crash(&mut self, client: usize, content: &Content) {
        let game = &mut self.clients[client];
        let left = content.any_after_crash(&mut game.random);
        self.coverage.count("machines crashed");
        game.disk = SimulatedDisk::of(left);
        self.start(client);
    }

    fn crash_while_buying(&mut self, client: u8, call: u8) {
        let number = self.client_of(client);
        let game = &mut self.clients[number];
        let (told, view) = (game.told.clone(), game.view.clone());
        game.disk.record();
        let terms = terms(game.version.catalog, call, 1, &mut game.random);
        let asked = terms.id;
        let _ = game.buy(vec![terms], self.now, &self.store.said);
        let moments = game.disk.end_record();
        if !moments.is_empty() {
            // Before the game heard of anything.
            (game.told, game.view) = (told, view);
            game.told.asked.insert(asked);
            self.coverage.count("machines crashed while an order was written");
            self.crash(number, &moments[usize::from(call) % moments.len()]);
        }
    }

    fn crash_while_starting(&mut self, client: u8, call: u8) {
        let number = self.client_of(client);
        let game = &mut self.clients[number];
        let (told, view) = (game.told.clone(), game.view.clone());
        game.disk.record();
        let _ = game.start(self.now, &self.store.said);
        let moments = game.disk.end_record();
        if !moments.is_empty() {
            (game.told, game.view) = (told, view);
            self.coverage.count("machines crashed while the game started");
            self.crash(number, &moments[usize::from(call) % moments.len()]);
        }
    }

    pub(super) fn heal_disk(&mut self, client: usize) {
        let struck = self.clients[client].disk.heal().into_values().sum();
        self.coverage.add("calls to a disk that failed", struck);
    }

    fn copy(&mut self, client: u8) {
        let client = self.client_of(client);
        let device = self.clients[client].device;
        if self.clients.iter().filter(|other| other.device == device).count() >= MOST_COPIES {
            return;
        }
        self.devices[device].copied = true;
        let original = &mut self.clients[client];
        original.told.save_is_copied();
        let (told, version) = (original.told.clone(), original.version);
        let disk = SimulatedDisk::of(original.disk.content().copied());
        let copy = self.add_client(device, disk);
        self.clients[copy].told = told;
        self.clients[copy].version = version;
        self.start(copy);
        self.coverage.count("saves copied");
    }

    fn put_back(&mut self, client: u8) {
        let keeping: Vec<usize> = (0..self.clients.len()).filter(|&it| self.clients[it].kept.is_some()).collect();
        let Some(client) = pick(&keeping, u16::from(client)) else { return };
        let Some((content, told)) = self.clients[client].kept.clone() else { return };
        self.devices[self.clients[client].device].copied = true;
        self.clients[client].disk = SimulatedDisk::of(content.copied());
        self.clients[client].told = told;
        self.coverage.count("saves put back");
        self.start(client);
    }

    /// Another version of the game is installed.
    pub(super) fn update(&mut self, client: usize, version: Version) {
        let game = &mut self.clients[client];
        if game.version != version {
            self.coverage.count("games updated");
        }
        game.version = version;
        self.start(client);
    }

    fn older_journal(&mut self, client: usize) {
        self.clients[client].close();
        let mut content = self.clients[client].disk.content().copied();
        if content.file("journal.iap").is_some() {
            let mut is_older = false;
            content.rot("journal.iap", |journal| is_older = as_format_1(journal));
            if is_older {
                self.clients[client].disk = SimulatedDisk::of(content);
                self.coverage.count("journals of an older format");
            }
        }
        self.start(client);
    }

    fn outage(&mut self, seconds: u64) {
        self.store.stop();
        self.down_until = self.now + seconds * 1_000;
        if seconds == 0 {
            self.store.start();
        }
    }

    /// Some days pass with every game closed.
    fn days(&mut self, count: u64) -> Result<(), String> {
        const DAY: u64 = 86_400_000;
        if self.now / DAY + count > MOST_DAYS {
            return Ok(());
        }
        self.clients.iter_mut().for_each(super::client::Client::close);
        self.pass(count * DAY)?;
        self.store.renew();
        self.coverage.count("days passed");
        (0..self.clients.len()).for_each(|client| self.start(client));
        Ok(())
    }

    fn operate(&mut self, act: Act) -> Result<(), String> {
        if !self.store.is_up() {
            return Ok(());
        }
        let known = |device: u8| self.devices[usize::from(device) % self.devices.len()].clone();
        match act {
            Act::Credit { device, cents } => {
                let account = known(device).account;
                self.store.credit(account, cents)?;
            }
            Act::Refund { nth, one } => self.coverage.add("orders refunded", u64::from(self.store.refund(nth, one)?)),
            Act::ChargeBack { nth } => {
                self.coverage.add("credits charged back", u64::from(self.store.charge_back(nth)?))
            }
            Act::Hold { device, cents } => {
                let account = known(device).account;
                self.coverage.add("holds made", u64::from(self.store.hold(account, cents)?));
            }
            Act::EndHold { nth, post } => {
                self.coverage.add("holds ended", u64::from(self.store.end_hold(nth, post)?));
            }
            Act::Freeze { device } => {
                let id = known(device).key.id();
                self.coverage.add("devices frozen", u64::from(self.store.freeze(id)?));
            }
            Act::Thaw { device } => {
                let id = known(device).key.id();
                self.coverage.add("devices thawed", u64::from(self.store.thaw(id)?));
            }
            other => return Err(format!("nobody does {other:?}")),
        }
        Ok(())
    }
}
