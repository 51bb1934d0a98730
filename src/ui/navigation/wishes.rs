//! What a player wishes for with keys and gamepads: where the focus is to go, or that the shop is to be left.

use bevy::ecs::system::SystemParam;
use bevy::math::CompassOctant;
use bevy::prelude::*;

/// Where a player wants to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Go(CompassOctant),
    Leave,
}

/// What keys and gamepads wish for in this frame.
#[derive(SystemParam)]
pub(in crate::ui) struct Wishes<'w, 's> {
    keys: Option<Res<'w, ButtonInput<KeyCode>>>,
    #[cfg(feature = "gamepad")]
    gamepads: Query<'w, 's, &'static Gamepad>,
    #[cfg(feature = "gamepad")]
    stick: Local<'s, Stick>,
    #[cfg(not(feature = "gamepad"))]
    _gamepads: Query<'w, 's, ()>,
}

/// A stick that is pushed says one thing, however long it is held there: it must have been let go of before.
#[cfg(feature = "gamepad")]
#[derive(Debug, Default)]
pub(super) struct Stick {
    was_let_go: bool,
}

#[cfg(feature = "gamepad")]
impl Stick {
    /// How far a stick goes when it is pushed, of 1.
    const PUSHED: f32 = 0.5;
    /// How far it still is from the middle when it is let go of.
    const LET_GO: f32 = 0.25;

    fn go(&mut self, to: Vec2) -> Option<CompassOctant> {
        use CompassOctant::{East, North, South, West};
        let far = to.length();
        self.was_let_go |= far < Self::LET_GO;
        if far < Self::PUSHED || !std::mem::take(&mut self.was_let_go) {
            return None;
        }
        let across = to.x.abs() > to.y.abs();
        Some(match (across, if across { to.x } else { to.y } > 0.0) {
            (true, true) => East,
            (true, false) => West,
            (false, true) => North,
            (false, false) => South,
        })
    }
}

impl Wishes<'_, '_> {
    /// What is wished for. A stick has to be let go of on a new page before it is listened to.
    pub(super) fn wish(&mut self, is_new_page: bool) -> Option<Wish> {
        use CompassOctant::{East, North, South, West};
        let keys = [
            (KeyCode::ArrowUp, Wish::Go(North)),
            (KeyCode::ArrowDown, Wish::Go(South)),
            (KeyCode::ArrowLeft, Wish::Go(West)),
            (KeyCode::ArrowRight, Wish::Go(East)),
            (KeyCode::Escape, Wish::Leave),
        ];
        let by_gamepad = self.by_gamepad(is_new_page);
        let by_key = self.keys.as_ref().and_then(|pressed| keys.iter().find(|(key, _)| pressed.just_pressed(*key)));
        by_key.map(|(_, wish)| *wish).or(by_gamepad)
    }

    #[cfg(feature = "gamepad")]
    fn by_gamepad(&mut self, is_new_page: bool) -> Option<Wish> {
        let buttons = [
            (GamepadButton::DPadUp, Wish::Go(CompassOctant::North)),
            (GamepadButton::DPadDown, Wish::Go(CompassOctant::South)),
            (GamepadButton::DPadLeft, Wish::Go(CompassOctant::West)),
            (GamepadButton::DPadRight, Wish::Go(CompassOctant::East)),
            (GamepadButton::East, Wish::Leave),
        ];
        if is_new_page {
            *self.stick = Stick::default();
        }
        let sticks = self.gamepads.iter().map(Gamepad::left_stick);
        let farthest = sticks.max_by(|one, other| one.length().total_cmp(&other.length()));
        let by_stick = self.stick.go(farthest.unwrap_or_default()).map(Wish::Go);
        let pressed = |button| self.gamepads.iter().any(|gamepad| gamepad.just_pressed(button));
        buttons.iter().find(|(button, _)| pressed(*button)).map(|(_, wish)| *wish).or(by_stick)
    }

    #[cfg(not(feature = "gamepad"))]
    fn by_gamepad(&mut self, _: bool) -> Option<Wish> {
        None
    }
}
