//! A finished shop, and its parts, on `bevy_ui`.

use bevy::prelude::*;

/// The shop. Add it after [`IapPlugin`](crate::plugin::IapPlugin).
#[derive(Clone, Copy, Debug, Default)]
pub struct ShopPlugin;

impl Plugin for ShopPlugin {
    fn build(&self, _: &mut App) {}
}
