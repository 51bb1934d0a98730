//! How requests reach the server: one small trait, HTTP behind a feature, and a function in memory for tests.

#[cfg(feature = "http")]
pub mod http;
pub mod memory;

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::protocol::{KeyError, PublicKey};

/// A server: where it is, and which keys its word is believed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// Its URL, without a path: `https://store.example.com`.
    pub url: String,
    /// The keys that the game pins: each signs receipts, or, once keys were rotated, lists of the keys that do
    /// (`docs/keys.md`).
    pub keys: Vec<PublicKey>,
}

impl ServerAddress {
    /// A server with one key, as `iap-server serve` prints them.
    ///
    /// # Errors
    /// The URL does not begin with `http://` or `https://`, or the key is not one that may be trusted.
    pub fn new(url: &str, key: &str) -> Result<Self, AddressError> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(AddressError::Url(url.to_owned()));
        }
        let address = Self { url: url.trim_end_matches('/').to_owned(), keys: Vec::new() };
        address.and_root(key)
    }

    /// The same server, with another key pinned: that of `iap-server keys second-root`.
    ///
    /// # Errors
    /// The key is not one that may be trusted.
    pub fn and_root(mut self, key: &str) -> Result<Self, AddressError> {
        self.keys.push(key.parse().map_err(|error| AddressError::Key { text: key.to_owned(), error })?);
        Ok(self)
    }
}

/// Why text is not a server's address.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The URL has no scheme.
    #[error("{0:?} is not a server's URL; write one such as https://store.example.com")]
    Url(String),
    /// The key is not one.
    #[error("{text:?} is not a server's public key: {error}; write the one that `iap-server keys show` prints")]
    Key {
        /// What was written.
        text: String,
        /// What is wrong with it.
        error: KeyError,
    },
}

/// As `Display`: it is what `main` shows of an error that it returns.
impl std::fmt::Debug for AddressError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// A POST to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The path, from the root.
    pub path: &'static str,
    /// The content type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Arc<[u8]>,
    /// How long the server may hold its answer: so much longer is waited for it than for any other.
    pub hold: Duration,
}

/// What came back. Nothing in it is believed before a signature in the body verifies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
}

/// A response on its way. Dropping it gives the request up.
#[cfg(not(target_family = "wasm"))]
pub type Pending = Pin<Box<dyn Future<Output = Result<Response, TransportError>> + Send>>;

/// A response on its way. Dropping it gives the request up.
#[cfg(target_family = "wasm")]
pub type Pending = Pin<Box<dyn Future<Output = Result<Response, TransportError>>>>;

/// A way to the server. Every request ends within a time limit, one way or the other.
pub trait Transport: Debug + Send + Sync + 'static {
    /// Sends a request. The future runs on the worker's Tokio runtime; in a browser, on its event loop.
    fn send(&self, request: Request) -> Pending;
}

/// Why there is no response. The request may have arrived all the same.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The URL or the system's certificates cannot be used.
    #[error("the connection to the server cannot be set up: {0}")]
    SetUp(String),
    /// The server was not reached.
    #[error("{url} cannot be reached: {cause}")]
    NotReached {
        /// The server's URL.
        url: String,
        /// What the system said.
        cause: String,
    },
    /// The time limit passed.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The body is longer than any answer may be.
    #[error("the server's answer is longer than {0} bytes")]
    TooLong(usize),
}
