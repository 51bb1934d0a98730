//! The device and the server of the worked example in `docs/protocol.md`, and what they would sign.

use std::sync::LazyLock;

use base64ct::{Base64UrlUnpadded, Encoding};
use bevy_iap::protocol::{AccountId, GameId, SecretKey, Token};
use ed25519_dalek::{Signer, SigningKey};

use crate::model::Kind;

/// Those who sign and those who are spoken of.
#[derive(Debug)]
pub struct Parties {
    /// The device's key.
    pub device: SecretKey,
    /// The server's key.
    pub server: SecretKey,
    /// A key that nobody trusts.
    pub stranger: SecretKey,
    /// The device's account.
    pub account: AccountId,
    /// The game.
    pub game: GameId,
}

const DEVICE_SEED: [u8; 32] = [1; 32];
const SERVER_SEED: [u8; 32] = [2; 32];
const STRANGER_SEED: [u8; 32] = [3; 32];

/// The parties of every target.
pub static PARTIES: LazyLock<Parties> = LazyLock::new(|| {
    let device = SecretKey::from_seed(&DEVICE_SEED);
    Parties {
        account: device.id().guest_account(),
        device,
        server: SecretKey::from_seed(&SERVER_SEED),
        stranger: SecretKey::from_seed(&STRANGER_SEED),
        game: GameId::new("arcade").expect("a name"),
    }
});

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The device.
    Device,
    /// The server.
    Server,
    /// Somebody whom nobody trusts.
    Stranger,
}

impl Party {
    /// The party that signs claims of this kind.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Proof | Kind::Order | Kind::Request => Self::Device,
            Kind::Receipt | Kind::Response => Self::Server,
        }
    }

    /// Its key.
    pub fn key(self) -> &'static SecretKey {
        match self {
            Self::Device => &PARTIES.device,
            Self::Server => &PARTIES.server,
            Self::Stranger => &PARTIES.stranger,
        }
    }

    /// The header that it writes for this kind.
    pub fn header(self, kind: Kind) -> String {
        format!(r#"{{"alg":"EdDSA","typ":"{}","kid":"{}"}}"#, kind.name(), self.key().id())
    }

    fn signing_key(self) -> &'static SigningKey {
        static KEYS: LazyLock<[SigningKey; 3]> =
            LazyLock::new(|| [DEVICE_SEED, SERVER_SEED, STRANGER_SEED].map(|seed| SigningKey::from_bytes(&seed)));
        match self {
            Self::Device => &KEYS[0],
            Self::Server => &KEYS[1],
            Self::Stranger => &KEYS[2],
        }
    }
}

/// A token with any header and payload, and the right signature over them.
pub fn forge(header: &[u8], payload: &[u8], signer: Party) -> Token {
    let signed = format!("{}.{}", encode(header), encode(payload));
    let signature = signer.signing_key().sign(signed.as_bytes()).to_bytes();
    Token::from_text(&format!("{signed}.{}", encode(&signature)))
}

/// What the text of a token of this kind begins with: the members of the header before the key's id.
fn start_of_header(kind: Kind) -> String {
    let start = format!(r#"{{"alg":"EdDSA","typ":"{}","#, kind.name());
    // Of whole groups of three bytes, so that what follows changes nothing.
    encode(&start.as_bytes()[..start.len() / 3 * 3])
}

/// Bytes as strict, unpadded base64url.
pub fn encode(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// The tokens in `docs/protocol.md` of the kinds that are fuzzed.
pub fn genuine_tokens() -> &'static [Token] {
    static TOKENS: LazyLock<Vec<Token>> = LazyLock::new(|| {
        let document = include_str!("../../docs/protocol.md");
        let outside = |character: char| !(character.is_ascii_alphanumeric() || "_-.".contains(character));
        let words = document.split(outside).filter(|word| word.starts_with("eyJ") && word.split('.').count() == 3);
        let mut tokens: Vec<_> = words.map(Token::from_text).collect();
        tokens.dedup();
        tokens.retain(|token| Kind::ALL.iter().any(|kind| token.as_str().starts_with(&start_of_header(*kind))));
        assert_eq!(tokens.len(), Kind::ALL.len(), "one of each kind");
        tokens
    });
    &TOKENS
}
