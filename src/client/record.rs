//! What the journal holds: the exact bytes that were signed, and small facts of this device's own.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::protocol::allowance::AllowanceUse;
use crate::protocol::sync::{Balance, ChainHead};
use crate::protocol::{AccountId, GameId, Grant, ItemId, KeyId, Micros, OrderId, Token, UnixSeconds};

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
    /// A list of the server's keys, as a root signed it.
    Keys(Token),
    /// What the device may spend offline, and how much of it is spent.
    Allowance(SavedAllowance),
    /// Items that the game used up, as this device signed it.
    Consumption(Token),
    /// What became of a consumption of this or another device, as the server signed it.
    ConsumptionReceipt(Token),
    /// What is used up by the feed up to a place.
    Counted(Counted),
    /// Which account the device belongs to from here on, as the server signed it.
    Account(Token),
}

/// A signed text, and this device's seal on it: what it says in short, for the next start, which then need not verify
/// the signature again. What was read shares its bytes with what was read around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Two bytes, little-endian, for the length of the seal; the seal; the text.
    payload: Bytes,
    /// Where the text begins.
    text: usize,
}

impl From<Token> for Signed {
    /// A text without a seal.
    fn from(token: Token) -> Self {
        Self::new(&[], token.as_str())
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
    /// The allowance that the order was made within, and how much of it is spent then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowance: Option<AllowanceUse>,
}

/// What the device may spend offline, and how much of it was spent by the orders before this record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedAllowance {
    /// The allowance, as the server signed it.
    pub token: Token,
    /// How much is spent, in micros.
    pub spent: Micros,
    /// By how many orders.
    pub orders: u64,
}

/// Items that the game used up without a server: they count on this device alone. Journals of before consumptions were
/// signed hold them too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumed {
    /// The item.
    pub item: ItemId,
    /// How many.
    pub quantity: u64,
    /// When, by the device's clock.
    pub at: UnixSeconds,
}

/// What is used up by the feed up to a place: in a journal that was written anew in the place of all consumptions until
/// then, and with nothing used where the feed begins again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The place.
    pub feed: u64,
    /// How many of each item.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub used: BTreeMap<ItemId, u64>,
    /// The highest number of a consumption of this device.
    pub consumed_sequence: u64,
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
    /// The highest number of a consumption of this device, where that is above all in this journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumed_sequence: Option<u64>,
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
            Self::Keys(_) => 7,
            Self::Allowance(_) => 8,
            Self::Consumption(_) => 9,
            Self::ConsumptionReceipt(_) => 11,
            Self::Counted(_) => 12,
            Self::Account(_) => 10,
        }
    }

    /// Writes the record's bytes at the end of `bytes`: a seal and a token's text, or JSON.
    pub fn write_payload(&self, bytes: &mut Vec<u8>) {
        let json = match self {
            Self::Order(signed) | Self::Receipt(signed) => return bytes.extend_from_slice(&signed.payload),
            Self::Keys(token) | Self::Account(token) | Self::Consumption(token) | Self::ConsumptionReceipt(token) => {
                return bytes.extend_from_slice(token.as_str().as_bytes());
            }
            Self::Identity(identity) => serde_json::to_writer(bytes, identity),
            Self::Consumed(consumed) => serde_json::to_writer(bytes, consumed),
            Self::Synced(synced) => serde_json::to_writer(bytes, synced),
            Self::Provisional(provisional) => serde_json::to_writer(bytes, provisional),
            Self::Allowance(allowance) => serde_json::to_writer(bytes, allowance),
            Self::Counted(counted) => serde_json::to_writer(bytes, counted),
        };
        json.expect("structs of strings and integers always serialise");
    }

    /// Reads a record of `kind`, or `None` if it is not one that this version writes.
    pub fn read(kind: u8, payload: Bytes) -> Option<Self> {
        match kind {
            2 => Signed::read(payload).map(Self::Order),
            3 => Signed::read(payload).map(Self::Receipt),
            _ => Self::read_plain(kind, &payload),
        }
    }

    /// Reads a record as format 1 wrote it, which knew no seals.
    pub(super) fn read_unsealed(kind: u8, payload: &[u8]) -> Option<Self> {
        let signed = || std::str::from_utf8(payload).ok().map(|text| Signed::new(&[], text));
        match kind {
            2 => signed().map(Self::Order),
            3 => signed().map(Self::Receipt),
            _ => Self::read_plain(kind, payload),
        }
    }

    fn read_plain(kind: u8, payload: &[u8]) -> Option<Self> {
        let token = || std::str::from_utf8(payload).ok().map(Token::from_text);
        match kind {
            1 => serde_json::from_slice(payload).ok().map(Self::Identity),
            4 => serde_json::from_slice(payload).ok().map(Self::Consumed),
            5 => serde_json::from_slice(payload).ok().map(Self::Synced),
            6 => serde_json::from_slice(payload).ok().map(Self::Provisional),
            8 => serde_json::from_slice(payload).ok().map(Self::Allowance),
            7 => token().map(Self::Keys),
            9 => token().map(Self::Consumption),
            11 => token().map(Self::ConsumptionReceipt),
            12 => serde_json::from_slice(payload).ok().map(Self::Counted),
            10 => token().map(Self::Account),
            _ => None,
        }
    }
}

impl Signed {
    /// A text and the seal on it, which is empty if there is none.
    pub fn new(seal: &[u8], text: &str) -> Self {
        // A seal holds one short summary, far below the limit; one that did not fit would be left out, not cut.
        let (length, seal) = u16::try_from(seal.len()).map_or((0, &[][..]), |length| (length, seal));
        let payload = [&length.to_le_bytes(), seal, text.as_bytes()].concat();
        Self { text: payload.len() - text.len(), payload: payload.into() }
    }

    /// The seal; empty if there is none.
    pub fn seal(&self) -> &[u8] {
        &self.payload[2..self.text]
    }

    /// The signed text.
    pub fn token(&self) -> Token {
        // It was text when it was read.
        Token::from_text(std::str::from_utf8(&self.payload[self.text..]).unwrap_or_default())
    }

    fn read(payload: Bytes) -> Option<Self> {
        let length = payload.first_chunk::<2>()?;
        let text = 2 + usize::from(u16::from_le_bytes(*length));
        std::str::from_utf8(payload.get(text..)?).ok()?;
        Some(Self { payload, text })
    }
}
