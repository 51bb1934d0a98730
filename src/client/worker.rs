//! What runs a client: it owns the machine, the journal and the way to the server.
//!
//! The game only puts commands into a bounded queue and takes updates out of another; it never waits for the disk, the
//! network or a lock. Natively the client runs on a thread of its own, and in a browser on the event loop of the page,
//! between the frames. It ends when the game lets go of the [`Client`], after what was already asked for is durable.

#[cfg(not(target_family = "wasm"))]
mod thread;
#[cfg(target_family = "wasm")]
mod web;

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

#[cfg(not(target_family = "wasm"))]
use thread::Running;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
#[cfg(target_family = "wasm")]
use web::Running;

use super::clock::Clock;
use super::machine::{Input, Settings};
use super::session::{NotOpened, Session};
use super::sleep::sleep;
use super::storage::{Persistence, Storage};
use super::transport::{Pending, Transport};
use super::view::{Connection, OrderState, Update};

/// How many commands can wait for the thread.
const QUEUE: usize = 1_024;

/// The first, and the longest, wait before a storage is opened again that could not be opened to write. Another page of
/// a browser is closed while the player looks at this one, and it costs nothing to see that.
const FIRST_REOPENING: Duration = Duration::from_secs(1);
const LONGEST_REOPENING: Duration = Duration::from_secs(if cfg!(target_family = "wasm") { 1 } else { 60 });

/// A running client.
#[derive(Debug)]
pub struct Client {
    commands: Option<Sender<Input>>,
    updates: UnboundedReceiver<Vec<Update>>,
    news: Arc<AtomicBool>,
    heard: Arc<AtomicU64>,
    running: Running,
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// Too many wait already; try again in a moment.
    Full,
    /// The client has ended.
    Ended,
}

impl Client {
    /// Starts a client: on a thread of its own, or on a browser's event loop. Without a `transport`, orders are queued and stay so.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(
        settings: Settings,
        storage: Box<dyn Storage>,
        transport: Option<Arc<dyn Transport>>,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let (commands, inbox) = channel(QUEUE);
        let (outbox, updates) = unbounded_channel();
        let (news, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let game = ToGame { outbox, news: news.clone(), told: Cell::new(0), kept: Cell::new(0), heard: heard.clone() };
        let running = Running::start(&commands, || async move {
            run(settings, storage, transport, clock, inbox, &game).await;
        })?;
        Ok(Self { commands: Some(commands), updates, news, heard, running })
    }

    /// Hands a command to the client without waiting.
    ///
    /// # Errors
    /// The queue is full, or the client has ended; the command had no effect.
    pub fn command(&self, input: Input) -> Result<(), NotTaken> {
        let Some(commands) = &self.commands else { return Err(NotTaken::Ended) };
        commands.try_send(input).map_err(|error| match error {
            TrySendError::Full(_) => NotTaken::Full,
            TrySendError::Closed(_) => NotTaken::Ended,
        })
    }

    /// Whether there may be updates to take: a look at one flag.
    pub fn has_news(&self) -> bool {
        self.news.load(Ordering::Acquire)
    }

    /// Takes the next news, if there are any, without waiting: updates that belong together, in order.
    pub fn news(&mut self) -> Option<Vec<Update>> {
        let mut news = self.updates.try_recv().ok();
        if news.is_none() {
            self.news.store(false, Ordering::Release);
            // Whatever came between the two lines above is taken now, not at the next news.
            news = self.updates.try_recv().ok();
        }
        if let Some(news) = &news {
            self.heard.fetch_add(1, Ordering::Release);
            if news.iter().any(is_kept_until_heard) {
                // So that it is noticed now. A full queue, or a client that has ended, needs no waking.
                let _ = self.command(Input::TimePassed);
            }
        }
        news
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.commands = None;
        self.running.end();
    }
}

/// Whether something that the game is told may be kept until it has heard it, for another start to tell it again.
fn is_kept_until_heard(update: &Update) -> bool {
    match update {
        Update::Opened(_) => true,
        Update::Order(order) => order.state == OrderState::NotSaved,
        _ => false,
    }
}

/// The way to the game.
struct ToGame {
    outbox: UnboundedSender<Vec<Update>>,
    news: Arc<AtomicBool>,
    /// How often the game was told something.
    told: Cell<u64>,
    /// Which of these times was the last with something in it that is kept until the game has heard it.
    kept: Cell<u64>,
    /// How often it has taken what it was told.
    heard: Arc<AtomicU64>,
}

impl ToGame {
    /// Whether the game has heard everything that is kept until then.
    fn has_heard(&self) -> bool {
        self.heard.load(Ordering::Acquire) >= self.kept.get()
    }

    fn tell(&self, news: Vec<Update>) {
        self.told.set(self.told.get() + 1);
        if news.iter().any(is_kept_until_heard) {
            self.kept.set(self.told.get());
        }
        // A game that is gone needs no news.
        let _ = self.outbox.send(news);
        self.news.store(true, Ordering::Release);
    }
}

/// Opens the storage and runs the client; again, when opening failed or gave a journal to look at only, and that may
/// have changed.
async fn run(
    mut settings: Settings,
    mut storage: Box<dyn Storage>,
    transport: Option<Arc<dyn Transport>>,
    clock: Arc<dyn Clock>,
    mut inbox: Receiver<Input>,
    game: &ToGame,
) {
    let mut told = None;
    let mut wait = FIRST_REOPENING;
    let mut in_doubt = Vec::new();
    loop {
        match Session::open_settled(settings.clone(), storage, clock.tick()).await {
            Ok((session, snapshot)) => {
                for trouble in &snapshot.troubles {
                    tracing::warn!("{trouble}");
                }
                told = None;
                if snapshot.access.may_write() {
                    wait = FIRST_REOPENING;
                }
                let persistence = session.persistence();
                let lost = snapshot.lost(std::mem::take(&mut in_doubt));
                let opened = [Update::Opened(Box::new(snapshot)), Update::Persistence(persistence)];
                game.tell(opened.into_iter().chain(lost.into_iter().map(Update::Order)).collect());
                let (transport, clock) = (transport.clone(), clock.clone());
                let mut worker = Worker { session, transport, clock, game, request: None, persistence };
                if worker.run(&mut inbox, wait).await == Ended::ByTheGame {
                    return;
                }
                settings.offline = worker.session.machine().is_offline();
                in_doubt.extend(worker.session.machine().orders_in_doubt(worker.clock.tick()));
                storage = worker.session.close();
            }
            Err(NotOpened { trouble, try_again, storage: same }) => {
                if told.as_ref() != Some(&trouble) {
                    tracing::error!("the purchases cannot be opened: {trouble}");
                    game.tell(vec![Update::OpenFailed(trouble.clone())]);
                }
                if !try_again {
                    return;
                }
                told = Some(trouble);
                storage = same;
                if commands_end_within(&mut inbox, wait, &mut settings).await {
                    return;
                }
            }
        }
        wait = (wait * 2).min(LONGEST_REOPENING);
    }
}

/// Takes commands until `wait` is over. Nobody can carry them out; but whether to be offline is remembered. Says
/// whether the game is gone.
async fn commands_end_within(inbox: &mut Receiver<Input>, wait: Duration, settings: &mut Settings) -> bool {
    let gone = async {
        while let Some(command) = inbox.recv().await {
            if let Input::SetOffline(offline) = command {
                settings.offline = offline;
            }
        }
    };
    tokio::select! {
        () = gone => true,
        () = sleep(Some(wait)) => false,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The game let go of the client.
    ByTheGame,
    /// The storage should be opened again.
    ToReopen,
}

struct Worker<'a> {
    session: Session,
    transport: Option<Arc<dyn Transport>>,
    clock: Arc<dyn Clock>,
    game: &'a ToGame,
    request: Option<Pending>,
    /// How long the game was told that what is kept stays.
    persistence: Persistence,
}

impl Worker<'_> {
    async fn run(&mut self, inbox: &mut Receiver<Input>, reopening: Duration) -> Ended {
        let may_write = self.session.machine().may_write();
        self.step(vec![Input::TimePassed]).await;
        let mut look_again = pin!(sleep(Some(reopening)));
        loop {
            if self.session.is_overtaken() {
                return Ended::ToReopen;
            }
            let tick = self.clock.tick();
            let wake_at = self.session.machine().wake_at(tick).map(|at| at.saturating_sub(tick.elapsed));
            let mut inputs = vec![tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => command,
                    None => {
                        // What waits for an answer about the account waits no longer: it is signed and saved.
                        self.step(vec![Input::SetOffline(true)]).await;
                        return Ended::ByTheGame;
                    }
                },
                answer = answer(&mut self.request) => {
                    self.request = None;
                    match answer {
                        Ok(response) => Input::Answered(response),
                        Err(error) => Input::NotAnswered(error.to_string()),
                    }
                }
                () = sleep(wake_at) => Input::TimePassed,
                () = &mut look_again, if !may_write => {
                    if self.session.is_worth_reopening() {
                        return Ended::ToReopen;
                    }
                    look_again.set(sleep(Some(reopening)));
                    Input::TimePassed
                }
            }];
            while inputs.len() < QUEUE
                && let Ok(command) = inbox.try_recv()
            {
                inputs.push(command);
            }
            self.step(inputs).await;
        }
    }

    async fn step(&mut self, mut inputs: Vec<Input>) {
        // A game that ends before its first frame has heard nothing.
        if self.game.has_heard() {
            self.session.told();
        }
        while !inputs.is_empty() {
            let mut step = self.session.step_settled(std::mem::take(&mut inputs), || self.clock.tick()).await;
            let persistence = self.session.persistence();
            if std::mem::replace(&mut self.persistence, persistence) != persistence {
                step.news.push(Update::Persistence(persistence));
            }
            for update in &step.news {
                if let Update::Connection(Connection::Retrying { trouble }) = update {
                    tracing::warn!("{trouble}; trying again by itself");
                }
            }
            if !step.news.is_empty() {
                self.game.tell(step.news);
            }
            if step.abandon {
                self.request = None;
            }
            if let Some(request) = step.request {
                match &self.transport {
                    Some(transport) => self.request = Some(transport.send(request)),
                    None => inputs.push(Input::NotAnswered("there is no way to the server".to_owned())),
                }
            }
        }
    }
}

/// The answer to the request under way; for ever, if there is none.
async fn answer(request: &mut Option<Pending>) -> <Pending as Future>::Output {
    match request {
        Some(pending) => pending.await,
        None => std::future::pending().await,
    }
}
