//! A page's database and lock that fail in every way that browsers do, and a client's life in it.
//!
//! A transaction is written as a whole or not at all, so a page that ends leaves what one of its writes left.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use super::is_full_run;
use super::life::{Act, Life, Told};
use super::random::Random;
use super::shop::Shop;
use crate::client::storage::web::{Browser, BrowserError, Change, Kept, Locking, Place, Unwritten};

/// How a write can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// There is no room: nothing is written, and the browser says so.
    Full,
    /// Nothing is written, and the browser does not say whether.
    Lost,
    /// It is written, and the browser says that something failed.
    LateWord,
    /// The browser throws away what it kept, and nothing is written.
    Evicted,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Full, Self::Lost, Self::LateWord, Self::Evicted];
}

/// What a page left that ended, with what was true then.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) kept: Database,
    pub(super) told: Told,
    pub(super) shop: Shop,
}

type Database = BTreeMap<Place, Vec<u8>>;

/// The browser of one player. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct SimulatedBrowser(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    database: Database,
    writes: u64,
    /// The writes that fail, how, and whether all after them do.
    faults: Vec<(u64, Fault, bool)>,
    is_unreadable: bool,
    has_no_locks: bool,
    /// Whether there is no room for another page's mark.
    is_full: bool,
    /// The pages that have the lock or wait for it, in order.
    queue: VecDeque<u64>,
    pages: u64,
    /// What each write left, as long as nobody has said what was true then.
    recorded: Vec<Database>,
    left: Option<Vec<Left>>,
}

/// One page of a browser.
#[derive(Debug)]
pub(super) struct Page {
    browser: SimulatedBrowser,
    number: u64,
}

impl SimulatedBrowser {
    pub(super) fn of(database: Database) -> Self {
        Self(Arc::new(Mutex::new(State { database, ..State::default() })))
    }

    /// A page that is loaded now.
    pub(super) fn page(&self) -> Page {
        let mut state = self.state();
        state.pages += 1;
        Page { browser: self.clone(), number: state.pages }
    }

    /// All pages are closed.
    pub(super) fn page_ended(&self) {
        self.state().queue.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test goes on after a panic")
    }

    /// Begins to remember what a page leaves that ends after a write.
    fn record(&self) {
        let mut state = self.state();
        let database = state.database.clone();
        (state.recorded, state.left) = (vec![database], Some(Vec::new()));
    }

    /// Remembers the states that were there while `told` was what the game knew.
    pub(super) fn remember(&self, told: &Told, shop: &Shop) {
        let mut state = self.state();
        let recorded = std::mem::take(&mut state.recorded);
        if let Some(left) = &mut state.left {
            left.extend(recorded.into_iter().map(|kept| Left { kept, told: told.clone(), shop: shop.clone() }));
        }
    }

    fn left(&self) -> Vec<Left> {
        self.state().left.take().unwrap_or_default()
    }

    fn fail(&self, write: u64, fault: Fault, for_ever: bool) {
        let mut state = self.state();
        let first = state.writes + write;
        state.faults.push((first, fault, for_ever));
    }

    fn heal(&self) {
        self.state().faults.clear();
    }
}

impl Browser for Page {
    async fn lock(&mut self) -> Locking {
        let mut state = self.browser.state();
        if state.has_no_locks {
            return Locking::Impossible("this page is not from HTTPS".to_owned());
        }
        if !state.queue.contains(&self.number) {
            state.queue.push_back(self.number);
        }
        if state.queue.front() == Some(&self.number) { Locking::Held } else { Locking::Elsewhere }
    }

    fn has_lock_come(&self) -> bool {
        self.browser.state().queue.front() == Some(&self.number)
    }

    fn ask_to_keep(&mut self) {}

    async fn claim(&mut self, mark: &[u8]) -> Result<(), BrowserError> {
        let mut state = self.browser.state();
        if state.is_full {
            return Err(BrowserError { trouble: "there is no room left".to_owned(), left: Unwritten::AsItWas });
        }
        state.database.insert(Place::Mark, mark.to_vec());
        Ok(())
    }

    async fn read(&mut self) -> Result<Kept, BrowserError> {
        let state = self.browser.state();
        match state.is_unreadable {
            true => Err(BrowserError { trouble: "storage is denied".to_owned(), left: Unwritten::AsItWas }),
            false => Ok(state.database.iter().map(|(place, bytes)| (*place, bytes.clone())).collect()),
        }
    }

    async fn write(&mut self, change: Change) -> Result<(), BrowserError> {
        let mut state = self.browser.state();
        let number = state.writes;
        state.writes += 1;
        let strikes = |(first, _, for_ever): &&(u64, Fault, bool)| number == *first || (*for_ever && number > *first);
        let fault = state.faults.iter().find(strikes).map(|(_, fault, _)| *fault);
        match state.database.get(&Place::Mark) {
            Some(mark) if *mark != change.mark => {
                return Err(BrowserError { trouble: "overtaken".to_owned(), left: Unwritten::Overtaken });
            }
            None if !change.anew => {
                return Err(BrowserError { trouble: "thrown away".to_owned(), left: Unwritten::Unknown });
            }
            _ => {}
        }
        if fault == Some(Fault::Evicted) {
            state.database.clear();
        }
        if matches!(fault, None | Some(Fault::LateWord)) {
            if change.anew {
                state.database.retain(|place, _| matches!(place, Place::Damaged(_)));
                state.database.insert(Place::Mark, change.mark);
            }
            state.database.extend(change.puts);
        }
        if state.left.is_some() {
            let database = state.database.clone();
            state.recorded.push(database);
        }
        match fault {
            None => Ok(()),
            Some(Fault::Full) => Err(BrowserError { trouble: "full".to_owned(), left: Unwritten::AsItWas }),
            Some(fault) => Err(BrowserError { trouble: format!("{fault:?}"), left: Unwritten::Unknown }),
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.browser.state().queue.retain(|page| *page != self.number);
    }
}

fn new_life(seed: u64) -> Life {
    Life::in_browser(SimulatedBrowser::default(), &Told::default(), &Shop::new(), seed)
}

fn browser(life: &Life) -> SimulatedBrowser {
    life.browser.clone().expect("a life in a browser")
}

/// What a player does in some days, at random.
fn acts(random: &mut Random, count: usize) -> Vec<Act> {
    let any = |random: &mut Random| Act::ALL[usize::try_from(random.below(Act::ALL.len() as u64)).expect("small")];
    [Act::Reopen].into_iter().chain((1..count).map(|_| any(random))).collect()
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
fn end_at_every_write(lives: u64, seed: u64) -> Result<u64, String> {
    let (mut random, mut ends) = (Random::new(seed), 0);
    for number in 0..lives {
        let mut life = new_life(random.next());
        browser(&life).record();
        acts(&mut random, 12).into_iter().for_each(|act| life.act(act));
        for left in browser(&life).left() {
            let told = |wrong| format!("{wrong}\nin the life {number} of seed {seed}");
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
fn fail_every_write(lives: u64, seed: u64) -> Result<u64, String> {
    let (mut random, mut count) = (Random::new(seed), 0);
    for number in 0..lives {
        let (acts, born) = (acts(&mut random, 10), random.next());
        let mut usual = new_life(born);
        acts.iter().for_each(|act| usual.act(*act));
        let writes = browser(&usual).state().writes;
        for fault in Fault::ALL {
            for (write, for_ever) in (0..writes).flat_map(|write| [(write, false), (write, true)]) {
                count += 1;
                let mut life = new_life(born);
                browser(&life).fail(write, fault, for_ever);
                for act in &acts {
                    // A page that is closed while its browser has thrown everything away has nothing to come back to.
                    let reopens = *act == Act::Reopen && fault == Fault::Evicted;
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
                let told = |wrong| {
                    format!("{wrong}\n{fault:?} at the write {write}, {for_ever}, in the life {number} of seed {seed}")
                };
                check(life).map_err(told)?;
            }
        }
    }
    Ok(count)
}

#[test]
fn page_that_ends_at_any_write_leaves_everything_that_was_acknowledged() {
    let lives = if is_full_run() { 3_000 } else { 40 };
    let ends = end_at_every_write(lives, 11).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("pages in a browser: {lives} lives, ended {ends} times");
    assert!(ends > lives);
}

#[test]
fn whatever_a_browser_does_to_a_write_nothing_acknowledged_is_lost() {
    let lives = if is_full_run() { 1_000 } else { 12 };
    let failed = fail_every_write(lives, 12).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("pages in a browser: {failed} lives in which a write failed");
    assert!(failed > lives);
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
        if second == Fault::Evicted {
            // It is in the memory of this page alone until it can be written.
            browser(&life).heal();
            life.wait();
            life.wait();
        }
        check(life).unwrap_or_else(|wrong| panic!("{second:?}: {wrong}"));
    }
}

#[test]
fn page_that_lost_its_lock_unheard_writes_nothing_over_what_another_has_written() {
    let mut first = new_life(1);
    first.act(Act::Reopen);
    first.act(Act::Buy);
    // The browser puts the page away and takes its lock, and brings it back later.
    browser(&first).page_ended();
    let mut second = Life::in_browser(browser(&first), &first.told, &first.shop, 2);
    second.open_beside();
    second.act(Act::Buy);
    assert_eq!(second.told.queued.len(), 2);
    let kept = browser(&second).state().database.clone();
    first.act(Act::Buy);
    first.wait();
    assert_eq!(first.told.queued.len(), 1, "nothing is acknowledged that is not kept");
    assert_eq!(browser(&second).state().database, kept);
    first.session = None;
    second.session = None;
    check(second).expect("everything is true");
}

#[test]
fn second_page_looks_on_and_takes_over_when_the_first_is_closed() {
    let mut first = new_life(1);
    first.act(Act::Reopen);
    first.act(Act::Buy);
    let mut second = Life::in_browser(browser(&first), &first.told, &first.shop, 2);
    second.open_beside();
    assert!(first.may_write() && !second.may_write());
    let session = second.session.as_mut().expect("it is open to look at");
    assert!(!session.is_worth_reopening());
    first.session = None;
    assert!(session.is_worth_reopening());
    second.session = None;
    second.open_beside();
    second.check().expect("what the first page queued is there");
    assert!(second.may_write());
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
