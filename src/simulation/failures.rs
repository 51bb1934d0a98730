//! Calls to the disk that fail: each one, in each way, once and for ever, in normal work, in recovery, in the upgrade of
//! an older journal, and while another failure is dealt with.

use std::collections::BTreeMap;

use super::disk::{Call, Content, Fault, FaultKind, Struck, Thoroughness};
use super::formats::older_lives;
use super::is_full_run;
use super::life::{Act, Life, Moment, Told};
use super::random::Random;
use super::shop::Shop;

/// A day of a player: everything that is done is done with something there to do it to.
static DAY: [Act; 16] = [
    Act::Reopen,
    Act::Buy,
    Act::Exchange,
    Act::BuyThree,
    Act::Reopen,
    Act::Exchange,
    Act::Consume,
    Act::Compact,
    Act::Buy,
    Act::Reopen,
    Act::Buy,
    Act::Exchange,
    Act::Consume,
    Act::Compact,
    Act::BuyThree,
    Act::Exchange,
];

/// What is done first with what a crash or an older version left.
static MORNING: [Act; 3] = [Act::Reopen, Act::Buy, Act::Exchange];

/// How often calls failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Lives in which a call was to fail.
    pub(super) lives: u64,
    /// Calls that failed in them.
    struck: u64,
    /// States that a crash would have left, in all of which everything acknowledged was there.
    images: u64,
    /// Lives that began with what a crash left, so that calls failed in recovery.
    recoveries: u64,
    /// The most calls that such a life made while nothing failed.
    recovery_calls: u64,
    /// Lives that began with a journal of format 1.
    upgrades: u64,
    /// Lives in which a second call failed in another way soon after the first.
    twice: u64,
}

/// Where a life begins, and the calls that it makes when none fails.
struct Beginning {
    content: Content,
    told: Told,
    shop: Shop,
    acts: &'static [Act],
    calls: Vec<Call>,
}

impl Beginning {
    fn of(life: &Life, acts: &'static [Act]) -> Self {
        let (content, told, shop) = (life.disk.content(), life.told.clone(), life.shop.clone());
        let mut beginning = Self { content, told, shop, acts, calls: Vec::new() };
        let mut life = beginning.life(1);
        acts.iter().for_each(|act| life.act(*act));
        beginning.calls = life.disk.all_calls();
        beginning
    }

    fn life(&self, seed: u64) -> Life {
        Life::after(self.content.clone(), &self.told, &self.shop, seed)
    }

    /// The calls that fail in this way, by what they do.
    fn struck_by(&self, kind: FaultKind) -> BTreeMap<Call, Vec<u64>> {
        let mut calls: BTreeMap<Call, Vec<u64>> = BTreeMap::new();
        for (number, call) in (0..).zip(&self.calls).filter(|(_, call)| kind.strikes(**call)) {
            calls.entry(*call).or_default().push(number);
        }
        calls
    }
}

/// What a crash may leave while three orders are written.
fn recoveries(random: &mut Random) -> Vec<Beginning> {
    let mut life = Life::new(3);
    DAY[..8].iter().for_each(|act| life.act(*act));
    life.record();
    life.act(Act::BuyThree);
    let mut beginnings = Vec::new();
    for moment in life.moments() {
        let left = moment.content.after_crash(Thoroughness { tear_every: 400, at_random: 1 }, random);
        let lives = left.into_iter().map(|content| Life::after(content, &moment.told, &moment.shop, 1));
        beginnings.extend(lives.map(|life| Beginning::of(&life, &MORNING)));
    }
    beginnings
}

/// Lets every call fail in each of these ways; if `every` is more than one, every so-many-th of a day and one of each sort,
/// and one in some of what a crash left.
pub(super) fn fail_every_call(kinds: &[FaultKind], every: u64, seed: u64) -> Result<Counts, String> {
    Run::new(every, seed).all(kinds).map(|run| run.counts)
}

struct Run {
    every: u64,
    random: Random,
    counts: Counts,
    struck: Struck,
}

impl Run {
    fn new(every: u64, seed: u64) -> Self {
        Self { every, random: Random::new(seed), counts: Counts::default(), struck: Struck::new() }
    }

    fn all(mut self, kinds: &[FaultKind]) -> Result<Self, String> {
        let day = Beginning::of(&Life::new(3), &DAY);
        let upgrades = older_lives().map(|life| Beginning::of(&life, &MORNING));
        let recoveries = recoveries(&mut self.random);
        let calls = |beginning: &Beginning| beginning.calls.len() as u64;
        self.counts.recovery_calls = recoveries.iter().map(calls).max().unwrap_or_default();
        for (kind, for_ever) in kinds.iter().flat_map(|&kind| [(kind, false), (kind, true)]) {
            self.fail(&day, kind, for_ever)?;
            for beginning in &upgrades {
                self.counts.upgrades += self.fail_some(beginning, kind, for_ever, "with a journal of format 1")?;
            }
            for beginning in &recoveries {
                // In a slice, some states: there are many.
                if self.every == 1 || self.random.is_one_in(3) {
                    self.counts.recoveries += self.fail_some(beginning, kind, for_ever, "in recovery")?;
                }
            }
        }
        Ok(self)
    }

    /// Every call, or every so-many-th and one of each sort.
    fn fail(&mut self, beginning: &Beginning, kind: FaultKind, for_ever: bool) -> Result<(), String> {
        for (_, calls) in beginning.struck_by(kind) {
            let from = self.random.below(self.every.min(calls.len() as u64));
            for call in (from..calls.len() as u64).step_by(usize::try_from(self.every).unwrap_or(usize::MAX)) {
                let fault = Fault { call: calls[call as usize], kind, for_ever };
                self.life(beginning, &[fault])?;
            }
        }
        Ok(())
    }

    /// Every call, or one. Says how many lives that were.
    fn fail_some(&mut self, beginning: &Beginning, kind: FaultKind, for_ever: bool, when: &str) -> Result<u64, String> {
        let mut calls = beginning.struck_by(kind).into_values().collect::<Vec<_>>().concat();
        if self.every > 1 && !calls.is_empty() {
            calls = vec![calls[self.random.below(calls.len() as u64) as usize]];
        }
        for &call in &calls {
            let fault = Fault { call, kind, for_ever };
            self.life(beginning, &[fault]).map_err(|wrong| format!("{when}: {wrong}"))?;
        }
        Ok(calls.len() as u64)
    }

    /// A second call fails in another way while the failure of a first one is dealt with.
    fn fail_twice(&mut self, times: u64) -> Result<(), String> {
        let day = Beginning::of(&Life::new(3), &DAY);
        for _ in 0..times {
            let any = |random: &mut Random| FaultKind::ALL[random.below(FaultKind::ALL.len() as u64) as usize];
            let (first, second) = (any(&mut self.random), any(&mut self.random));
            let calls = day.struck_by(first).into_values().collect::<Vec<_>>().concat();
            let call = calls[self.random.below(calls.len() as u64) as usize];
            let after = call + 1 + self.random.below(8);
            let for_ever = self.random.is_one_in(3);
            let faults = [Fault { call, kind: first, for_ever: false }, Fault { call: after, kind: second, for_ever }];
            self.counts.twice += 1;
            self.life(&day, &faults)?;
        }
        Ok(())
    }

    fn life(&mut self, beginning: &Beginning, faults: &[Fault]) -> Result<(), String> {
        self.counts.lives += 1;
        let life = beginning.life(self.random.next());
        faults.iter().for_each(|fault| life.disk.fail_too(*fault));
        self.live(life, beginning.acts).map_err(|wrong| format!("{wrong}\n{faults:?}"))
    }

    fn live(&mut self, mut life: Life, acts: &[Act]) -> Result<(), String> {
        for act in acts {
            // The process ends, and could not leave word.
            if *act == Act::Reopen && is_word_lost(&life.disk.struck()) {
                return Ok(());
            }
            life.act(*act);
            life.try_again();
            let struck = life.disk.struck();
            // What a crash leaves while nothing has failed is tried elsewhere.
            if struck.is_empty() {
                continue;
            }
            // The same if the process is killed, and the next one reads what is in the cache alone.
            if !is_word_lost(&struck) {
                let mut next = Life::after(life.disk.content(), &life.told, &life.shop, self.random.next());
                next.reopen();
                self.crash(&next, 0).map_err(|wrong| format!("{wrong}\nafter a kill and a crash after {act:?}"))?;
            }
            // Whatever was acknowledged so far is there after a crash now, in the best and the worst case.
            self.crash(&life, 1).map_err(|wrong| format!("{wrong}\nafter a crash after {act:?}"))?;
        }
        for (what, times) in life.disk.heal() {
            self.counts.struck += times;
            *self.struck.entry(what).or_default() += times;
        }
        // It recovers by itself: what waits is tried again, what could not be opened is opened again.
        for _ in 0..3 {
            life.try_again();
            life.wait();
        }
        life.troubles.clear();
        life.converge().map_err(|wrong| format!("healed: {wrong}"))?;
        life.go_on().map_err(|wrong| format!("healed: {wrong}"))?;
        life.reopen();
        life.converge().map_err(|wrong| format!("healed and started again: {wrong}"))?;
        self.crash(&life, 1).map_err(|wrong| format!("{wrong}\nafter healing, and a crash"))
    }

    /// Whether everything that the game was told is true in what a crash now may leave.
    fn crash(&mut self, life: &Life, at_random: usize) -> Result<(), String> {
        let thoroughness = Thoroughness { tear_every: 4_096, at_random };
        for content in life.disk.content().after_crash(thoroughness, &mut self.random) {
            self.counts.images += 1;
            let mut after = Life::after(content, &life.told, &life.shop, self.random.next());
            after.reopen();
            after.check()?;
        }
        Ok(())
    }
}

/// Whether making something durable has failed, and so may have leaving word of that: who kills the process now and then
/// crashes the machine can lose something, as is said where nothing is promised.
fn is_word_lost(struck: &Struck) -> bool {
    let is_lost = struck.keys().any(|(kind, _)| *kind == FaultKind::SyncLost);
    is_lost && struck.keys().any(|(_, call)| *call == Call::MakeFile)
}

#[test]
fn whatever_call_to_the_disk_fails_nothing_acknowledged_is_lost_and_it_recovers() {
    let started = std::time::Instant::now();
    let seed = 20_260_102;
    let (every, twice) = if is_full_run() { (1, 4_000) } else { (199, 30) };
    let run = Run::new(every, seed).all(&FaultKind::ALL);
    let run = run.and_then(|mut run| run.fail_twice(twice).map(|()| run)).unwrap_or_else(|wrong| panic!("{wrong}"));
    let Run { counts, struck, .. } = run;
    println!("seed {seed}: {counts:?} in {:.0?}", started.elapsed());
    println!("{struck:?}");
    // A file is never made longer by its length alone.
    let calls = Call::ALL.into_iter().filter(|call| *call != Call::Lengthen);
    let every = calls.flat_map(|call| FaultKind::ALL.map(|kind| (kind, call)));
    let never: Vec<_> =
        every.filter(|(kind, call)| kind.strikes(*call) && !struck.contains_key(&(*kind, *call))).collect();
    assert_eq!(never, [], "these never struck");
    assert!(counts.struck > counts.lives / 2, "the faults strike: {counts:?}");
}

#[test]
fn on_a_full_disk_an_order_is_refused_with_words_and_the_next_is_taken_when_there_is_room() {
    let mut life = Life::new(3);
    life.act(Act::Reopen);
    life.act(Act::Buy);
    life.disk.fail(Fault { call: 0, kind: FaultKind::Full, for_ever: true });
    // What is allocated is still used; then there is no more.
    for _ in 0..200 {
        life.act(Act::Buy);
    }
    let trouble = life.troubles.last().expect("it is told");
    assert!(trouble.contains("free some room on the disk") && trouble.contains("journal"), "{trouble}");
    life.disk.heal();
    life.troubles.clear();
    life.go_on().expect("there is room again");
}

#[test]
fn lock_that_cannot_be_had_is_tried_for_again_without_another_start() {
    for has_key in [false, true] {
        for kind in [FaultKind::NoLocks, FaultKind::LockedElsewhere] {
            let mut life = Life::new(3);
            if has_key {
                [Act::Reopen, Act::Buy].iter().for_each(|act| life.act(*act));
            }
            life.disk.fail(Fault { call: 0, kind, for_ever: true });
            life.reopen();
            life.try_again();
            assert!(!life.may_write() && life.session.is_some() == has_key, "{kind:?}: {:?}", life.troubles);
            life.disk.heal();
            life.try_again();
            life.check().and_then(|()| life.go_on()).unwrap_or_else(|wrong| panic!("{kind:?}: {wrong}"));
        }
    }
}

/// Making an order durable failed, and the process was killed before it could do anything else about it than leave word.
/// The next one finds the order in the cache, where it is taken for durable.
fn in_the_cache_alone(word_is_left: bool) -> Life {
    let mut life = Life::new(3);
    life.act(Act::Reopen);
    life.act(Act::Buy);
    life.record();
    life.act(Act::Buy);
    let Moment { mut content, told, shop } = life.moments().swap_remove(0);
    content.forget_changes("journal.iap");
    if word_is_left {
        content.make("journal.suspect");
    }
    Life::after(content, &told, &shop, 1)
}

/// Starts the game, and says what a crash takes then.
fn start_and_crash(mut life: Life) -> Result<(), String> {
    life.reopen();
    for content in life.disk.content().after_crash(Thoroughness { tear_every: 64, at_random: 4 }, &mut Random::new(1)) {
        let mut after = Life::after(content, &life.told, &life.shop, 2);
        after.reopen();
        after.check()?;
    }
    Ok(())
}

#[test]
fn what_is_in_the_cache_alone_is_made_durable_by_the_next_process() {
    assert_eq!(start_and_crash(in_the_cache_alone(true)), Ok(()));
    assert!(start_and_crash(in_the_cache_alone(false)).is_err(), "this test could not fail");
}

#[test]
fn what_is_in_the_cache_alone_is_not_trusted_whatever_call_of_the_next_process_fails() {
    static START: [Act; 1] = [Act::Reopen];
    let beginning = Beginning::of(&in_the_cache_alone(true), &START);
    for kind in FaultKind::ALL {
        for call in beginning.struck_by(kind).into_values().flatten() {
            let life = beginning.life(1);
            let fault = Fault { call, kind, for_ever: false };
            life.disk.fail(fault);
            start_and_crash(life).unwrap_or_else(|wrong| panic!("{wrong}\n{fault:?}"));
        }
    }
}
