//! A small endless runner: jump the blocks, duck under the drones, collect the sparks.
//!
//! The game knows nothing of a shop. What was bought arrives in [`Perks`], and all it tells the
//! outside is [`ShieldUsed`]. Every frame runs controls, simulation and drawing in that order;
//! [`Paused`] stops all but the score.

mod art;
mod backdrop;
mod controls;
mod course;
mod effects;
mod hud;
mod runner;
mod sketch;

use bevy::camera::ScalingMode;
use bevy::prelude::*;

use crate::palette;

/// Height of the line the runner runs on, in world units above the middle of the window.
const GROUND: f32 = -125.0;
/// Where the runner stays while the world moves past.
const RUNNER_X: f32 = -320.0;
/// No step is longer than this, so that a slow frame slows the game down and skips no block.
const LONGEST_STEP: f32 = 0.05;

const SLOWEST: f32 = 400.0;
const FASTEST: f32 = 760.0;
/// Seconds of running until the game is as fast and as dense as it gets.
const WARM_UP: f32 = 75.0;
/// How fast the world comes to rest after a crash, per second.
const BRAKING: f32 = 3.5;

const POINTS_PER_SECOND: f32 = 12.0;
const POINTS_PER_SPARK: f32 = 25.0;

/// The game. Add it after `DefaultPlugins`, since it draws with their meshes and materials.
pub struct GamePlugin;

/// What the player owns. The shop writes it, the game only reads it.
#[derive(Resource, Default, Clone, PartialEq)]
pub struct Perks {
    /// A second jump while in the air.
    pub double_jump: bool,
    /// The golden runner with the cape.
    pub skin: bool,
    /// Crashes that a shield will still absorb.
    pub shields: u32,
    /// Every point counts twice.
    pub day_pass: bool,
}

/// A shield absorbed a crash: whoever keeps [`Perks::shields`] should take one off.
#[derive(Message)]
pub struct ShieldUsed;

/// Freezes the game while true, for instance while the shop is open.
#[derive(Resource, Default)]
pub struct Paused(pub bool);

/// Lets the game play by itself while true.
#[derive(Resource, Default)]
pub struct Autopilot(pub bool);

/// The run in progress: how fast, how long, how well.
#[derive(Resource, Default)]
struct Run {
    elapsed: f32,
    /// Seconds that this frame simulates.
    step: f32,
    speed: f32,
    score: f32,
    best: f32,
    crashed: bool,
    since_crash: f32,
}

/// A tiny xorshift generator: every session meets the same course, so pictures and bugs repeat.
#[derive(Resource)]
struct Random(u32);

impl Plugin for GamePlugin {
    fn build(&self, app: &mut App) {
        app.insert_resource(ClearColor(palette::DEEP_NIGHT))
            .init_resource::<Run>()
            .insert_resource(Random(0x9E37_79B9))
            .init_resource::<Perks>()
            .init_resource::<Paused>()
            .init_resource::<Autopilot>()
            .init_resource::<art::Art>()
            .init_resource::<course::Plan>()
            .init_resource::<controls::Wish>()
            .init_resource::<effects::Shake>()
            .add_message::<ShieldUsed>()
            .add_systems(Startup, (spawn_camera, backdrop::spawn, runner::spawn, hud::spawn));
        let controls = (controls::read_player, controls::steer_by_itself).chain();
        let simulation = (
            (restart, advance, runner::jump, runner::fall).chain(),
            (course::extend, course::scroll, course::collect, course::collide).chain(),
        )
            .chain();
        let picture = (
            (backdrop::scroll, backdrop::slide_floor),
            (runner::swing_limbs, runner::show, runner::follow_with_trail),
            (effects::age_particles, effects::shake_camera),
        );
        let moving = (controls, simulation, picture).chain().run_if(not_paused);
        let dressing = runner::dress.run_if(resource_changed::<Perks>);
        app.add_systems(Update, (dressing, moving, hud::refresh).chain());
    }
}

impl Run {
    /// From 0 at the start to 1 at full speed.
    fn difficulty(&self) -> f32 {
        (self.elapsed / WARM_UP).min(1.0)
    }

    /// How far the world moves this frame.
    fn shift(&self) -> f32 {
        self.speed * self.step
    }

    fn add_points(&mut self, points: f32, perks: &Perks) {
        self.score += if perks.day_pass { points * 2.0 } else { points };
        self.best = self.best.max(self.score);
    }
}

impl Random {
    /// A number from 0 up to but not including 1.
    fn unit(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0 >> 8) as f32 / 16_777_216.0
    }

    fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }
}

fn spawn_camera(mut commands: Commands) {
    let projection = OrthographicProjection {
        scaling_mode: ScalingMode::AutoMin { min_width: 1280.0, min_height: 720.0 },
        ..OrthographicProjection::default_2d()
    };
    commands.spawn((Camera2d, Projection::Orthographic(projection)));
}

fn not_paused(paused: Res<Paused>) -> bool {
    !paused.0
}

/// Clears the course for another run.
fn restart(
    mut commands: Commands,
    wish: Res<controls::Wish>,
    mut run: ResMut<Run>,
    mut plan: ResMut<course::Plan>,
    mut runner: Single<&mut runner::Runner>,
    course: Query<Entity, With<course::OnCourse>>,
) {
    if run.crashed && wish.restart {
        *run = Run { best: run.best, ..default() };
        *plan = default();
        **runner = default();
        course.iter().for_each(|entity| commands.entity(entity).despawn());
    }
}

fn advance(time: Res<Time>, perks: Res<Perks>, mut run: ResMut<Run>) {
    run.step = time.delta_secs().min(LONGEST_STEP);
    if run.crashed {
        run.since_crash += run.step;
        run.speed *= (-BRAKING * run.step).exp();
        return;
    }
    run.elapsed += run.step;
    run.speed = SLOWEST.lerp(FASTEST, run.difficulty());
    let points = POINTS_PER_SECOND * run.step;
    run.add_points(points, &perks);
}
