//! Run conditions for systems that something bought switches on.

use bevy::ecs::system::Res;

use super::Store;

/// Runs a system while the right called `entitlement` is owned: `double_jump.run_if(owns("double_jump"))`.
pub fn owns(entitlement: &'static str) -> impl FnMut(Option<Res<Store>>) -> bool + Clone {
    move |store: Option<Res<Store>>| store.is_some_and(|store| store.owns(entitlement))
}

/// Runs a system once things can be bought: the journal is open for writing and the catalogue is loaded.
pub fn store_ready(store: Option<Res<Store>>) -> bool {
    store.is_some_and(|store| store.is_ready())
}
