//! Damage to what was durable: rotten bits, lost sectors, other programs, edited saves.

use super::disk::Content;
use super::is_full_run;
use super::life::{Act, Life};
use super::random::Random;
use crate::client::journal::without_zeroes;

/// Damages a journal with everything in it, and lets client and server agree again. Gives how many ways were tried.
pub(super) fn rot(times: u64, seed: u64) -> Result<u64, String> {
    let mut life = Life::new(5);
    let acts = [Act::Buy, Act::Exchange, Act::BuyThree, Act::Exchange, Act::Consume, Act::Buy, Act::Exchange];
    life.reopen();
    let mut before_last = 0;
    for act in acts {
        before_last = life.disk.content().file("journal.iap").map_or(0, |journal| without_zeroes(journal).len());
        life.act(act);
    }
    let content = life.disk.content();
    let journal = content.file("journal.iap").map(<[u8]>::to_vec).unwrap_or_default();
    let end = without_zeroes(&journal).len();
    let mut random = Random::new(seed);
    for _ in 0..times {
        let length = if random.is_one_in(2) { 1 } else { 1 + random.below(900) } as usize;
        let at = random.below(end as u64) as usize;
        let mut bytes = random.clone();
        let kind = random.below(4);
        let mut rotten = content.clone();
        rotten.rot("journal.iap", |journal| {
            let to = (at + length).min(end);
            match kind {
                0 => journal[at] ^= 1 << random.below(8),
                1 => journal[at..to].fill(0),
                2 => bytes.fill(&mut journal[at..to]),
                _ => drop(journal.drain(at..to)),
            }
        });
        random.next();
        let (in_the_middle, at_the_end) = (at + length < before_last, at + length >= end);
        one(&life, rotten, &journal, (in_the_middle, at_the_end), random.next())
            .map_err(|wrong| format!("{wrong}\nkind {kind} at {at}, {length} bytes"))?;
    }
    Ok(times)
}

fn one(
    before: &Life,
    rotten: Content,
    journal: &[u8],
    (in_the_middle, at_the_end): (bool, bool),
    seed: u64,
) -> Result<(), String> {
    // What was cut off at the end without a trace is an older journal: only the server can tell.
    let changed = rotten.file("journal.iap") != Some(journal) && !at_the_end;
    let mut life = Life::after(rotten, &before.told, &before.shop, seed);
    life.reopen();
    if !life.may_write() {
        return Err(format!("it did not open: {:?}", life.troubles));
    }
    if changed && life.troubles.is_empty() {
        return Err("it was not told".to_owned());
    }
    if changed && in_the_middle && !life.troubles.iter().any(|trouble| trouble.contains("was damaged")) {
        return Err(format!("it was not taken for damage: {:?}", life.troubles));
    }
    life.troubles.clear();
    life.used_up_may_be_back();
    // Every order had reached the server: nothing is lost for good.
    life.converge()?;
    life.go_on()
}

#[test]
fn damage_to_a_journal_is_told_and_everything_the_server_knows_comes_back() {
    let times = if is_full_run() { 20_000 } else { 300 };
    rot(times, 20_260_103).unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn the_damaged_part_is_kept_for_support() {
    let mut life = Life::new(5);
    life.reopen();
    [Act::Buy, Act::Exchange, Act::Buy].iter().for_each(|act| life.act(*act));
    let mut content = life.disk.content();
    content.rot("journal.iap", |journal| journal[300] ^= 1);
    let damaged = content.file("journal.iap").map(<[u8]>::to_vec).unwrap_or_default();
    let mut life = Life::after(content, &life.told, &life.shop, 1);
    life.reopen();
    let content = life.disk.content();
    let aside = content.file("journal.damaged-1").expect("it is there");
    assert!(damaged.windows(aside.len()).any(|part| part == aside) && aside.len() > 1_000, "{} bytes", aside.len());
    assert!(life.troubles.iter().any(|trouble| trouble.contains("journal.damaged-1")), "{:?}", life.troubles);
}
