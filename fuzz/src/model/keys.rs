//! Which keys may be used, which lists of keys count, and whose signature counts when.

use base64ct::{Base64UrlUnpadded, Encoding};
use curve25519_dalek::edwards::CompressedEdwardsY;
use sha2::{Digest, Sha256};

use super::values::{integer, is_digest, text};
use crate::json::Json;

/// The most keys in a list.
const MOST: usize = 128;

/// Whether 32 bytes keep the enrolment rule.
pub fn is_usable(bytes: &[u8; 32]) -> bool {
    let point = CompressedEdwardsY(*bytes).decompress();
    point.is_some_and(|it| it.compress().0 == *bytes && !it.is_small_order() && it.is_torsion_free())
}

/// The bytes of a key that is spelled as it should be, and may be used.
fn usable(spelled: &Json) -> Option<[u8; 32]> {
    // A digest has as many bytes as a key.
    let bytes = text(spelled).filter(|_| is_digest(spelled)).map(Base64UrlUnpadded::decode_vec)?.ok()?;
    bytes.try_into().ok().filter(is_usable)
}

/// The keys of a key set that may be used; all others in it are passed over. Nothing, if it is no key set.
pub fn of_set(set: &Json) -> Option<Vec<[u8; 32]>> {
    let Some(Json::List(members)) = set.member("keys") else { return None };
    let is_right = |member: &&Json| {
        let says = |name, wanted| member.member(name).and_then(text) == Some(wanted);
        says("kty", "OKP") && says("crv", "Ed25519")
    };
    let key = |member: &Json| {
        let key = usable(member.member("x")?)?;
        let thumbprint = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(member.member("x")?)?);
        let thumbprint = Base64UrlUnpadded::encode_string(&Sha256::digest(thumbprint));
        member.member("kid").is_none_or(|kid| text(kid) == Some(&thumbprint)).then_some(key)
    };
    Some(members.iter().filter(is_right).filter_map(key).collect())
}

/// What a list of keys says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Its number.
    pub number: i128,
    /// The keys of the algorithm that is known.
    pub keys: Vec<Listed>,
}

/// A key in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The public key.
    pub key: [u8; 32],
    /// From when on what it signs counts.
    pub from: i128,
    /// And before when.
    pub until: i128,
    /// What it signed from then on does not count.
    pub revoked_at: Option<i128>,
}

impl List {
    /// The list with these claims, if it is one for `game` that a root called `root` may sign.
    pub fn read(claims: &Json, root: &str, game: &str) -> Option<Self> {
        let says = |name, wanted| claims.member(name).and_then(text) == Some(wanted);
        let Some(Json::List(members)) = claims.member("keys") else { return None };
        if !says("iss", root) || !says("aud", game) || members.len() > MOST {
            return None;
        }
        let mut keys = Vec::new();
        // One of another algorithm is passed over.
        for member in members.iter().filter(|member| member.member("alg").and_then(text) == Some("EdDSA")) {
            let time = |name| member.member(name).and_then(integer);
            keys.push(Listed {
                key: usable(member.member("x")?)?,
                from: time("from")?,
                until: time("until")?,
                revoked_at: time("revoked_at"),
            });
        }
        Some(Self { number: claims.member("number").and_then(integer)?, keys })
    }

    /// How it lists a key. The first time counts.
    pub fn listed(&self, key: &[u8; 32]) -> Option<&Listed> {
        self.keys.iter().find(|listed| listed.key == *key)
    }
}

impl Listed {
    /// Whether a receipt that it signed at `at` counts.
    pub fn counts(&self, at: i64) -> bool {
        let at = i128::from(at);
        self.from <= at && at < self.until && self.revoked_at.is_none_or(|revoked| at < revoked)
    }

    /// Whether an answer that it signed at `at` counts for whoever has heard from the server at `heard`.
    pub fn answers(&self, at: i64, heard: i64) -> bool {
        self.counts(at) && self.revoked_at.is_none() && i128::from(heard) < self.until
    }
}
