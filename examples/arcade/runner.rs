//! The runner, on a board that floats: jumping and falling, and what is worn.

use bevy::prelude::*;
use bevy_iap::prelude::*;

use crate::game::{GROUND, Run};
use crate::light::{Art, CYAN, Effects, GOLD, Glow, Shape};
use crate::sound::Tone;

/// Where on the ground the runner stays while the world moves past.
pub const PLACE: f32 = -320.0;
pub const GRAVITY: f32 = 2600.0;
pub const JUMP: f32 = 970.0;
const AIR_JUMP: f32 = 790.0;

/// The runner's movement, all of it up and down.
#[derive(Resource, Default)]
pub struct Runner {
    height: f32,
    velocity: f32,
    jumped_twice: bool,
    /// Seconds for which a jump that was asked for is still made, so that one asked for too early counts.
    pub wants_to_jump: f32,
    /// Seconds for which nothing hurts.
    pub protected: f32,
}

impl Runner {
    /// A little smaller than the body, so that near misses are misses.
    pub const HALF_SIZE: Vec2 = Vec2::new(14.0, 36.0);

    pub fn middle(&self) -> Vec2 {
        Vec2::new(PLACE, GROUND + self.height + 43.0)
    }
}

#[derive(Component)]
pub struct Body;

/// A part that is golden while the golden runner is owned.
#[derive(Component)]
pub struct Worn(Shape);

/// Is seen while this is owned: a part of the runner, or a line of what is written on the screen.
#[derive(Component)]
pub struct SeenWith(pub &'static str);

/// Trail, board, body, arm, head and visor: each shape, and its place.
const PARTS: [(Shape, f32, f32); 6] = [
    ([55.0, 0.0, 1.0, 16.0, 1.0], -70.0, 8.0),
    ([34.0, 0.0, 4.0, 26.0, 1.0], 0.0, 8.0),
    ([2.0, 11.0, 9.0, 40.0, 0.6], 0.0, 37.0),
    ([9.0, 0.0, 4.5, 6.0, 0.6], 14.0, 44.0),
    ([2.0, 0.0, 13.0, 14.0, 0.0], 6.0, 70.0),
    ([4.0, 0.0, 4.5, 8.0, 1.0], 13.0, 71.0),
];
const BUBBLE: Shape = [0.0, 0.0, 58.0, 22.0, -1.0];

pub fn spawn(mut commands: Commands, mut art: Art) {
    commands.spawn((Body, Transform::from_scale(Vec3::splat(1.15)), Visibility::default())).with_children(|body| {
        for (depth, (shape, x, y)) in PARTS.into_iter().enumerate() {
            body.spawn((art.of(shape, CYAN), Worn(shape), Transform::from_xyz(x, y, depth as f32 / 10.0)));
        }
        body.spawn((art.of([8.0, 0.0, 4.0, 14.0, 1.0], GOLD), SeenWith("skin"), Transform::from_xyz(4.0, 91.0, 0.6)));
        body.spawn((art.of(BUBBLE, CYAN), SeenWith("shield"), Transform::from_xyz(2.0, 46.0, 1.0)));
    });
}

/// Shows what is owned, also what is bought during a run.
pub fn dress(
    store: Res<Store>,
    mut art: Art,
    mut worn: Query<(&Worn, &mut MeshMaterial2d<Glow>)>,
    mut seen: Query<(&SeenWith, &mut Visibility, Option<&mut Node>)>,
) {
    let light = if store.owns("skin") { GOLD } else { CYAN };
    for (Worn(shape), mut material) in &mut worn {
        *material = art.of(*shape, light).1;
    }
    for (SeenWith(name), mut visibility, node) in &mut seen {
        let is_owned = store.owns(name) || store.quantity(name) > 0;
        *visibility = if is_owned { Visibility::Inherited } else { Visibility::Hidden };
        if let Some(mut node) = node {
            node.display = if is_owned { Display::Flex } else { Display::None };
        }
    }
}

/// Jumps if that is wanted, and once more in the air if the double jump is owned.
pub fn jump_and_fall(store: Res<Store>, run: Res<Run>, mut runner: ResMut<Runner>, mut effects: Effects) {
    runner.protected -= run.step;
    let in_air = runner.height > 0.0;
    let can_jump = !in_air || (store.owns("double_jump") && !runner.jumped_twice);
    if runner.wants_to_jump > 0.0 && run.crashed_at.is_none() && can_jump {
        runner.velocity = if in_air { AIR_JUMP } else { JUMP };
        runner.jumped_twice = in_air;
        runner.wants_to_jump = 0.0;
        effects.tones.write(Tone::Jump);
    } else if !in_air {
        runner.velocity = 0.0;
    }
    runner.height = (runner.height + (runner.velocity - GRAVITY * run.step / 2.0) * run.step).max(0.0);
    runner.velocity -= GRAVITY * run.step;
    runner.wants_to_jump -= run.step;
}

/// Puts the body where the runner is; it floats, and flickers while nothing can hurt.
pub fn show(run: Res<Run>, runner: Res<Runner>, body: Single<(&mut Transform, &mut Visibility), With<Body>>) {
    let (mut at, mut visibility) = body.into_inner();
    at.translation = Vec3::new(PLACE, GROUND + runner.height + 2.0 * (run.seconds * 6.0).sin(), 10.0);
    at.rotation = Quat::from_rotation_z((runner.velocity / JUMP) * 0.15);
    let is_hidden = run.crashed_at.is_some() || (runner.protected.max(0.0) * 9.0).fract() > 0.6;
    visibility.set_if_neq(if is_hidden { Visibility::Hidden } else { Visibility::Inherited });
}
