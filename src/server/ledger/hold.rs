//! Holds: money of a wallet that is set aside, and what becomes of it, once.

use super::account::kinds;
use super::{OperationId, TransferId};
use crate::protocol::{AccountId, Currency, UnixSeconds};

kinds! {
    /// What has become of a hold.
    HoldStatus {
        /// Nothing yet.
        Pending = "pending",
        /// It was taken, in full or in part.
        Posted = "posted",
        /// It was given free.
        Voided = "voided",
        /// It ended by itself.
        Expired = "expired",
    }
}

impl serde::Serialize for HoldStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for HoldStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("this is no status of a hold"))
    }
}

/// A hold in the books. Amounts are micros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRecord {
    /// The operation that made it.
    pub id: OperationId,
    /// Whose wallet.
    pub account: AccountId,
    /// The currency.
    pub currency: Currency,
    /// What was set aside.
    pub amount: i64,
    /// When it ends by itself.
    pub expires_at: UnixSeconds,
    /// What has become of it.
    pub status: HoldStatus,
    /// What of it was taken.
    pub posted: i64,
    /// When it was resolved; when it ended, if it expired, whenever that was noticed.
    pub resolved_at: Option<UnixSeconds>,
    /// What each lot gives, in the order of spending.
    pub legs: Vec<(TransferId, i64)>,
}

impl HoldRecord {
    /// Whether it has ended by itself, noticed or not.
    pub fn is_due(&self, now: UnixSeconds) -> bool {
        self.status == HoldStatus::Pending && self.expires_at <= now
    }

    /// The same hold, when it has ended by itself.
    pub fn expired(self) -> Self {
        Self { status: HoldStatus::Expired, resolved_at: Some(self.expires_at), ..self }
    }

    /// What each lot pays when `amount` of what is left is taken: the first lots first.
    pub fn take(&self, amount: i64) -> Vec<(TransferId, i64)> {
        first(&self.rest(), amount).filter(|(_, part)| *part > 0).collect()
    }

    /// What each lot still sets aside while it is pending: what was taken so far, was taken of the first lots first.
    pub fn rest(&self) -> Vec<(TransferId, i64)> {
        let taken = first(&self.legs, self.posted);
        let rest = self.legs.iter().zip(taken).map(|((lot, held), (_, taken))| (*lot, held - taken));
        rest.filter(|(_, part)| *part > 0).collect()
    }

    /// How much all lots still set aside together.
    pub fn rest_amount(&self) -> i64 {
        self.amount.saturating_sub(self.posted)
    }
}

/// How `amount` is taken of `legs`, the first ones first.
fn first(legs: &[(TransferId, i64)], amount: i64) -> impl Iterator<Item = (TransferId, i64)> {
    legs.iter().scan(amount, |left, (lot, held)| {
        let part = (*left).min(*held);
        *left -= part;
        Some((*lot, part))
    })
}
