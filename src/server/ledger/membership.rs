//! Which device belongs to which account: what a device asks about that, and what becomes of it.
//!
//! What is here is plain data and what is decided from it, so every engine decides it alike.

use thiserror::Error;

use super::consumption::Items;
use super::{LedgerError, OrderId, TransferId};
use crate::protocol::account::{DeviceEntry, DeviceName, IssuedLinkCode, LinkCode};
use crate::protocol::consumption::{ConsumptionReason, ConsumptionReceipt, ConsumptionStatus};
use crate::protocol::sync::ChainHead;
use crate::protocol::{
    AccountId, ConsumptionId, Currency, ItemId, KeyId, PublicKey, Reason, Receipt, Sha256, Token, UnixSeconds,
};
use crate::server::limits::LimitError;
use crate::server::signing::Signer;

/// How many purchases move to another account at once, at most.
pub(crate) const MOST_MOVED: usize = 10_000;

/// How many receipts may be in the feed of an account whose purchases move: all of them are looked at.
pub(crate) const MOST_LOOKED_AT: u64 = 100_000;

/// How many times as many devices as an account may have may ever have joined it.
const EVER: u32 = 5;

/// How many devices an account may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountRules {
    /// The most devices that are not revoked, from 1 to a hundred. Ten unless it is set. At most five times as many may
    /// ever join an account.
    pub devices: u32,
}

impl Default for AccountRules {
    fn default() -> Self {
        Self { devices: 10 }
    }
}

impl AccountRules {
    /// The most devices that can be allowed.
    pub(crate) const MOST_DEVICES: u32 = 100;

    /// The same rules, if a server can keep all of them.
    pub(crate) fn checked(self) -> Result<Self, LimitError> {
        let range = 1..=Self::MOST_DEVICES;
        let told = format_args!("{} to {}", range.start(), range.end());
        LimitError::check("devices_per_account", range.contains(&self.devices), self.devices, told)?;
        Ok(self)
    }

    /// Whether there is room for another device beside those that an account has.
    pub(crate) fn have_room(&self, members: &[Member]) -> bool {
        let live = members.iter().filter(|member| !member.is_revoked()).count();
        u32::try_from(live).is_ok_and(|live| live < self.devices)
    }

    /// Whether another device may join an account that so many `ever` joined, the one that opened it among them.
    pub(crate) fn allow_another(&self, ever: u64) -> bool {
        ever < u64::from(self.devices.saturating_mul(EVER))
    }
}

/// Somebody whom the game's own login knows: a digest of who, so that nothing personal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Login(pub Sha256);

impl Login {
    /// The subject of an issuer.
    pub fn new(issuer: &str, subject: &str) -> Self {
        Self(Sha256::of(format!("{issuer}\0{subject}")))
    }
}

/// What a device asks about its account, once it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountWish {
    /// The device.
    pub device: KeyId,
    /// The digest of the question's token, by which it is known when it is sent again.
    pub question: Sha256,
    /// What it asks.
    pub change: AccountChange,
}

/// What a device can ask about its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountChange {
    /// Nothing but to be told.
    Show,
    /// A code with which another device joins the account.
    LinkCode,
    /// To join the account that made this code.
    JoinByCode(LinkCode),
    /// To join the account of somebody, or to have the device's own account be theirs.
    SignIn(Login),
    /// To call a device by a name, or by none.
    NameDevice(KeyId, Option<DeviceName>),
    /// To revoke a device.
    RevokeDevice(KeyId),
    /// To go on with another key, whose owner wants to take the device's place in `account`.
    ReplaceKey {
        /// The new key.
        key: PublicKey,
        /// The account that it names.
        account: AccountId,
    },
}

/// The account of a device, once what was asked is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The account.
    pub account: AccountId,
    /// The device, or the one that has taken its place.
    pub device: KeyId,
    /// Whether the account is that of somebody whom the game's login knows.
    pub signed_in: bool,
    /// The account's devices, in the order in which they joined it; of those that were revoked, this one alone.
    pub devices: Vec<DeviceEntry>,
    /// The last order in the device's chain.
    pub chain: Option<ChainHead>,
    /// The code that was asked for.
    pub link_code: Option<IssuedLinkCode>,
    /// Whether anything was changed.
    pub changed: bool,
}

/// Why what a device asks about its account is not done. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Denied {
    /// The question was asked before, and would change something now.
    #[error("this was asked before and is not done again, whatever became of it; ask anew")]
    AskedBefore,
    /// The device was revoked.
    #[error("the device {0} was revoked; it buys nothing and hears nothing any more")]
    Revoked(KeyId),
    /// A frozen device lets nobody join.
    #[error("the device {0} is frozen, so it gets no link code; ask the operator of the store")]
    Frozen(KeyId),
    /// The account has no such device.
    #[error("the account has no device {0}; ask which it has")]
    NotYourDevice(KeyId),
    /// There is no room in the account for another device.
    #[error("the account has as many devices as it may; revoke one of them first")]
    TooManyDevices,
    /// Too many devices have joined the account.
    #[error("too many devices have joined this account; ask the operator of the store")]
    TooManyEver,
    /// There is too much to be moved.
    #[error("what was bought on this device is too much to be moved at once; ask the operator of the store")]
    TooManyPurchases,
    /// No code like this is good now.
    #[error("no link code like this is good now: it is mistyped, used, replaced or too old; make another one")]
    WrongLinkCode,
    /// The account is somebody else's.
    #[error("this account belongs to another player; use another data folder for each player")]
    OtherLogin,
    /// The key is enrolled already.
    #[error("the key {0} is enrolled already; make another one")]
    KeyTaken(KeyId),
    /// The new key names another account than the device's.
    #[error("the new key names the account {named}, and the device belongs to {account}")]
    WrongAccount {
        /// The account that it names.
        named: AccountId,
        /// The account that the device belongs to.
        account: AccountId,
    },
}

/// Why what a device asks about its account was not done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ManageError {
    /// It is not to be done.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The books could not be read or written. The same may be asked again.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A device as a member of its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: KeyId,
    pub(crate) account: AccountId,
    /// How many have joined the account before it.
    pub(crate) place: i64,
    pub(crate) name: Option<DeviceName>,
    pub(crate) enrolled_at: UnixSeconds,
    pub(crate) frozen_at: Option<UnixSeconds>,
    pub(crate) revoked_at: Option<UnixSeconds>,
    pub(crate) replaced_by: Option<KeyId>,
    /// The last order that its chain holds.
    pub(crate) chain: Option<ChainHead>,
}

impl Member {
    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked_at.is_some()
    }

    fn entry(&self) -> DeviceEntry {
        DeviceEntry {
            id: self.id,
            name: self.name.clone(),
            enrolled_at: self.enrolled_at,
            revoked: self.is_revoked(),
            frozen: self.frozen_at.is_some(),
        }
    }
}

/// The list of an account's devices that `asker` is told: one that was revoked is told of itself alone.
pub(crate) fn told(asker: KeyId, mut members: Vec<Member>) -> Vec<DeviceEntry> {
    let alone = members.iter().any(|member| member.id == asker && member.is_revoked());
    members.retain(|member| member.id == asker || !alone && !member.is_revoked());
    members.sort_by_key(|member| (member.place, member.revoked_at.is_none(), member.enrolled_at, member.id));
    members.iter().map(Member::entry).collect()
}

/// What has moved into an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrivals {
    /// How many moves led into it.
    pub(crate) moves: u64,
    /// How many devices these were of.
    pub(crate) devices: u64,
}

/// How many devices have ever joined an account: the one that opened it, those that moved into it, and those that took
/// the place of another. Nobody uses up more than one place by coming and going.
pub(crate) fn ever(arrivals: Arrivals, members: &[Member]) -> u64 {
    let replaced = members.iter().filter(|member| member.replaced_by.is_some()).count();
    arrivals.devices.saturating_add(1).saturating_add(replaced as u64)
}

/// A link code that lives, or has ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkCodeRecord {
    pub(crate) account: AccountId,
    pub(crate) sha256: Sha256,
    pub(crate) expires_at: UnixSeconds,
}

/// A code that nobody has guessed, from the server's random source.
pub(crate) fn random_code(signer: &mut Signer) -> Result<LinkCode, LedgerError> {
    let [.., a, b, c, d, e] = signer.next_id()?.0;
    Ok(LinkCode::new([a, b, c, d, e]))
}

/// A device went from one account to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) device: KeyId,
    /// Its number among those of the device: 1, 2, 3 …
    pub(crate) number: i64,
    pub(crate) from: AccountId,
    pub(crate) to: AccountId,
    /// How many have joined `to` before.
    pub(crate) place: i64,
    /// How many orders the device's chain held: those after it are of the new account.
    pub(crate) sequence: u64,
    /// Whether what was bought moved along, so that `from` is closed.
    pub(crate) closing: bool,
    /// The code that it has joined by.
    pub(crate) code: Option<Sha256>,
    pub(crate) at: UnixSeconds,
}

/// What moves along with the last device of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Belongings {
    /// The orders, and the place in the feed of the receipt that says so.
    pub(crate) orders: Vec<(OrderId, u64)>,
    /// What was used up of them, signed: a receipt for each item, after those of the orders.
    pub(crate) used: Vec<(ConsumptionReceipt, Token)>,
    /// The lots that are open, and those that have paid for the orders.
    pub(crate) lots: Vec<(TransferId, Currency)>,
    /// The operator's holds that are pending.
    pub(crate) holds: Vec<super::OperationId>,
}

/// A device that takes the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Successor {
    pub(crate) key: PublicKey,
    pub(crate) member: Member,
}

/// What is to be written about devices and their accounts, with the rest of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MembershipChanges {
    /// A device that moves, and what moves along.
    pub(crate) joined: Option<(Move, Belongings)>,
    pub(crate) successor: Option<Successor>,
    /// Devices that are revoked: since when, and by which other one they are replaced.
    pub(crate) revoked: Vec<(KeyId, UnixSeconds, Option<KeyId>)>,
    pub(crate) named: Vec<(KeyId, Option<DeviceName>)>,
    /// Whose account it is from now on, and since when.
    pub(crate) login: Option<(Login, AccountId, UnixSeconds)>,
    /// Accounts whose link code is good no longer. Done before a new one is written.
    pub(crate) void_codes: Vec<AccountId>,
    pub(crate) link_code: Option<LinkCodeRecord>,
    /// How long the feeds of accounts are whose devices have changed.
    pub(crate) feeds: Vec<(AccountId, u64)>,
    /// The question that was asked, which changes nothing from now on.
    pub(crate) question: Option<Sha256>,
}

/// The receipt, not yet signed, that tells an account that an order is its own now. `last` is what the account from
/// which it comes was told last.
pub(crate) fn moved_receipt(
    last: Receipt,
    account: &AccountId,
    feed: u64,
    signer: &mut Signer,
    now: UnixSeconds,
) -> Result<Receipt, LedgerError> {
    Ok(Receipt {
        id: signer.next_id()?,
        server: signer.server(),
        account: account.clone(),
        issued_at: now,
        feed,
        reason: Some(Reason::Moved),
        ..last
    })
}

/// The receipts, signed, that tell at the places after `feed` what was used up of what has moved.
pub(crate) fn used_receipts(
    used: Items,
    joined: &Move,
    feed: u64,
    signer: &mut Signer,
) -> Result<Vec<(ConsumptionReceipt, Token)>, LedgerError> {
    let used = used.into_iter().filter(|(_, quantity)| *quantity > 0);
    let receipts = used.zip(feed.saturating_add(1)..).map(|((item, quantity), feed)| {
        let (consumption, consumption_sha256) = used_before(&joined.device.to_string(), joined.number, &item);
        Ok(ConsumptionReceipt {
            id: signer.next_id()?,
            server: signer.server(),
            game: signer.game.clone(),
            account: joined.to.clone(),
            issued_at: joined.at,
            feed,
            consumption,
            consumption_sha256,
            device: joined.device,
            item,
            quantity,
            status: ConsumptionStatus::Consumed,
            reason: Some(ConsumptionReason::Moved),
        })
    });
    let receipts = receipts.collect::<Result<Vec<_>, LedgerError>>()?;
    let tokens = signer.sign_consumptions(&receipts)?;
    Ok(receipts.into_iter().zip(tokens).collect())
}

/// What names all that was used up of an item before the move of this number of a device: nobody has signed it in one.
pub(crate) fn used_before(device: &str, number: i64, item: &ItemId) -> (ConsumptionId, Sha256) {
    let sha256 = Sha256::of(format!("used before\0{device}\0{number}\0{item}"));
    let mut id = [0; 16];
    id.copy_from_slice(&sha256.0[..16]);
    (ConsumptionId(id), sha256)
}

/// The number of orders in a chain.
pub(crate) fn sequence(chain: Option<ChainHead>) -> u64 {
    chain.map_or(0, |head| head.sequence)
}
