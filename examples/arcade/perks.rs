//! From what was bought to what the runner can do, and from crashes to shields used up.

use bevy::prelude::*;
use bevy_iap::prelude::*;

use crate::game::{Perks, ShieldUsed};

/// Keeps the game's perks in step with the store.
pub fn plugin(app: &mut App) {
    let use_up_shields = use_up_shields.run_if(on_message::<ShieldUsed>);
    let wear_what_is_owned = wear_what_is_owned.run_if(resource_changed::<Store>);
    app.add_systems(Update, (use_up_shields, wear_what_is_owned).chain());
}

/// Runs when the store changed. The game hears of it only where a perk is another one.
fn wear_what_is_owned(store: Res<Store>, mut perks: ResMut<Perks>) {
    perks.set_if_neq(Perks {
        double_jump: store.owns("double_jump"),
        skin: store.owns("skin"),
        shields: u32::try_from(store.quantity("shield")).unwrap_or(u32::MAX),
        day_pass: store.owns("day_pass"),
    });
}

fn use_up_shields(mut used: MessageReader<ShieldUsed>, mut store: ResMut<Store>) {
    for _ in used.read() {
        if let Err(error) = store.consume("shield", 1) {
            warn!("the shield stays: {error}");
        }
    }
}
