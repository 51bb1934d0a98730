//! What the buttons do.

use bevy::clipboard::Clipboard;
use bevy::prelude::*;
use bevy::ui_widgets::Activate;

use super::troubles::Noted;
use super::{DevAction, DevButton, DevPanel, last_granted};
use crate::dev::control::SandboxControl;
use crate::plugin::Store;
use crate::protocol::money::MICROS_PER_UNIT;
use crate::protocol::{Micros, Money};

/// A button was pressed.
pub(super) fn act(
    pressed: On<Activate>,
    buttons: Query<&DevButton>,
    control: Option<Res<SandboxControl>>,
    mut panel: ResMut<DevPanel>,
    mut store: ResMut<Store>,
    mut noted: ResMut<Noted>,
    mut clipboard: Option<ResMut<Clipboard>>,
) {
    let Ok(&DevButton(action)) = buttons.get(pressed.entity) else { return };
    let mut copy = |text: Option<String>| match (text, &mut clipboard) {
        (None, _) => noted.not_done("there is nothing to copy yet"),
        (Some(_), None) => noted.not_done("there is no clipboard: `bevy_clipboard` is not among the plugins"),
        (Some(text), Some(clipboard)) => match clipboard.set_text(text.clone()) {
            Ok(()) => noted.done(format!("copied {text}")),
            Err(error) => noted.not_done(format!("not copied: {error}")),
        },
    };
    match action {
        DevAction::Close => panel.is_open = false,
        DevAction::Offline => {
            let offline = !store.is_offline();
            match store.set_offline(offline) {
                Ok(()) => noted.done(if offline { "the game went offline" } else { "the game went online" }),
                Err(error) => noted.not_done(error.to_string()),
            }
        }
        DevAction::SyncNow => {
            store.sync_now();
            noted.done("the server is asked");
        }
        DevAction::CopyAccount => copy(store.account().map(ToString::to_string)),
        DevAction::CopyDevice => copy(store.device().map(|device| device.to_string())),
        DevAction::CopyOrder => copy(store.orders().next_back().map(|order| order.id.to_string())),
        sandboxed => match control {
            Some(control) => operate(sandboxed, &control, &store),
            None => noted.not_done("there is no sandbox: insert its `SandboxControl` as a resource"),
        },
    }
}

/// What only a sandbox can do. It says itself what comes of it.
fn operate(action: DevAction, control: &SandboxControl, store: &Store) {
    match action {
        DevAction::Network(network) => {
            control.set_network(network);
            // What failed before is tried again now, and not in a minute.
            store.sync_now();
        }
        DevAction::MoveClock(seconds) => control.move_clock(seconds),
        DevAction::ResetClock => control.reset_clock(),
        DevAction::Decline => control.decline_orders(!control.declines_orders()),
        DevAction::Hold => control.hold_wallet(!control.holds_wallet()),
        DevAction::Refund => match last_granted(store) {
            Some(order) => control.refund(order),
            None => control.tell("nothing is refunded: no order is granted".to_owned(), false),
        },
        DevAction::Credit => match Micros::new(MICROS_PER_UNIT) {
            Ok(one) => control.credit(Money::new(one, store.currency())),
            Err(error) => control.tell(error.to_string(), false),
        },
        _ => {}
    }
}
