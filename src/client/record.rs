//! What the journal holds: the exact bytes that were signed, and small facts of this device's own.

use serde::{Deserialize, Serialize};

use crate::protocol::sync::{Balance, ChainHead};
use crate::protocol::{AccountId, GameId, Grant, ItemId, KeyId, OrderId, Token, UnixSeconds};

/// One record of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// Whose journal this is; always the first.
    Identity(Identity),
    /// An order of this device, as signed.
    Order(Signed),
    /// A receipt, as the server signed it.
    Receipt(Signed),
    /// Items that the game used up.
    Consumed(Consumed),
    /// What the last sync said besides its receipts.
    Synced(Synced),
    /// What an order gives before its receipt; written together with the order.
    Provisional(Provisional),
}

/// A signed text, and this device's seal on it: what it says in short, for the next start, which then need not verify
/// the signature again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The signed text.
    pub token: Token,
    /// The seal; empty if there is none.
    pub seal: Vec<u8>,
}

impl From<Token> for Signed {
    /// A text without a seal.
    fn from(token: Token) -> Self {
        Self { token, seal: Vec::new() }
    }
}

/// Whose journal this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The game.
    pub game: GameId,
    /// The device.
    pub device: KeyId,
    /// The account.
    pub account: AccountId,
}

/// What an order gives before its receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provisional {
    /// The order.
    pub order: OrderId,
    /// What it gives until a receipt says otherwise.
    pub grants: Vec<Grant>,
}

/// Items that the game used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumed {
    /// The item.
    pub item: ItemId,
    /// How many.
    pub quantity: u64,
    /// When, by the device's clock.
    pub at: UnixSeconds,
}

/// What a sync said besides its receipts. Only for showing and for asking again: nothing is granted on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// The place in the feed up to which this device has everything.
    pub cursor: u64,
    /// The wallet.
    pub wallet: Vec<Balance>,
    /// The server's time.
    pub server_time: UnixSeconds,
    /// What the next order follows, where that is not the last order in this journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<Follow>,
}

/// What the server told a device's next order to follow, because its chain is not the journal's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// That order; none to begin again at number one.
    pub last: Option<ChainHead>,
}

impl Record {
    /// The number that says the record's kind on disk.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Identity(_) => 1,
            Self::Order(_) => 2,
            Self::Receipt(_) => 3,
            Self::Consumed(_) => 4,
            Self::Synced(_) => 5,
            Self::Provisional(_) => 6,
        }
    }

    /// Writes the record's bytes at the end of `bytes`: a seal and a token's text, or JSON.
    pub fn write_payload(&self, bytes: &mut Vec<u8>) {
        let json = match self {
            Self::Order(signed) | Self::Receipt(signed) => return signed.write_payload(bytes),
            Self::Identity(identity) => serde_json::to_writer(bytes, identity),
            Self::Consumed(consumed) => serde_json::to_writer(bytes, consumed),
            Self::Synced(synced) => serde_json::to_writer(bytes, synced),
            Self::Provisional(provisional) => serde_json::to_writer(bytes, provisional),
        };
        json.expect("structs of strings and integers always serialise");
    }

    /// Reads a record of `kind`, or `None` if it is not one that this version writes.
    pub fn read(kind: u8, payload: &[u8]) -> Option<Self> {
        match kind {
            2 => Signed::read(payload).map(Self::Order),
            3 => Signed::read(payload).map(Self::Receipt),
            _ => Self::read_plain(kind, payload),
        }
    }

    /// Reads a record as format 1 wrote it, which knew no seals.
    pub(super) fn read_unsealed(kind: u8, payload: &[u8]) -> Option<Self> {
        let signed = || std::str::from_utf8(payload).ok().map(|text| Signed::from(Token::from_text(text)));
        match kind {
            2 => signed().map(Self::Order),
            3 => signed().map(Self::Receipt),
            _ => Self::read_plain(kind, payload),
        }
    }

    fn read_plain(kind: u8, payload: &[u8]) -> Option<Self> {
        match kind {
            1 => serde_json::from_slice(payload).ok().map(Self::Identity),
            4 => serde_json::from_slice(payload).ok().map(Self::Consumed),
            5 => serde_json::from_slice(payload).ok().map(Self::Synced),
            6 => serde_json::from_slice(payload).ok().map(Self::Provisional),
            _ => None,
        }
    }
}

impl Signed {
    /// Two bytes, little-endian, for the length of the seal; the seal; the text.
    fn write_payload(&self, bytes: &mut Vec<u8>) {
        // A seal holds one short summary, far below the limit; one that did not fit would be left out, not cut.
        let length = u16::try_from(self.seal.len()).unwrap_or(0);
        let seal = &self.seal[..usize::from(length)];
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(seal);
        bytes.extend_from_slice(self.token.as_str().as_bytes());
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let (length, rest) = payload.split_first_chunk::<2>()?;
        let (seal, text) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        Some(Self { token: Token::from_text(std::str::from_utf8(text).ok()?), seal: seal.to_vec() })
    }
}
