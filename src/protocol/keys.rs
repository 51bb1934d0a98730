//! Ed25519 keys (RFC 8032): secret seeds, public keys that passed the enrolment rule, and JWKs (RFC 8037).

use std::fmt;

use curve25519_dalek::edwards::CompressedEdwardsY;
use ed25519_dalek::Signer;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::UnixSeconds;
use super::base64url;
use super::digest::Sha256;
use super::name::AccountId;
use super::text::serde_as_text;

/// The RFC 7638 thumbprint of a public key: the id of a device, and the `kid` of everything that the key signs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub Sha256);

impl KeyId {
    /// The account that a device with this key opens as a guest.
    pub fn guest_account(self) -> AccountId {
        AccountId::from_key(self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.0)
    }
}

impl std::str::FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        base64url::decode_32(text).map(|bytes| Self(Sha256(bytes))).ok_or(KeyError::NotAKeyId)
    }
}

serde_as_text!(KeyId);

/// A public key that may be trusted with a job: canonical, not of small order, torsion-free.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(ed25519_dalek::VerifyingKey);

impl PublicKey {
    /// Applies the enrolment rule to 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::NotOnCurve`], [`KeyError::NotCanonical`], [`KeyError::SmallOrder`] or [`KeyError::Torsion`]: such
    /// keys allow one signature to be valid for several keys or messages (Chalkias et al., "Taming the many EdDSAs").
    pub fn new(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let point = CompressedEdwardsY(*bytes).decompress().ok_or(KeyError::NotOnCurve)?;
        if point.compress().to_bytes() != *bytes {
            return Err(KeyError::NotCanonical);
        }
        if point.is_small_order() {
            return Err(KeyError::SmallOrder);
        }
        if !point.is_torsion_free() {
            return Err(KeyError::Torsion);
        }
        ed25519_dalek::VerifyingKey::from_bytes(bytes).map(Self).map_err(|_| KeyError::NotOnCurve)
    }

    /// The key's 32 bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The key's RFC 7638 thumbprint.
    pub fn id(self) -> KeyId {
        KeyId(Sha256::of(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{self}"}}"#)))
    }

    /// Whether `signature` is this key's over `message`, by the strict rules (no malleable encodings, no small order).
    pub fn verifies(self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    }
}

/// The key as 43 characters of unpadded base64url, as the `x` of its JWK.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl std::str::FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::new(&base64url::decode_32(text).ok_or(KeyError::NotAKey)?)
    }
}

serde_as_text!(PublicKey);

/// A secret key, held as its 32-byte seed and wiped from memory when dropped.
#[derive(Clone)]
pub struct SecretKey {
    key: ed25519_dalek::SigningKey,
    /// Of the public half: every signature names it.
    id: KeyId,
}

impl SecretKey {
    /// The key of a seed. Every 32 bytes are a seed; they must come from a cryptographic random source.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        Self { id: PublicKey(key.verifying_key()).id(), key }
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key())
    }

    /// The id of the public half.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The seed, for deriving keys of other jobs from it.
    #[cfg(feature = "client")]
    pub(crate) fn seed(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Signs `message` (PureEdDSA, RFC 8032). What is signed here is decided in `envelope` alone.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.id())
    }
}

/// A public Ed25519 key as a JSON Web Key (RFC 8037).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Jwk {
    /// The key type, `OKP`.
    pub kty: String,
    /// The curve, `Ed25519`.
    pub crv: String,
    /// The public key, unpadded base64url.
    pub x: String,
    /// The key's id; where present it must be the thumbprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
}

impl Jwk {
    /// The key in it, after the enrolment rule.
    ///
    /// # Errors
    /// The JWK is of another type or curve, its key breaks the enrolment rule, or its `kid` is not its thumbprint.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        if self.kty != "OKP" || self.crv != "Ed25519" {
            return Err(KeyError::NotEd25519);
        }
        let key: PublicKey = self.x.parse()?;
        match &self.kid {
            Some(kid) if *kid != key.id().to_string() => Err(KeyError::NotItsThumbprint),
            _ => Ok(key),
        }
    }
}

impl From<PublicKey> for Jwk {
    fn from(key: PublicKey) -> Self {
        Self { kty: "OKP".to_owned(), crv: "Ed25519".to_owned(), x: key.to_string(), kid: Some(key.id().to_string()) }
    }
}

/// A JSON Web Key Set (RFC 7517, section 5): what a server publishes at `/.well-known/jwks.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct JwkSet {
    /// The keys. Where a set is read, those of other types are passed over, whatever members they have.
    #[serde(deserialize_with = "readable")]
    pub keys: Vec<Jwk>,
}

fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Jwk>, D::Error> {
    let keys = Vec::<serde_json::Value>::deserialize(deserializer)?;
    Ok(keys.into_iter().filter_map(|key| Jwk::deserialize(key).ok()).collect())
}

impl JwkSet {
    /// The usable keys in the set; as RFC 7517 asks, keys of other types are passed over.
    pub fn public_keys(&self) -> Vec<PublicKey> {
        self.keys.iter().filter_map(|jwk| jwk.public_key().ok()).collect()
    }
}

/// The keys whose word counts for something. A list of keys says so without end; [`ServerKeys`](super::ServerKeys) says
/// it of each for its time.
pub trait TrustedKeys {
    /// The key called `kid`, if what it signs may count.
    fn find(&self, kid: KeyId) -> Option<PublicKey>;

    /// Whether what the key called `kid` signed at `at`, as the signed text says, counts.
    ///
    /// # Errors
    /// The key is not trusted, or not for that time.
    fn judge(&self, kid: KeyId, at: UnixSeconds) -> Result<(), TrustError>;

    /// The same for an answer to a question that was asked just now.
    ///
    /// # Errors
    /// As [`judge`](Self::judge), or the key's time is over by now.
    fn judge_answer(&self, kid: KeyId, at: UnixSeconds) -> Result<(), TrustError> {
        self.judge(kid, at)
    }
}

impl TrustedKeys for [PublicKey] {
    fn find(&self, kid: KeyId) -> Option<PublicKey> {
        self.iter().copied().find(|key| key.id() == kid)
    }

    fn judge(&self, kid: KeyId, _: UnixSeconds) -> Result<(), TrustError> {
        self.find(kid).map(|_| ()).ok_or(TrustError::NotListed(kid))
    }
}

impl<const N: usize> TrustedKeys for [PublicKey; N] {
    fn find(&self, kid: KeyId) -> Option<PublicKey> {
        self[..].find(kid)
    }

    fn judge(&self, kid: KeyId, at: UnixSeconds) -> Result<(), TrustError> {
        self[..].judge(kid, at)
    }
}

impl TrustedKeys for Vec<PublicKey> {
    fn find(&self, kid: KeyId) -> Option<PublicKey> {
        self[..].find(kid)
    }

    fn judge(&self, kid: KeyId, at: UnixSeconds) -> Result<(), TrustError> {
        self[..].judge(kid, at)
    }
}

/// Why what a key signed does not count, though the signature is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrustError {
    /// No root vouches for the key.
    #[error("the key {0} is not in the list of the server's keys")]
    NotListed(KeyId),
    /// It was signed before the key's time.
    #[error("the key {kid} is not to be used before {from}")]
    NotYet {
        /// The key.
        kid: KeyId,
        /// From when on.
        from: UnixSeconds,
    },
    /// It was signed after the key's time.
    #[error("the key {kid} was not to be used from {until} on")]
    Expired {
        /// The key.
        kid: KeyId,
        /// Until when.
        until: UnixSeconds,
    },
    /// The key was revoked.
    #[error("the key {kid} was revoked as of {revoked_at}")]
    Revoked {
        /// The key.
        kid: KeyId,
        /// From when on nothing that it signed counts.
        revoked_at: UnixSeconds,
    },
}

/// Why bytes are not a key to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not a key.
    #[error("an Ed25519 public key is 43 characters of unpadded base64url")]
    NotAKey,
    /// The text is not a key id.
    #[error("a key id is an RFC 7638 thumbprint: 43 characters of unpadded base64url")]
    NotAKeyId,
    /// The JWK is for another algorithm.
    #[error("the JWK is not an Ed25519 key: `kty` must be \"OKP\" and `crv` \"Ed25519\"")]
    NotEd25519,
    /// The JWK claims an id that is not its own.
    #[error("the JWK's `kid` is not its RFC 7638 thumbprint")]
    NotItsThumbprint,
    /// The bytes are no point of the curve.
    #[error("the key is not a point on the curve")]
    NotOnCurve,
    /// The bytes are a second spelling of a point.
    #[error("the key is not canonically encoded")]
    NotCanonical,
    /// The point has an order of 1, 2, 4 or 8.
    #[error("the key is a point of small order")]
    SmallOrder,
    /// The point has a part outside the prime-order group.
    #[error("the key has a torsion component")]
    Torsion,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprint_is_that_of_rfc_8037_appendix_a_3() {
        let key: PublicKey = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".parse().expect("the RFC's own key");
        assert_eq!(key.id().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn keys_that_break_the_enrolment_rule_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::new(&identity), Err(KeyError::SmallOrder));
        // y = p + 1 is a second spelling of y = 1.
        let mut second_spelling = [0xff; 32];
        second_spelling[0] = 0xee;
        second_spelling[31] = 0x7f;
        assert_eq!(PublicKey::new(&second_spelling), Err(KeyError::NotCanonical));
        assert_eq!(
            PublicKey::new(&[2; 32]).err(),
            CompressedEdwardsY([2; 32]).decompress().is_none().then_some(KeyError::NotOnCurve)
        );
        // A good key plus a point of order eight.
        let good =
            CompressedEdwardsY(SecretKey::from_seed(&[7; 32]).public().to_bytes()).decompress().expect("a point");
        let torsion = curve25519_dalek::constants::EIGHT_TORSION[1];
        assert_eq!(PublicKey::new(&(good + torsion).compress().to_bytes()), Err(KeyError::Torsion));
    }

    #[test]
    fn keys_of_other_types_in_a_set_are_passed_over_whatever_members_they_have() {
        let key = SecretKey::from_seed(&[7; 32]).public();
        let set = format!(
            r#"{{"keys":[{{"kty":"RSA","n":"AQAB","e":"AQAB"}},{{"kty":"OKP","crv":"Ed25519","x":"{key}"}},
                {{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}},{{"kty":"oct","k":"AA"}},"none"]}}"#
        );
        let set: JwkSet = serde_json::from_str(&set).expect("a key set");
        assert_eq!(set.public_keys(), [key]);
    }

    #[test]
    fn secret_keys_do_not_show_their_seed() {
        let shown = format!("{:?}", SecretKey::from_seed(&[0x11; 32]));
        assert!(shown.starts_with("SecretKey(") && !shown.contains("1111") && !shown.contains("17, 17"));
    }
}
