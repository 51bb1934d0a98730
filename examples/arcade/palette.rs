//! The colours that the game and its shop share.

use bevy::prelude::Color;

pub(crate) const DEEP_NIGHT: Color = Color::srgb(0.035, 0.02, 0.10);
pub(crate) const NIGHT: Color = Color::srgb(0.07, 0.04, 0.19);
pub(crate) const VIOLET: Color = Color::srgb(0.27, 0.09, 0.42);
pub(crate) const DUSK: Color = Color::srgb(0.78, 0.20, 0.50);
pub(crate) const PEACH: Color = Color::srgb(1.0, 0.62, 0.42);
pub(crate) const CYAN: Color = Color::srgb(0.25, 0.95, 1.0);
pub(crate) const GOLD: Color = Color::srgb(1.0, 0.80, 0.25);
pub(crate) const AMBER: Color = Color::srgb(1.0, 0.62, 0.12);
pub(crate) const CREAM: Color = Color::srgb(1.0, 0.97, 0.80);
pub(crate) const DANGER: Color = Color::srgb(1.0, 0.20, 0.36);
pub(crate) const MAROON: Color = Color::srgb(0.25, 0.02, 0.12);
