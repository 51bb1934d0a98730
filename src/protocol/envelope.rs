//! The one place that signs and verifies: compact JWS (RFC 7515) with EdDSA over Ed25519 (RFC 8037).
//!
//! A [`Token`] is text that may be anything. [`verify`] turns it into claims after checking, in this order, its form,
//! its `typ`, its `alg`, that its header holds nothing else, its `kid` against the keys at hand, its signature by the
//! strict rules, and that its JSON has one reading: no object in it names a member twice, and nothing is spelled in a
//! second way. The claims are parsed from the very bytes that were verified, and whoever keeps a token keeps those
//! bytes: nothing signed is ever serialised again.

mod strict_json;

use std::fmt;
use std::sync::Arc;

pub(super) use self::strict_json::Value;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::base64url;
use super::digest::Sha256;
use super::keys::{KeyId, SecretKey, TrustedKeys};
use super::text::serde_as_text;

/// A kind of claims that is signed, and the `typ` that names it.
pub trait Claims: Serialize + DeserializeOwned {
    /// The header's `typ`.
    const TYPE: &'static str;
    /// The longest token of this kind, in bytes.
    const MAX_LENGTH: usize = 8 * 1024;
}

/// The text of a compact JWS: exactly what was, or claims to have been, signed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(Arc<str>);

impl Token {
    /// Takes text as it came; nothing about it is known until [`verify`] says so.
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The SHA-256 digest of the text: how orders are chained and receipts answer them.
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(self.0.as_bytes())
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.0)
    }
}

impl std::str::FromStr for Token {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::from_text(text))
    }
}

serde_as_text!(Token);

/// The header, exactly: a fourth member is refused.
#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// Signs `claims` with `key`.
///
/// # Errors
/// [`EnvelopeError::Claims`] if the claims do not serialise: of this crate's own, those in which a number that counts
/// from one is out of range.
pub fn sign<C: Claims>(claims: &C, key: &SecretKey) -> Result<Token, EnvelopeError> {
    let header = Header { alg: "EdDSA".to_owned(), typ: C::TYPE.to_owned(), kid: key.id().to_string() };
    let malformed = |error: serde_json::Error| EnvelopeError::Claims(error.to_string());
    let header = serde_json::to_vec(&header).map_err(malformed)?;
    let payload = serde_json::to_vec(claims).map_err(malformed)?;
    let mut text = base64url::encode(&header);
    text.push('.');
    text.push_str(&base64url::encode(&payload));
    let signature = key.sign(text.as_bytes());
    text.push('.');
    text.push_str(&base64url::encode(&signature));
    Ok(Token(text.into()))
}

/// Verifies `token` with whichever of `keys` its `kid` names, and returns that key's id and the claims.
///
/// # Errors
/// The first check that failed, in the order given in the module's documentation.
pub fn verify<C: Claims>(token: &Token, keys: &(impl TrustedKeys + ?Sized)) -> Result<(KeyId, C), EnvelopeError> {
    let text = token.as_str();
    if text.len() > C::MAX_LENGTH {
        return Err(EnvelopeError::TooLong { length: text.len(), limit: C::MAX_LENGTH });
    }
    let mut parts = text.split('.');
    let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(EnvelopeError::NotCompact);
    };
    let decode = |part| base64url::decode(part).ok_or(EnvelopeError::NotBase64Url);
    let header = decode(header)?;
    let payload_bytes = decode(payload)?;
    let signature_bytes: [u8; 64] = decode(signature)?.try_into().map_err(|_| EnvelopeError::BadSignature)?;

    let kid = check_header::<C>(&header)?;
    let key = keys.find(kid).ok_or(EnvelopeError::UnknownKey(kid))?;
    let signed = &text[..text.len() - signature.len() - 1];
    if !key.verifies(signed.as_bytes(), &signature_bytes) {
        return Err(EnvelopeError::BadSignature);
    }
    let claims = strict_json::parse(&payload_bytes).map_err(EnvelopeError::Claims)?;
    Ok((kid, claims))
}

/// The key that a token's header names, before anything is verified: only good for looking that key up.
///
/// # Errors
/// The token is too long, or not one of this kind at all.
pub(crate) fn claimed_key<C: Claims>(token: &Token) -> Result<KeyId, EnvelopeError> {
    let (length, limit) = (token.as_str().len(), C::MAX_LENGTH);
    if length > limit {
        return Err(EnvelopeError::TooLong { length, limit });
    }
    let header = token.as_str().split('.').next().unwrap_or_default();
    check_header::<C>(&base64url::decode(header).ok_or(EnvelopeError::NotBase64Url)?)
}

/// Whether a token says that it is of a kind, before anything is verified.
pub(crate) fn is_of<C: Claims>(token: &Token) -> bool {
    claimed_key::<C>(token).is_ok()
}

/// Reads claims without verifying anything: for text that was verified before it was stored, and for knowing what a
/// text is about without believing it.
#[cfg(any(feature = "client", feature = "server"))]
pub(crate) fn claims_of_stored<C: Claims>(token: &Token) -> Result<C, EnvelopeError> {
    let payload = token.as_str().split('.').nth(1).ok_or(EnvelopeError::NotCompact)?;
    let bytes = base64url::decode(payload).ok_or(EnvelopeError::NotBase64Url)?;
    strict_json::parse(&bytes).map_err(EnvelopeError::Claims)
}

fn check_header<C: Claims>(bytes: &[u8]) -> Result<KeyId, EnvelopeError> {
    let members = strict_json::parse_object(bytes).map_err(EnvelopeError::Header)?;
    let member = |name: &str| {
        let value = members.get(name).and_then(strict_json::Value::as_str);
        value.ok_or_else(|| EnvelopeError::Header(format!("`{name}` must be there, as a string")))
    };
    let found = member("typ")?;
    if found != C::TYPE {
        return Err(EnvelopeError::WrongType { expected: C::TYPE, found: found.to_owned() });
    }
    let algorithm = member("alg")?;
    if algorithm != "EdDSA" && algorithm != "Ed25519" {
        return Err(EnvelopeError::WrongAlgorithm(algorithm.to_owned()));
    }
    if let Some(extra) = members.keys().find(|name| !matches!(name.as_str(), "alg" | "typ" | "kid")) {
        return Err(EnvelopeError::HeaderMember(extra.clone()));
    }
    let kid = member("kid")?;
    kid.parse().map_err(|_| EnvelopeError::Header("`kid` must be an RFC 7638 thumbprint".to_owned()))
}

/// Why a token is not to be believed. Whoever gets one of these concludes nothing else from the token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The text is longer than its kind allows.
    #[error("the token is {length} bytes long, and may be {limit} at most")]
    TooLong {
        /// The text's length in bytes.
        length: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// The text is not three parts with two dots between them.
    #[error("the token is not a compact JWS: three parts with dots between them")]
    NotCompact,
    /// A part is not strict, unpadded base64url.
    #[error("a part of the token is not strict unpadded base64url")]
    NotBase64Url,
    /// The header is not a JSON object with `alg`, `typ` and `kid`.
    #[error("the token's header is malformed: {0}")]
    Header(String),
    /// The token is of another kind.
    #[error("the token's `typ` is {found:?} where {expected:?} is wanted")]
    WrongType {
        /// The kind that was wanted.
        expected: &'static str,
        /// The kind that the header names.
        found: String,
    },
    /// The algorithm is not EdDSA over Ed25519.
    #[error("the token's `alg` is {0:?}, and only \"EdDSA\" and \"Ed25519\" are accepted")]
    WrongAlgorithm(String),
    /// The header has a member besides the three, such as `jku`, `jwk`, `x5u`, `crit` or `b64`.
    #[error("the token's header has a member {0:?}, and may only have `alg`, `typ` and `kid`")]
    HeaderMember(String),
    /// The key is not one of those trusted here.
    #[error("the token is signed by the key {0}, which is not trusted here")]
    UnknownKey(KeyId),
    /// The signature is not the key's over this text.
    #[error("the token's signature does not verify")]
    BadSignature,
    /// The signed claims are not what their kind should hold.
    #[error("the token's claims are malformed: {0}")]
    Claims(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        text: String,
    }

    impl Claims for Note {
        const TYPE: &'static str = "iap-note+jwt";
    }

    fn key() -> SecretKey {
        SecretKey::from_seed(&[1; 32])
    }

    /// A token with any header and payload, signed correctly over them.
    fn forge(header: &str, payload: &str) -> Token {
        let encode = |text: &str| base64url::encode(text.as_bytes());
        let signed = format!("{}.{}", encode(header), encode(payload));
        let signature = base64url::encode(&key().sign(signed.as_bytes()));
        Token::from_text(&format!("{signed}.{signature}"))
    }

    fn read(token: &Token) -> Result<Note, EnvelopeError> {
        verify(token, &[key().public()]).map(|(_, note)| note)
    }

    #[test]
    fn what_was_signed_verifies() {
        let note = Note { text: "hello".to_owned() };
        assert_eq!(sign(&note, &key()).and_then(|token| read(&token)), Ok(note));
    }

    #[test]
    fn each_header_that_is_not_exactly_ours_is_refused_with_its_own_error() {
        let kid = key().id();
        let payload = r#"{"text":"x"}"#;
        let with = |alg: &str, typ: &str, extra: &str| {
            read(&forge(&format!(r#"{{"alg":"{alg}","typ":"{typ}","kid":"{kid}"{extra}}}"#), payload))
        };
        assert!(with("EdDSA", "iap-note+jwt", "").is_ok());
        assert!(with("Ed25519", "iap-note+jwt", "").is_ok());
        for algorithm in ["none", "HS256", "ES256", "eddsa", ""] {
            assert_eq!(with(algorithm, "iap-note+jwt", ""), Err(EnvelopeError::WrongAlgorithm(algorithm.to_owned())));
        }
        let wrong = EnvelopeError::WrongType { expected: "iap-note+jwt", found: "JWT".to_owned() };
        assert_eq!(with("none", "JWT", ""), Err(wrong));
        for (name, value) in [
            ("jku", r#""x""#),
            ("x5u", r#""x""#),
            ("jwk", "{}"),
            ("crit", r#"["x"]"#),
            ("b64", "false"),
            ("cty", r#""x""#),
        ] {
            let extra = format!(r#","{name}":{value}"#);
            assert_eq!(with("EdDSA", "iap-note+jwt", &extra), Err(EnvelopeError::HeaderMember(name.to_owned())));
        }
        assert!(matches!(with("EdDSA", "iap-note+jwt", r#","alg":"EdDSA""#), Err(EnvelopeError::Header(_))));
    }

    #[test]
    fn claims_that_name_a_member_twice_are_refused_at_any_depth() {
        let header = format!(r#"{{"alg":"EdDSA","typ":"iap-note+jwt","kid":"{}"}}"#, key().id());
        for payload in [
            r#"{"text":"a","text":"b"}"#,
            r#"{"text":"a","more":{"x":1,"x":2}}"#,
            r#"{"text":"a","m":[{"x":1,"\u0078":2}]}"#,
        ] {
            assert!(matches!(read(&forge(&header, payload)), Err(EnvelopeError::Claims(_))), "{payload}");
        }
        assert!(read(&forge(&header, r#"{"text":"a","later":{"x":1}}"#)).is_ok());
    }

    #[test]
    fn a_key_that_is_not_at_hand_is_refused_by_name() {
        let token = sign(&Note { text: String::new() }, &key()).expect("signs");
        let other = SecretKey::from_seed(&[2; 32]);
        let error = verify::<Note>(&token, &[other.public()]).map(|_| ());
        assert_eq!(error, Err(EnvelopeError::UnknownKey(key().id())));
    }
}
