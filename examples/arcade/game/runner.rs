//! The runner: jumping and falling, swinging limbs and the trail.

use bevy::camera::visibility::NoFrustumCulling;
use bevy::prelude::*;
use std::collections::VecDeque;
use std::f32::consts::{PI, TAU};

use super::art::{Art, CAPE, LIMB, Tint};
use super::controls::Wish;
use super::effects::Effects;
use super::sketch::Sketch;
use super::{GROUND, Perks, RUNNER_X, Run};

pub(super) const GRAVITY: f32 = 2600.0;
pub(super) const JUMP: f32 = 970.0;
pub(super) const TIME_TO_APEX: f32 = JUMP / GRAVITY;
pub(super) const RUNNER_HEIGHT: f32 = 86.0;
const AIR_JUMP: f32 = 790.0;
/// Seconds during which nothing hurts after a shield is used up.
const PROTECTION: f32 = 1.0;
/// Distance of two steps, one with each leg.
const STRIDE: f32 = 175.0;
const BODY_SCALE: f32 = 1.12;
const TRAIL_LENGTH: f32 = 230.0;
/// How many dots the golden runner loses each second.
const GLIMMERS: f32 = 28.0;
const DEPTH: f32 = 10.0;

/// The runner's movement, all of it up and down.
#[derive(Component, Default)]
pub(super) struct Runner {
    height: f32,
    pub(super) velocity: f32,
    jumped_twice: bool,
    invulnerable: f32,
    stride: f32,
    /// How much the last landing or jump deforms the body: wide when positive, tall when negative.
    squash: f32,
}

/// A limb's angle: at rest, how far it swings with the stride and lifts on the way forward.
#[derive(Component)]
pub(super) struct Joint {
    rest: f32,
    swing: f32,
    lift: f32,
    phase: f32,
}

/// Where the runner has been, latest first. Never empty, since an empty mesh cannot be drawn.
#[derive(Component)]
pub(super) struct Trail(VecDeque<Vec2>);

impl Runner {
    /// A little smaller than the body, so that near misses are misses.
    pub(super) const HALF_SIZE: Vec2 = Vec2::new(14.0, 36.0);

    pub(super) fn on_ground(&self) -> bool {
        self.height <= 0.0
    }

    pub(super) fn middle(&self) -> Vec2 {
        self.feet() + Vec2::Y * RUNNER_HEIGHT / 2.0
    }

    pub(super) fn is_invulnerable(&self) -> bool {
        self.invulnerable > 0.0
    }

    pub(super) fn protect(&mut self) {
        self.invulnerable = PROTECTION;
    }

    fn feet(&self) -> Vec2 {
        Vec2::new(RUNNER_X, GROUND + self.height)
    }
}

pub(super) fn spawn(mut commands: Commands, art: Res<Art>, mut meshes: ResMut<Assets<Mesh>>) {
    commands.spawn((Runner::default(), Transform::default(), Visibility::default()));
    let trail = Trail(VecDeque::from([Vec2::new(RUNNER_X, GROUND); 3]));
    let drawn = art.drawn(&meshes.add(ribbon(&trail, Color::NONE, 0.0).into_mesh()));
    commands.spawn((drawn, Transform::from_xyz(0.0, 0.0, DEPTH - 1.0), trail, NoFrustumCulling));
}

/// Gives the runner the body of the chosen skin, and a bubble if there is a shield.
pub(super) fn dress(
    mut commands: Commands,
    art: Res<Art>,
    perks: Res<Perks>,
    runner: Single<Entity, With<Runner>>,
    mut worn: Local<Option<Perks>>,
) {
    if worn.as_ref() == Some(&*perks) {
        return;
    }
    *worn = Some(perks.clone());
    let outfit = if perks.skin { &art.golden } else { &art.plain };
    let mut body = commands.entity(*runner);
    body.despawn_related::<Children>().with_child(art.drawn(&outfit.body));
    let mut add = |meshes: [&Handle<Mesh>; 2], at: Vec3, length: f32, joints: [Joint; 2]| {
        let [upper, lower] = joints;
        body.with_children(|body| {
            let hanging = Transform::from_xyz(0.0, -length, 0.01);
            body.spawn((art.drawn(meshes[0]), upper, Transform::from_translation(at))).with_child((
                art.drawn(meshes[1]),
                lower,
                hanging,
            ));
        });
    };
    let joint = |rest, swing, lift, phase| Joint { rest, swing, lift, phase };
    for (mesh, phase, depth) in [(&outfit.near_limb, 0.0, 0.2), (&outfit.far_limb, PI, -0.2)] {
        let leg = [joint(0.15, 0.95, 0.0, phase), joint(-0.25, 0.0, -1.3, phase)];
        let arm = [joint(-0.1, -0.9, 0.0, phase), joint(1.2, 0.3, 0.0, phase)];
        add([mesh, mesh], Vec3::new(1.0, 27.5, depth), LIMB, leg);
        add([mesh, mesh], Vec3::new(1.0, 53.0, depth), LIMB, arm);
    }
    if let Some([upper, lower]) = &outfit.cape {
        let folds = [joint(-1.0, 0.10, 0.15, 0.0), joint(-0.15, 0.32, 0.0, 1.9)];
        add([upper, lower], Vec3::new(-2.0, 55.0, -0.4), CAPE, folds);
    }
    if perks.shields > 0 {
        let around = Transform::from_xyz(0.0, RUNNER_HEIGHT / 2.0 / BODY_SCALE, 1.0);
        body.with_child((art.drawn(&art.bubble), around));
    }
}

pub(super) fn jump(
    run: Res<Run>,
    perks: Res<Perks>,
    mut wish: ResMut<Wish>,
    mut runner: Single<&mut Runner>,
    mut effects: Effects,
) {
    let in_air = !runner.on_ground();
    let can_jump = !in_air || (perks.double_jump && !runner.jumped_twice);
    if run.crashed || wish.jump <= 0.0 || !can_jump {
        return;
    }
    wish.jump = 0.0;
    runner.squash = -0.17;
    runner.jumped_twice = in_air;
    runner.velocity = if in_air { AIR_JUMP } else { JUMP };
    runner.height = runner.height.max(0.01);
    effects.burst(runner.feet(), Tint::Cyan, 10, 280.0, 0.55..0.95);
    if in_air {
        effects.ring(runner.feet(), Tint::Cyan, 62.0);
    }
}

pub(super) fn fall(run: Res<Run>, mut runner: Single<&mut Runner>, mut effects: Effects) {
    let pace = if runner.on_ground() { 1.0 } else { 0.12 };
    runner.stride = (runner.stride + pace * run.shift() / STRIDE * TAU) % TAU;
    runner.invulnerable = (runner.invulnerable - run.step).max(0.0);
    runner.squash *= (-9.0 * run.step).exp();
    if runner.on_ground() {
        return;
    }
    runner.height += runner.velocity * run.step - GRAVITY * run.step * run.step / 2.0;
    runner.velocity -= GRAVITY * run.step;
    if runner.on_ground() {
        let impact = (-runner.velocity / JUMP).min(1.5);
        (runner.height, runner.velocity) = (0.0, 0.0);
        runner.jumped_twice = false;
        runner.squash = 0.26 * impact;
        effects.burst(runner.feet(), Tint::Cyan, 9, 240.0 * impact, 0.03..0.47);
        effects.shake(0.22 * impact);
    }
}

pub(super) fn swing_limbs(runner: Single<&Runner>, mut joints: Query<(&Joint, &mut Transform)>) {
    for (joint, mut at) in &mut joints {
        let phase = runner.stride + joint.phase;
        let angle = joint.rest + joint.swing * phase.sin() + joint.lift * phase.cos().max(0.0);
        at.rotation = Quat::from_rotation_z(angle);
    }
}

type Body<'a> = (&'a Runner, &'a mut Transform, &'a mut Visibility);

/// Puts the body where the runner is; it flickers while nothing can hurt.
pub(super) fn show(run: Res<Run>, body: Single<Body>) {
    let (runner, mut at, mut visibility) = body.into_inner();
    let bounce = if runner.on_ground() { runner.stride.cos().abs() * 3.0 } else { 0.0 };
    at.translation = (runner.feet() + Vec2::Y * bounce).extend(DEPTH);
    at.scale = Vec3::new(1.0 + runner.squash, 1.0 - runner.squash, 1.0) * BODY_SCALE;
    at.rotation = Quat::from_rotation_z(-0.10 + (runner.velocity / JUMP) * 0.12);
    let flickers = (runner.invulnerable * 9.0).fract() > 0.6;
    let hidden = run.crashed || flickers;
    visibility.set_if_neq(if hidden { Visibility::Hidden } else { Visibility::Inherited });
}

type TrailParts<'a> = (&'a mut Trail, &'a Mesh2d);

/// Draws the ribbon of light that the runner leaves behind.
pub(super) fn follow_with_trail(
    run: Res<Run>,
    perks: Res<Perks>,
    art: Res<Art>,
    runner: Single<&Runner>,
    parts: Single<TrailParts>,
    mut meshes: ResMut<Assets<Mesh>>,
    mut effects: Effects,
) {
    let (mut trail, mesh) = parts.into_inner();
    trail.0.iter_mut().for_each(|point| point.x -= run.shift());
    let gone = trail.0.iter().rev().take_while(|point| point.x < RUNNER_X - TRAIL_LENGTH).count();
    let kept = (trail.0.len() - gone).max(3);
    trail.0.truncate(kept);
    if !run.crashed {
        trail.0.push_front(runner.middle());
    }
    let (outfit, width) = if perks.skin { (&art.golden, 30.0) } else { (&art.plain, 21.0) };
    if let Some(mut mesh) = meshes.get_mut(&mesh.0) {
        *mesh = ribbon(&trail, outfit.trail, width).into_mesh();
    }
    if perks.skin && !run.crashed && effects.happens(GLIMMERS * run.step) {
        effects.glimmer(runner.middle(), Tint::Gold, run.speed * 0.5);
    }
}

/// A band along the trail that gets narrower and fainter, with a brighter core.
fn ribbon(trail: &Trail, light: Color, width: f32) -> Sketch {
    let layers = [(1.0, 0.26), (0.55, 0.34), (0.2, 0.5)];
    layers.into_iter().fold(Sketch::default(), |sketch, (share, alpha)| {
        sketch.strip(trail.0.iter().zip(trail.0.iter().skip(1)).map(|(&point, &next)| {
            let left = (1.0 - (RUNNER_X - point.x) / TRAIL_LENGTH).max(0.0);
            let across = (point - next).normalize_or_zero().perp() * width * share * left;
            [point - across, point + across].map(|edge| (edge, light.with_alpha(alpha * left)))
        }))
    })
}
