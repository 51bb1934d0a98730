//! What a card looks like: key and badge, emblem, name, description, price.

use bevy::prelude::*;
use bevy_iap::protocol::{Product, ProductKind};

use crate::look::{QUIET, key, text};
use crate::palette::{CREAM, CYAN, DEEP_NIGHT, GOLD, NIGHT, PEACH};

/// The edge of a card that the mouse is not over.
pub(super) fn resting_edge() -> BorderColor {
    BorderColor::all(CYAN.with_alpha(0.3))
}

/// A product's card. `badge` goes onto the text in which the player's share is told.
pub(super) fn face(
    product: &Product,
    key_name: &str,
    badge: impl Component,
    price: String,
    icon: Handle<Image>,
) -> impl Bundle {
    let frame = Node {
        width: px(212),
        height: px(270),
        flex_direction: FlexDirection::Column,
        align_items: AlignItems::Center,
        padding: px(13).all(),
        border: px(2).all(),
        border_radius: BorderRadius::all(px(12)),
        ..default()
    };
    let top = Node {
        width: percent(100),
        height: px(22),
        justify_content: JustifyContent::SpaceBetween,
        align_items: AlignItems::Center,
        ..default()
    };
    let room = Node { flex_grow: 1.0, ..default() };
    let description = Node { width: percent(100), margin: UiRect::top(px(6)), ..default() };
    let centred = TextLayout::justify(Justify::Center);
    (
        frame,
        BackgroundColor(NIGHT.with_alpha(0.9)),
        resting_edge(),
        children![
            (top, children![key(key_name), (badge, text("", 13.0, CYAN))]),
            emblem(icon, light(product.kind)),
            text(&product.title, 19.0, CREAM),
            (description, text(&product.description, 14.0, QUIET), centred),
            room,
            text(price, 20.0, GOLD),
        ],
    )
}

/// Each kind of product has its own light.
fn light(kind: ProductKind) -> Color {
    match kind {
        ProductKind::Unlock => GOLD,
        ProductKind::Consumable => CYAN,
        ProductKind::Pass { .. } => PEACH,
    }
}

fn emblem(icon: Handle<Image>, light: Color) -> impl Bundle {
    let ring = Node {
        width: px(76),
        height: px(76),
        margin: UiRect::vertical(px(12)),
        justify_content: JustifyContent::Center,
        align_items: AlignItems::Center,
        border: px(2).all(),
        border_radius: BorderRadius::MAX,
        ..default()
    };
    let picture = Node { width: px(36), height: px(36), ..default() };
    (
        ring,
        BorderColor::all(light),
        BackgroundColor(DEEP_NIGHT),
        BoxShadow::new(light.with_alpha(0.45), px(0), px(0), px(1), px(14)),
        children![(picture, ImageNode::new(icon).with_color(light))],
    )
}
