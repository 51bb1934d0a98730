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
use super::machine::{Input, Machine, Output, Settings};
use super::record::Record;
use super::storage::Storage;
use super::transport::{Pending, Transport};
use super::view::{Connection, Update};

/// How many commands can wait for the thread.
const QUEUE: usize = 1_024;
/// How long letting go of a client waits for the thread to end.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

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

async fn run(
    settings: Settings,
    mut storage: Box<dyn Storage>,
    transport: Option<Arc<dyn Transport>>,
    clock: Arc<dyn Clock>,
    mut inbox: Receiver<Input>,
    game: &ToGame,
) {
    let opened = storage.open().map_err(|error| error.to_string());
    let (mut machine, snapshot, first) = match opened.and_then(|opened| Machine::open(settings, opened, clock.tick())) {
        Ok(opened) => opened,
        Err(trouble) => {
            tracing::error!("the purchases cannot be opened: {trouble}");
            return game.tell(vec![Update::OpenFailed(trouble)]);
        }
    };
    for trouble in &snapshot.troubles {
        tracing::warn!("{trouble}");
    }
    let may_write = snapshot.access.may_write();
    if may_write
        && !first.is_empty()
        && let Err(error) = storage.append(&first)
    {
        tracing::error!("the purchases cannot be opened: {error}");
        return game.tell(vec![Update::OpenFailed(error.to_string())]);
    }
    game.tell(vec![Update::Opened(Box::new(snapshot))]);
    Worker { storage, transport, clock, game, request: None }.run(&mut machine, &mut inbox).await;
}

struct Worker<'a> {
    storage: Box<dyn Storage>,
    transport: Option<Arc<dyn Transport>>,
    clock: Arc<dyn Clock>,
    game: &'a ToGame,
    request: Option<Pending>,
}

impl Worker<'_> {
    async fn run(&mut self, machine: &mut Machine, inbox: &mut Receiver<Input>) {
        self.step(machine, vec![Input::TimePassed]);
        loop {
            let tick = self.clock.tick();
            let wake_at = machine.wake_at(tick).map(|at| at.saturating_sub(tick.elapsed));
            let mut inputs = vec![tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => command,
                    None => return,
                },
                answer = answer(&mut self.request) => {
                    self.request = None;
                    match answer {
                        Ok(response) => Input::Answered(response),
                        Err(error) => Input::NotAnswered(error.to_string()),
                    }
                }
                () = sleep(wake_at) => Input::TimePassed,
            }];
            while inputs.len() < QUEUE
                && let Ok(command) = inbox.try_recv()
            {
                inputs.push(command);
            }
            self.step(machine, inputs);
        }
    }

    /// Puts inputs into the machine, and does what comes of them until nothing is left to do at once.
    fn step(&mut self, machine: &mut Machine, mut inputs: Vec<Input>) {
        while !inputs.is_empty() {
            let outputs = machine.handle_all(std::mem::take(&mut inputs), self.clock.tick());
            let mut news = Vec::new();
            for output in outputs {
                match output {
                    Output::Append(records) => inputs.push(self.append(&records)),
                    Output::Send(request) => match &self.transport {
                        Some(transport) => self.request = Some(transport.send(request)),
                        None => inputs.push(Input::NotAnswered("there is no way to the server".to_owned())),
                    },
                    Output::Tell(update) => {
                        if let Update::Connection(Connection::Retrying { trouble }) = &update {
                            tracing::warn!("{trouble}; trying again by itself");
                        }
                        news.push(update);
                    }
                }
            }
            if !news.is_empty() {
                self.game.tell(news);
            }
        }
    }

    fn append(&mut self, records: &[Record]) -> Input {
        match self.storage.append(records) {
            Ok(()) => Input::Appended,
            Err(error) => {
                tracing::warn!("{error}");
                Input::AppendFailed(error.to_string())
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
