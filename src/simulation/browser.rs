//! A page's database and lock, which fail in every way that browsers do.
//!
//! A transaction is written as a whole or not at all, so a page that ends leaves what one of its writes left.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use super::life::Told;
use super::shop::Shop;
use crate::client::storage::web::{Browser, BrowserError, Change, Kept, Locking, Place, Unwritten};

/// How a write can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no room: nothing is written, and the browser says so.
    Full,
    /// Nothing is written, and the browser does not say whether.
    Lost,
    /// It is written, and the browser says that something failed.
    LateWord,
    /// The browser throws away what it kept instead of writing.
    Evicted,
    /// It has thrown away what it kept since the last write, and writes.
    EvictedBefore,
}

impl Fault {
    pub(super) const ALL: [Self; 5] = [Self::Full, Self::Lost, Self::LateWord, Self::Evicted, Self::EvictedBefore];

    /// Whether what was kept is thrown away.
    pub(super) fn evicts(self) -> bool {
        matches!(self, Self::Evicted | Self::EvictedBefore)
    }
}

/// What a page left that ended, with what was true then.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) kept: Database,
    pub(super) told: Told,
    pub(super) shop: Shop,
}

/// What a browser keeps.
pub(super) type Database = BTreeMap<Place, Vec<u8>>;

/// The browser of one player. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct SimulatedBrowser(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) database: Database,
    pub(super) writes: u64,
    /// The writes that fail, how, and whether all after them do.
    faults: Vec<(u64, Fault, bool)>,
    pub(super) is_unreadable: bool,
    pub(super) has_no_locks: bool,
    /// Whether there is no room for another page's mark.
    pub(super) is_full: bool,
    /// Whether the browser promises to keep what is kept when it is asked, and whether it has.
    pub(super) would_persist: bool,
    is_persistent: bool,
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

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test goes on after a panic")
    }

    /// Begins to remember what a page leaves that ends after a write.
    pub(super) fn record(&self) {
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

    pub(super) fn left(&self) -> Vec<Left> {
        self.state().left.take().unwrap_or_default()
    }

    pub(super) fn fail(&self, write: u64, fault: Fault, for_ever: bool) {
        let mut state = self.state();
        let first = state.writes + write;
        state.faults.push((first, fault, for_ever));
    }

    pub(super) fn heal(&self) {
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

    fn give_up_lock(&mut self) {
        let mut state = self.browser.state();
        state.queue.retain(|page| *page != self.number);
        state.queue.push_back(self.number);
    }

    fn ask_to_keep(&mut self) {
        let mut state = self.browser.state();
        state.is_persistent = state.would_persist;
    }

    fn is_persistent(&self) -> bool {
        self.browser.state().is_persistent
    }

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
        if fault == Some(Fault::EvictedBefore) {
            state.database.clear();
        }
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
        if matches!(fault, None | Some(Fault::LateWord | Fault::EvictedBefore)) {
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
            None | Some(Fault::EvictedBefore) => Ok(()),
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
