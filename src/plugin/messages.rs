//! News for the game, each as a buffered message and as an event for observers.
//!
//! They are wake-ups: the truth is in the [`Store`](super::Store), also for whoever missed one.

use bevy::app::App;
use bevy::ecs::event::Event;
use bevy::ecs::message::Message;
#[cfg(feature = "reflect")]
use bevy::reflect::Reflect;

use crate::client::{AccountTrouble, AccountView, Asked, Connection, OrderState};
use crate::protocol::sync::Balance;
use crate::protocol::{EntitlementId, ItemId, OrderId, ProductId, Sha256};

/// The journal has been read: what was bought before, and what is still on its way, is in the store.
#[derive(Message, Event, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(Reflect))]
pub struct StoreOpened {
    /// Whether this copy of the game may write. If not, nothing can be bought in it.
    pub may_write: bool,
}

/// An order came further on its way.
#[derive(Message, Event, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(Reflect))]
pub struct PurchaseUpdated {
    /// The order.
    pub order: OrderId,
    /// What was ordered.
    pub product: ProductId,
    /// How far it is.
    pub state: OrderState,
    /// Whether what it gives is there already, before any receipt.
    pub provisional: bool,
}

/// What is owned changed.
#[derive(Message, Event, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(Reflect))]
pub struct EntitlementsChanged {
    /// Rights that are owned now and were not.
    pub gained: Vec<EntitlementId>,
    /// Rights that were owned and are not now.
    pub lost: Vec<EntitlementId>,
    /// Items of which there are more or fewer, and rights whose standing or end changed are in neither list.
    pub items: Vec<ItemId>,
}

/// Items that this game used up are back: the server had fewer of them left when it heard of it, since another device of
/// the account was faster, or since what they came from was taken back. Undo what they did, or let the player keep it.
#[derive(Message, Event, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(Reflect))]
pub struct ConsumeRefused {
    /// The item.
    pub item: ItemId,
    /// How many.
    pub quantity: u64,
}

/// The wallet changed.
#[derive(Message, Event, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(Reflect))]
pub struct WalletChanged {
    /// What it holds now, one entry per currency.
    pub wallet: Vec<Balance>,
}

/// The connection to the server changed.
#[derive(Message, Event, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(Reflect))]
pub struct ConnectionChanged {
    /// How it stands now.
    pub connection: Connection,
}

/// What was asked about the account came about, or did not; or (with [`Asked::Nothing`]) the store found by itself that
/// this device belongs to another account now, or was revoked.
#[derive(Message, Event, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(Reflect))]
pub struct AccountUpdated {
    /// What was asked.
    pub asked: Asked,
    /// The account as it is now, or why it is as it was. After [`AccountTrouble::AskedAgain`] another message follows.
    pub outcome: Result<AccountView, AccountTrouble>,
}

/// A catalogue was taken over: the first, or one that changed on disk.
#[derive(Message, Event, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(Reflect))]
pub struct CatalogLoaded {
    /// Its digest.
    pub digest: Sha256,
}

/// A catalogue was refused. If there was one before, it stays.
#[derive(Message, Event, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(Reflect))]
pub struct CatalogFailed {
    /// What is wrong with it, where, and what to write, one mistake a line.
    pub reason: String,
}

/// Something was wrong that no order's state tells: a damaged journal that was mended, a full disk.
#[derive(Message, Event, Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "reflect", derive(Reflect))]
pub struct StoreTrouble {
    /// What, in words.
    pub trouble: String,
}

pub(super) fn register(app: &mut App) {
    app.add_message::<StoreOpened>()
        .add_message::<PurchaseUpdated>()
        .add_message::<EntitlementsChanged>()
        .add_message::<ConsumeRefused>()
        .add_message::<WalletChanged>()
        .add_message::<ConnectionChanged>()
        .add_message::<AccountUpdated>()
        .add_message::<CatalogLoaded>()
        .add_message::<CatalogFailed>()
        .add_message::<StoreTrouble>();
}
