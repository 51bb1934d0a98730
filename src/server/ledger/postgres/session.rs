//! The connection: how it is made, waited for, and made again.
//!
//! The books are used by threads that wait, some of which may be running a Tokio runtime, so nothing here enters one:
//! a runtime of its own, with one thread, moves the bytes, and whoever asks parks its thread until the answer is there.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use super::super::LedgerError;
use super::retry::{self, Trouble};
use super::{PostgresUrl, consuming, facts, membership, reading, schema, writing};
use crate::protocol::GameId;

/// How long a new connection may take until it is ready to be used.
const PREPARING: Duration = Duration::from_secs(10);
/// The least time that an attempt has.
const LEAST: Duration = Duration::from_secs(1);
/// The first pause before something is tried again; each one is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What a connection is told before anything else. An engine that does not know one of them goes on without it.
///
/// The times are below what an attempt has, so that the database says why there is no answer, and holds no lock for long
/// after a server that it hears nothing of.
const SETTINGS: [&str; 7] = [
    "SET statement_timeout = '4s'",
    "SET lock_timeout = '3s'",
    "SET idle_in_transaction_session_timeout = '5s'",
    "SET default_transaction_isolation = 'read committed'",
    // Every statement finds its rows by an index. A plan that was made when the tables were empty would not.
    "SET enable_seqscan = off",
    "SET enable_mergejoin = off",
    // The statements are short, and prepared: compiling them costs more than it saves.
    "SET jit = off",
];

/// A connection, and until when what is asked on it must be answered.
pub(super) struct Link {
    client: Client,
    /// For ever, if there is no time.
    answer_by: Option<Instant>,
}

impl Link {
    /// Waits here for an answer of the database, for as long as there is time.
    pub(super) fn wait<T>(&self, answer: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
        wait_until(self.answer_by, answer)
    }

    /// Lets the next answers take as long as they take.
    pub(super) fn wait_for_ever(&mut self) {
        self.answer_by = None;
    }
}

impl Deref for Link {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// A connection, and the statements that were prepared on it.
pub(super) struct Session {
    pub(super) client: Link,
    pub(super) facts: facts::Statements,
    pub(super) reading: reading::Statements,
    pub(super) writing: writing::Statements,
    pub(super) consuming: consuming::Statements,
    pub(super) membership: membership::Statements,
}

impl Session {
    /// Undoes what was begun; where nothing was, that does nothing.
    pub(super) fn roll_back(&self) -> Result<(), LedgerError> {
        self.client.wait(async { Ok(self.client.batch_execute("ROLLBACK").await?) })
    }
}

/// A database, and the connection to it while there is one.
pub(super) struct Database {
    url: PostgresUrl,
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
    session: Option<Session>,
    /// How long something is tried again.
    patience: Duration,
}

impl Database {
    /// A database to which nobody has connected yet.
    pub(super) fn new(url: PostgresUrl, patience: Duration) -> Result<Self, LedgerError> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("iap-postgres").enable_all().build();
        let runtime = runtime.map_err(|error| LedgerError::Storage(Box::new(error)))?;
        Ok(Self { url, runtime: Some(runtime), session: None, patience })
    }

    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Connects, and gives the game whose books are there; makes them for `game` if there are none.
    pub(super) fn open(&mut self, game: Option<&GameId>) -> Result<GameId, LedgerError> {
        self.persist(|database, _| database.connect(game))
    }

    /// Does one transaction, the whole of it again while that may help. Whatever `attempt` began when it fails is
    /// undone. After a connection was lost, `attempt` must find out by itself what had been done.
    ///
    /// One attempt has half of the time, however many answers it waits for: after a connection that has fallen silent,
    /// there is as much left to find out on another one.
    pub(super) fn run<T>(
        &mut self,
        game: &GameId,
        mut attempt: impl FnMut(&Session) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let share = self.patience / 2;
        self.persist(|database, deadline| {
            if database.session.as_ref().is_none_or(|session| session.client.is_closed()) {
                // Books that were there must be there: nobody makes new ones in an empty database half-way.
                let found = database.connect(None)?;
                if found != *game {
                    return Err(LedgerError::OtherGame { expected: game.to_string(), found: found.to_string() });
                }
            }
            match &mut database.session {
                Some(session) => {
                    let now = Instant::now();
                    session.client.answer_by = Some((now + share).min(deadline).max(now + LEAST));
                    attempt(session)
                }
                None => Err(LedgerError::Unavailable("there is no connection".to_owned())),
            }
        })
    }

    fn persist<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self, Instant) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let deadline = Instant::now() + self.patience;
        let mut pause = FIRST_PAUSE;
        let mut in_the_way = None;
        loop {
            let error = match attempt(self, deadline) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let trouble = Trouble::of(&error);
            if trouble == Trouble::Lost || self.session.as_ref().is_some_and(|session| session.roll_back().is_err()) {
                self.session = None;
            }
            let taken = retry::taken(&error);
            if taken.is_some() && taken == in_the_way {
                // Whoever had written it was done before it was in the way at first, and is known by now.
                return Err(LedgerError::damaged(taken.unwrap_or_default()));
            }
            in_the_way = taken;
            match trouble {
                Trouble::Lasting => return Err(error),
                Trouble::Busy => return Err(LedgerError::Unavailable(error.to_string())),
                Trouble::Lost | Trouble::Conflict if Instant::now() + pause >= deadline => {
                    return Err(match error {
                        LedgerError::Unavailable(_) => error,
                        error => LedgerError::Unavailable(error.to_string()),
                    });
                }
                Trouble::Lost => tracing::warn!("the database `{}` is tried again: `{error}`", self.url),
                Trouble::Conflict => tracing::debug!("a transaction is tried again: `{error}`"),
            }
            // Two servers that were in each other's way must not be so again.
            thread::sleep(pause.mul_f64(0.5 + jitter() / 2.0));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn connect(&mut self, game: Option<&GameId>) -> Result<GameId, LedgerError> {
        self.session = None;
        let runtime = self.runtime.as_ref().ok_or_else(|| LedgerError::Unavailable("it was closed".to_owned()))?;
        let connecting = runtime.spawn(client(*self.url.0.clone()));
        let client = wait_until(Some(Instant::now() + self.url.connecting()), async {
            connecting.await.map_err(|error| LedgerError::Unavailable(error.to_string()))?
        })?;
        let mut client = Link { client, answer_by: Some(Instant::now() + PREPARING) };
        settle_down(&client)?;
        let game = schema::prepare(&mut client, game)?;
        let (facts, reading, writing, consuming, membership) = client.wait(async {
            Ok((
                facts::Statements::prepare(&client).await?,
                reading::Statements::prepare(&client).await?,
                writing::Statements::prepare(&client).await?,
                consuming::Statements::prepare(&client).await?,
                membership::Statements::prepare(&client).await?,
            ))
        })?;
        self.session = Some(Session { client, facts, reading, writing, consuming, membership });
        Ok(game)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Not waited for: whoever drops it may be running a runtime, where waiting panics.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Connects; the connection lives on the runtime that this runs on.
async fn client(config: Config) -> Result<Client, LedgerError> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("the connection to the database ended: `{error}`");
        }
    });
    Ok(client)
}

fn settle_down(client: &Link) -> Result<(), LedgerError> {
    for setting in SETTINGS {
        match client.wait(async { Ok(client.batch_execute(setting).await) })? {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_OBJECT) => {}
            result => result?,
        }
    }
    // What was answered must survive a crash of the database, whatever its configuration says.
    let row = client.wait(async { Ok(client.query_one("SHOW synchronous_commit", &[]).await?) })?;
    if row.try_get::<_, &str>(0)? == "off" {
        client.wait(async { Ok(client.batch_execute("SET synchronous_commit = on").await?) })?;
    }
    Ok(())
}

/// A number from 0 to 1, never the same for two servers.
fn jitter() -> f64 {
    let mut byte = [0];
    // Without randomness the pause is a short one.
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits here for an answer of the database, however long it takes.
pub(super) fn wait_long<T>(answer: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
    wait_until(None, answer)
}

fn wait_until<T>(
    deadline: Option<Instant>,
    answer: impl Future<Output = Result<T, LedgerError>>,
) -> Result<T, LedgerError> {
    let mut answer = pin!(answer);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(answer) = answer.as_mut().poll(&mut context) {
            return answer;
        }
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            Some(Duration::ZERO) => return Err(LedgerError::Unavailable("it does not answer".to_owned())),
            Some(left) => thread::park_timeout(left),
            None => thread::park(),
        }
    }
}

/// Statements by the names that they are used by.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        pub(super) struct Statements {
            $($(#[$doc])* pub(super) $name: tokio_postgres::Statement,)*
        }

        impl Statements {
            pub(super) async fn prepare(client: &tokio_postgres::Client) -> Result<Self, tokio_postgres::Error> {
                Ok(Self { $($name: client.prepare(&$text).await?,)* })
            }
        }
    };
}

pub(super) use statements;
