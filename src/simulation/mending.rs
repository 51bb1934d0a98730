//! Damage that is mended on a disk that crashes and fails meanwhile: it is told all the same, and the journal opens.

use super::disk::{Content, Fault, FaultKind, Thoroughness};
use super::is_full_run;
use super::life::{Act, Life, Told};
use super::random::Random;
use super::rot::frames;
use crate::client::OrderState;
use crate::client::journal::recover;
use crate::client::record::Record;
use crate::protocol::OrderId;

/// A life whose journal is damaged, and what the next start must make of it whatever happens meanwhile.
struct Damaged {
    life: Life,
    /// The orders that the server had not heard of, in their order.
    unsent: Vec<OrderId>,
}

impl Damaged {
    fn new(life: &Life, damage: impl FnOnce(&mut Content)) -> Self {
        let mut content = life.disk.content();
        let journal = content.file("journal.iap").unwrap_or_default();
        let orders = frames(journal).into_iter().filter_map(|frame| frame.order);
        let unsent = orders.filter(|order| life.state_of(*order).is_some_and(OrderState::is_open)).collect();
        damage(&mut content);
        Self { life: Life::after(content, &life.told, &life.shop, 1), unsent }
    }

    fn flipped() -> Self {
        let mut life = Life::new(5);
        [Act::Reopen, Act::Buy, Act::Exchange, Act::Buy].iter().for_each(|act| life.act(*act));
        Self::new(&life, |content| content.rot("journal.iap", |journal| journal[300] ^= 1))
    }

    /// A journal of a device that has taken the place of another, which does not say so any more: what did is damaged.
    fn after_its_key_was_replaced() -> Self {
        let mut life = Life::new(7);
        [Act::Reopen, Act::BuyThree, Act::Exchange].iter().for_each(|act| life.act(*act));
        life.replace_key();
        [Act::Buy, Act::Exchange].iter().for_each(|act| life.act(*act));
        Self::new(&life, |content| {
            content.rot("journal.iap", |journal| {
                let (records, _) = recover(journal).expect("a journal");
                let account = records.iter().position(|record| matches!(record, Record::Account(_)));
                let damaged = &frames(journal)[account.expect("it is there")];
                journal[damaged.bytes.start + 40] ^= 1;
            });
        })
    }

    /// A journal of which the disk cannot read a part, with orders before it and after it that the server has not heard of.
    fn unreadable() -> Self {
        let mut life = Life::new(5);
        let acts = [Act::Reopen, Act::BuyThree, Act::Exchange, Act::BuyThree, Act::BuyThree, Act::BuyThree];
        acts.iter().for_each(|act| life.act(*act));
        Self::new(&life, |content| content.lose("journal.iap", 4096..8192))
    }

    /// The same of the part with which it begins.
    fn begins_unreadable() -> Self {
        let mut life = Life::new(5);
        [Act::Reopen, Act::BuyThree, Act::Exchange, Act::BuyThree].iter().for_each(|act| life.act(*act));
        Self::new(&life, |content| content.lose("journal.iap", 0..4096))
    }

    /// A journal that is all in one sector, which the disk cannot read.
    fn unreadable_as_a_whole() -> Self {
        let mut life = Life::new(5);
        [Act::Reopen, Act::Buy, Act::Exchange, Act::Compact].iter().for_each(|act| life.act(*act));
        Self::new(&life, |content| content.lose("journal.iap", 0..4096))
    }

    /// Starts the game on what was left, and says what is wrong. `is_told`: whether the player was told of the damage before.
    fn start(&self, content: Content, told: &Told, kept: &[OrderId], is_told: bool, seed: u64) -> Result<(), String> {
        let mut next = Life::after(content, told, &self.life.shop, seed);
        next.reopen();
        self.is_right(next, kept, is_told)
    }

    /// Whether a life that was just started is told of the damage, has what could be read, and agrees with the server.
    fn is_right(&self, mut life: Life, kept: &[OrderId], is_told: bool) -> Result<(), String> {
        if !life.may_write() {
            return Err(format!("it did not open: {:?}", life.troubles));
        }
        if !is_told && !tells(&life) {
            return Err(format!("the damage was never told: {:?}", life.troubles));
        }
        if let Some(lost) = kept.iter().find(|order| !life.state_of(**order).is_some_and(OrderState::is_open)) {
            return Err(format!("the order {lost} could be read, and is {:?}", life.state_of(*lost)));
        }
        life.troubles.clear();
        life.used_up_may_be_back();
        life.damage_took(&self.unsent);
        life.converge()?;
        life.reopen();
        // If the word of it could not be removed, it is told again.
        life.troubles.clear();
        life.check()
    }

    /// The orders of which the server has not heard that are there in `life`.
    fn kept(&self, life: &Life) -> Vec<OrderId> {
        let is_there = |order: &OrderId| life.state_of(*order).is_some_and(OrderState::is_open);
        self.unsent.iter().copied().filter(is_there).collect()
    }
}

fn tells(life: &Life) -> bool {
    life.troubles.iter().any(|trouble| trouble.contains("was damaged"))
}

/// What was tried.
#[derive(Debug, Default)]
pub(super) struct Counts {
    starts: u64,
    /// Orders that the server had not heard of that could be read, and those that could not.
    kept: usize,
    lost: usize,
}

/// Crashes and lets calls fail while damage is mended; every so-many-th call.
pub(super) fn crash_and_fail(every: u64, seed: u64) -> Result<Counts, String> {
    let beginnings: [fn() -> Damaged; 5] = [
        Damaged::flipped,
        Damaged::after_its_key_was_replaced,
        Damaged::unreadable,
        Damaged::begins_unreadable,
        Damaged::unreadable_as_a_whole,
    ];
    let (mut random, mut counts) = (Random::new(seed), Counts::default());
    for begin in beginnings {
        let mut damaged = begin();
        let before = damaged.life.disk.content();
        damaged.life.record();
        damaged.life.reopen();
        let (told, kept) = (damaged.life.told.clone(), damaged.kept(&damaged.life));
        let (moments, calls) = (damaged.life.moments(), damaged.life.disk.all_calls());
        damaged.start(before, &told, &kept, false, random.next())?;
        (counts.kept, counts.lost) = (counts.kept + kept.len(), counts.lost + damaged.unsent.len() - kept.len());
        for (number, moment) in moments.iter().enumerate() {
            let left = moment.content.after_crash(Thoroughness { tear_every: 401, at_random: 4 }, &mut random);
            for content in left.into_iter().chain([moment.content.clone()]) {
                counts.starts += 1;
                damaged
                    .start(content, &moment.told, &kept, moment.told.damage, random.next())
                    .map_err(|wrong| format!("{wrong}\nafter a crash in the moment {number} of {}", moments.len()))?;
            }
        }
        for (kind, for_ever) in FaultKind::ALL.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
            let from = random.below(every);
            for (call, _) in
                (0..).zip(&calls).filter(|(_, call)| kind.strikes(**call)).skip(from as usize).step_by(every as usize)
            {
                let fault = Fault { call, kind, for_ever };
                let wrong = |wrong| format!("{wrong}\n{fault:?}");
                let mut failing = begin();
                failing.life.disk.fail(fault);
                failing.life.reopen();
                let is_told = failing.life.may_write() && tells(&failing.life);
                if !failing.life.may_write() && tells(&failing.life) {
                    return Err(wrong(format!("it is told before it is mended: {:?}", failing.life.troubles)));
                }
                counts.starts += 2;
                let (content, told) = (failing.life.disk.content(), failing.life.told.clone());
                failing.start(content, &told, &kept, is_told, random.next()).map_err(wrong)?;
                failing.life.disk.heal();
                (0..3).for_each(|_| failing.life.try_again());
                let life = std::mem::replace(&mut failing.life, Life::new(0));
                failing.is_right(life, &kept, false).map_err(wrong)?;
            }
        }
    }
    Ok(counts)
}

#[test]
fn damage_is_told_and_dealt_with_whatever_crash_or_failing_call_comes_while_it_is_mended() {
    let counts =
        crash_and_fail(if is_full_run() { 1 } else { 11 }, 20_260_104).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{counts:?}");
    assert!(counts.starts > 500 && counts.kept > 0 && counts.lost > 0, "{counts:?}");
}

#[test]
fn word_of_damage_that_cannot_be_read_any_more_keeps_nothing_from_opening_and_is_told_in_other_words() {
    let mut damaged = Damaged::flipped();
    damaged.life.record();
    damaged.life.reopen();
    let (kept, moments) = (damaged.kept(&damaged.life), damaged.life.moments());
    let mended = moments.iter().rfind(|moment| moment.content.file("journal.report").is_some());
    let mended = mended.expect("word of it is left until it is told");
    let lost: [fn(&mut Content); 2] =
        [|content| content.lose("journal.report", 0..4096), |content| content.rot("journal.report", Vec::clear)];
    for lose in lost {
        let mut content = mended.content.clone();
        lose(&mut content);
        damaged.start(content, &mended.told, &kept, false, 1).expect("it opens, and tells");
    }
}

/// A disk that cannot find out whether there is word of damage may do so in a while; if it never does, the damage is told.
#[test]
fn word_of_damage_that_cannot_be_opened_keeps_nothing_from_opening_for_ever_and_is_told_in_other_words() {
    let mut damaged = Damaged::flipped();
    damaged.life.record();
    damaged.life.reopen();
    let moments = damaged.life.moments();
    let mended = moments.iter().rfind(|moment| moment.content.file("journal.report").is_some());
    let mended = mended.expect("word of it is left until it is told");
    let mut told_in_other_words = 0;
    for call in 0..40 {
        let mut life = Life::after(mended.content.clone(), &mended.told, &damaged.life.shop, 1);
        life.disk.fail(Fault { call, kind: FaultKind::Broken, for_ever: false });
        life.reopen();
        if life.may_write() {
            continue;
        }
        let again = life.disk.calls() + call;
        life.disk.fail(Fault { call: again, kind: FaultKind::Broken, for_ever: false });
        life.try_again();
        told_in_other_words += u64::from(life.troubles.iter().any(|trouble| trouble.contains("where is not known")));
        (0..3).for_each(|_| life.try_again());
        assert!(life.may_write() && tells(&life), "{call}: {:?}", life.troubles);
    }
    assert_eq!(told_in_other_words, 1);
}
