//! The look of everything that the shop puts on the screen: panels, chips and lines of text.

use bevy::prelude::*;

use crate::palette::{CREAM, CYAN, DEEP_NIGHT};

/// What is written in the background.
pub const QUIET: Color = Color::srgb(0.62, 0.62, 0.78);

/// A line of text.
pub fn text(said: impl Into<String>, size: f32, color: Color) -> impl Bundle {
    (Text::new(said), TextFont::from_font_size(size), TextColor(color))
}

/// A dark translucent ground with a neon edge.
pub fn panel(edge: Color) -> impl Bundle {
    (BackgroundColor(DEEP_NIGHT.with_alpha(0.86)), BorderColor::all(edge.with_alpha(0.55)))
}

/// The name of a key, drawn as a key.
pub fn key(name: &str) -> impl Bundle {
    let node = Node {
        padding: UiRect::axes(px(7), px(1)),
        border: px(1).all(),
        border_radius: BorderRadius::all(px(5)),
        ..default()
    };
    (
        node,
        BackgroundColor(CYAN.with_alpha(0.14)),
        BorderColor::all(CYAN.with_alpha(0.8)),
        children![text(name, 14.0, CREAM)],
    )
}

/// Changes a text, if it says something else than before.
pub fn say(text: &mut Mut<Text>, said: impl Into<String>) {
    text.set_if_neq(Text(said.into()));
}
