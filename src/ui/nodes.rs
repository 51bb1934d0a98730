//! Boxes and buttons that the shop's panel and the developers' have in common.

use bevy::prelude::*;
use bevy::ui_widgets::Button;

use super::navigation::Control;
use super::skin::{Ink, Skin};

/// What is below the head of a panel: it takes the room that is left, and scrolls.
pub(crate) fn body() -> Node {
    Node {
        flex_direction: FlexDirection::Column,
        align_items: AlignItems::Start,
        flex_grow: 1.0,
        flex_basis: px(0),
        min_height: px(0),
        overflow: Overflow::scroll_y(),
        ..default()
    }
}

/// A row that goes on below. It is as wide as it may be, since how high it is follows from that.
pub(crate) fn wrapped() -> Node {
    Node {
        width: percent(100),
        flex_wrap: FlexWrap::Wrap,
        align_items: AlignItems::Center,
        flex_shrink: 0.0,
        ..default()
    }
}

/// The same, with its things as far apart as they can be.
pub(crate) fn spread() -> Node {
    Node { justify_content: JustifyContent::SpaceBetween, ..wrapped() }
}

/// A button with a text on it.
pub(crate) fn text_button(does: impl Bundle, skin: Skin, text: impl Bundle, ink: Ink) -> impl Bundle {
    let centre = Node {
        flex_direction: FlexDirection::Column,
        justify_content: JustifyContent::Center,
        align_items: AlignItems::Center,
        ..default()
    };
    (does, skin, Button, Control, centre, children![(text, ink, Pickable::IGNORE)])
}
