//! The focus, which what is laid over the game takes, and gives back when it is gone.

use bevy::ecs::system::SystemParam;
use bevy::input_focus::{FocusCause, InputFocus};
use bevy::prelude::*;

/// The focus, and what can have it.
#[derive(SystemParam)]
pub(crate) struct Focus<'w, 's> {
    focus: ResMut<'w, InputFocus>,
    entities: Query<'w, 's, ()>,
    parents: Query<'w, 's, &'static ChildOf>,
}

impl Focus<'_, '_> {
    /// What has it.
    pub(crate) fn get(&self) -> Option<Entity> {
        self.focus.get()
    }

    /// Gives it to something, or takes it from everything.
    pub(crate) fn give(&mut self, to: Option<Entity>) {
        match to {
            Some(entity) => self.focus.set(entity, FocusCause::Navigated),
            None => self.focus.clear(),
        }
    }

    /// Gives it back to what had it before `panel` was there, if that still is. What the game has moved to something of
    /// its own meanwhile stays there.
    pub(crate) fn give_back(&mut self, before: Option<Entity>, panel: Entity) {
        let is_in_panel = |entity| self.parents.iter_ancestors(entity).any(|ancestor| ancestor == panel);
        let is_elsewhere = |entity| self.entities.contains(entity) && !is_in_panel(entity);
        if !self.get().is_some_and(is_elsewhere) {
            self.give(before.filter(|entity| self.entities.contains(*entity)));
        }
    }
}
