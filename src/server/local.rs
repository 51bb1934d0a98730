//! A server that runs itself: for a demo, a test, or a game that sells to its own players in the same room.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::audit::AuditReport;
use super::error::{OperationError, ServerError};
use super::ledger::{AccountSummary, Answer, Operation};
use super::{Books, RunningServer, Server, ServerConfig, url};
use crate::protocol::sync::Balance;
use crate::protocol::{AccountId, Money, OrderId, PublicKey, Receipt};

/// A store server on threads of its own. Its methods block, and may be called from anywhere, async code included.
///
/// It stops when it is dropped.
#[derive(Debug)]
pub struct LocalServer {
    address: SocketAddr,
    public_key: PublicKey,
    books: Arc<Books>,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the server's thread tells once it serves.
type Started = (SocketAddr, PublicKey, Arc<Books>, Handle);

impl LocalServer {
    /// Starts a server, and returns when it can be reached.
    ///
    /// # Errors
    /// As [`Server::start`], or the operating system gives no threads.
    pub fn start(config: ServerConfig) -> Result<Self, ServerError> {
        let (started, outcome) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("iap-server".to_owned());
        let thread = thread.spawn(move || run(config, &started, stopped)).map_err(ServerError::Threads)?;
        // The thread sends one outcome whatever happens; without one it has panicked.
        let lost = || ServerError::Threads(std::io::Error::other("the server's thread has ended"));
        let (address, public_key, books, runtime) = outcome.recv().map_err(|_| lost())??;
        Ok(Self { address, public_key, books, runtime, stop: Some(stop), thread: Some(thread) })
    }

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
        self.public_key
    }

    /// Does something under the id that it carries, once, and returns what it came to.
    ///
    /// # Errors
    /// As [`Books::operate`].
    pub fn operate(&self, operation: Operation) -> Result<Answer, OperationError> {
        self.ask(move |books| async move { books.operate(operation).await })
    }

    /// Adds money that was paid to an account's wallet, under a new id, and returns the balance after it. Asked again, it
    /// is done again: see [`Books::credit`].
    ///
    /// # Errors
    /// As [`Books::credit`].
    pub fn credit(&self, account: &AccountId, money: Money) -> Result<Balance, OperationError> {
        let account = account.clone();
        self.ask(|books| async move { books.credit(account, money).await })
    }

    /// Gives back what a granted order cost, and returns the receipt that says so.
    ///
    /// # Errors
    /// As [`Books::refund`].
    pub fn refund(&self, order: OrderId) -> Result<Receipt, OperationError> {
        self.ask(move |books| async move { books.refund(order).await })
    }

    /// What the books say about an account.
    ///
    /// # Errors
    /// There is no such account, or the server is stopping.
    pub fn show(&self, account: &AccountId) -> Result<AccountSummary, OperationError> {
        let account = account.clone();
        self.ask(|books| async move { books.show(account).await })
    }

    /// Checks the books: every sum, every chain and every signature.
    ///
    /// # Errors
    /// The books cannot be read.
    pub fn audit(&self) -> Result<AuditReport, OperationError> {
        self.books.audit()
    }

    /// Stops the server: it finishes what was begun, and takes nothing new. Dropping it does the same.
    pub fn stop(self) {
        drop(self);
    }

    /// Runs an operation on the server's own runtime and waits for it here.
    fn ask<T, F>(&self, operation: impl FnOnce(Arc<Books>) -> F) -> Result<T, OperationError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, OperationError>> + Send + 'static,
    {
        let operation = operation(Arc::clone(&self.books));
        let (done, outcome) = mpsc::channel();
        self.runtime.spawn(async move {
            // Whoever asked is waiting below.
            let _ = done.send(operation.await);
        });
        outcome.recv().unwrap_or(Err(OperationError::Unavailable))
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // An error says that the thread has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the server's thread panicked");
        }
    }
}

fn run(config: ServerConfig, started: &mpsc::Sender<Result<Started, ServerError>>, stopped: oneshot::Receiver<()>) {
    let runtime = match Builder::new_multi_thread().enable_all().thread_name("iap-http").build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Whoever started the server is waiting for this, here and below.
            let _ = started.send(Err(ServerError::Threads(error)));
            return;
        }
    };
    runtime.block_on(async {
        let server: RunningServer = match Server::start(config).await {
            Ok(server) => server,
            Err(error) => {
                let _ = started.send(Err(error));
                return;
            }
        };
        let books = Arc::clone(&server.books);
        let _ = started.send(Ok((server.address(), server.public_key(), books, Handle::current())));
        // An error says that the handle is gone, which asks for the same.
        let _ = stopped.await;
        server.stop().await;
    });
}
