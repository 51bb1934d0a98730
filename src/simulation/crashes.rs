//! Crashes at every point: all short sequences of acts, and long random ones; an older version's journal that is written
//! anew; every state a crash may leave; and crashes again while the client recovers.

use super::disk::Thoroughness;
use super::formats::older_lives;
use super::is_full_run;
use super::life::{Act, Life, Moment};
use super::random::Random;

/// What was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    sequences: u64,
    /// Moments at which a crash came.
    moments: u64,
    /// States that crashes left, once each for a moment.
    pub(super) images: u64,
    /// Of them, those after a crash in the recovery from a kill.
    killed: u64,
    /// Those after a crash in the recovery from a crash, and after one more in the recovery from that.
    second: u64,
    third: u64,
    /// Of all of them, those after a crash in the upgrade of a journal of format 1, or soon after it.
    upgrades: u64,
}

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// The longest of the sequences that are all tried.
    pub(super) longest: usize,
    pub(super) thoroughness: Thoroughness,
    /// Of the states that a crash leaves, every so-many-th meets a second crash.
    pub(super) second_every: u64,
    /// Of those that a second one leaves, on average every so-many-th meets a third.
    pub(super) third_every: u64,
    /// Every so-many-th is followed until client and server agree; the others until the client is open.
    pub(super) converge_every: u64,
    /// The same for the upgrade of an older journal, which is written anew as a whole.
    pub(super) upgrade_thoroughness: Thoroughness,
    pub(super) upgrade_second_every: u64,
    /// Random sequences, and how many acts each has.
    pub(super) random: u64,
    pub(super) acts: u64,
}

impl Extent {
    pub(super) const SLICE: Self = Self {
        longest: 2,
        thoroughness: Thoroughness { tear_every: 11, at_random: 8 },
        second_every: 151,
        third_every: 64,
        converge_every: 24,
        upgrade_thoroughness: Thoroughness { tear_every: 1_201, at_random: 1 },
        upgrade_second_every: 997,
        random: 4,
        acts: 12,
    };
    const FULL: Self = Self {
        longest: 3,
        thoroughness: Thoroughness { tear_every: 1, at_random: 24 },
        second_every: 24,
        third_every: 256,
        converge_every: 8,
        upgrade_thoroughness: Thoroughness { tear_every: 5, at_random: 24 },
        upgrade_second_every: 24,
        random: 3,
        acts: 40,
    };
}

/// Tries everything, and gives the counts, or what was wrong and when.
pub(super) fn exhaust(extent: Extent, seed: u64) -> Result<Counts, String> {
    let thoroughness = extent.thoroughness;
    let mut run = Run { extent, thoroughness, random: Random::new(seed), counts: Counts::default() };
    let mut sequences = vec![Vec::new()];
    for _ in 0..=extent.longest {
        let mut longer = Vec::new();
        for sequence in sequences {
            // There are many sequences of three acts, and they tear the same writes as those of two.
            run.thoroughness.tear_every = if sequence.len() < 3 { extent.thoroughness.tear_every } else { 5 };
            run.sequence(&sequence)?;
            run.tell();
            longer.extend(Act::ALL.map(|act| [&sequence[..], &[act]].concat()));
        }
        sequences = longer;
    }
    for _ in 0..extent.random {
        run.random_sequence()?;
    }
    run.upgrades()?;
    Ok(run.counts)
}

/// What was before the crashes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    Kill,
}

struct Run {
    extent: Extent,
    thoroughness: Thoroughness,
    random: Random,
    counts: Counts,
}

impl Run {
    /// A client that starts, meets its server, and does `acts`, with crashes in the last of them. The others were
    /// tried with the shorter sequences.
    fn sequence(&mut self, acts: &[Act]) -> Result<(), String> {
        let mut life = Life::new(7);
        let Some((last, before)) = acts.split_last() else {
            life.record();
            life.reopen();
            life.act(Act::Exchange);
            return self.crash_at(life.moments(), &[]);
        };
        life.reopen();
        life.act(Act::Exchange);
        before.iter().for_each(|act| life.act(*act));
        life.record();
        life.act(*last);
        self.crash_at(life.moments(), acts)
    }

    fn random_sequence(&mut self) -> Result<(), String> {
        let mut life = Life::new(self.random.next());
        life.reopen();
        let acts: Vec<Act> = (0..self.extent.acts).map(|_| Act::ALL[self.random.below(6) as usize]).collect();
        for (done, act) in acts.iter().enumerate() {
            life.record();
            life.act(*act);
            let moments = life.moments();
            // Crashes at every moment would be the same again and again: a journal grows slowly.
            let some = moments.into_iter().filter(|_| self.random.is_one_in(4)).collect();
            self.crash_at(some, &acts[..=done])?;
            self.tell();
        }
        Ok(())
    }

    /// Journals of format 1: crashes while they are written anew, and in what is done first with them.
    fn upgrades(&mut self) -> Result<(), String> {
        let before = self.counts.images;
        self.thoroughness = self.extent.upgrade_thoroughness;
        self.extent.second_every = self.extent.upgrade_second_every;
        for mut life in older_lives() {
            let acts = [Act::Reopen, Act::Buy, Act::Exchange];
            life.record();
            acts.iter().for_each(|act| life.act(*act));
            self.crash_at(life.moments(), &acts).map_err(|wrong| format!("{wrong}\nwith a journal of format 1"))?;
        }
        self.counts.upgrades = self.counts.images - before;
        Ok(())
    }

    /// A full run takes long.
    fn tell(&self) {
        if is_full_run() && self.counts.sequences.is_multiple_of(20) {
            println!("{:?}", self.counts);
        }
    }

    fn crash_at(&mut self, moments: Vec<Moment>, acts: &[Act]) -> Result<(), String> {
        self.counts.sequences += 1;
        for (number, moment) in moments.iter().enumerate() {
            self.counts.moments += 1;
            let told = |wrong| format!("{wrong}\nafter {acts:?}, in the moment {number}");
            self.crash(moment, 1, After::Nothing).map_err(told)?;
            self.kill(moment).map_err(told)?;
        }
        Ok(())
    }

    /// The process is killed at `moment`, and the machine goes on: what was written is in its cache. Then comes a
    /// crash while the next process starts.
    fn kill(&mut self, moment: &Moment) -> Result<(), String> {
        let mut life = Life::after(moment.content.clone(), &moment.told, &moment.shop, self.random.next());
        life.record();
        life.reopen();
        life.check()?;
        for moment in life.moments() {
            self.crash(&moment, 1, After::Kill)?;
        }
        Ok(())
    }

    /// The `nth` crash comes at `moment`, the others having been in recovery; before all of them there may have been a kill.
    fn crash(&mut self, moment: &Moment, nth: u64, first: After) -> Result<(), String> {
        let thoroughness = match (nth, first) {
            (1, After::Nothing) => self.thoroughness,
            _ => Thoroughness { tear_every: 191, at_random: 2 },
        };
        for content in moment.content.after_crash(thoroughness, &mut self.random) {
            self.counts.images += 1;
            self.counts.killed += u64::from(nth == 1 && first == After::Kill);
            self.counts.second += u64::from(nth == 2);
            self.counts.third += u64::from(nth == 3);
            let mut life = Life::after(content, &moment.told, &moment.shop, self.random.next());
            let again = match (nth, first) {
                (1, After::Nothing) => self.counts.images.is_multiple_of(self.extent.second_every),
                (1, After::Kill) | (2, After::Nothing) => self.random.is_one_in(self.extent.third_every),
                _ => false,
            };
            if again {
                life.record();
            }
            life.reopen();
            life.check()?;
            for moment in life.moments() {
                self.crash(&moment, nth + 1, first).map_err(|wrong| format!("{wrong}\nand a crash in recovery"))?;
            }
            if self.counts.images.is_multiple_of(self.extent.converge_every) {
                life.converge()?;
                life.go_on()?;
            }
        }
        Ok(())
    }
}

#[test]
fn no_crash_loses_doubles_or_alters_what_was_acknowledged() {
    let started = std::time::Instant::now();
    let seed = 20_260_101;
    let counts = exhaust(if is_full_run() { Extent::FULL } else { Extent::SLICE }, seed)
        .unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("seed {seed}: {counts:?} in {:.0?}", started.elapsed());
    let (images, second) = if is_full_run() { (1_000_000, 100_000) } else { (20_000, 2_000) };
    assert!(counts.images >= images && counts.second + counts.third >= second && counts.third > 0, "{counts:?}");
    assert!(counts.upgrades > images / 40, "{counts:?}");
}
