//! The panel for developers: how the store stands, and buttons for what a sandbox can do.
//!
//! It is docked at the right, over the game and over the shop, in the shop's own look, and used by mouse, keyboard and
//! gamepad like the shop; PageUp and PageDown scroll it. It is in English. While it is closed, none of its systems runs.

mod act;
mod journal;
mod layout;
mod said;
mod troubles;

use bevy::prelude::*;

use self::journal::JournalSize;
pub(crate) use self::layout::DevPanelRoot;
use self::troubles::Noted;
use super::control::{SandboxControl, SandboxOutcome};
use super::network::Network;
use crate::plugin::{IapPlugin, Store};
use crate::ui::{ShopPlugin, ShopSystems};

/// How many of the last orders it shows.
pub(super) const ORDERS: usize = 20;
/// How many of the last troubles it shows.
pub(super) const TROUBLES: usize = 10;

/// The panel for developers. Add it after [`IapPlugin`] and, if the game has it, [`ShopPlugin`].
///
/// With a [`SandboxControl`] among the resources it has the sandbox's buttons; without one it shows what there is. Not for
/// what players are given: see [the module](super).
#[derive(Clone, Copy, Debug)]
pub struct DevPanelPlugin {
    /// The key that opens and closes it. F12 by default; none leaves that to [`DevPanel`].
    pub key: Option<KeyCode>,
}

impl Default for DevPanelPlugin {
    fn default() -> Self {
        Self { key: Some(KeyCode::F12) }
    }
}

/// Whether the panel is open. Change it to open or close it.
#[derive(Resource, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DevPanel {
    /// Whether it is open.
    pub is_open: bool,
}

/// A button of the panel. It is pressed by its entity's `Activate`.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[require(crate::ui::Control)]
pub struct DevButton(
    /// What it does.
    pub DevAction,
);

/// What the panel's buttons do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DevAction {
    /// Closes the panel.
    Close,
    /// Stops asking the server, or starts again: [`Store::set_offline`].
    Offline,
    /// Asks the server now: [`Store::sync_now`].
    SyncNow,
    /// Puts the account's id on the clipboard.
    CopyAccount,
    /// Puts the device's id on the clipboard.
    CopyDevice,
    /// Puts the last order's id on the clipboard.
    CopyOrder,
    /// [`SandboxControl::set_network`].
    Network(Network),
    /// [`SandboxControl::move_clock`], in seconds.
    MoveClock(i64),
    /// [`SandboxControl::reset_clock`].
    ResetClock,
    /// [`SandboxControl::decline_orders`], or no longer.
    Decline,
    /// [`SandboxControl::hold_wallet`], or no longer.
    Hold,
    /// [`SandboxControl::refund`], of the last order that is granted.
    Refund,
    /// [`SandboxControl::credit`], of 1.00 in the store's currency.
    Credit,
}

/// A line of text in the panel, which stays true while it is open.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DevLine {
    /// What came of the last button, or of the last thing that the sandbox did.
    Outcome,
    /// How the client and its server stand.
    Connection,
    /// The account's id.
    Account,
    /// The device's id.
    Device,
    /// What the wallet holds.
    Wallet,
    /// How large the journal is.
    Journal,
    /// How the sandbox's network is.
    Network,
    /// By how much the device's clock is off, and whether that is noticed.
    Clock,
    /// One of the last orders; 0 is the latest.
    Order(usize),
    /// One of the last troubles; 0 is the latest.
    Trouble(usize),
}

impl Plugin for DevPanelPlugin {
    fn build(&self, app: &mut App) {
        let Some(journal) = app.get_added_plugins::<IapPlugin>().first().map(|plugin| JournalSize::of(plugin)) else {
            tracing::error!("there is no panel for developers: add `DevPanelPlugin` after `IapPlugin`");
            return;
        };
        crate::dev::warn_of_release("a panel");
        if !app.is_plugin_added::<ShopPlugin>() {
            app.add_plugins(ShopPlugin::default());
        }
        app.insert_resource(journal)
            .init_resource::<DevPanel>()
            .init_resource::<layout::Shown>()
            .init_resource::<Noted>()
            .add_message::<SandboxOutcome>()
            .add_observer(act::act);
        troubles::register(app);
        if let Some(key) = self.key {
            app.add_systems(Update, toggle.run_if(was_pressed(key)).before(ShopSystems::LayOut));
        }
        app.add_systems(
            Update,
            (
                troubles::take_news.run_if(has_news),
                layout::lay_out.run_if(resource_changed::<DevPanel>),
                (journal::ask, layout::scroll).run_if(is_open),
                said::tell.run_if(is_open.and_then(said::is_due)),
            )
                .chain()
                .in_set(ShopSystems::LayOut),
        );
    }
}

fn toggle(mut panel: ResMut<DevPanel>) {
    panel.is_open = !panel.is_open;
}

fn was_pressed(key: KeyCode) -> impl Fn(Option<Res<ButtonInput<KeyCode>>>) -> bool + Clone {
    move |keys| keys.is_some_and(|keys| keys.just_pressed(key))
}

fn is_open(panel: Res<DevPanel>) -> bool {
    panel.is_open
}

fn has_news(control: Option<Res<SandboxControl>>) -> bool {
    control.is_some_and(|control| control.has_news())
}

/// The last order that is granted.
fn last_granted(store: &Store) -> Option<crate::protocol::OrderId> {
    let mut granted = store.orders().rev().filter(|order| order.state == crate::client::OrderState::Granted);
    granted.next().map(|order| order.id)
}
