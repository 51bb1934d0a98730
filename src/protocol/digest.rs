//! SHA-256 digests (FIPS 180-4), written as unpadded base64url.

use std::fmt;
use std::str::FromStr;

#[cfg(any(feature = "client", feature = "server"))]
use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::Digest as _;
use thiserror::Error;

use super::base64url;
use super::text::serde_as_text;

/// A SHA-256 digest; as text, 43 characters of unpadded base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The digest of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

impl FromStr for Sha256 {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        base64url::decode_32(text).map(Self).ok_or(DigestError)
    }
}

serde_as_text!(Sha256);

/// The text is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a SHA-256 digest is 43 characters of unpadded base64url")]
pub struct DigestError;

/// Exactly 32 bytes from strict, unpadded base64url, in constant time: they may be a secret.
#[cfg(any(feature = "client", feature = "server"))]
pub(crate) fn base64url_32(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let decoded = Base64UrlUnpadded::decode(text, &mut bytes).ok()?;
    (decoded.len() == 32).then_some(bytes)
}
