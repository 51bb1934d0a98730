//! Signing what no client of this crate would sign.

use base64ct::{Base64UrlUnpadded, Encoding};
use bevy_iap::protocol::{KeyId, SecretKey, Token};
use ed25519_dalek::Signer as _;
use serde::Serialize;
use serde_json::{Value, json};

/// A secret key that signs any text.
pub struct RawKey {
    key: ed25519_dalek::SigningKey,
    pub id: KeyId,
}

impl RawKey {
    pub fn new(seed: &[u8; 32]) -> Self {
        Self { key: ed25519_dalek::SigningKey::from_bytes(seed), id: SecretKey::from_seed(seed).id() }
    }

    /// The header that a client of this key writes.
    pub fn header(&self, kind: &str) -> Value {
        json!({"alg": "EdDSA", "typ": kind, "kid": self.id})
    }

    /// A token of any header and payload, signed as it should be.
    pub fn token(&self, header: &str, payload: &str) -> Token {
        let text = format!("{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()));
        let signature = encode(&self.sign(text.as_bytes()));
        Token::from_text(&format!("{text}.{signature}"))
    }

    pub fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.key.sign(text).to_bytes()
    }

    pub fn public_bytes(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }
}

pub fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// Claims as JSON, to be changed.
pub fn claims(claims: &impl Serialize) -> Value {
    serde_json::to_value(claims).expect("serialises")
}

/// A token's parts.
pub fn parts(token: &Token) -> [&str; 3] {
    let parts: Vec<&str> = token.as_str().split('.').collect();
    parts.try_into().expect("a compact JWS")
}

/// What a part of a token says.
pub fn decode(part: &str) -> String {
    String::from_utf8(Base64UrlUnpadded::decode_vec(part).expect("base64url")).expect("text")
}
