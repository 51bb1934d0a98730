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
    /// A key of the server's that no game pins: it counts where a list says so.
    pub signing: SecretKey,
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
const SIGNING_SEED: [u8; 32] = [4; 32];

/// The parties of every target.
pub static PARTIES: LazyLock<Parties> = LazyLock::new(|| {
    let device = SecretKey::from_seed(&DEVICE_SEED);
    Parties {
        account: device.id().guest_account(),
        device,
        server: SecretKey::from_seed(&SERVER_SEED),
        signing: SecretKey::from_seed(&SIGNING_SEED),
        stranger: SecretKey::from_seed(&STRANGER_SEED),
        game: GameId::new("arcade").expect("a name"),
    }
});

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The device.
    Device,
    /// The server, with the key that games pin: root and signing key in one.
    Server,
    /// The server, with the key that no game pins.
    Signing,
    /// Somebody whom nobody trusts.
    Stranger,
}

impl Party {
    /// The party that signs claims of this kind.
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Proof | Kind::Order | Kind::Request | Kind::Consumption | Kind::Question => Self::Device,
            Kind::Receipt | Kind::Response | Kind::Allowance | Kind::ConsumptionReceipt | Kind::Answer | Kind::Keys => {
                Self::Server
            }
        }
    }

    /// Its key.
    pub fn key(self) -> &'static SecretKey {
        match self {
            Self::Device => &PARTIES.device,
            Self::Server => &PARTIES.server,
            Self::Signing => &PARTIES.signing,
            Self::Stranger => &PARTIES.stranger,
        }
    }

    /// The header that it writes for this kind.
    pub fn header(self, kind: Kind) -> String {
        format!(r#"{{"alg":"EdDSA","typ":"{}","kid":"{}"}}"#, kind.name(), self.key().id())
    }

    fn signing_key(self) -> &'static SigningKey {
        static KEYS: LazyLock<[SigningKey; 4]> = LazyLock::new(|| {
            [DEVICE_SEED, SERVER_SEED, SIGNING_SEED, STRANGER_SEED].map(|seed| SigningKey::from_bytes(&seed))
        });
        match self {
            Self::Device => &KEYS[0],
            Self::Server => &KEYS[1],
            Self::Signing => &KEYS[2],
            Self::Stranger => &KEYS[3],
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

/// The tokens in `docs/protocol.md`, with their kinds; of some kinds there is none.
pub fn genuine_tokens() -> &'static [(Kind, Token)] {
    static TOKENS: LazyLock<Vec<(Kind, Token)>> = LazyLock::new(|| {
        let document = include_str!("../../docs/protocol.md");
        let outside = |character: char| !(character.is_ascii_alphanumeric() || "_-.".contains(character));
        let words = document.split(outside).filter(|word| word.starts_with("eyJ") && word.split('.').count() == 3);
        let kind = |word: &str| Kind::ALL.into_iter().find(|kind| word.starts_with(&start_of_header(*kind)));
        let tokens = words.map(|word| (kind(word).expect("a kind that is known"), Token::from_text(word)));
        let tokens: Vec<_> = tokens.collect();
        assert_eq!(tokens.len(), 7, "what the worked example signs");
        tokens
    });
    &TOKENS
}

/// The token in `docs/protocol.md` of this kind.
///
/// # Panics
/// There is none.
pub fn genuine(kind: Kind) -> &'static Token {
    let found = genuine_tokens().iter().find(|(found, _)| *found == kind);
    &found.expect("the worked example has one").1
}

/// Whether a token is one of those in `docs/protocol.md`, byte for byte.
pub fn is_genuine(token: &Token) -> bool {
    genuine_tokens().iter().any(|(_, genuine)| genuine == token)
}
