//! The focus, which what is laid over the game takes, and gives back when it is gone.

use bevy::ecs::system::SystemParam;
use bevy::input_focus::{FocusCause, InputFocus, InputFocusVisible};
use bevy::prelude::*;

/// What had the focus, and whether that was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Had {
    entity: Option<Entity>,
    is_visible: bool,
}

/// The focus, and what can have it.
#[derive(SystemParam)]
pub(crate) struct Focus<'w, 's> {
    focus: ResMut<'w, InputFocus>,
    visible: ResMut<'w, InputFocusVisible>,
    entities: Query<'w, 's, ()>,
    parents: Query<'w, 's, &'static ChildOf>,
}

impl Focus<'_, '_> {
    /// What has it.
    pub(crate) fn get(&self) -> Option<Entity> {
        self.focus.get()
    }

    /// How it is before something is laid over the game.
    pub(crate) fn had(&self) -> Had {
        Had { entity: self.get(), is_visible: self.visible.0 }
    }

    /// Gives it to something, or takes it from everything.
    pub(crate) fn give(&mut self, to: Option<Entity>) {
        match to {
            Some(entity) => self.focus.set(entity, FocusCause::Navigated),
            None => self.focus.clear(),
        }
    }

    /// Gives it back to what had it before `panel` was there, if that still is, and has it seen where it was: a click on the
    /// panel hides it. What the game has moved to something of its own meanwhile stays there.
    pub(crate) fn give_back(&mut self, before: Had, panel: Entity) {
        let is_in_panel = |entity| self.parents.iter_ancestors(entity).any(|ancestor| ancestor == panel);
        let is_elsewhere = |entity| self.entities.contains(entity) && !is_in_panel(entity);
        if !self.get().is_some_and(is_elsewhere) {
            self.visible.0 |= before.is_visible;
            self.give(before.entity.filter(|entity| self.entities.contains(*entity)));
        }
    }
}
