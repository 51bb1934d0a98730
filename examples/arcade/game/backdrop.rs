//! Everything behind the course: sky, sun, hills, city and floor, each at its own pace.

use bevy::camera::visibility::NoFrustumCulling;
use bevy::prelude::*;
use std::f32::consts::TAU;

use super::art::Art;
use super::sketch::{Pair, Sketch, circle, row};
use super::{GROUND, Random, Run};
use crate::palette::{CREAM, CYAN, DEEP_NIGHT, DUSK, NIGHT, PEACH, VIOLET};

/// Half the width that is drawn, enough for very wide windows. A layer repeats after twice that.
const REACH: f32 = 1400.0;
const SUN: Vec2 = Vec2::new(150.0, GROUND + 130.0);
const SUN_RADIUS: f32 = 150.0;
/// Distance of the floor's lines from each other at the horizon.
const GRID: f32 = 84.0;
/// How far below the horizon the grid is twice as wide as on it.
const PERSPECTIVE: f32 = 110.0;

/// A layer that moves at a fraction of the course's speed and comes round again.
#[derive(Component)]
pub(super) struct Parallax(f32);

/// How far the lines that run from the horizon towards the player have moved sideways.
#[derive(Component)]
pub(super) struct Floor(f32);

pub(super) fn spawn(
    mut commands: Commands,
    art: Res<Art>,
    mut meshes: ResMut<Assets<Mesh>>,
    mut random: ResMut<Random>,
) {
    let mut drawn = |sketch: Sketch| art.drawn(&meshes.add(sketch.into_mesh()));
    let at = |x: f32, depth: f32| Transform::from_xyz(x, 0.0, depth);
    commands.spawn((drawn(sky()), at(0.0, -90.0)));
    commands.spawn((drawn(sun()), at(0.0, -70.0)));
    commands.spawn((drawn(ground()), at(0.0, -20.0)));
    commands.spawn((drawn(grid(0.0)), at(0.0, -19.0), Floor(0.0), NoFrustumCulling));
    let far_hills = hills(118.0, 0.0, VIOLET.mix(&DUSK, 0.30), DUSK.mix(&PEACH, 0.25));
    let near_hills = hills(84.0, 2.0, VIOLET.mix(&NIGHT, 0.25), DUSK.mix(&VIOLET, 0.35));
    let layers = [
        (stars(&mut random), -80.0, 0.015),
        (far_hills, -60.0, 0.05),
        (near_hills, -50.0, 0.11),
        (city(&mut random), -40.0, 0.24),
    ];
    for (sketch, depth, pace) in layers {
        let drawn = drawn(sketch);
        for x in [0.0, 2.0 * REACH] {
            commands.spawn((drawn.clone(), at(x, depth), Parallax(pace)));
        }
    }
}

pub(super) fn scroll(run: Res<Run>, mut layers: Query<(&Parallax, &mut Transform)>) {
    for (pace, mut at) in &mut layers {
        at.translation.x -= run.shift() * pace.0;
        if at.translation.x < -2.0 * REACH {
            at.translation.x += 4.0 * REACH;
        }
    }
}

type FloorParts<'a> = (&'a mut Floor, &'a Mesh2d);

pub(super) fn slide_floor(run: Res<Run>, floor: Single<FloorParts>, mut meshes: ResMut<Assets<Mesh>>) {
    let (mut moved, mesh) = floor.into_inner();
    moved.0 = (moved.0 + run.shift()) % GRID;
    if let Some(mut mesh) = meshes.get_mut(&mesh.0) {
        *mesh = grid(moved.0).into_mesh();
    }
}

/// A row across the whole width, this far above the ground.
fn level(height: f32, color: Color) -> Pair {
    row(0.0, REACH, GROUND + height, color)
}

fn sky() -> Sketch {
    let levels = [(1300.0, DEEP_NIGHT), (460.0, NIGHT), (250.0, VIOLET), (90.0, DUSK), (0.0, PEACH)];
    Sketch::default().strip(levels.map(|(height, color)| level(height, color)))
}

fn stars(random: &mut Random) -> Sketch {
    (0..170).fold(Sketch::default(), |sketch, _| {
        let (x, height) = (random.between(-REACH, REACH), random.between(220.0, 500.0));
        let star = circle(x, GROUND + height, random.between(0.8, 2.1));
        let haze = ((height - 200.0) / 200.0).min(1.0);
        let light = CREAM.with_alpha(random.between(0.25, 1.0) * haze);
        sketch.fill(star, light, light)
    })
}

/// A disc cut into bands.
fn sun() -> Sketch {
    let glow = PEACH.mix(&DUSK, 0.85).with_alpha(0.85);
    let sketch = Sketch::default().halo(circle(SUN.x, SUN.y, 0.0), SUN_RADIUS * 2.9, glow);
    let chord = |angle: f32| {
        let color = DUSK.mix(&CREAM, (angle.sin() * 0.5 + 0.5).powf(0.8));
        row(SUN.x, angle.cos() * SUN_RADIUS, SUN.y + angle.sin() * SUN_RADIUS, color)
    };
    let bands = [(1.0f32, 0.30f32), (0.27, 0.12), (0.07, -0.07), (-0.13, -0.24), (-0.32, -0.5)];
    bands.into_iter().fold(sketch, |sketch, (top, bottom)| {
        let angle = |step| top.asin().lerp(bottom.asin(), step as f32 / 24.0);
        sketch.strip((0..=24).map(|step| chord(angle(step))))
    })
}

/// A ridge of waves that all fit the width, so that its ends meet.
fn hills(height: f32, turn: f32, crest: Color, foot: Color) -> Sketch {
    let wave = |angle: f32| {
        let (broad, narrow) = ((angle * 4.0 + turn).sin(), (angle * 9.0 + turn * 2.0).sin());
        0.62 + broad * 0.35 + narrow * 0.22 + (angle * 23.0).sin() * 0.06
    };
    Sketch::default().strip((0..=160).map(|step| {
        let around = step as f32 / 160.0;
        let point = |up| Vec2::new((around * 2.0 - 1.0) * REACH, GROUND + up);
        [(point(0.0), foot), (point(height * wave(around * TAU)), crest)]
    }))
}

fn city(random: &mut Random) -> Sketch {
    let wall = DEEP_NIGHT.mix(&VIOLET, 0.22);
    let mut sketch = Sketch::default();
    let mut x = -REACH;
    while x < REACH {
        let half = random.between(18.0, 42.0).min((REACH - x) / 2.0);
        let (columns, floors) = ((half / 6.0) as i32, random.between(2.0, 8.0) as i32);
        let top = floors as f32 * 14.0;
        let house = [(0.0, wall.mix(&DUSK, 0.32)), (top, wall)];
        sketch = sketch.strip(house.map(|(y, color)| row(x + half, half, GROUND + y, color)));
        for place in 0..(columns - 1).max(0) * (floors - 1) {
            let color = if random.unit() < 0.3 { CYAN } else { PEACH };
            if random.unit() < 0.24 {
                let light = color.with_alpha(random.between(0.25, 0.75));
                let across = (place % (columns - 1) + 1) as f32 * 12.0;
                let up = GROUND + (place / (columns - 1) + 1) as f32 * 14.0;
                sketch = sketch.strip([-2.0, 4.0].map(|y| row(x + across, 2.0, up + y, light)));
            }
        }
        x += half * 2.0 + random.between(-60.0, 30.0).max(0.0);
    }
    sketch
}

/// The dark floor with the lines that stay in place, and the bright line of the horizon.
fn ground() -> Sketch {
    let edge = VIOLET.mix(&NIGHT, 0.45);
    let depths = [(0.0, edge), (-70.0, NIGHT), (-260.0, DEEP_NIGHT), (-1300.0, DEEP_NIGHT)];
    let floor = Sketch::default().strip(depths.map(|(height, color)| level(height, color)));
    let glow = |step: i32| 0.5 * (1.0 - step.abs() as f32 / 8.0).powi(2);
    (1..9)
        .map(|line| (1.0 - 1.0 / (1.0 - line as f32 * 0.105)) * PERSPECTIVE)
        .fold(floor, |sketch, height| sketch.strip([-1.0, 1.0].map(|side| level(height + side, DUSK.with_alpha(0.5)))))
        .strip((-8..=8).map(|step| level(step as f32 * 5.0, CYAN.with_alpha(glow(step)))))
        .strip([level(-4.0, CYAN), level(-1.0, Color::WHITE), level(0.0, CYAN)])
}

fn grid(moved: f32) -> Sketch {
    let lines = (REACH / GRID) as i32;
    (-lines..=lines).fold(Sketch::default(), |sketch, line| {
        let x = line as f32 * GRID - moved;
        sketch.strip([(0.0, 0.85), (120.0, 0.5), (900.0, 0.0)].map(|(down, alpha)| {
            let spread = 1.0 + down / PERSPECTIVE;
            let half = 0.8 * spread.min(2.0);
            row(x * spread, half, GROUND - 4.0 - down, DUSK.with_alpha(alpha))
        }))
    })
}
