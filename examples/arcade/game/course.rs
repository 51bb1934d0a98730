//! The course: blocks and drones to avoid, sparks to collect, and the plan that lays them out.

use bevy::prelude::*;

use super::art::{Art, Tint};
use super::effects::Effects;
use super::runner::{GRAVITY, JUMP, RUNNER_HEIGHT, Runner, TIME_TO_APEX};
use super::{GROUND, POINTS_PER_SPARK, Perks, Random, Run, ShieldUsed};

/// Where the course comes into being, and where it is forgotten.
const ENTRANCE: f32 = 900.0;
const EXIT: f32 = -1000.0;
const DEPTH: f32 = 5.0;
/// Seconds between two patterns, at the start and at full speed.
const GAPS: (f32, f32) = (1.75, 1.2);
const SPARK_REACH: f32 = 46.0;

/// How far the course is laid out.
#[derive(Resource, Default)]
pub(super) struct Plan {
    /// Distance until the next pattern enters.
    until_next: f32,
    /// The latest pattern: the next one is another.
    latest: u32,
}

/// Belongs to the course: moves with it, and goes when a new run starts.
#[derive(Component)]
pub(super) struct OnCourse;

/// Ends the run when touched.
#[derive(Component, Clone, Copy, PartialEq)]
pub(super) enum Hazard {
    Low,
    Wide,
    /// A single jump clears it only if well timed.
    Tall,
    /// To be run under: it flies too low to jump under.
    Drone,
}

/// Worth points when touched.
#[derive(Component)]
pub(super) struct Spark;

impl Hazard {
    /// In the order of [`Art::hazards`].
    pub(super) const ALL: [Self; 4] = [Self::Low, Self::Wide, Self::Tall, Self::Drone];

    pub(super) fn size(self) -> Vec2 {
        match self {
            Self::Low => Vec2::new(46.0, 48.0),
            Self::Wide => Vec2::new(96.0, 48.0),
            Self::Tall => Vec2::new(46.0, 126.0),
            Self::Drone => Vec2::new(64.0, 34.0),
        }
    }

    fn altitude(self) -> f32 {
        if self == Self::Drone { 128.0 } else { self.size().y / 2.0 }
    }
}

/// Puts the next pattern behind the right edge once there is room for it.
pub(super) fn extend(
    mut commands: Commands,
    art: Res<Art>,
    run: Res<Run>,
    mut plan: ResMut<Plan>,
    mut random: ResMut<Random>,
) {
    plan.until_next -= run.shift();
    if plan.until_next > 0.0 || run.crashed {
        return;
    }
    let gap = GAPS.0.lerp(GAPS.1, run.difficulty()) * random.between(1.0, 1.25);
    plan.until_next = run.speed * gap;
    let kinds = match run.elapsed {
        ..5.0 => 2,
        ..9.0 => 3,
        ..20.0 => 4,
        _ => 5,
    };
    plan.latest = (plan.latest + 1 + (random.unit() * (kinds - 1) as f32) as u32) % kinds;
    let (hazard, sparks) = match plan.latest {
        0 => (Some(Hazard::Low), arc(run.speed, 0.0)),
        1 => (None, line()),
        2 => (Some(Hazard::Tall), arc(run.speed * 0.7, 95.0)),
        3 => (Some(Hazard::Drone), line()),
        _ => (Some(Hazard::Wide), arc(run.speed, 0.0)),
    };
    let place = |at: Vec2| (OnCourse, Transform::from_xyz(ENTRANCE + at.x, GROUND + at.y, DEPTH));
    if let Some(hazard) = hazard {
        let drawn = art.drawn(&art.hazards[hazard as usize]);
        commands.spawn((drawn, place(Vec2::Y * hazard.altitude()), hazard));
    }
    for at in sparks {
        commands.spawn((art.drawn(&art.spark), place(at), Spark));
    }
}

fn line() -> [Vec2; 5] {
    [-2.0, -1.0, 0.0, 1.0, 2.0].map(|step| Vec2::new(step * 52.0, 34.0))
}

/// The path of a jump over the middle of a pattern, raised by some height.
fn arc(speed: f32, raised: f32) -> [Vec2; 5] {
    [-0.68, -0.34, 0.0, 0.34, 0.68].map(|share| {
        let seconds = share * TIME_TO_APEX;
        let height = JUMP * TIME_TO_APEX / 2.0 - GRAVITY * seconds * seconds / 2.0;
        Vec2::new(seconds * speed, height + raised + RUNNER_HEIGHT / 2.0)
    })
}

type Moving<'a> = (Entity, &'a mut Transform, Option<&'a Hazard>);

/// Moves the course; sparks turn and drones bob on the way.
pub(super) fn scroll(
    mut commands: Commands,
    run: Res<Run>,
    time: Res<Time>,
    mut course: Query<Moving, With<OnCourse>>,
) {
    for (entity, mut at, hazard) in &mut course {
        at.translation.x -= run.shift();
        let wave = (time.elapsed_secs() * 4.5 + at.translation.x * 0.012).sin();
        match hazard {
            None => at.scale.x = 0.35 + 0.65 * wave.abs(),
            Some(Hazard::Drone) => at.translation.y = GROUND + Hazard::Drone.altitude() + wave * 6.0,
            Some(_) => {}
        }
        if at.translation.x < EXIT {
            commands.entity(entity).despawn();
        }
    }
}

pub(super) fn collect(
    mut commands: Commands,
    mut effects: Effects,
    mut run: ResMut<Run>,
    perks: Res<Perks>,
    runner: Single<&Runner>,
    sparks: Query<(Entity, &Transform), With<Spark>>,
) {
    for (entity, at) in &sparks {
        let at = at.translation.truncate();
        if !run.crashed && at.distance(runner.middle()) < SPARK_REACH {
            commands.entity(entity).despawn();
            effects.burst(at, Tint::Gold, 10, 260.0, 0.0..1.0);
            effects.ring(at, Tint::Gold, 26.0);
            run.add_points(POINTS_PER_SPARK, &perks);
        }
    }
}

pub(super) fn collide(
    mut commands: Commands,
    mut effects: Effects,
    mut run: ResMut<Run>,
    perks: Res<Perks>,
    mut runner: Single<&mut Runner>,
    hazards: Query<(Entity, &Transform, &Hazard)>,
    mut shield_used: MessageWriter<ShieldUsed>,
) {
    let middle = runner.middle();
    let touched = hazards.iter().find(|(_, at, hazard)| {
        let apart = (at.translation.truncate() - middle).abs();
        apart.cmplt(hazard.size() / 2.0 + Runner::HALF_SIZE).all()
    });
    let Some((entity, at, _)) = touched else {
        return;
    };
    if run.crashed || runner.is_invulnerable() {
        return;
    }
    if perks.shields > 0 {
        commands.entity(entity).despawn();
        effects.burst(at.translation.truncate(), Tint::Danger, 26, 520.0, -0.2..0.3);
        effects.ring(middle, Tint::Cyan, 120.0);
        effects.shake(0.7);
        runner.protect();
        shield_used.write(ShieldUsed);
    } else {
        run.crashed = true;
        effects.burst(middle, Tint::Cyan, 40, 620.0, 0.0..1.0);
        effects.burst(middle, Tint::Danger, 24, 420.0, 0.0..1.0);
        effects.ring(middle, Tint::Danger, 170.0);
        effects.shake(1.0);
    }
}
