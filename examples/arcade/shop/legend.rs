//! The keys, along the lower edge.

use bevy::prelude::*;

use crate::look::{QUIET, key, text};

const KEYS: [(&str, &str); 5] = [
    ("SPACE", "jump"),
    ("TAB", "open or close the shop"),
    ("1-5", "buy, also while running"),
    ("O", "go offline or back"),
    ("CLICK", "jump, or buy a card"),
];

pub(super) fn plugin(app: &mut App) {
    app.add_systems(Startup, spawn);
}

fn spawn(mut commands: Commands) {
    let line = Node {
        position_type: PositionType::Absolute,
        width: percent(100),
        bottom: px(8),
        justify_content: JustifyContent::Center,
        column_gap: px(28),
        ..default()
    };
    commands.spawn((line, GlobalZIndex(1))).with_children(|line| {
        for (name, does) in KEYS {
            let pair = Node { column_gap: px(8), align_items: AlignItems::Center, ..default() };
            line.spawn((pair, children![key(name), text(does, 14.0, QUIET)]));
        }
    });
}
