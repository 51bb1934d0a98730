//! Calls to the disk that fail: each one, in each way, once and for ever, in normal work and in recovery.

use super::disk::{Fault, FaultKind, Thoroughness};
use super::is_full_run;
use super::life::{Act, Life};
use super::random::Random;

/// A day of a player: everything that is done is done with something there to do it to.
const DAY: [Act; 16] = [
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
}

/// Lets every `every`-th call fail in each of these ways.
pub(super) fn fail_every_call(kinds: &[FaultKind], every: u64, seed: u64) -> Result<Counts, String> {
    let mut counts = Counts::default();
    let mut random = Random::new(seed);
    for for_ever in [false, true] {
        for &kind in kinds {
            let calls = calls_of(&DAY);
            let from = random.below(every);
            for call in (from..calls).step_by(usize::try_from(every).unwrap_or(usize::MAX)) {
                let fault = Fault { call, kind, for_ever };
                one_life(Life::new(3), &DAY, fault, &mut counts, &mut random)
                    .map_err(|wrong| format!("{wrong}\n{fault:?}"))?;
            }
            recoveries(kind, for_ever, every, &mut counts, &mut random)?;
        }
    }
    Ok(counts)
}

fn calls_of(acts: &[Act]) -> u64 {
    let mut life = Life::new(3);
    acts.iter().for_each(|act| life.act(*act));
    life.disk.calls()
}

/// Calls that fail while what a crash left is read and mended.
fn recoveries(
    kind: FaultKind,
    for_ever: bool,
    every: u64,
    counts: &mut Counts,
    random: &mut Random,
) -> Result<(), String> {
    let mut life = Life::new(3);
    DAY[..8].iter().for_each(|act| life.act(*act));
    life.record();
    life.act(Act::BuyThree);
    for moment in life.moments() {
        for content in moment.content.after_crash(Thoroughness { tear_every: 400, at_random: 1 }, random) {
            // In a slice, one call for each state: there are many states.
            let calls = if every == 1 { 40 } else { 1 };
            let from = random.below(40);
            for call in (from..from + calls).map(|call| call % 40) {
                counts.recoveries += 1;
                let life = Life::after(content.clone(), &moment.told, &moment.shop, random.next());
                let fault = Fault { call, kind, for_ever };
                let acts = [Act::Reopen, Act::Buy, Act::Exchange];
                one_life(life, &acts, fault, counts, random)
                    .map_err(|wrong| format!("in recovery: {wrong}\n{fault:?}"))?;
            }
        }
    }
    Ok(())
}

fn one_life(
    mut life: Life,
    acts: &[Act],
    fault: Fault,
    counts: &mut Counts,
    random: &mut Random,
) -> Result<(), String> {
    counts.lives += 1;
    life.disk.fail(fault);
    for act in acts {
        life.act(*act);
        // Opening is tried again, as the worker does, if the first try failed.
        if !life.may_write() && life.session.is_none() {
            life.reopen();
        }
        // The same if the process is killed, and the next one reads what is in the cache alone.
        let mut next = Life::after(life.disk.content(), &life.told, &life.shop, random.next());
        next.reopen();
        for content in next.disk.content().after_crash(Thoroughness { tear_every: 4_096, at_random: 0 }, random) {
            counts.images += 1;
            let mut after = Life::after(content, &next.told, &next.shop, random.next());
            after.reopen();
            after.check().map_err(|wrong| format!("{wrong}\nafter a kill and a crash after {act:?}"))?;
        }
        // Whatever was acknowledged so far is there after a crash now, in the best and the worst case.
        for content in life.disk.content().after_crash(Thoroughness { tear_every: 4_096, at_random: 1 }, random) {
            counts.images += 1;
            let mut after = Life::after(content, &life.told, &life.shop, random.next());
            after.reopen();
            after.check().map_err(|wrong| format!("{wrong}\nafter a crash after {act:?}"))?;
        }
    }
    counts.struck += life.disk.heal();
    // It recovers by itself: what waits is tried again, what could not be opened is opened again.
    for _ in 0..3 {
        if !life.may_write() {
            life.reopen();
        }
        life.wait();
    }
    life.troubles.clear();
    life.converge().map_err(|wrong| format!("healed: {wrong}"))?;
    life.go_on().map_err(|wrong| format!("healed: {wrong}"))?;
    life.reopen();
    life.converge().map_err(|wrong| format!("healed and started again: {wrong}"))?;
    for content in life.disk.content().after_crash(Thoroughness { tear_every: 4_096, at_random: 1 }, random) {
        counts.images += 1;
        let mut after = Life::after(content, &life.told, &life.shop, random.next());
        after.reopen();
        after.check().map_err(|wrong| format!("{wrong}\nafter healing, and a crash"))?;
    }
    Ok(())
}

#[test]
fn whatever_call_to_the_disk_fails_nothing_acknowledged_is_lost_and_it_recovers() {
    let started = std::time::Instant::now();
    let seed = 20_260_102;
    let every = if is_full_run() { 1 } else { 23 };
    let counts = fail_every_call(&FaultKind::ALL, every, seed).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("seed {seed}: {counts:?} in {:.0?}", started.elapsed());
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

/// Making an order durable failed, and the process was killed before it could do anything else about it than leave word.
/// The next one finds the order in the cache, where it is taken for durable.
#[test]
fn what_is_in_the_cache_alone_is_made_durable_by_the_next_process() {
    let lost = |word_is_left: bool| {
        let mut life = Life::new(3);
        life.act(Act::Reopen);
        life.act(Act::Buy);
        life.record();
        life.act(Act::Buy);
        let mut content = life.moments().swap_remove(0).content;
        content.forget_changes("journal.iap");
        if word_is_left {
            content.make("journal.suspect");
        }
        let mut next = Life::after(content, &life.told, &life.shop, 1);
        next.reopen();
        let thoroughness = Thoroughness { tear_every: 64, at_random: 4 };
        next.disk.content().after_crash(thoroughness, &mut Random::new(1)).into_iter().any(|content| {
            let mut after = Life::after(content, &next.told, &next.shop, 2);
            after.reopen();
            after.check().is_err()
        })
    };
    assert!(!lost(true));
    assert!(lost(false), "this test could not fail");
}
