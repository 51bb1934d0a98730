//! Short-lived light: sparks, rings and the shaking camera.

use bevy::ecs::system::SystemParam;
use bevy::prelude::*;
use std::f32::consts::TAU;
use std::ops::Range;

use super::art::{Art, Tint};
use super::{Random, Run};

const PARTICLE_DEPTH: f32 = 20.0;
const SHAKE_DISTANCE: f32 = 16.0;
const SHAKE_FADE: f32 = 2.2;

/// A shape that flies, changes its size and fades.
#[derive(Component, Default)]
pub(super) struct Particle {
    velocity: Vec2,
    weight: f32,
    age: f32,
    life: f32,
    sizes: (f32, f32),
}

/// How hard the camera shakes, from 0 to 1.
#[derive(Resource, Default)]
pub(super) struct Shake(f32);

/// Everything that makes an effect.
#[derive(SystemParam)]
pub(super) struct Effects<'w, 's> {
    commands: Commands<'w, 's>,
    art: Res<'w, Art>,
    random: ResMut<'w, Random>,
    shake: ResMut<'w, Shake>,
}

impl Effects<'_, '_> {
    /// Throws dots in all directions between two angles, given in turns.
    pub(super) fn burst(&mut self, at: Vec2, tint: Tint, count: u32, speed: f32, turns: Range<f32>) {
        for _ in 0..count {
            let angle = self.random.between(turns.start, turns.end) * TAU;
            let velocity = Vec2::from_angle(angle) * speed * self.random.between(0.25, 1.0);
            let life = self.random.between(0.3, 0.75);
            let sizes = (self.random.between(2.5, 6.5), 0.5);
            let particle = Particle { velocity, weight: 700.0, life, sizes, ..default() };
            self.add(self.art.dots[tint as usize].clone(), at, particle);
        }
    }

    /// Tells, at random, whether something of this chance happens now.
    pub(super) fn happens(&mut self, chance: f32) -> bool {
        self.random.unit() < chance
    }

    /// A single dot that stays behind.
    pub(super) fn glimmer(&mut self, at: Vec2, tint: Tint, drift: f32) {
        let velocity = Vec2::new(-drift, self.random.between(-20.0, 40.0));
        let (x, y) = (self.random.between(-18.0, 10.0), self.random.between(-34.0, 34.0));
        let at = at + Vec2::new(x, y);
        let sizes = (self.random.between(2.0, 4.5), 0.5);
        let particle = Particle { velocity, life: 0.6, sizes, ..default() };
        self.add(self.art.dots[tint as usize].clone(), at, particle);
    }

    /// A ring that opens up to this radius.
    pub(super) fn ring(&mut self, at: Vec2, tint: Tint, radius: f32) {
        let sizes = (radius * 0.2, radius);
        let particle = Particle { life: 0.45, sizes, ..default() };
        self.add(self.art.rings[tint as usize].clone(), at, particle);
    }

    pub(super) fn shake(&mut self, strength: f32) {
        self.shake.0 = self.shake.0.max(strength);
    }

    fn add(&mut self, mesh: Handle<Mesh>, at: Vec2, particle: Particle) {
        let transform =
            Transform::from_translation(at.extend(PARTICLE_DEPTH)).with_scale(Vec3::splat(particle.sizes.0));
        self.commands.spawn((self.art.drawn(&mesh), transform, particle));
    }
}

type Fading<'a> = (Entity, &'a mut Particle, &'a mut Transform, &'a mut MeshMaterial2d<ColorMaterial>);

pub(super) fn age_particles(mut commands: Commands, run: Res<Run>, art: Res<Art>, mut particles: Query<Fading>) {
    for (entity, mut particle, mut at, mut material) in &mut particles {
        particle.age += run.step;
        let age = particle.age / particle.life;
        if age >= 1.0 {
            commands.entity(entity).despawn();
            continue;
        }
        particle.velocity.y -= particle.weight * run.step;
        at.translation += (particle.velocity * run.step).extend(0.0);
        let eased = 1.0 - (1.0 - age).powi(3);
        at.scale = Vec3::splat(particle.sizes.0.lerp(particle.sizes.1, eased));
        material.0 = art.faded(1.0 - age * age);
    }
}

pub(super) fn shake_camera(
    time: Res<Time>,
    run: Res<Run>,
    mut shake: ResMut<Shake>,
    mut camera: Single<&mut Transform, With<Camera2d>>,
) {
    shake.0 = (shake.0 - SHAKE_FADE * run.step).max(0.0);
    let wobble = Vec2::new((time.elapsed_secs() * 71.0).sin(), (time.elapsed_secs() * 57.0).cos());
    camera.translation = (wobble * shake.0 * shake.0 * SHAKE_DISTANCE).extend(camera.translation.z);
}
