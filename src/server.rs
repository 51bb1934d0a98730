//! The store server: it keeps the wallets, settles orders and answers each with a signed receipt.
//!
//! # Quick start
//!
//! On the command line, `iap-server serve --catalog catalog.ron --data store` is all: it makes what is missing in the
//! data folder and prints the line to paste into the game. In code, [`LocalServer`] runs the same server on threads of
//! its own, which is what demos and tests do, and [`Server`] runs it on a Tokio runtime that is there already:
//!
//! ```no_run
//! use bevy_iap::protocol::Catalog;
//! use bevy_iap::server::{LocalServer, ServerConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let catalog = Catalog::parse("catalog.ron", &std::fs::read_to_string("catalog.ron")?)?;
//! let mut config = ServerConfig::new("store", catalog);
//! config.welcome = Some("1.00EUR".parse()?);
//! let server = LocalServer::start(config)?;
//! println!("{} {}", server.url(), server.public_key());
//! # Ok(())
//! # }
//! ```
//!
//! # How a purchase flows
//!
//! `http` reads a request and verifies every signature in it, on several threads. `pipeline` gathers verified requests
//! into a batch. [`ledger`] settles the batch in one transaction by the rules of `settle`: order, transfer, receipt and
//! the receipt's place in the feed are written together or not at all. Only then is anybody answered.
//!
//! # What it keeps
//!
//! The data folder holds the books (`store.sqlite`) and the server's keys (`server.key`, and once they were
//! [rotated](rotation) `signing.key`, `keys.jwt` and `roots.pub`). Keep copies of all of them: without the keys, no game believes the
//! server; without the books, nobody's purchases are known. While the server runs, part of
//! the books is in `store.sqlite-wal`: [`backup()`] makes a whole copy. [`audit`](mod@audit) checks the books against
//! themselves.
//!
//! With the feature `postgres` the books can be in a PostgreSQL database instead ([`ServerConfig::database`]), which any
//! number of servers may share.

pub mod audit;
mod backup;
pub mod cli;
pub mod clock;
mod database;
pub mod date;
mod error;
mod folder;
mod http;
mod key_file;
mod known_devices;
pub mod ledger;
mod limits;
mod local;
pub mod login;
mod memory;
mod metrics;
mod operator;
mod pipeline;
mod problem;
mod rates;
mod remembered;
mod request;
pub mod rotation;
pub(crate) mod seeded;
mod settle;
pub mod signing;
mod signing_keys;
#[cfg(all(test, feature = "client"))]
pub(crate) mod simulated;
pub mod statement;
mod totals;
mod verified_orders;
mod watcher;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::watch;

pub use self::backup::{BackupError, backup, restore};
use self::clock::{Clock, SystemClock};
pub use self::database::{Database, DatabaseError};
pub use self::error::{OperationError, ServerError};
pub use self::folder::DataFolder;
pub use self::http::AllowedOrigins;
use self::http::{AdminToken, App, Callers, RateLimits};
use self::known_devices::KnownDevices;
pub use self::ledger::{AccountRules, AllowanceRules};
pub use self::limits::{LimitError, Limits, Rate, RateError};
pub use self::local::LocalServer;
pub use self::login::LoginConfig;
use self::login::Logins;
use self::memory::Memory;
use self::metrics::Metrics;
pub use self::operator::Books;
use self::pipeline::{Pipeline, Writer};
use self::signing::Signer;
use self::signing_keys::CurrentKeys;
pub use self::signing_keys::SigningKeys;
use self::totals::Totals;
use self::verified_orders::VerifiedOrders;
use self::watcher::Watch;
use crate::protocol::{Catalog, Money, PublicKey};

/// Where the command line's server listens unless it is told otherwise.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7878);

/// How often the writer is woken where nobody asks for anything.
const WAKING: Duration = Duration::from_secs(5);
/// The same while somebody waits for news, which another process may write.
const WAKING_FOR_NEWS: Duration = Duration::from_millis(400);

/// How a server is set up. [`ServerConfig::new`] says what each is unless it is set.
#[derive(Clone)]
pub struct ServerConfig {
    /// The data folder; what is missing in it is made.
    pub data: PathBuf,
    /// Where the books are; in the data folder unless it is set.
    pub database: Database,
    /// What is sold.
    pub catalog: Catalog,
    /// Where to listen: any free port of this computer alone, unless it is set.
    pub listen: SocketAddr,
    /// What every new account gets; nothing unless it is set.
    pub welcome: Option<Money>,
    /// The token for `/v1/admin/…`; those paths are closed unless it is set, and not empty.
    pub admin_token: Option<String>,
    /// How much the server takes on at once.
    pub limits: Limits,
    /// How much devices may spend while they are offline, where they ask for it.
    pub allowances: AllowanceRules,
    /// How many devices an account may have.
    pub accounts: AccountRules,
    /// The login whose ID tokens players sign in with; none unless it is set.
    pub login: Option<LoginConfig>,
    /// The proxies whose `X-Forwarded-For` is believed; none unless it is set.
    pub trusted_proxies: Vec<IpNet>,
    /// The web pages that may use the store from a browser; those that this machine serves unless it is set.
    pub allowed_origins: AllowedOrigins,
    /// The clock; the operating system's unless it is set.
    pub clock: Arc<dyn Clock>,
}

impl ServerConfig {
    /// A server of `catalog` that keeps its store in the folder `data`.
    pub fn new(data: impl Into<PathBuf>, catalog: Catalog) -> Self {
        Self {
            data: data.into(),
            database: Database::default(),
            catalog,
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            welcome: None,
            admin_token: None,
            limits: Limits::default(),
            allowances: AllowanceRules::default(),
            accounts: AccountRules::default(),
            login: None,
            trusted_proxies: Vec::new(),
            allowed_origins: AllowedOrigins::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// The administrator's token is left out.
impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("data", &self.data)
            .field("database", &self.database)
            .field("game", &self.catalog.game)
            .field("listen", &self.listen)
            .field("welcome", &self.welcome)
            .field("limits", &self.limits)
            .field("allowances", &self.allowances)
            .field("accounts", &self.accounts)
            .field("login", &self.login)
            .field("trusted_proxies", &self.trusted_proxies)
            .field("allowed_origins", &self.allowed_origins)
            .finish_non_exhaustive()
    }
}

/// The store server, on the Tokio runtime that it is started from.
#[derive(Clone, Copy, Debug)]
pub struct Server;

impl Server {
    /// Starts a server, and returns when it can be reached.
    ///
    /// # Errors
    /// A limit is out of its range, the data folder cannot be used, or the address cannot be listened at.
    pub async fn start(config: ServerConfig) -> Result<RunningServer, ServerError> {
        if let Some(welcome) = config.welcome.filter(|money| money.micros.is_negative()) {
            return Err(ServerError::NegativeWelcome(welcome));
        }
        let (limits, allowances) = (config.limits.checked()?, config.allowances.checked()?);
        let accounts = config.accounts.checked()?;
        let login = config.login.map(Logins::new).transpose()?;
        let (folder, game) = (config.data.clone(), config.catalog.game.clone());
        let database = config.database.clone();
        // A database may take a while to answer.
        let opening = tokio::task::spawn_blocking(move || {
            let folder = DataFolder::create(&folder)?.with_database(database);
            let lock = folder.lock()?;
            let (keys, ledger) = folder.keys_and_books(&game)?;
            let (reader, watched) = (folder.books_to_look_at()?, folder.books_to_look_at()?);
            let totals = Totals::new(folder.books_to_look_at()?);
            Ok::<_, ServerError>((folder, lock, keys, ledger, reader, watched, totals))
        });
        let opened = opening.await.map_err(|error| ServerError::Threads(io::Error::other(error)))?;
        let (folder, lock, keys, ledger, reader, watched, totals) = opened?;
        // Last, so that nobody reaches a server that then does not start.
        let listener = http::listen(config.listen).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ServerError::AddressInUse(config.listen),
            _ => ServerError::Listen { address: config.listen, source },
        })?;
        let address = listener.local_addr().map_err(|source| ServerError::Listen { address: config.listen, source })?;

        let workers = rayon::ThreadPoolBuilder::new()
            .thread_name(|index| format!("iap-worker-{index}"))
            // Whoever waits for the result is told that there is none.
            .panic_handler(|_| tracing::error!("a worker panicked"))
            .build()
            .map_err(|error| ServerError::Threads(io::Error::other(error)))?;
        let (workers, metrics, catalog) = (Arc::new(workers), Arc::new(Metrics::default()), Arc::new(config.catalog));
        let signer = Signer::of(&keys, catalog.game.clone());
        let clock = Arc::clone(&config.clock);
        let keys = Arc::new(CurrentKeys::new(folder.clone(), catalog.game.clone(), clock, keys));
        let (watch, watcher) = Watch::start(watched).map_err(ServerError::Threads)?;
        let writer = Writer {
            ledger,
            signer,
            keys: Arc::clone(&keys),
            catalog: Arc::clone(&catalog),
            clock: Arc::clone(&config.clock),
            welcome: config.welcome,
            batch: limits.batch,
            allowances,
            accounts,
            metrics: Arc::clone(&metrics),
            workers: Some(Arc::clone(&workers)),
            _lock: Some(lock),
            swept_at: None,
            watch: watch.clone(),
        };
        let (pipeline, writer) = Pipeline::start(writer, limits.queue).map_err(ServerError::Threads)?;
        let books = Books::new(pipeline.clone(), Arc::clone(&config.clock), folder);
        let app = Arc::new(App {
            catalog,
            keys: Arc::clone(&keys),
            pipeline,
            books: books.clone(),
            devices: KnownDevices::start(reader).map_err(ServerError::Threads)?,
            verified: VerifiedOrders::default(),
            workers,
            rates: RateLimits::new(&limits, Arc::clone(&metrics)),
            metrics,
            memory: Memory::new(limits.memory),
            totals,
            login,
            callers: Callers::new(config.trusted_proxies, &limits),
            limits,
            watch: watch.clone(),
            admin_token: config.admin_token.as_deref().and_then(AdminToken::new),
            stopping: AtomicBool::new(false),
        });
        let watching = tokio::spawn(keys.watch()).abort_handle();
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(keep_awake(Arc::clone(&app), stop.subscribe()));
        let router = http::router(Arc::clone(&app), &config.allowed_origins);
        let serving = tokio::spawn(http::serve(listener, router, Arc::clone(&app), stopping));
        tracing::info!("serving `{}` at `{address}`", app.catalog.game);
        let running = Some((serving, writer, watcher));
        Ok(RunningServer { address, app, books: Arc::new(books), stop, running, watching })
    }
}

/// Wakes the writer now and then until the server stops: holds end at their time also where nobody asks for anything.
async fn keep_awake(app: Arc<App>, mut stopping: watch::Receiver<bool>) {
    let mut slept = Duration::ZERO;
    // An error says that whoever could stop the server is gone.
    while tokio::time::timeout(WAKING_FOR_NEWS, stopping.changed()).await.is_err() {
        slept += WAKING_FOR_NEWS;
        if slept >= WAKING || app.watch.waiting() > 0 {
            slept = Duration::ZERO;
            app.pipeline.wake();
        }
    }
}

/// A server that is running. Dropping it stops it too, without waiting for the end; [`RunningServer::stop`] waits.
#[derive(Debug)]
pub struct RunningServer {
    address: SocketAddr,
    app: Arc<App>,
    books: Arc<Books>,
    stop: watch::Sender<bool>,
    running: Option<(tokio::task::JoinHandle<()>, JoinHandle<()>, JoinHandle<()>)>,
    watching: tokio::task::AbortHandle,
}

impl RunningServer {
    /// Where it is reached, for example `http://127.0.0.1:7878`.
    pub fn url(&self) -> String {
        url(self.address)
    }

    /// The address that it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key for games to pin: the first root.
    pub fn public_key(&self) -> PublicKey {
        self.app.root()
    }

    /// What the operator can do to its books.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// Stops the server: it takes nothing new, finishes what was begun, and closes its books.
    ///
    /// What is begun has [`Limits::time`] to come to its end; connections that are still open then are closed.
    pub async fn stop(mut self) {
        let Some((serving, writer, watcher)) = self.running.take() else { return };
        self.app.stop();
        // Errors say that the task or the thread has ended already.
        let _ = self.stop.send(true);
        let _ = serving.await;
        self.app.pipeline.stop();
        let ended = tokio::task::spawn_blocking(move || (writer.join(), watcher.join())).await;
        if !matches!(ended, Ok((Ok(()), Ok(())))) {
            tracing::error!("a thread of the server panicked");
        }
        tracing::info!("stopped");
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.watching.abort();
        if self.running.is_some() {
            self.app.stop();
            // The writer finishes what is queued, then lets go of the data folder.
            self.app.pipeline.stop();
        }
    }
}

/// The URL of a server at `address`. One that listens everywhere is shown where this computer reaches it.
fn url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}
