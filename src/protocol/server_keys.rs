//! Which keys a server's word is believed from: the roots that a game pins, and the list of short-lived keys that a
//! root signs.
//!
//! A pinned key is believed without end as long as no list was seen. Once one was, exactly what the list names is
//! believed, and each key only for its own time. Lists are numbered, and the highest number that was ever seen counts,
//! so that a revocation cannot be taken back by showing an old list. `docs/keys.md` is the table of decisions.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::UnixSeconds;
use super::count;
use super::envelope::{self, Claims, EnvelopeError, Token};
use super::keys::{KeyError, KeyId, PublicKey, SecretKey, TrustError, TrustedKeys};
use super::name::GameId;

/// The most keys in a list.
pub const MAX_KEYS: usize = 128;

/// The claims of an `iap-keys+jwt`: every key that a server of this game signs with, or ever signed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    /// The root that signs.
    #[serde(rename = "iss")]
    pub root: KeyId,
    /// The game.
    #[serde(rename = "aud")]
    pub game: GameId,
    /// When, by the clock of whoever holds the root. For people; nothing is judged by it.
    #[serde(rename = "iat")]
    pub issued_at: UnixSeconds,
    /// The number of this list: each is higher than the last, whichever root signs it, and at least the time.
    #[serde(with = "count")]
    pub number: u64,
    /// The keys; at most [`MAX_KEYS`].
    pub keys: Vec<ListedKey>,
}

/// A key in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedKey {
    /// What it signs with: `EdDSA`. One of an algorithm that a reader does not know is passed over.
    pub alg: String,
    /// The public key, in base64url.
    pub x: String,
    /// From when on what it signs counts.
    pub from: UnixSeconds,
    /// Until when: at this second it no longer does.
    pub until: UnixSeconds,
    /// From when on nothing that it signs counts, whatever `until` says; it signs no answers any more at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<UnixSeconds>,
}

impl Claims for KeyList {
    const TYPE: &'static str = "iap-keys+jwt";
    const MAX_LENGTH: usize = 32 * 1024;
}

impl ListedKey {
    /// `key`, believed from `from` until `until`.
    pub fn new(key: PublicKey, from: UnixSeconds, until: UnixSeconds) -> Self {
        Self { alg: "EdDSA".to_owned(), x: key.to_string(), from, until, revoked_at: None }
    }

    /// The key, unless it is of an algorithm that this version does not know.
    ///
    /// # Errors
    /// The key breaks the enrolment rule.
    pub fn key(&self) -> Result<Option<PublicKey>, KeyError> {
        match self.alg.as_str() {
            "EdDSA" => self.x.parse().map(Some),
            _ => Ok(None),
        }
    }
}

impl KeyList {
    /// Signs the list.
    ///
    /// # Errors
    /// As [`envelope::sign`].
    pub fn sign(&self, root: &SecretKey) -> Result<Token, EnvelopeError> {
        envelope::sign(self, root)
    }
}

/// The keys that a game believes. [`as_of`](Self::as_of) gives what verifies with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerKeys {
    roots: Vec<Root>,
    list: Option<Believed>,
}

/// A key that the game pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Root {
    kid: KeyId,
    key: PublicKey,
}

/// A list that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Believed {
    number: u64,
    token: Token,
    keys: Vec<Span>,
}

/// A key, and when what it signs counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    kid: KeyId,
    key: PublicKey,
    from: UnixSeconds,
    until: UnixSeconds,
    revoked_at: Option<UnixSeconds>,
}

impl Span {
    fn judge(&self, at: UnixSeconds) -> Result<(), TrustError> {
        let kid = self.kid;
        match self.revoked_at {
            Some(revoked) if at >= revoked => Err(TrustError::Revoked { kid, revoked_at: revoked }),
            _ if at < self.from => Err(TrustError::NotYet { kid, from: self.from }),
            _ if at >= self.until => Err(TrustError::Expired { kid, until: self.until }),
            _ => Ok(()),
        }
    }
}

impl ServerKeys {
    /// Believes these keys until a list of one of them says more.
    pub fn pinned(roots: impl IntoIterator<Item = PublicKey>) -> Self {
        let roots = roots.into_iter().map(|key| Root { kid: key.id(), key }).collect();
        Self { roots, list: None }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// The number of the list that counts; 0 if there is none.
    pub fn number(&self) -> u64 {
        self.list.as_ref().map_or(0, |list| list.number)
    }

    /// The list that counts.
    pub fn list(&self) -> Option<&Token> {
        self.list.as_ref().map(|list| &list.token)
    }

    /// Every key that may have signed something that still counts.
    pub fn all(&self) -> Vec<PublicKey> {
        match &self.list {
            Some(list) => list.keys.iter().map(|span| span.key).collect(),
            None => self.roots.iter().map(|root| root.key).collect(),
        }
    }

    /// From when on the key called `kid` is revoked, if it is.
    pub fn revoked_at(&self, kid: KeyId) -> Option<UnixSeconds> {
        self.span(kid)?.revoked_at
    }

    /// What verifies with these keys for somebody who heard from the server that it was `heard`, at the latest. A thief
    /// of a key that has expired can write any time into an answer, but cannot make a device forget what it heard.
    pub fn as_of(&self, heard: UnixSeconds) -> AsOf<'_> {
        AsOf { keys: self, heard }
    }

    /// What verifies with these keys inside of an answer that counts, or of what was kept from one: whoever made the
    /// answer vouches for it, so any listed key will do, whatever became of it since.
    pub fn vouched(&self) -> Vouched<'_> {
        Vouched(self)
    }

    /// Takes a list if it is newer than the one that counts. Says whether it is.
    ///
    /// # Errors
    /// The token does not verify with a root that is not revoked, or is for another game, or a key in it breaks the
    /// enrolment rule. What was believed before still is.
    pub fn learn(&mut self, token: &Token, game: &GameId) -> Result<bool, KeyListError> {
        let believed = |root: &&Root| self.revoked_at(root.kid).is_none();
        let roots: Vec<_> = self.roots.iter().filter(believed).map(|root| root.key).collect();
        let (kid, list) = envelope::verify::<KeyList>(token, &roots[..])?;
        if list.root != kid {
            return Err(KeyListError::WrongIssuer { expected: kid, found: list.root });
        }
        if list.game != *game {
            return Err(KeyListError::WrongAudience { expected: game.clone(), found: list.game });
        }
        if list.keys.len() > MAX_KEYS {
            return Err(KeyListError::TooManyKeys(list.keys.len()));
        }
        let mut keys = Vec::with_capacity(list.keys.len());
        for listed in &list.keys {
            let ListedKey { from, until, revoked_at, .. } = *listed;
            keys.extend(listed.key()?.map(|key| Span { kid: key.id(), key, from, until, revoked_at }));
        }
        let newer = list.number > self.number();
        if newer {
            self.list = Some(Believed { number: list.number, token: token.clone(), keys });
        }
        Ok(newer)
    }

    /// Whether the time of a listed key ends after `from`, and not after `to`.
    pub fn end_between(&self, from: UnixSeconds, to: UnixSeconds) -> bool {
        let keys = self.list.iter().flat_map(|list| &list.keys);
        keys.into_iter().any(|span| from < span.until && span.until <= to)
    }

    fn span(&self, kid: KeyId) -> Option<&Span> {
        self.list.as_ref()?.keys.iter().find(|span| span.kid == kid)
    }

    /// The key called `kid`, if it is listed, or pinned while there is no list.
    fn find(&self, kid: KeyId) -> Option<PublicKey> {
        match &self.list {
            Some(_) => self.span(kid).map(|span| span.key),
            None => self.root(kid),
        }
    }

    fn root(&self, kid: KeyId) -> Option<PublicKey> {
        self.roots.iter().find(|root| root.kid == kid).map(|root| root.key)
    }
}

/// The keys that a game believes, and the latest time that it heard from the server.
#[derive(Clone, Copy, Debug)]
pub struct AsOf<'a> {
    keys: &'a ServerKeys,
    heard: UnixSeconds,
}

/// The keys that a game believes, whenever they signed.
#[derive(Clone, Copy, Debug)]
pub struct Vouched<'a>(&'a ServerKeys);

impl TrustedKeys for Vouched<'_> {
    fn find(&self, kid: KeyId) -> Option<PublicKey> {
        self.0.find(kid)
    }

    fn judge(&self, kid: KeyId, _: UnixSeconds) -> Result<(), TrustError> {
        self.find(kid).map(|_| ()).ok_or(TrustError::NotListed(kid))
    }
}

impl TrustedKeys for AsOf<'_> {
    fn find(&self, kid: KeyId) -> Option<PublicKey> {
        self.keys.find(kid)
    }

    fn judge(&self, kid: KeyId, at: UnixSeconds) -> Result<(), TrustError> {
        match self.keys.span(kid) {
            Some(span) => span.judge(at),
            None if self.keys.list.is_none() && self.keys.root(kid).is_some() => Ok(()),
            None => Err(TrustError::NotListed(kid)),
        }
    }

    fn judge_answer(&self, kid: KeyId, at: UnixSeconds) -> Result<(), TrustError> {
        if let Some(revoked_at) = self.keys.revoked_at(kid) {
            return Err(TrustError::Revoked { kid, revoked_at });
        }
        self.judge(kid, at)?;
        self.judge(kid, at.max(self.heard))
    }
}

/// Why a list of keys is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyListError {
    /// The token itself is not to be believed.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// A key in it may not be used.
    #[error("the list of keys holds one that may not be used: {0}")]
    Key(#[from] KeyError),
    /// It names an issuer other than the key that signed it.
    #[error("the list of keys names the issuer {found}, but {expected} signed it")]
    WrongIssuer {
        /// The key that signed.
        expected: KeyId,
        /// The issuer named in the claims.
        found: KeyId,
    },
    /// It is for another game.
    #[error("the list of keys is for the game {found}, and this is {expected}")]
    WrongAudience {
        /// This game.
        expected: GameId,
        /// The game named in the claims.
        found: GameId,
    },
    /// It is too long.
    #[error("the list holds {0} keys, and may hold {MAX_KEYS}")]
    TooManyKeys(usize),
}
