//! What the player, or the autopilot, wants the runner to do.

use bevy::prelude::*;

use super::course::Hazard;
use super::runner::{Runner, TIME_TO_APEX};
use super::{Autopilot, Perks, RUNNER_X, Run};

/// A jump asked for a moment too early still happens when the runner lands.
const PATIENCE: f32 = 0.12;
/// A crash is looked at for this long before a key starts the next run.
const PAUSE_AFTER_CRASH: f32 = 0.5;
const AUTOPILOT_PAUSE: f32 = 1.6;

/// The controls of this frame.
#[derive(Resource, Default)]
pub(super) struct Wish {
    /// Seconds for which the runner still wants to jump.
    pub(super) jump: f32,
    pub(super) restart: bool,
}

pub(super) fn read_player(
    keys: Res<ButtonInput<KeyCode>>,
    mouse: Res<ButtonInput<MouseButton>>,
    buttons: Query<&Interaction>,
    time: Res<Time>,
    run: Res<Run>,
    mut wish: ResMut<Wish>,
) {
    let on_a_button = buttons.iter().any(|interaction| *interaction != Interaction::None);
    let clicked = mouse.just_pressed(MouseButton::Left) && !on_a_button;
    let pressed = keys.any_just_pressed([KeyCode::Space, KeyCode::ArrowUp, KeyCode::KeyW]) || clicked;
    wish.jump = if pressed { PATIENCE } else { (wish.jump - time.delta_secs()).max(0.0) };
    wish.restart = pressed && run.since_crash > PAUSE_AFTER_CRASH;
}

/// Jumps so that the highest point is over the obstacle, and twice over a tall one where possible.
pub(super) fn steer_by_itself(
    autopilot: Res<Autopilot>,
    run: Res<Run>,
    perks: Res<Perks>,
    runner: Single<&Runner>,
    hazards: Query<(&Hazard, &Transform)>,
    mut wish: ResMut<Wish>,
) {
    if !autopilot.0 {
        return;
    }
    wish.restart = run.since_crash > AUTOPILOT_PAUSE;
    let seconds_away = |at: &Transform| (at.translation.x - RUNNER_X) / run.speed.max(1.0);
    let ahead = hazards.iter().filter(|(hazard, at)| **hazard != Hazard::Drone && seconds_away(at) > 0.0);
    let Some((hazard, at)) = ahead.min_by(|a, b| a.1.translation.x.total_cmp(&b.1.translation.x)) else {
        return;
    };
    let twice = perks.double_jump && *hazard == Hazard::Tall;
    let lead = TIME_TO_APEX * if twice { 1.55 } else { 1.0 };
    let tops_up = twice && runner.velocity < 60.0;
    if seconds_away(at) < lead && (runner.on_ground() || tops_up) {
        wish.jump = PATIENCE;
    }
}
