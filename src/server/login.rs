//! The game's own login: whose ID tokens are taken, and what they must say.
//!
//! A device passes on an ID token (OpenID Connect Core 1.0) that the login has given to the player. `token` verifies it
//! with the login's keys, which `keys` fetches and remembers. Of what it says, only a digest of issuer and subject
//! reaches the books.

mod keys;
mod token;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use self::keys::LoginKeys;
use super::ledger::Login;
use super::problem::Refusal;
use crate::protocol::problem::ProblemType;
use crate::protocol::{KeyId, UnixSeconds};

/// A login whose ID tokens (OpenID Connect Core 1.0) players sign in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginConfig {
    /// The issuer, as its tokens name it.
    pub issuer: String,
    /// For whom the tokens are: the game's client id at the login.
    pub audience: String,
    /// Where its keys are, a JWK set: a URL or a file. Where the issuer's `/.well-known/openid-configuration` says,
    /// unless it is set.
    pub keys: Option<String>,
    /// How many seconds old a token may be. Ten minutes unless it is set.
    pub max_age: u32,
    /// Whether a token must name the device that it is for. It must, unless it is set.
    pub nonce: Nonce,
}

impl LoginConfig {
    /// How old a token may be unless it is set, in seconds.
    pub(crate) const USUAL_AGE: u32 = 600;
    /// How old a token may be at most, in seconds.
    pub(crate) const LONGEST_AGE: u32 = 86_400;

    /// The login of this issuer, where the game is known as `audience`.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        let (issuer, audience) = (issuer.into(), audience.into());
        Self { issuer, audience, keys: None, max_age: Self::USUAL_AGE, nonce: Nonce::default() }
    }
}

/// Why a login cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoginError {
    /// A part of it is empty.
    #[error("the login's {0} is empty; write what its ID tokens name")]
    Empty(&'static str),
    /// The age is out of its range.
    #[error("an ID token cannot be {0} seconds old; write 1 to 86400")]
    MaxAge(u32),
    /// Somebody on the way could put other keys in the place of the login's.
    #[error("the login's keys would be fetched from {0:?}; write an https:// URL, or a file")]
    NotSafe(String),
    /// The file of keys cannot be used.
    #[error("the login's keys in `{path}` cannot be used: {problem}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// There is nothing to fetch keys with.
    #[error("the login's keys cannot be fetched: {0}")]
    NoClient(String),
}

/// Whom players sign in with, at a running server.
#[derive(Debug)]
pub(crate) struct Logins {
    config: LoginConfig,
    keys: LoginKeys,
}

impl Logins {
    /// # Errors
    /// The configuration is not to be used.
    pub(crate) fn new(config: LoginConfig) -> Result<Self, LoginError> {
        for (what, text) in [("issuer", &config.issuer), ("audience", &config.audience)] {
            if text.trim().is_empty() {
                return Err(LoginError::Empty(what));
            }
        }
        if !(1..=LoginConfig::LONGEST_AGE).contains(&config.max_age) {
            return Err(LoginError::MaxAge(config.max_age));
        }
        Ok(Self { keys: LoginKeys::new(&config)?, config })
    }

    /// Who an ID token says that the player at `device` is.
    ///
    /// # Errors
    /// It is not to be believed, or the login's keys cannot be had now.
    pub(crate) async fn verify(&self, id_token: &str, device: KeyId, now: UnixSeconds) -> Result<Login, Refusal> {
        let header = token::header(id_token).map_err(bad)?;
        let key = self.keys.find(header.key.as_deref(), header.algorithm).await?;
        let key = key.ok_or_else(|| bad("no key of the login has signed it"))?;
        token::verify(id_token, &key, &self.config, device, now).map_err(bad)
    }
}

fn bad(what: impl fmt::Display) -> Refusal {
    Refusal::new(ProblemType::BadIdToken, format!("the ID token is not taken: {what}; sign in again"))
}

/// Whether an ID token must have the device's id as its nonce. One that has a nonce must have that one in any case: it
/// was made for another device otherwise, and may be stolen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nonce {
    /// It must.
    #[default]
    Required,
    /// It may have none.
    Optional,
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Required => "required",
            Self::Optional => "optional",
        })
    }
}

impl FromStr for Nonce {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "required" => Ok(Self::Required),
            "optional" => Ok(Self::Optional),
            _ => Err(format!("{text:?} is neither; write required or optional")),
        }
    }
}
