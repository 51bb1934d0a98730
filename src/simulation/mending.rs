//! Damage that is mended on a disk that crashes and fails meanwhile: it is told all the same, and the journal opens.

use super::disk::{Content, Fault, FaultKind, Thoroughness};
use super::life::{Act, Life};
use super::random::Random;
use super::rot::{damaged, frames};
use crate::client::journal::recover;
use crate::client::record::Record;

/// A journal of a device that has taken the place of another, which does not say so any more: what did is damaged.
fn damaged_after_its_key_was_replaced() -> Life {
    let mut life = Life::new(7);
    [Act::Reopen, Act::BuyThree, Act::Exchange].iter().for_each(|act| life.act(*act));
    life.replace_key();
    [Act::Buy, Act::Exchange].iter().for_each(|act| life.act(*act));
    let mut content = life.disk.content();
    content.rot("journal.iap", |journal| {
        let (records, _) = recover(journal).expect("a journal");
        let account = records.iter().position(|record| matches!(record, Record::Account(_)));
        let damaged = &frames(journal)[account.expect("it is there")];
        journal[damaged.bytes.start + 40] ^= 1;
    });
    Life::after(content, &life.told, &life.shop, 1)
}

/// A journal of which the disk cannot read a part.
fn unreadable() -> Life {
    let mut life = Life::new(5);
    let acts = [Act::Reopen, Act::BuyThree, Act::Exchange, Act::BuyThree, Act::Exchange, Act::BuyThree];
    acts.iter().for_each(|act| life.act(*act));
    let mut content = life.disk.content();
    content.lose("journal.iap", 4096..8192);
    Life::after(content, &life.told, &life.shop, 1)
}

/// Starts the game on what was left, and says what is wrong. `is_told`: whether the player was told of the damage before.
fn start(content: Content, life: &Life, is_told: bool, seed: u64) -> Result<(), String> {
    let mut next = Life::after(content, &life.told, &life.shop, seed);
    next.reopen();
    is_right(&next, is_told)
}

fn is_right(life: &Life, is_told: bool) -> Result<(), String> {
    if !life.may_write() {
        return Err(format!("it did not open: {:?}", life.troubles));
    }
    if !is_told && !tells(life) {
        return Err(format!("the damage was never told: {:?}", life.troubles));
    }
    Ok(())
}

fn tells(life: &Life) -> bool {
    life.troubles.iter().any(|trouble| trouble.contains("was damaged"))
}

/// Crashes and lets calls fail while damage is mended; every so-many-th call.
pub(super) fn crash_and_fail(every: u64, seed: u64) -> Result<u64, String> {
    let beginnings: [fn() -> Life; 3] = [|| damaged().0, damaged_after_its_key_was_replaced, unreadable];
    let (mut random, mut images) = (Random::new(seed), 0);
    for begin in beginnings {
        let mut life = begin();
        life.record();
        life.reopen();
        is_right(&life, false)?;
        let moments = life.moments();
        let has_report = |content: &Content| content.file("journal.report").is_some();
        // Once it is told, the word of it is removed; from then on it may be told again.
        let last = moments.iter().rposition(|moment| has_report(&moment.content)).unwrap_or(moments.len());
        for (number, moment) in moments.iter().enumerate() {
            let left = moment.content.after_crash(Thoroughness { tear_every: 401, at_random: 4 }, &mut random);
            for content in left.into_iter().chain([moment.content.clone()]) {
                images += 1;
                start(content, &life, number > last, random.next())
                    .map_err(|wrong| format!("{wrong}\nafter a crash in the moment {number} of {}", moments.len()))?;
            }
        }
        let calls = life.disk.all_calls();
        for (kind, for_ever) in FaultKind::ALL.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
            let from = random.below(every);
            for (call, _) in
                (0..).zip(&calls).filter(|(_, call)| kind.strikes(**call)).skip(from as usize).step_by(every as usize)
            {
                let fault = Fault { call, kind, for_ever };
                let wrong = |wrong| format!("{wrong}\n{fault:?}");
                let mut life = begin();
                life.disk.fail(fault);
                life.reopen();
                images += 1;
                start(life.disk.content(), &life, tells(&life), random.next()).map_err(wrong)?;
                life.disk.heal();
                (0..3).for_each(|_| life.try_again());
                is_right(&life, false).map_err(wrong)?;
            }
        }
    }
    Ok(images)
}

#[test]
fn damage_is_told_and_dealt_with_whatever_crash_or_failing_call_comes_while_it_is_mended() {
    let images = crash_and_fail(1, 20_260_104).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{images} starts");
    assert!(images > 500, "{images}");
}
