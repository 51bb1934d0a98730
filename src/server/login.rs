//! The game's own login: whose ID tokens are taken, and what they must say.

use std::fmt;
use std::str::FromStr;

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
