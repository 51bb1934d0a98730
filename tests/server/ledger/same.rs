//! Random histories, on all engines at once: every outcome, every balance and every row is the same.
//!
//! `BEVY_IAP_SEED` sets the seed, which a failure prints; `BEVY_IAP_FULL=1` makes it ten times as long.

mod accounts;

use std::env;
use std::fmt::Debug;
use std::time::Instant;

use bevy_iap::protocol::{
    Allowance, AllowanceRequest, AllowanceUse, ConsumptionId, Currency, KeyId, LinkCode, Micros, Money, Order,
    SecretKey, Sha256,
};
use bevy_iap::server::ledger::operation::{
    FreezeDevice, Hold, NameDevice, Payout, Post, RefundCredit, RefundOrder, RevokeDevice, ThawDevice, Void,
};
use bevy_iap::server::ledger::{
    AccountWish, Action, AllowanceRules, AllowanceWish, Context, Credit, Operation, OperationId, Origin, Place,
    VerifiedConsumption, VerifiedOrder,
};

use super::rows::Rows;
use super::{Desk, Engine, consuming, head, order_id, signed};
use crate::support::{Device, game};

/// The engines that are compared; the first is the reference.
const ENGINES: &[Engine] = &[
    Engine::Model,
    Engine::Sqlite,
    #[cfg(all(unix, feature = "postgres"))]
    Engine::Postgres,
];
/// How many operations there are in one life of the books. A life is short, since the model copies itself for each.
const LIFE: u64 = 500;
const PLAYERS: usize = 4;

/// Numbers that are the same for one seed (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators").
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }

    fn one_in(&mut self, most: u64) -> bool {
        self.below(most) == 0
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len() as u64) as usize)
    }
}

/// A device whose key is the same for one seed.
fn player(seed: u64, number: usize) -> Device {
    let Sha256(seed) = Sha256::of(format!("{seed} {number}"));
    Device { key: SecretKey::from_seed(&seed), chain: None, joined: None }
}

/// One life of the books, on every engine.
struct Life {
    random: Random,
    desks: Vec<Desk>,
    players: Vec<Device>,
    /// How many players have enrolled.
    enrolled: usize,
    /// Up to where each player has heard the feed.
    heard: [u64; PLAYERS],
    signed: Vec<VerifiedOrder>,
    operations: Vec<Operation>,
    /// Operations that were meant to make holds and credits.
    holds: Vec<OperationId>,
    credits: Vec<OperationId>,
    /// What each player's next order would say of each allowance that the player was told of.
    purses: [Vec<AllowanceUse>; PLAYERS],
    consumptions: Vec<VerifiedConsumption>,
    /// The highest number of each player's consumptions.
    numbers: [u64; PLAYERS],
    /// The link codes that were made.
    codes: Vec<LinkCode>,
    /// What was asked about accounts.
    asked: Vec<AccountWish>,
}

impl Life {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            desks: ENGINES.iter().copied().filter(|engine| engine.is_here()).map(Desk::of).collect(),
            players: (0..PLAYERS).map(|number| player(seed, number)).collect(),
            enrolled: 0,
            heard: [0; PLAYERS],
            signed: Vec::new(),
            operations: Vec::new(),
            holds: Vec::new(),
            credits: Vec::new(),
            purses: Default::default(),
            consumptions: Vec::new(),
            numbers: [0; PLAYERS],
            codes: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// Does the same on every engine, and checks that the same comes of it.
    fn each<T: PartialEq + Debug>(&mut self, what: &str, mut act: impl FnMut(&mut Desk) -> T) -> T {
        let told: Vec<T> = self.desks.iter_mut().map(&mut act).collect();
        for (desk, other) in self.desks.iter().zip(&told) {
            assert_eq!(&told[0], other, "{what}, on {:?}", desk.engine);
        }
        told.into_iter().next().expect("there are engines")
    }

    fn step(&mut self) {
        match self.random.below(40) {
            0 => self.wait(),
            1 => self.sweep(),
            2 => self.enrol(),
            3 if self.random.one_in(8) => self.each("a restart", Desk::reopen),
            3..=19 => self.batch(),
            20..=22 => self.allow(),
            23..=28 => self.consume(),
            29..=31 => self.manage(),
            _ => self.operate(),
        }
        // Every balance, each time; the feed from the beginning now and then.
        for number in 0..self.enrolled {
            let cursor = if self.random.one_in(20) { 0 } else { self.heard[number] };
            let (device, account) = (self.players[number].id(), self.players[number].account());
            let standing = self.each("what a device hears", |desk| {
                let place = Place { device, account: account.clone(), cursor };
                match desk.ledger.standings(&[place]) {
                    Ok(mut standings) => Ok(standings.remove(0)),
                    Err(error) => Err(error.to_string()),
                }
            });
            if let Ok(standing) = standing {
                self.heard[number] = standing.cursor;
            }
        }
    }

    fn wait(&mut self) {
        let seconds = [1, 60, 3_600, 86_400][self.random.below(4) as usize];
        self.desks.iter_mut().for_each(|desk| desk.now += seconds);
    }

    fn sweep(&mut self) {
        self.each("a sweep", |desk| desk.ledger.expire(desk.now).expect("sweeps"));
    }

    fn enrol(&mut self) {
        let number = self.random.below(PLAYERS as u64) as usize;
        // In turn, so that the first ones are there from the beginning; again now and then.
        let place = if number < self.enrolled { number } else { self.enrolled.min(PLAYERS - 1) };
        self.enrolled = self.enrolled.max(place + 1);
        let key = self.players[place].key.public();
        let welcome = Money::new(Micros::new(self.random.below(900_000) as i64).expect("in range"), Currency::EUR);
        self.each("an enrolment", |desk| desk.ledger.enrol(&[key], Some(welcome), desk.now).expect("enrols"));
    }

    fn batch(&mut self) {
        if self.enrolled == 0 {
            return self.enrol();
        }
        let size = self.random.below(5);
        let batch: Vec<VerifiedOrder> = (0..size).filter_map(|_| self.order()).collect();
        self.each("a batch", |desk| desk.settle(&batch));
    }

    /// Some devices ask for allowances, naming one that they have or had.
    fn allow(&mut self) {
        if self.enrolled == 0 {
            return self.enrol();
        }
        let rules = AllowanceRules {
            percent: [5, 20, 60, 100][self.random.below(4) as usize],
            most: Micros::new(1 + self.random.below(400_000) as i64).expect("in range"),
            days: 1 + self.random.below(9) as u32,
            grace_days: self.random.below(3) as u32,
            orders: 1 + self.random.below(20) as u32,
        };
        let wishes: Vec<AllowanceWish> = (0..1 + self.random.below(3))
            .map(|_| {
                let number = self.random.below(self.enrolled as u64) as usize;
                let player = &self.players[number];
                let mut current = self.purses[number].last().map(|claim| claim.id);
                if self.random.one_in(4) {
                    current = self.random.pick(&self.purses[number]).map(|claim| claim.id);
                }
                let currency = if self.random.one_in(6) { Currency::USD } else { Currency::EUR };
                let request = AllowanceRequest { current, currency };
                AllowanceWish { device: player.id(), account: player.account(), request }
            })
            .collect();
        let told = self.each("allowances", |desk| {
            let mut context = Context { catalog: &desk.catalog, signer: &mut desk.signer, now: desk.now };
            desk.ledger.allow(&wishes, &rules, &mut context).expect("allows")
        });
        let (key, now) = (self.desks[0].key(), self.desks[0].now);
        for (wish, token) in wishes.iter().zip(told) {
            let Some(token) = token else { continue };
            let allowance = Allowance::verify(&token, &[key], &game(), &wish.account, wish.device).expect("verifies");
            assert!(allowance.issued_at <= now);
            let player = self.players.iter().position(|player| player.id() == wish.device).expect("a player");
            let claim = AllowanceUse { id: allowance.id, spent: Micros::ZERO, orders: 1 };
            if self.purses[player].iter().all(|known| known.id != claim.id) {
                self.purses[player].push(claim);
            }
        }
    }

    /// Some devices use up what they have, or more; some say it again, or something else under an id.
    fn consume(&mut self) {
        if self.enrolled == 0 {
            return self.enrol();
        }
        let batch: Vec<VerifiedConsumption> = (0..1 + self.random.below(4))
            .map(|_| {
                if self.random.one_in(6)
                    && let Some(known) = self.random.pick(&self.consumptions)
                {
                    return known.clone();
                }
                let number = self.random.below(self.enrolled as u64) as usize;
                let item = ["shield", "skin", "charm", "gift"][self.random.below(4) as usize];
                let quantity = if self.random.one_in(8) { 400 } else { 1 + self.random.below(6) };
                let mut sequence = self.numbers[number] + 1;
                match self.random.below(12) {
                    0 => sequence = 1 + self.random.below(sequence),
                    1 => sequence += self.random.below(3),
                    _ => {}
                }
                self.numbers[number] = self.numbers[number].max(sequence);
                let mut claims = self.players[number].consumption(sequence, item, quantity);
                let used = self.random.one_in(25) && !self.consumptions.is_empty();
                let count = self.consumptions.len() as u64;
                let id = if used { self.random.below(count) } else { count };
                claims.id = ConsumptionId(u128::from(id).to_be_bytes());
                let signed = consuming::signed(&self.players[number], &claims);
                self.consumptions.push(signed.clone());
                signed
            })
            .collect();
        self.each("consumptions", |desk| desk.ledger.consume(&batch, &mut desk.signer, desk.now).expect("decides"));
    }

    /// What an order says of an allowance: mostly what is right, if the orders before it were granted.
    fn claim(&mut self, number: usize, order: &Order) -> Option<AllowanceUse> {
        if self.purses[number].is_empty() || self.random.one_in(4) {
            return None;
        }
        let place = match self.random.below(5) {
            0 => self.random.below(self.purses[number].len() as u64) as usize,
            _ => self.purses[number].len() - 1,
        };
        let claim = &mut self.purses[number][place];
        let price = order.price.checked_mul(order.quantity).map_or(Micros::ZERO, |price| price.micros);
        if self.random.one_in(10) {
            return Some(AllowanceUse { spent: price, orders: 1, ..*claim });
        }
        let spent = claim.spent.checked_add(price).unwrap_or(claim.spent);
        let made = AllowanceUse { spent, ..*claim };
        if spent.value() < 400_000 {
            *claim = AllowanceUse { spent, orders: claim.orders + 1, ..*claim };
        }
        Some(made)
    }

    fn order(&mut self) -> Option<VerifiedOrder> {
        if self.random.one_in(6) {
            return self.random.pick(&self.signed).cloned();
        }
        let products = ["shield", "skin", "charm", "double_jump", "day_pass", "gift", "palace", "sword"];
        let product = self.random.pick(&products).copied().unwrap_or("shield");
        let quantity = match self.random.below(8) {
            0 => [0, 1_000, 1_001][self.random.below(3) as usize],
            1..=3 => 1 + self.random.below(90) as u32,
            _ => 1,
        };
        let number = self.random.below(self.enrolled as u64) as usize;
        let mut claims = self.players[number].claims(product, quantity);
        let used = self.random.one_in(25) && !self.signed.is_empty();
        let id = if used { self.random.below(self.signed.len() as u64) } else { self.signed.len() as u64 };
        claims.id = order_id(id as u32);
        if self.random.one_in(20) {
            claims.price = "0.004EUR".parse().expect("money");
        }
        if self.random.one_in(10) {
            claims.catalog = Sha256::of("old");
        }
        claims.allowance = self.claim(number, &claims);
        let broken = self.random.one_in(20);
        if broken {
            (claims.sequence, claims.previous) = (1 + self.random.below(9), Some(Sha256::of("elsewhere")));
        }
        let order = signed(&self.players[number], &claims);
        // An id that was used settles nothing, and a broken chain moves nothing.
        if !used && !broken {
            self.players[number].chain = Some(head(&order));
        }
        self.signed.push(order.clone());
        Some(order)
    }

    fn operate(&mut self) {
        let again = self.random.one_in(10);
        let operation = match self.random.pick(&self.operations).cloned() {
            Some(known) if again && self.random.one_in(2) => known,
            // Its id with another action.
            Some(known) if again => Operation { action: self.action(), ..known },
            _ => {
                // Unlike the ids of receipts and allowances, which count from one too.
                let id = OperationId(((self.operations.len() as u128 + 1) << 64).to_be_bytes());
                Operation { id, action: self.action() }
            }
        };
        match operation.action {
            Action::Credit(_) => self.credits.push(operation.id),
            Action::Hold(_) => self.holds.push(operation.id),
            _ => {}
        }
        self.operations.push(operation.clone());
        let what = format!("{operation:?}");
        self.each(&what, |desk| format!("{:?}", desk.ledger.operate(&operation, &mut desk.signer, desk.now)));
    }

    /// An amount that is mostly small, and now and then none, negative or too much.
    fn micros(&mut self) -> Micros {
        let value = match self.random.below(30) {
            0 => 0,
            1 => -5,
            2 => (1 << 53) - 1,
            3..=9 => 1 + self.random.below(10) as i64,
            _ => 1 + self.random.below(600_000) as i64,
        };
        Micros::new(value).expect("in range")
    }

    fn money(&mut self) -> Money {
        let currency = if self.random.one_in(6) { Currency::USD } else { Currency::EUR };
        Money::new(self.micros(), currency)
    }

    fn some<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (!self.random.one_in(3)).then(|| value(self))
    }

    fn action(&mut self) -> Action {
        let number = self.random.below(PLAYERS as u64) as usize;
        // Now and then that of a device which may have left it.
        let player = &self.players[number];
        let account = if self.random.one_in(5) { player.id().guest_account() } else { player.account() };
        let now = self.desks[0].now;
        let nothing = OperationId([0xee; 16]);
        let source = ["card", "shop", "operator"][self.random.below(3) as usize].parse().expect("a source");
        match self.random.below(24) {
            22 if self.random.one_in(4) => RevokeDevice { device: self.players[number].id() }.into(),
            22 | 23 => NameDevice { device: self.players[number].id(), name: None }.into(),
            20 => FreezeDevice { device: self.players[number].id() }.into(),
            21 => ThawDevice { device: self.players[number].id() }.into(),
            0..=5 => {
                let origin = if self.random.one_in(3) { Origin::Promotional } else { Origin::Paid };
                let refundable_until =
                    if self.random.one_in(3) { Some(now + self.random.below(9_000) as i64) } else { None };
                let fee = if self.random.one_in(4) { Some(self.micros()) } else { None };
                let money = self.money();
                Credit { account, money, origin, source, refundable_until, fee }.into()
            }
            6..=9 => {
                let order = order_id(self.random.below(self.signed.len() as u64 + 1) as u32);
                RefundOrder { order, quantity: self.some(|life| life.random.below(4) as u32) }.into()
            }
            10..=12 => {
                let credit = self.random.pick(&self.credits).copied().unwrap_or(nothing);
                let (only_unspent, forced) = (self.random.one_in(4), self.random.one_in(4));
                RefundCredit { credit, amount: self.some(Self::micros), only_unspent, forced }.into()
            }
            13..=15 => {
                let expires_at = now - 1 + self.random.below(5_000) as i64;
                Hold { account, money: self.money(), expires_at }.into()
            }
            16 | 17 => {
                let hold = self.random.pick(&self.holds).copied().unwrap_or(nothing);
                Post { hold, amount: self.some(Self::micros) }.into()
            }
            18 => Void { hold: self.random.pick(&self.holds).copied().unwrap_or(nothing) }.into(),
            _ => {
                let creator = ["ann", "zoe", "eve"][self.random.below(3) as usize].parse().expect("a creator");
                Payout { creator, money: self.money(), source }.into()
            }
        }
    }

    /// Compares every row, and audits every engine's books.
    fn end(&mut self) {
        let players: Vec<_> = self.players.iter().map(Device::account).collect();
        for account in players {
            self.each("an account", |desk| desk.ledger.show(&account).expect("reads"));
        }
        self.each("what all accounts hold", |desk| {
            let mut totals: Vec<_> =
                desk.ledger.totals().expect("reads").iter().map(|total| format!("{total:?}")).collect();
            totals.sort();
            totals
        });
        let reference = Rows::of(&mut *self.desks[0].ledger);
        for desk in &mut self.desks[1..] {
            assert_eq!(Rows::of(&mut *desk.ledger), reference, "the rows of {:?}", desk.engine);
        }
        self.desks.iter_mut().for_each(Desk::assert_right);
    }
}

#[test]
fn all_engines_keep_the_same_books_whatever_happens() {
    let seed = env::var("BEVY_IAP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_250_101);
    let operations = if env::var_os("BEVY_IAP_FULL").is_some() { 100_000 } else { 10_000 };
    let started = Instant::now();
    let mut done = 0;
    for life in 0..operations / LIFE {
        println!("BEVY_IAP_SEED={} is the seed of this life", seed + life);
        let mut life = Life::new(seed + life);
        for _ in 0..LIFE {
            life.step();
            done += 1;
        }
        life.end();
    }
    println!("{done} operations on {ENGINES:?} in {:?}", started.elapsed());
    assert_eq!(done, operations);
}
