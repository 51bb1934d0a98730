//! A client's life in a browser: whatever becomes of its pages and of what they write, nothing acknowledged is lost.

use super::browser::{Fault, SimulatedBrowser, State};
use super::is_full_run;
use super::life::{Act, Life, Told};
use super::random::Random;
use super::shop::Shop;
use crate::client::storage::web::Place;
use crate::client::{Persistence, Session};

fn new_life(seed: u64) -> Life {
    Life::in_browser(SimulatedBrowser::default(), &Told::default(), &Shop::new(), seed)
}

fn browser(life: &Life) -> SimulatedBrowser {
    life.browser.clone().expect("a life in a browser")
}

/// All sequences of so many acts and fewer, each after a start in which the server was met.
fn all_sequences(longest: usize) -> impl Iterator<Item = Vec<Act>> {
    let of_length = |length| {
        let shorter = (0..length).fold(vec![vec![Act::Reopen, Act::Exchange]], |sequences, _| {
            let longer = |sequence: Vec<Act>| Act::ALL.map(|act| [&sequence[..], &[act]].concat());
            sequences.into_iter().flat_map(longer).collect()
        });
        shorter.into_iter()
    };
    (0..=longest).flat_map(of_length)
}

/// What players do in some days, at random.
fn random_sequences(count: u64, length: usize, random: &mut Random) -> Vec<Vec<Act>> {
    let any = |random: &mut Random| Act::ALL[usize::try_from(random.below(Act::ALL.len() as u64)).expect("small")];
    let life = |_| [Act::Reopen].into_iter().chain((1..length).map(|_| any(random))).collect();
    (0..count).map(life).collect()
}

/// Loads the page anew, and asks whether everything is still true, and life goes on.
fn check(mut life: Life) -> Result<(), String> {
    browser(&life).heal();
    life.reopen();
    life.check()?;
    life.converge()?;
    life.go_on()
}

/// Pages that end after each of their writes, and again while the next one opens; says how often.
fn end_at_every_write(lives: impl IntoIterator<Item = Vec<Act>>, random: &mut Random) -> Result<u64, String> {
    let mut ends = 0;
    for acts in lives {
        let mut life = new_life(random.next());
        browser(&life).record();
        acts.iter().for_each(|act| life.act(*act));
        for left in browser(&life).left() {
            let told = |wrong| format!("{wrong}\nafter {acts:?}");
            let mut next = Life::after_page(&left, random.next());
            browser(&next).record();
            next.reopen();
            let again = browser(&next).left();
            ends += 1 + again.len() as u64;
            check(next).map_err(told)?;
            again.iter().try_for_each(|left| check(Life::after_page(left, 5)).map_err(told))?;
        }
    }
    Ok(ends)
}

/// Writes that fail: each one of a life, in each way, once and for ever; says how many lives there were.
fn fail_every_write(lives: impl IntoIterator<Item = Vec<Act>>, random: &mut Random) -> Result<u64, String> {
    let mut count = 0;
    for acts in lives {
        let born = random.next();
        let mut usual = new_life(born);
        acts.iter().for_each(|act| usual.act(*act));
        let writes = browser(&usual).state().writes;
        for fault in Fault::ALL {
            for (write, for_ever) in (0..writes).flat_map(|write| [(write, false), (write, true)]) {
                count += 1;
                fail_one_write(&acts, born, write, fault, for_ever)
                    .map_err(|wrong| format!("{wrong}\n{fault:?} at the write {write} of {acts:?}, {for_ever}"))?;
            }
        }
    }
    Ok(count)
}

fn fail_one_write(acts: &[Act], born: u64, write: u64, fault: Fault, for_ever: bool) -> Result<(), String> {
    let mut life = new_life(born);
    browser(&life).fail(write, fault, for_ever);
    for act in acts {
        // A page that is closed while its browser has thrown everything away has nothing to come back to.
        let reopens = *act == Act::Reopen && fault.evicts();
        if !reopens || life.session.is_none() {
            life.act(*act);
        }
    }
    browser(&life).heal();
    if life.session.is_none() {
        life.reopen();
    }
    // What could not be written is written a while later; until then a page that is closed takes it along.
    life.wait();
    life.act(Act::Buy);
    life.wait();
    check(life)
}

/// A page that lost its lock unheard, after a write that failed or none, and another that has it since: the first
/// writes nothing over the other, looks on, and takes over again when the other is closed.
fn overtake(fault: Option<Fault>) -> Result<(), String> {
    let mut first = new_life(1);
    [Act::Reopen, Act::Buy].into_iter().for_each(|act| first.act(act));
    if let Some(fault) = fault {
        browser(&first).fail(0, fault, false);
        first.act(Act::Buy);
    }
    // The browser puts the page away and takes its lock, and brings it back later.
    browser(&first).page_ended();
    let mut second = Life::in_browser(browser(&first), &first.told, &first.shop, 2);
    second.open_beside();
    second.act(Act::Buy);
    let kept = browser(&second).state().database.clone();
    first.act(Act::Buy);
    first.wait();
    if browser(&second).state().database != kept {
        return Err("a page wrote over what another has written".to_owned());
    }
    if first.may_write() || !second.may_write() {
        return Err("the page that was overtaken does not look on".to_owned());
    }
    second.session = None;
    first.wait();
    if !first.may_write() {
        return Err("the page that was overtaken never takes over".to_owned());
    }
    first.has_also_heard(&second.told);
    check(first)
}

/// What has a page look on while another plays, and take over from it.
fn two_pages() -> Result<(), String> {
    let mut first = new_life(1);
    first.act(Act::Reopen);
    first.act(Act::Buy);
    let mut second = Life::in_browser(browser(&first), &first.told, &first.shop, 2);
    second.open_beside();
    if !first.may_write() || second.may_write() {
        return Err("it is not the first page alone that writes".to_owned());
    }
    second.wait();
    if second.may_write() {
        return Err("the second page takes over while the first is there".to_owned());
    }
    first.session = None;
    second.wait();
    second.check()?;
    check(second)
}

/// Everything that looks for bugs in what pages keep, as small as it can be and still find them all.
pub(super) fn search() -> Option<String> {
    let mut random = Random::new(5);
    let found = two_pages().and_then(|()| [None, Some(Fault::LateWord)].into_iter().try_for_each(overtake));
    let found = found.and_then(|()| end_at_every_write(all_sequences(1), &mut random));
    let found = found.and_then(|_| fail_every_write(all_sequences(1), &mut random));
    found.err()
}

#[test]
fn page_that_ends_at_any_write_leaves_everything_that_was_acknowledged() {
    let (longest, lives) = if is_full_run() { (3, 3_000) } else { (2, 40) };
    let mut random = Random::new(11);
    let lives = all_sequences(longest).chain(random_sequences(lives, 12, &mut random)).collect::<Vec<_>>();
    let ends = end_at_every_write(lives.clone(), &mut random).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("pages in a browser: {} lives, ended {ends} times", lives.len());
    assert!(ends > lives.len() as u64);
}

#[test]
fn whatever_a_browser_does_to_a_write_nothing_acknowledged_is_lost() {
    let (longest, lives) = if is_full_run() { (3, 1_000) } else { (1, 12) };
    let mut random = Random::new(12);
    let lives = all_sequences(longest).chain(random_sequences(lives, 10, &mut random)).collect::<Vec<_>>();
    let failed = fail_every_write(lives.clone(), &mut random).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("pages in a browser: {failed} lives in which a write failed");
    assert!(failed > lives.len() as u64);
}

#[test]
fn page_that_lost_its_lock_unheard_writes_nothing_over_what_another_has_written_and_takes_over_after_it() {
    for fault in [None, Some(Fault::Full), Some(Fault::Lost), Some(Fault::LateWord)] {
        overtake(fault).unwrap_or_else(|wrong| panic!("{fault:?}: {wrong}"));
    }
}

#[test]
fn second_page_looks_on_and_takes_over_when_the_first_is_closed() {
    two_pages().expect("one page at a time");
}

#[test]
fn browser_that_promises_to_keep_what_is_kept_is_asked_with_the_first_order_and_believed_from_then_on() {
    for promises in [true, false] {
        let mut life = new_life(1);
        browser(&life).state().would_persist = promises;
        life.act(Act::Reopen);
        let persistence = |life: &Life| life.session.as_ref().map(Session::persistence);
        assert_eq!(persistence(&life), Some(Persistence::BestEffort));
        life.act(Act::Buy);
        let promised = if promises { Persistence::Persistent } else { Persistence::BestEffort };
        assert_eq!(persistence(&life), Some(promised));
        life.act(Act::Reopen);
        assert_eq!(persistence(&life), Some(promised));
    }
}

#[test]
fn order_that_a_full_browser_refused_says_so_and_the_next_one_is_queued() {
    let mut life = new_life(1);
    life.act(Act::Reopen);
    browser(&life).fail(0, Fault::Full, false);
    life.act(Act::Buy);
    assert_eq!(life.told.queued.len(), 0);
    life.act(Act::Buy);
    assert_eq!(life.told.queued.len(), 1);
    check(life).expect("everything is true");
}

#[test]
fn order_that_may_be_kept_is_never_said_not_to_be_saved_whatever_fails_after_it() {
    for second in Fault::ALL {
        let mut life = new_life(1);
        life.act(Act::Reopen);
        browser(&life).fail(0, Fault::LateWord, false);
        browser(&life).fail(1, second, true);
        life.act(Act::Buy);
        life.wait();
        life.wait();
        assert!(life.session.is_some());
        if second.evicts() {
            // It is in the memory of this page alone until it can be written.
            browser(&life).heal();
            life.wait();
            life.wait();
        }
        check(life).unwrap_or_else(|wrong| panic!("{second:?}: {wrong}"));
    }
}

#[test]
fn storage_that_is_denied_is_said_and_opens_when_it_is_allowed() {
    let mut life = new_life(1);
    browser(&life).state().is_unreadable = true;
    life.act(Act::Reopen);
    assert!(life.session.is_none());
    let told = "reading what is kept in this browser failed: storage is denied";
    assert!(life.troubles.iter().any(|trouble| trouble.starts_with(told)), "{:?}", life.troubles);
    browser(&life).state().is_unreadable = false;
    life.act(Act::Reopen);
    assert!(life.may_write());
}

#[test]
fn browser_that_can_keep_nothing_says_why_with_a_first_visit_and_with_a_later_one() {
    type Switch = fn(&mut State) -> &mut bool;
    let lacks: [(Switch, &str); 2] =
        [(|state| &mut state.has_no_locks, "not from HTTPS"), (|state| &mut state.is_full, "there is no room left")];
    for (lack, words) in lacks {
        let mut life = new_life(1);
        *lack(&mut browser(&life).state()) = true;
        life.act(Act::Reopen);
        assert!(life.session.is_none());
        let told = |life: &Life| life.troubles.iter().any(|trouble| trouble.contains(words));
        assert!(told(&life), "{:?}", life.troubles);
        *lack(&mut browser(&life).state()) = false;
        life.act(Act::Reopen);
        assert!(life.may_write());

        life.act(Act::Buy);
        *lack(&mut browser(&life).state()) = true;
        life.act(Act::Reopen);
        assert!(!life.may_write());
        *lack(&mut browser(&life).state()) = false;
        life.act(Act::Reopen);
        assert!(life.may_write());
        life.check().and_then(|()| life.converge()).expect("everything that was queued is there");
    }
}

/// A life with some orders that are answered, and what its browser keeps.
fn with_rows() -> Life {
    let mut life = new_life(3);
    for act in [Act::Reopen, Act::Buy, Act::Exchange, Act::Buy, Act::Exchange, Act::Buy, Act::Exchange] {
        life.act(act);
    }
    life
}

#[test]
fn row_that_is_missing_or_damaged_is_reported_and_the_feed_brings_back_what_it_said() {
    let usual = with_rows();
    let rows = browser(&usual).state().database.clone();
    let journal: Vec<_> = rows.keys().filter(|place| matches!(place, Place::Journal(_))).copied().collect();
    assert!(journal.len() > 6, "{journal:?}");
    // What the last rows said is not missed by what comes after them: the server says it again.
    for place in &journal[..journal.len() - 2] {
        for is_missing in [true, false] {
            let mut life = with_rows();
            if is_missing {
                browser(&life).state().database.remove(place);
            } else {
                browser(&life).state().database.get_mut(place).map(|bytes| flip(bytes)).expect("it is there");
            }
            life.troubles.clear();
            life.reopen();
            assert!(life.may_write(), "{place:?} {:?}", life.troubles);
            let is_told = life.troubles.iter().any(|trouble| trouble.contains("was damaged at byte"));
            assert!(is_told, "{place:?} {is_missing} {:?}", life.troubles);
            assert!(life.troubles.iter().any(|trouble| trouble.contains("are kept as part 0")), "{:?}", life.troubles);
            let kept = browser(&life).state().database.keys().any(|place| matches!(place, Place::Damaged(_)));
            assert!(kept, "{place:?}");
            life.troubles.clear();
            life.converge().unwrap_or_else(|wrong| panic!("{place:?} {is_missing}: {wrong}"));
        }
    }
}

/// Changes a bit in the middle.
fn flip(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
}

#[test]
fn key_that_is_replaced_is_one_that_the_server_knows_whenever_the_page_ends() {
    let mut life = with_rows();
    browser(&life).record();
    life.replace_key();
    let left = browser(&life).left();
    assert!(left.len() > 3);
    for left in left {
        let mut next = Life::after_page(&left, 4);
        next.reopen();
        next.check().expect("everything is true");
        next.converge().expect("the server knows it");
        assert_eq!(next.device(), next.shop.device());
    }
}
