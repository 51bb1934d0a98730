//! What the panel's controls are called and what they do, and how a page is drawn along.

use bevy::clipboard::Clipboard;
use bevy::prelude::*;
use bevy::ui::Pressed;
use bevy::ui_widgets::{Activate, ScrollArea};

use crate::plugin::Store;
use crate::protocol::OrderId;
use crate::ui::navigation::Control;
use crate::ui::parts::Part;
use crate::ui::shop::ShopCommand;
use crate::ui::skin::{Ink, Skin, Tone};
use crate::ui::truth::Truth;
use crate::ui::words::{Words, arguments};

/// What a control does when it is pressed.
#[derive(Component, Clone, Debug, PartialEq, Eq)]
pub(in crate::ui) enum Does {
    Turn(ShopCommand),
    Copy(OrderId),
}

/// Says that a receipt was copied, or why not.
#[derive(Component, Debug)]
pub(in crate::ui) struct Copied(pub(super) OrderId);

impl Does {
    /// What a screen reader calls it; `visible` is what is written on it.
    pub(in crate::ui) fn label(&self, visible: Option<&Part>, truth: Truth<'_>) -> String {
        let words = truth.words;
        let said = |part: &Part| truth.said(part).text;
        match self {
            Self::Turn(ShopCommand::Show(product)) => {
                let name = product.to_string();
                let (title, price, owned) = (Part::Title(name.clone()), Part::Price(name.clone()), Part::Owned(name));
                let places = [("title", title), ("price", price), ("owned", owned)];
                let places = places.map(|(name, part)| (name, said(&part).into()));
                words.say_with("shop-details", &arguments(places))
            }
            Self::Copy(order) => {
                format!("{}. {}", words.say("history-copy"), said(&Part::Ordered(*order)))
            }
            Self::Turn(_) => visible.map(said).unwrap_or_default(),
        }
    }
}

/// How far a finger moves before it scrolls, in logical pixels, and presses no longer.
const SCROLLS_FROM: f32 = 8.0;

/// A page of this shop.
type IsPage = (With<ScrollArea>, With<Skin>);

/// A finger, or the mouse, draws a page along.
pub(in crate::ui) fn scroll_by_drag(
    drag: On<Pointer<Drag>>,
    controls: Query<(), (With<Control>, With<Pressed>)>,
    mut pages: Query<(&ComputedNode, &mut ScrollPosition), IsPage>,
    mut commands: Commands,
) {
    if drag.distance.length() < SCROLLS_FROM {
        return;
    }
    if controls.contains(drag.entity) {
        commands.entity(drag.entity).remove::<Pressed>();
    }
    if let Ok((node, mut position)) = pages.get_mut(drag.entity) {
        let most = (node.content_size().y - node.size().y).max(0.0) * node.inverse_scale_factor();
        position.y = (position.y - drag.delta.y).clamp(0.0, most);
    }
}

/// A control was pressed.
pub(in crate::ui) fn act(
    pressed: On<Activate>,
    controls: Query<&Does>,
    store: Res<Store>,
    words: Res<Words>,
    mut clipboard: Option<ResMut<Clipboard>>,
    mut remarks: Query<(&Copied, &mut Text, &mut Ink)>,
    mut turns: MessageWriter<ShopCommand>,
) {
    match controls.get(pressed.entity) {
        Ok(Does::Turn(command)) => {
            turns.write(command.clone());
        }
        Ok(Does::Copy(order)) => {
            let receipt = store.receipts().iter().rev().find(|receipt| receipt.claims.order == *order);
            let copied = match (&mut clipboard, receipt) {
                (Some(clipboard), Some(receipt)) => {
                    clipboard.set_text(receipt.token.as_str().to_owned()).map_err(|error| error.to_string())
                }
                (None, Some(_)) => Err("bevy_clipboard".to_owned()),
                (_, None) => Err(words.say("history-no-receipt")),
            };
            for (_, mut text, mut ink) in remarks.iter_mut().filter(|(copied, ..)| copied.0 == *order) {
                (text.0, ink.tone) = match &copied {
                    Ok(()) => (words.say("history-copied"), Tone::Good),
                    Err(reason) => {
                        let places = arguments([("reason", reason.clone().into())]);
                        (words.say_with("history-not-copied", &places), Tone::Warning)
                    }
                };
            }
        }
        Err(_) => {}
    }
}
