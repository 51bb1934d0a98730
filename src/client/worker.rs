//! The thread that runs a client: it owns the machine, the journal and the way to the server.
//!
//! The game's thread only puts commands into a bounded queue and takes updates out of another; it never waits for
//! the disk, the network or a lock. The thread ends when the game lets go of the [`Client`], after what was already
//! asked for is safe on the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};

use super::clock::Clock;
use super::machine::{Input, Settings};
use super::session::{NotOpened, Session};
use super::storage::Storage;
use super::transport::{Pending, Transport};
use super::view::{Connection, Update};

/// How many commands can wait for the thread.
const QUEUE: usize = 1_024;
/// How long letting go of a client waits for the thread to end.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// The first, and the longest, wait before a storage is opened again that could not be opened to write.
const FIRST_REOPENING: Duration = Duration::from_secs(1);
const LONGEST_REOPENING: Duration = Duration::from_secs(60);

/// A running client.
#[derive(Debug)]
pub struct Client {
    commands: Option<Sender<Input>>,
    updates: UnboundedReceiver<Vec<Update>>,
    news: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// Too many wait already; try again in a moment.
    Full,
    /// The thread has ended.
    Ended,
}

impl Client {
    /// Starts a client on a thread of its own. Without a `transport`, orders are queued and stay so.
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
        let news = Arc::new(AtomicBool::new(false));
        let game = ToGame { outbox, news: news.clone() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("bevy_iap".to_owned()).spawn(move || {
            runtime.block_on(run(settings, storage, transport, clock, inbox, &game));
            // Without waiting for a name that is being looked up on a network that is gone.
            runtime.shutdown_background();
        })?;
        Ok(Self { commands: Some(commands), updates, news, thread })
    }

    /// Hands a command to the thread without waiting.
    ///
    /// # Errors
    /// The queue is full, or the thread has ended; the command had no effect.
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
        let news = self.updates.try_recv().ok();
        if news.is_none() {
            self.news.store(false, Ordering::Release);
            // Whatever came between the two lines above is taken now, not at the next news.
            return self.updates.try_recv().ok();
        }
        news
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.commands = None;
        let started = Instant::now();
        // Past the limit the process may end: whatever was acknowledged is durable already.
        while !self.thread.is_finished() && started.elapsed() < FLUSH_LIMIT {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The way to the game.
struct ToGame {
    outbox: UnboundedSender<Vec<Update>>,
    news: Arc<AtomicBool>,
}

impl ToGame {
    fn tell(&self, news: Vec<Update>) {
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
    loop {
        match Session::open(settings.clone(), storage, clock.tick()) {
            Ok((session, snapshot)) => {
                for trouble in &snapshot.troubles {
                    tracing::warn!("{trouble}");
                }
                told = None;
                if snapshot.access.may_write() {
                    wait = FIRST_REOPENING;
                }
                game.tell(vec![Update::Opened(Box::new(snapshot))]);
                let (transport, clock) = (transport.clone(), clock.clone());
                let mut worker = Worker { session, transport, clock, game, request: None };
                if worker.run(&mut inbox, wait).await == Ended::ByTheGame {
                    return;
                }
                settings.offline = worker.session.machine().is_offline();
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
    tokio::time::timeout(wait, gone).await.is_ok()
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
}

impl Worker<'_> {
    async fn run(&mut self, inbox: &mut Receiver<Input>, reopening: Duration) -> Ended {
        let may_write = self.session.machine().may_write();
        self.step(vec![Input::TimePassed]);
        let mut look_again = tokio::time::Instant::now() + reopening;
        loop {
            let tick = self.clock.tick();
            let wake_at = self.session.machine().wake_at(tick).map(|at| at.saturating_sub(tick.elapsed));
            let mut inputs = vec![tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => command,
                    None => {
                        // What waits for an answer about the account waits no longer: it is signed and saved.
                        self.step(vec![Input::SetOffline(true)]);
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
                () = tokio::time::sleep_until(look_again), if !may_write => {
                    if self.session.is_worth_reopening() {
                        return Ended::ToReopen;
                    }
                    look_again = tokio::time::Instant::now() + reopening;
                    Input::TimePassed
                }
            }];
            while inputs.len() < QUEUE
                && let Ok(command) = inbox.try_recv()
            {
                inputs.push(command);
            }
            self.step(inputs);
        }
    }

    fn step(&mut self, mut inputs: Vec<Input>) {
        while !inputs.is_empty() {
            let step = self.session.step(std::mem::take(&mut inputs), || self.clock.tick());
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

async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}
