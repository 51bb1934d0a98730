//! The handle to a sandbox: what it can do to the network, the clock and the server's books.
//!
//! No method waits. What the server's books are asked for is done on the sandbox's own thread, one thing after another, and
//! [`SandboxControl::last_outcome`] says in words what came of it.

mod operator;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bevy::ecs::message::Message;
use bevy::ecs::resource::Resource;
use tokio::sync::watch;

use self::operator::{Job, Operator};
use super::Folder;
use super::network::{LastSpeaker, Network};
use crate::protocol::{Money, OrderId};
use crate::server::LocalServer;

/// The most outcomes that wait to be read; of more, the oldest are forgotten.
const MOST_OUTCOMES: usize = 64;
/// In seconds.
pub(super) const DAY: i64 = 86_400;

/// What a sandbox can do. Clones are handles to the same sandbox; as a resource it is what the
/// [`DevPanelPlugin`](super::DevPanelPlugin) has its buttons for.
#[derive(Resource, Clone, Debug)]
pub struct SandboxControl {
    shared: Arc<Shared>,
}

/// What came of something that the sandbox was asked to do. The [`DevPanelPlugin`](super::DevPanelPlugin) writes it as a
/// message as well.
#[derive(Message, Clone, Debug, PartialEq, Eq)]
pub struct SandboxOutcome {
    /// What was done, or why it was not.
    pub words: String,
    /// Whether it was done.
    pub is_done: bool,
}

/// What the handles share with the sandbox's thread.
#[derive(Debug, Default)]
struct State {
    /// Whether the game's device is frozen.
    declines_orders: AtomicBool,
    /// Whether everything in the wallet is set aside.
    holds_wallet: AtomicBool,
    /// Whether there are outcomes that nobody has taken.
    has_news: AtomicBool,
    outcomes: Mutex<Outcomes>,
}

#[derive(Debug, Default)]
struct Outcomes {
    last: Option<SandboxOutcome>,
    untold: VecDeque<SandboxOutcome>,
}

/// What lives as long as the last handle. The fields are dropped in their order: the folder when nothing is open in it.
#[derive(Debug)]
struct Shared {
    thread: Thread,
    network: watch::Sender<Network>,
    moved: Arc<AtomicI64>,
    speaker: LastSpeaker,
    state: Arc<State>,
    server: Arc<LocalServer>,
    _folder: Folder,
}

/// The sandbox's thread, which ends when there is nothing more to come.
#[derive(Debug)]
struct Thread {
    jobs: Option<Sender<Job>>,
    handle: Option<JoinHandle<()>>,
}

impl SandboxControl {
    /// The handle to a server that was started in `folder`.
    pub(super) fn start(server: LocalServer, folder: Folder) -> io::Result<Self> {
        let (server, state, speaker) = (Arc::new(server), Arc::<State>::default(), LastSpeaker::default());
        let (jobs, queue) = channel();
        let mut operator = Operator::new(server.clone(), state.clone(), speaker.clone());
        let thread = std::thread::Builder::new().name("iap-sandbox".to_owned());
        let handle = thread.spawn(move || {
            for job in queue {
                operator.obey(job);
            }
        })?;
        let thread = Thread { jobs: Some(jobs), handle: Some(handle) };
        let (network, moved) = (watch::Sender::new(Network::Normal), Arc::default());
        Ok(Self { shared: Arc::new(Shared { thread, network, moved, speaker, state, server, _folder: folder }) })
    }

    /// Makes the network another one, from the next request on; see [`Network`] for those under way.
    ///
    /// After failures the game waits before it tries again, up to a minute:
    /// [`Store::sync_now`](crate::plugin::Store::sync_now) has it try at once.
    pub fn set_network(&self, network: Network) {
        self.shared.network.send_if_modified(|now| std::mem::replace(now, network) != network);
        self.tell(format!("the network: {network}"), true);
    }

    /// How the network is.
    pub fn network(&self) -> Network {
        *self.shared.network.borrow()
    }

    /// Moves the device's clock by so many seconds, forwards or (below zero) backwards. The server's stays right.
    ///
    /// A client that has heard the server since it started knows the time better than its device. What a wrong clock does
    /// is seen after a start without a network: see [`Store::is_clock_trusted`](crate::plugin::Store::is_clock_trusted).
    pub fn move_clock(&self, seconds: i64) {
        let moved = &self.shared.moved;
        let (Ok(before) | Err(before)) =
            moved.try_update(Ordering::Relaxed, Ordering::Relaxed, |moved| Some(moved.saturating_add(seconds)));
        self.tell(format!("the device's clock is {}", off_by(before.saturating_add(seconds))), true);
    }

    /// Puts the device's clock right again.
    pub fn reset_clock(&self) {
        self.shared.moved.store(0, Ordering::Relaxed);
        self.tell(format!("the device's clock is {}", off_by(0)), true);
    }

    /// By how many seconds the device's clock is ahead or (below zero) behind.
    pub fn clock_offset(&self) -> i64 {
        self.shared.moved.load(Ordering::Relaxed)
    }

    /// Pays an order back and takes back what it gave, as an operator does.
    pub fn refund(&self, order: OrderId) {
        self.ask(Job::Refund(order));
    }

    /// Has the server decline every order of this device, or no longer: the device is frozen in the books, and thawed
    /// again. The reason that orders are declined for is [`Reason::DeviceFrozen`](crate::protocol::Reason), which the
    /// shop tells players as "this device is not sold anything". For the commoner reason, that there is not enough in the
    /// wallet, see [`SandboxControl::hold_wallet`].
    pub fn decline_orders(&self, decline: bool) {
        self.ask(Job::Decline(decline));
    }

    /// Whether every order is declined now.
    pub fn declines_orders(&self) -> bool {
        self.shared.state.declines_orders.load(Ordering::Relaxed)
    }

    /// Adds money to the game's wallet, as if it was paid for.
    pub fn credit(&self, amount: Money) {
        self.ask(Job::Credit(amount));
    }

    /// Sets aside everything in the game's wallet, or frees it again. Orders are declined then since there is not enough
    /// in the wallet, but for those within the offline allowance that the device has already.
    pub fn hold_wallet(&self, hold: bool) {
        self.ask(Job::Hold(hold));
    }

    /// Whether the wallet is set aside now.
    pub fn holds_wallet(&self) -> bool {
        self.shared.state.holds_wallet.load(Ordering::Relaxed)
    }

    /// What came of the last thing that was done; none if there was nothing yet.
    pub fn last_outcome(&self) -> Option<SandboxOutcome> {
        self.shared.state.outcomes().last.clone()
    }

    /// Whether there are outcomes to take: one atomic load.
    pub(super) fn has_news(&self) -> bool {
        self.shared.state.has_news.load(Ordering::Acquire)
    }

    /// The outcomes that nobody has taken, oldest first.
    pub(super) fn take_news(&self) -> VecDeque<SandboxOutcome> {
        let mut outcomes = self.shared.state.outcomes();
        self.shared.state.has_news.store(false, Ordering::Release);
        std::mem::take(&mut outcomes.untold)
    }

    /// Says what came of something.
    pub(super) fn tell(&self, words: String, is_done: bool) {
        self.shared.state.tell(SandboxOutcome { words, is_done });
    }

    pub(super) fn server(&self) -> &LocalServer {
        &self.shared.server
    }

    pub(super) fn network_watch(&self) -> watch::Receiver<Network> {
        self.shared.network.subscribe()
    }

    pub(super) fn moved(&self) -> Arc<AtomicI64> {
        self.shared.moved.clone()
    }

    pub(super) fn speaker(&self) -> LastSpeaker {
        self.shared.speaker.clone()
    }

    fn ask(&self, job: Job) {
        let sent = self.shared.thread.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if !sent {
            self.tell("the sandbox's thread has ended; start the game again".to_owned(), false);
        }
    }
}

impl State {
    fn tell(&self, outcome: SandboxOutcome) {
        match outcome.is_done {
            true => tracing::info!("sandbox: {}", outcome.words),
            false => tracing::warn!("sandbox: {}", outcome.words),
        }
        let mut outcomes = self.outcomes();
        outcomes.last = Some(outcome.clone());
        outcomes.untold.push_back(outcome);
        if outcomes.untold.len() > MOST_OUTCOMES {
            outcomes.untold.pop_front();
        }
        self.has_news.store(true, Ordering::Release);
    }

    /// Held for as long as it takes to copy a sentence.
    fn outcomes(&self) -> MutexGuard<'_, Outcomes> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            tracing::error!("the sandbox's thread panicked");
        }
    }
}

/// By how much a clock is off, in words.
pub(super) fn off_by(seconds: i64) -> String {
    let direction = if seconds < 0 { "behind" } else { "ahead" };
    match seconds.unsigned_abs() {
        0 => "right".to_owned(),
        off if off.is_multiple_of(DAY.unsigned_abs()) => format!("{} days {direction}", off / DAY.unsigned_abs()),
        off => format!("{off} seconds {direction}"),
    }
}
