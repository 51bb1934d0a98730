//! The runner: jumping and falling, swinging limbs, and what is worn.

use bevy::prelude::*;
use bevy_iap::prelude::*;
use std::f32::consts::{PI, TAU};

use crate::game::{GROUND, Run};
use crate::light::{Art, Effects, Glow, Light, Shape};
use crate::sound::Tone;

/// Where on the ground the runner stays while the world moves past.
pub const PLACE: f32 = -320.0;
pub const GRAVITY: f32 = 2600.0;
pub const JUMP: f32 = 970.0;
const AIR_JUMP: f32 = 790.0;
/// Distance of two steps, one with each leg.
const STRIDE: f32 = 175.0;

/// The runner's movement, all of it up and down.
#[derive(Resource, Default, Clone, Copy)]
pub struct Runner {
    height: f32,
    velocity: f32,
    jumped_twice: bool,
    /// Seconds for which a jump that was asked for is still made, so that one asked for too early counts.
    pub wants_to_jump: f32,
    /// Seconds for which nothing hurts.
    pub protected: f32,
    stride: f32,
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

/// A part that is golden while the golden skin is owned.
#[derive(Component)]
pub struct Worn(Shape);

/// A part that is seen while this is owned.
#[derive(Component)]
pub struct SeenWith(&'static str);

/// A limb that swings this far, at this part of the stride.
#[derive(Component)]
pub struct Joint(f32, f32);

pub fn spawn(mut commands: Commands, art: Res<Art>) {
    let part = |shape: Shape, x: f32, y: f32, depth: f32| {
        (art.of(shape, Light::Cyan), Worn(shape), Transform::from_xyz(x, y, depth))
    };
    commands.spawn((Body, Transform::from_scale(Vec3::splat(1.12)), Visibility::default())).with_children(|body| {
        body.spawn(part(Shape::Torso, 2.0, 41.0, 0.0));
        body.spawn(part(Shape::Head, 6.0, 68.0, 0.1));
        body.spawn(part(Shape::Visor, 11.5, 69.0, 0.15));
        for (phase, depth) in [(0.0, 0.2), (PI, -0.2)] {
            for (swing, y) in [(0.95, 28.0), (-0.8, 54.0)] {
                body.spawn((Joint(swing, phase), Transform::from_xyz(1.0, y, depth), Visibility::default()))
                    .with_child(part(Shape::Limb, 0.0, -12.0, 0.0));
            }
        }
        for (x, y) in [(-3.0, 84.0), (6.0, 89.0), (15.0, 84.0)] {
            body.spawn((art.of(Shape::Dot, Light::Gold), SeenWith("skin"), Transform::from_xyz(x, y, 0.3)));
        }
        body.spawn((art.of(Shape::Bubble, Light::Cyan), SeenWith("shield"), Transform::from_xyz(2.0, 42.0, 1.0)));
    });
}

/// Dresses the runner in what is owned.
pub fn dress(
    store: Res<Store>,
    art: Res<Art>,
    mut worn: Query<(&Worn, &mut MeshMaterial2d<Glow>)>,
    mut seen: Query<(&SeenWith, &mut Visibility)>,
) {
    let light = if store.owns("skin") { Light::Gold } else { Light::Cyan };
    worn.iter_mut().for_each(|(part, mut material)| *material = art.of(part.0, light).1);
    for (SeenWith(name), mut visibility) in &mut seen {
        let is_owned = store.owns(name) || store.quantity(name) > 0;
        *visibility = if is_owned { Visibility::Inherited } else { Visibility::Hidden };
    }
}

/// Jumps if that is wanted, and once more in the air if the double jump is owned.
pub fn jump_and_fall(store: Res<Store>, run: Res<Run>, mut runner: ResMut<Runner>, mut effects: Effects) {
    let (in_air, feet) = (runner.height > 0.0, runner.middle() - Vec2::Y * 43.0);
    let pace = if in_air { 0.12 } else { 1.0 };
    runner.stride = (runner.stride + pace * run.shift() / STRIDE * TAU) % TAU;
    runner.protected -= run.step;
    runner.wants_to_jump -= run.step;
    let can_jump = !in_air || (store.owns("double_jump") && !runner.jumped_twice);
    if runner.wants_to_jump > 0.0 && run.crashed_at.is_none() && can_jump {
        let (velocity, height) = (if in_air { AIR_JUMP } else { JUMP }, runner.height.max(0.01));
        *runner = Runner { velocity, height, jumped_twice: in_air, wants_to_jump: 0.0, ..*runner };
        effects.burst(feet, Light::Cyan, if in_air { 24 } else { 10 }, 280.0, 0.55..0.95);
        effects.tone(Tone::Jump);
    } else if in_air {
        runner.height += runner.velocity * run.step - GRAVITY * run.step * run.step / 2.0;
        runner.velocity -= GRAVITY * run.step;
        if runner.height <= 0.0 {
            *runner = Runner { height: 0.0, velocity: 0.0, jumped_twice: false, ..*runner };
            effects.burst(feet, Light::Cyan, 9, 240.0, 0.03..0.47);
        }
    }
}

pub fn swing_limbs(runner: Res<Runner>, mut joints: Query<(&Joint, &mut Transform)>) {
    for (&Joint(swing, phase), mut at) in &mut joints {
        at.rotation = Quat::from_rotation_z(swing * (runner.stride + phase).sin());
    }
}

/// Puts the body where the runner is; it flickers while nothing can hurt, and leaves a trail.
pub fn show(
    run: Res<Run>,
    runner: Res<Runner>,
    store: Res<Store>,
    mut effects: Effects,
    body: Single<(&mut Transform, &mut Visibility), With<Body>>,
) {
    let (mut at, mut visibility) = body.into_inner();
    let bounce = if runner.height > 0.0 { 0.0 } else { runner.stride.cos().abs() * 3.0 };
    at.translation = Vec3::new(PLACE, GROUND + runner.height + bounce, 10.0);
    at.rotation = Quat::from_rotation_z(-0.10 + (runner.velocity / JUMP) * 0.12);
    let is_hidden = run.crashed_at.is_some() || (runner.protected.max(0.0) * 9.0).fract() > 0.6;
    visibility.set_if_neq(if is_hidden { Visibility::Hidden } else { Visibility::Inherited });
    if run.crashed_at.is_none() {
        let light = if store.owns("skin") { Light::Gold } else { Light::Cyan };
        effects.burst(runner.middle() - Vec2::X * 14.0, light, 1, run.speed, 0.47..0.53);
    }
}
