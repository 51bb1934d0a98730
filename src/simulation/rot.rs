//! Damage to what was durable: rotten bits, lost sectors, other programs, edited saves.

use std::ops::Range;

use super::disk::{Content, Fault, FaultKind};
use super::is_full_run;
use super::life::{Act, Life};
use super::random::Random;
use crate::client::OrderState;
use crate::client::journal::{HEADER, recover, without_zeroes};
use crate::client::record::Record;
use crate::protocol::{Order, OrderId, envelope};

/// What was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    journals: u64,
    /// Journals in which something that no later append follows was damaged: it is taken for a write that was cut short.
    cut_short: u64,
    /// Journals of which the disk could not read a sector or two.
    unreadable: u64,
    /// Orders that the server has not heard of that are before all damage, and after some of it.
    before: u64,
    after: u64,
    /// Those that damage took, and those that the server declines for that, since they follow them.
    lost: u64,
    declined: u64,
    /// Journals in which damage took which account the device has joined.
    accounts: u64,
    /// Orders made after the damage, before anything was heard of the server: those that the server may decline, since damage
    /// has taken what they were to follow, and the others.
    doubtful: u64,
    followed: u64,
}

/// What a disk cannot read at once.
const SECTOR: usize = 4096;

/// A journal with everything in it, also orders of which the server has not heard.
struct Whole {
    life: Life,
    content: Content,
    journal: Vec<u8>,
    frames: Vec<Frame>,
    /// The orders of which the server has not heard, in their order.
    unsent: Vec<OrderId>,
    /// Whether its device has joined another account, before it bought anything.
    is_joined: bool,
}

pub(super) struct Frame {
    pub(super) bytes: Range<usize>,
    /// The number of its append.
    append: u32,
    pub(super) order: Option<OrderId>,
    /// Whether it says what the next order follows.
    says_chain: bool,
    /// Whether it says which account the device has joined.
    says_account: bool,
}

/// What must be true of a journal that was damaged.
struct Expected {
    /// The frames that are kept.
    kept: Vec<bool>,
    /// Whether it is told as damage; what is not is told as a write that was cut short, if there is a trace of it.
    is_damage: bool,
    is_told: bool,
}

impl Whole {
    /// A journal as it was written; and, with orders that were not sent or without any, as it is when it was written anew.
    fn all() -> [Self; 5] {
        let unsent = [Act::Buy, Act::Consume, Act::BuyThree, Act::Buy, Act::BuyThree];
        let anew = [&unsent[..], &[Act::Compact]].concat();
        [
            Self::new(&unsent, false),
            Self::new(&anew, false),
            Self::new(&[Act::Compact], false),
            Self::new(&unsent, true),
            Self::new(&anew, true),
        ]
    }

    fn new(then: &[Act], is_joined: bool) -> Self {
        let mut life = Life::new(5);
        let acts = [Act::Buy, Act::Exchange, Act::BuyThree, Act::Exchange, Act::Consume, Act::Buy, Act::Exchange];
        life.reopen();
        if is_joined {
            life.join();
        }
        acts.iter().chain(then).for_each(|act| life.act(*act));
        let content = life.disk.content();
        let journal = content.file("journal.iap").map(<[u8]>::to_vec).unwrap_or_default();
        let frames = frames(&journal);
        let is_unsent = |order: &OrderId| life.state_of(*order).is_some_and(OrderState::is_open);
        let unsent = frames.iter().filter_map(|frame| frame.order).filter(is_unsent).collect();
        Self { life, content, journal, frames, unsent, is_joined }
    }

    /// What must be true when these bytes were damaged, and `rotten` is left.
    fn expected(&self, hit: &Range<usize>, rotten: &[u8], is_unreadable: bool) -> Expected {
        let is_hit = |frame: &Frame| frame.bytes.start < hit.end && hit.start < frame.bytes.end;
        let is_header_hit = hit.start < HEADER;
        let first = self.frames.iter().position(is_hit).unwrap_or(self.frames.len());
        let torn = self.frames.get(first).map(|frame| frame.append);
        // What is left of the append in which the damage begins is dropped, unless something comes after that.
        let is_later = |frame: &Frame| !is_hit(frame) && (is_header_hit || Some(frame.append) != torn);
        let is_damage = self.frames[first..].iter().any(is_later) || is_header_hit || is_unreadable;
        let kept = (0..).zip(&self.frames).map(|(at, frame)| at < first || (is_damage && !is_hit(frame))).collect();
        let end = if is_header_hit { 0 } else { self.frames.get(first).map_or(0, |frame| frame.bytes.start) };
        let is_told = is_unreadable || (rotten != self.journal && without_zeroes(rotten).len() > end);
        Expected { kept, is_damage, is_told }
    }
}

/// The frames of a journal that is whole.
pub(super) fn frames(journal: &[u8]) -> Vec<Frame> {
    let number = |at: usize| u32::from_le_bytes(journal[at..at + 4].try_into().expect("four bytes"));
    let (records, _) = recover(journal).expect("a journal");
    let mut at = HEADER;
    let frame = |record| {
        let bytes = at..at + 13 + number(at) as usize;
        let append = number(at + 8);
        at = bytes.end;
        let says_chain = match &record {
            Record::Order(_) => true,
            Record::Synced(synced) => synced.follow.is_some(),
            _ => false,
        };
        let says_account = matches!(record, Record::Account(_));
        let order = match record {
            Record::Order(signed) => envelope::claims_of_stored::<Order>(&signed.token()).ok(),
            _ => None,
        };
        Frame { bytes, append, order: order.map(|order| order.id), says_chain, says_account }
    };
    records.into_iter().map(frame).collect()
}

/// Damages a journal with everything in it, and lets client and server agree again.
pub(super) fn rot(times: u64, seed: u64) -> Result<Counts, String> {
    let wholes = Whole::all();
    let (mut random, mut counts) = (Random::new(seed), Counts::default());
    for whole in wholes.iter().cycle().take(usize::try_from(times).unwrap_or(usize::MAX)) {
        let end = without_zeroes(&whole.journal).len();
        let length = if random.is_one_in(2) { 1 } else { 1 + random.below(900) } as usize;
        let at = random.below(end as u64) as usize;
        let mut bytes = random.clone();
        let kind = random.below(5);
        let length = if kind == 0 { 1 } else { length.min(end - at) };
        let mut hit = at..at + length;
        let mut rotten = whole.content.clone();
        if kind == 4 {
            // A sector, or two, that the disk cannot read; but for all of them.
            let (first, sectors) = (at / SECTOR, whole.journal.len().div_ceil(SECTOR));
            hit = first * SECTOR..(first + (1 + length % 2).min(sectors - 1)) * SECTOR;
            rotten.lose("journal.iap", hit.clone());
        }
        rotten.rot("journal.iap", |journal| match kind {
            0 => journal[at] ^= 1 << random.below(8),
            1 => journal[hit.clone()].fill(0),
            2 => bytes.fill(&mut journal[hit.clone()]),
            4 => {}
            _ => {
                drop(journal.drain(hit.clone()));
                // Where the same bytes come after it, nobody can say which of them were cut out.
                while hit.end < end && whole.journal[hit.end] == whole.journal[hit.end - length] {
                    hit.end += 1;
                }
            }
        });
        random.next();
        one(whole, rotten, &hit, random.next(), &mut counts)
            .map_err(|wrong| format!("{wrong}\nkind {kind} at {at}, {length} bytes, joined: {}", whole.is_joined))?;
    }
    Ok(counts)
}

fn one(whole: &Whole, rotten: Content, hit: &Range<usize>, seed: u64, counts: &mut Counts) -> Result<(), String> {
    let is_unreadable = rotten.is_unreadable("journal.iap");
    let expected = whole.expected(hit, rotten.file("journal.iap").unwrap_or_default(), is_unreadable);
    counts.unreadable += u64::from(is_unreadable);
    let mut life = Life::after(rotten, &whole.life.told, &whole.life.shop, seed);
    life.reopen();
    if !life.may_write() {
        return Err(format!("it did not open: {:?}", life.troubles));
    }
    let is_told = |words: &str| life.troubles.iter().any(|trouble| trouble.contains(words));
    if expected.is_told && expected.is_damage && !is_told("was damaged") {
        return Err(format!("it was not taken for damage: {:?}", life.troubles));
    }
    if expected.is_told && !is_told("was damaged") && !is_told("was cut short") {
        return Err(format!("it was not told: {:?}", life.troubles));
    }
    // What the server has not heard of is kept, and sent, unless the damage is in its own bytes.
    for (frame, kept) in whole.frames.iter().zip(&expected.kept) {
        let unsent = frame.order.filter(|order| whole.unsent.contains(order));
        let Some(order) = unsent.filter(|_| *kept) else { continue };
        if !life.state_of(order).is_some_and(OrderState::is_open) {
            return Err(format!("the order {order} was not damaged, and is {:?}", life.state_of(order)));
        }
        let place = if frame.bytes.end <= hit.start { &mut counts.before } else { &mut counts.after };
        *place += 1;
    }
    let (lost, declined) = life.damage_took(&whole.unsent);
    counts.journals += 1;
    counts.cut_short += u64::from(expected.is_told && !expected.is_damage);
    (counts.lost, counts.declined) = (counts.lost + lost, counts.declined + declined);
    life.troubles.clear();
    life.used_up_may_be_back();
    let last = whole.frames.iter().zip(&expected.kept).rfind(|(frame, _)| frame.says_chain);
    let is_doubtful = lost > 0 || last.is_some_and(|(_, kept)| !kept);
    let is_account_lost = whole.frames.iter().zip(&expected.kept).any(|(frame, kept)| frame.says_account && !kept);
    counts.accounts += u64::from(is_account_lost);
    life.buy_after_damage(is_doubtful);
    let place = if is_doubtful { &mut counts.doubtful } else { &mut counts.followed };
    *place += 1;
    // Every other order had reached the server, or reaches it now: nothing else is lost for good.
    life.converge()?;
    life.go_on()
}

#[test]
fn damage_to_a_journal_is_told_and_everything_else_in_it_and_all_that_the_server_knows_is_kept() {
    let (times, seed) = (if is_full_run() { 20_000 } else { 200 }, 20_260_103);
    let counts = rot(times, seed).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("seed {seed}: {counts:?}");
    let Counts { journals, cut_short, unreadable, before, after, lost, declined, accounts, doubtful, followed } =
        counts;
    assert_eq!(journals, times);
    assert!(
        [cut_short, unreadable, before, after, lost, declined, accounts, doubtful, followed]
            .iter()
            .all(|count| *count > 0),
        "{counts:?}"
    );
}

/// A journal that is damaged, on a disk on which nothing fails yet.
fn damaged() -> (Life, Vec<u8>) {
    let mut life = Life::new(5);
    life.reopen();
    [Act::Buy, Act::Exchange, Act::Buy].iter().for_each(|act| life.act(*act));
    let mut content = life.disk.content();
    content.rot("journal.iap", |journal| journal[300] ^= 1);
    let bytes = content.file("journal.iap").map(<[u8]>::to_vec).unwrap_or_default();
    (Life::after(content, &life.told, &life.shop, 1), bytes)
}

#[test]
fn the_damaged_part_is_kept_for_support() {
    let (mut life, damaged) = damaged();
    life.reopen();
    let content = life.disk.content();
    let aside = content.file("journal.damaged-1").expect("it is there");
    assert!(damaged.windows(aside.len()).any(|part| part == aside) && aside.len() > 1_000, "{} bytes", aside.len());
    assert!(life.troubles.iter().any(|trouble| trouble.contains("journal.damaged-1")), "{:?}", life.troubles);
}

#[test]
fn what_was_set_aside_before_is_kept_whatever_fails_when_more_is_set_aside() {
    let start = |fault: Option<Fault>| {
        let (life, _) = damaged();
        let mut content = life.disk.content();
        content.make_with("journal.damaged-1", b"of before");
        let mut life = Life::after(content, &life.told, &life.shop, 1);
        fault.into_iter().for_each(|fault| life.disk.fail(fault));
        life.reopen();
        life
    };
    for call in 0..start(None).disk.calls() {
        for kind in FaultKind::ALL {
            let content = start(Some(Fault { call, kind, for_ever: false })).disk.content();
            assert_eq!(content.file("journal.damaged-1"), Some(&b"of before"[..]), "{kind:?} at the call {call}");
        }
    }
}
