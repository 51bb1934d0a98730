//! Requests that wait for news: of a purchase on another device, a gift, a refund.
//!
//! Waiting costs next to nothing. One thread, with eyes of its own on the books, looks once when somebody begins to wait,
//! and then only where something was written for that account, or, when another process has written, at all that wait.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::ledger::{Ledger, Place, Standing};
use crate::protocol::AccountId;
use crate::protocol::sync::{Balance, LONGEST_WAIT};

/// How often it is looked at all that wait, at most: nobody knows for whom another process has written.
const LOOK_AT_ALL: Duration = Duration::from_millis(400);
/// How many are looked at together.
const AT_ONCE: usize = 64;
/// How many of those who wait may have gone before they are forgotten.
const GONE: usize = 64;

/// What a device knows already.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) place: Place,
    pub(crate) wallet: Vec<Balance>,
}

impl Known {
    /// Whether this says anything else.
    fn is_old(&self, standing: &Standing) -> bool {
        standing.page.is_empty() && standing.cursor == self.place.cursor && standing.wallet == self.wallet
    }
}

enum Event {
    Wait(Known, oneshot::Sender<()>),
    Changed(BTreeSet<AccountId>),
    ChangedSomewhere,
    Stop,
}

/// The way to the thread that watches.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    events: mpsc::Sender<Event>,
    waiting: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Watch {
    /// Starts the thread, which looks at `books`.
    pub(crate) fn start(books: Box<dyn Ledger>) -> io::Result<(Self, JoinHandle<()>)> {
        let (events, inbox) = mpsc::channel();
        let watch = Self { events, waiting: Arc::default(), stopped: Arc::default() };
        let watcher = Watcher { books, waiting: BTreeMap::new(), looked_at_all: None, count: watch.waiting.clone() };
        let thread = std::thread::Builder::new().name("iap-watch".to_owned());
        Ok((watch, thread.spawn(move || watcher.run(&inbox))?))
    }

    /// Nobody watches, and nobody waits.
    #[cfg(all(test, feature = "client"))]
    pub(crate) fn nobody() -> Self {
        Self { events: mpsc::channel().0, waiting: Arc::default(), stopped: Arc::default() }
    }

    /// Returns when there is news beyond `known`, or nobody watches any more, or `longest` is over.
    pub(crate) async fn news(&self, known: Known, longest: Duration) {
        if self.stopped.load(Ordering::SeqCst) {
            return;
        }
        let (answer, news) = oneshot::channel();
        if self.events.send(Event::Wait(known, answer)).is_ok() {
            // Either is a reason to answer, and the books say what.
            let _ = tokio::time::timeout(longest.min(Duration::from_secs(LONGEST_WAIT)), news).await;
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Something was written for these accounts.
    pub(crate) fn changed<'a>(&self, accounts: impl Iterator<Item = &'a AccountId>) {
        if self.waiting() > 0 {
            // An error says that nobody watches any more.
            let _ = self.events.send(Event::Changed(accounts.cloned().collect()));
        }
    }

    /// Something was written, and nobody knows for whom.
    pub(crate) fn changed_somewhere(&self) {
        if self.waiting() > 0 {
            let _ = self.events.send(Event::ChangedSomewhere);
        }
    }

    /// Lets all go that wait, and the thread end.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = self.events.send(Event::Stop);
    }
}

/// The thread that watches.
struct Watcher {
    books: Box<dyn Ledger>,
    waiting: BTreeMap<AccountId, Vec<(Known, oneshot::Sender<()>)>>,
    looked_at_all: Option<Instant>,
    count: Arc<AtomicUsize>,
}

impl Watcher {
    fn run(mut self, inbox: &mpsc::Receiver<Event>) {
        // How many were left when it was looked who has gone.
        let (mut somewhere, mut left) = (false, 0);
        loop {
            let due = self.looked_at_all.map_or(Duration::ZERO, |at| LOOK_AT_ALL.saturating_sub(at.elapsed()));
            // Also where events never run out.
            if somewhere && due.is_zero() {
                somewhere = false;
                self.looked_at_all = Some(Instant::now());
                self.look(self.waiting.keys().cloned().collect());
            }
            let event = match somewhere {
                true => inbox.recv_timeout(due),
                false => inbox.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            };
            match event {
                Ok(Event::Wait(known, answer)) => {
                    let account = known.place.account.clone();
                    self.waiting.entry(account.clone()).or_default().push((known, answer));
                    // Before the look, so that whatever is written after it is told.
                    let count = self.count.fetch_add(1, Ordering::SeqCst);
                    self.look(BTreeSet::from([account]));
                    if count > 2 * left + GONE {
                        left = self.forget_gone();
                    }
                }
                Ok(Event::Changed(accounts)) => self.look(accounts),
                Ok(Event::ChangedSomewhere) => somewhere = true,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                // Those that wait are let go with the map.
                Ok(Event::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Looks whether there is news for those of `accounts` that wait, and lets them go if there is.
    fn look(&mut self, accounts: BTreeSet<AccountId>) {
        let waiting: Vec<_> = accounts.iter().filter_map(|account| self.waiting.remove(account)).flatten().collect();
        let mut let_go = waiting.len();
        let mut waiting = waiting.into_iter().filter(|(_, answer)| !answer.is_closed());
        loop {
            let some: Vec<_> = waiting.by_ref().take(AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            let places: Vec<Place> = some.iter().map(|(known, _)| known.place.clone()).collect();
            let standings = match self.books.standings(&places) {
                Ok(standings) => standings.into_iter().map(Some).collect(),
                // What is wrong with one of them is no trouble of the others; its own request finds out what it is.
                Err(_) => places.iter().map(|place| self.standing(place)).collect::<Vec<_>>(),
            };
            for ((known, answer), standing) in some.into_iter().zip(standings) {
                match standing.filter(|standing| known.is_old(standing)) {
                    Some(_) => {
                        self.waiting.entry(known.place.account.clone()).or_default().push((known, answer));
                        let_go -= 1;
                    }
                    // Whoever asked may have gone.
                    None => drop(answer.send(())),
                }
            }
        }
        // Only now: nobody may think meanwhile that none of them waits.
        self.count.fetch_sub(let_go, Ordering::SeqCst);
    }

    fn standing(&mut self, place: &Place) -> Option<Standing> {
        self.books.standings(std::slice::from_ref(place)).ok()?.pop()
    }

    /// Forgets those that wait no longer, and says how many do.
    fn forget_gone(&mut self) -> usize {
        self.waiting.retain(|_, waiting| {
            waiting.retain(|(_, answer)| !answer.is_closed());
            !waiting.is_empty()
        });
        let left = self.waiting.values().map(Vec::len).sum();
        self.count.store(left, Ordering::SeqCst);
        left
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::protocol::{GameId, SecretKey};
    use crate::server::ledger::{Credit, Operation, OperationId, SqliteLedger};
    use crate::server::signing::Signer;

    #[tokio::test]
    async fn what_was_written_elsewhere_is_found_also_while_there_is_always_news_of_somebody() {
        let folder = tempfile::tempdir().expect("a folder");
        let game = GameId::new("arcade").expect("a name");
        let open = || Box::new(SqliteLedger::open(&folder.path().join("store.sqlite"), &game).expect("opens"));
        let mut elsewhere = open();
        let keys = [1, 2].map(|seed| SecretKey::from_seed(&[seed; 32]).public());
        elsewhere.enrol(&keys, None, 0).expect("enrols");
        let known = keys.map(|key| {
            let (device, account) = (key.id(), key.id().guest_account());
            Known { place: Place { device, account, cursor: 0 }, wallet: Vec::new() }
        });
        let (watch, thread) = Watch::start(open()).expect("starts");
        let [waits, busy] = known;
        let account = waits.place.account.clone();
        let always = tokio::spawn({
            let (watch, busy) = (watch.clone(), busy.clone());
            async move { watch.news(busy, Duration::from_secs(LONGEST_WAIT)).await }
        });
        let ended = Arc::new(AtomicBool::new(false));
        let flood = thread::spawn({
            let (watch, ended) = (watch.clone(), Arc::clone(&ended));
            move || {
                let mut key = Signer::new(Arc::new(SecretKey::from_seed(&[3; 32])), game);
                while watch.waiting() < 2 {
                    thread::yield_now();
                }
                let credit = Credit::paid(account, "1EUR".parse().expect("money")).expect("a good source");
                let credit = Operation::new(OperationId([1; 16]), credit);
                for number in 0.. {
                    watch.changed(std::iter::once(&busy.place.account));
                    if number == 100 {
                        elsewhere.operate(&credit, &mut key, 0).expect("credits");
                        watch.changed_somewhere();
                    }
                    if ended.load(Ordering::SeqCst) {
                        return;
                    }
                    thread::sleep(Duration::from_micros(20));
                }
            }
        });
        let started = Instant::now();
        watch.news(waits, Duration::from_secs(10)).await;
        let time = started.elapsed();
        ended.store(true, Ordering::SeqCst);
        flood.join().expect("ends");
        watch.stop();
        always.await.expect("ends");
        thread.join().expect("ends");
        assert!(time < Duration::from_secs(8), "{time:?}");
    }
}
