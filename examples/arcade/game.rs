//! A small endless runner: jump the blocks, run under the drones, collect the sparks.
//!
//! What was bought is asked of the [`Store`] right where it matters: in the jump, at a spark, and at a crash, which
//! uses up a shield. Nothing moves while the shop is open.

use std::path::PathBuf;

use bevy::camera::ScalingMode;
use bevy::prelude::*;
use bevy_iap::prelude::*;

use crate::light::{self, Art, Effects, Light, Random, Shape};
use crate::runner::{self, GRAVITY, JUMP, Runner};
use crate::screens;
use crate::shop::is_shop_closed;
use crate::sound::Tone;

/// Height of the line the runner runs on, above the middle of the window.
pub const GROUND: f32 = -125.0;
/// No step is longer than this, so that a slow frame slows the game down and skips no block.
const LONGEST_STEP: f32 = 0.05;
/// Speed, and seconds between two hazards: at the start, and when it is as hard as it gets.
const SPEEDS: (f32, f32) = (430.0, 900.0);
const GAPS: (f32, f32) = (1.6, 0.86);
const SECONDS_TO_HARDEST: f32 = 55.0;
const POINTS_PER_SECOND: f32 = 12.0;
const POINTS_PER_SPARK: f32 = 25.0;
const SPARK_REACH: f32 = 46.0;
const MAGNET_REACH: f32 = 300.0;
/// Seconds during which nothing hurts after a shield is used up, and for which a crash is looked at.
const PROTECTION: f32 = 1.2;
const MOURNING: f32 = 0.9;
/// The hazards, in the order in which they first come: what they look like, half their size, how high they are, and how
/// high the sparks' way over them is, in jumps. The second is to be run under; the third asks for good timing.
const HAZARDS: [(Shape, Vec2, f32, f32); 4] = [
    (Shape::Low, Vec2::new(23.0, 24.0), 24.0, 1.0),
    (Shape::Drone, Vec2::new(32.0, 17.0), 128.0, 0.0),
    (Shape::Tall, Vec2::new(23.0, 63.0), 63.0, 1.5),
    (Shape::Wide, Vec2::new(48.0, 24.0), 24.0, 1.0),
];

/// What is on the screen.
#[derive(States, Clone, Copy, Default, Debug, PartialEq, Eq, Hash)]
pub enum Screen {
    #[default]
    Title,
    Settings,
    Run,
    Crashed,
}

/// The run in progress, and the best one so far.
#[derive(Resource, Default)]
pub struct Run {
    pub seconds: f32,
    /// Seconds that this frame simulates.
    pub step: f32,
    pub speed: f32,
    /// How far the world has moved.
    pub way: f32,
    pub score: f32,
    pub best: u32,
    best_file: PathBuf,
    next_hazard: f32,
    latest: usize,
    pub crashed_at: Option<f32>,
}

/// Passes the runner: a spark, or a hazard with half of its size.
#[derive(Component)]
pub enum Passing {
    Spark,
    Hazard(Vec2),
}

pub fn plugin(app: &mut App) {
    let moving = (
        (screens::read_jumps, advance, runner::jump_and_fall, extend, pass).chain(),
        (runner::show, runner::swing_limbs, light::scroll_sky, light::fly),
    );
    app.init_state::<Screen>()
        .init_resource::<Runner>()
        .add_systems(Startup, (spawn_camera, runner::spawn, light::spawn_sky))
        .add_systems(OnEnter(Screen::Run), start)
        .add_systems(OnEnter(Screen::Title), start)
        .add_systems(OnEnter(Screen::Crashed), keep_best)
        .add_systems(Update, moving.chain().run_if(is_shop_closed))
        .add_systems(Update, runner::dress.run_if(resource_changed::<Store>));
}

impl Run {
    /// No run yet, and the best score that is in this file.
    pub fn with_best_of(best_file: PathBuf) -> Self {
        let best = std::fs::read_to_string(&best_file).ok().and_then(|best| best.trim().parse().ok());
        Self { best: best.unwrap_or_default(), best_file, ..default() }
    }

    /// How far the world moves this frame.
    pub fn shift(&self) -> f32 {
        self.speed * self.step
    }

    /// From 0 at the start to 1 at the hardest.
    fn hardness(&self) -> f32 {
        (self.seconds / SECONDS_TO_HARDEST).min(1.0)
    }

    fn add(&mut self, points: f32, store: &Store) {
        self.score += if store.owns("day_pass") { points * 2.0 } else { points };
    }
}

fn spawn_camera(mut commands: Commands) {
    let scaling_mode = ScalingMode::AutoMin { min_width: 1280.0, min_height: 720.0 };
    let projection = OrthographicProjection { scaling_mode, ..OrthographicProjection::default_2d() };
    commands.spawn((Camera2d, Projection::Orthographic(projection)));
}

fn start(
    mut commands: Commands,
    mut run: ResMut<Run>,
    mut runner: ResMut<Runner>,
    course: Query<Entity, With<Passing>>,
) {
    *run = Run { best: run.best, best_file: run.best_file.clone(), ..default() };
    *runner = default();
    course.iter().for_each(|entity| commands.entity(entity).despawn());
}

/// Writes the best score to a new file that takes the old one's place, so that a power cut leaves one of the two.
pub fn keep_best(mut run: ResMut<Run>) {
    if run.score as u32 > run.best {
        run.best = run.score as u32;
        let new = run.best_file.with_extension("new");
        let written = std::fs::write(&new, run.best.to_string()).and_then(|()| std::fs::rename(&new, &run.best_file));
        written.unwrap_or_else(|error| warn!("the best score is not kept in {}: {error}", run.best_file.display()));
    }
}

pub fn advance(
    time: Res<Time>,
    store: Res<Store>,
    screen: Res<State<Screen>>,
    mut run: ResMut<Run>,
    mut next: ResMut<NextState<Screen>>,
) {
    run.step = time.delta_secs().min(LONGEST_STEP);
    run.seconds += run.step;
    match (screen.get(), run.crashed_at) {
        (Screen::Title | Screen::Settings, _) => run.speed = SPEEDS.0 / 2.0,
        (_, Some(crashed_at)) => {
            run.speed *= (-3.5 * run.step).exp();
            if *screen == Screen::Run && run.seconds > crashed_at + MOURNING {
                next.set(Screen::Crashed);
            }
        }
        (_, None) => {
            run.speed = SPEEDS.0.lerp(SPEEDS.1, run.hardness());
            let points = POINTS_PER_SECOND * run.step;
            run.add(points, &store);
        }
    }
    run.way += run.shift();
}

/// Puts the next hazard and its sparks behind the right edge once there is room for them.
fn extend(mut commands: Commands, art: Res<Art>, mut run: ResMut<Run>, mut random: ResMut<Random>) {
    if run.way < run.next_hazard || run.speed < SPEEDS.0 || run.crashed_at.is_some() {
        return;
    }
    run.next_hazard = run.way + run.speed * GAPS.0.lerp(GAPS.1, run.hardness()) * random.between(1.0, 1.25);
    let kinds = 1 + [4.0, 9.0, 16.0].iter().filter(|&&seconds| run.seconds > seconds).count();
    run.latest = (run.latest + random.between(0.0, 3.0) as usize) % kinds;
    let (shape, half, altitude, curve) = HAZARDS[run.latest];
    let place = |x: f32, y: f32| Transform::from_xyz(900.0 + x, GROUND + y, 5.0);
    commands.spawn((art.of(shape, Light::Danger), place(0.0, altitude), Passing::Hazard(half)));
    for share in [-0.7, -0.35, 0.0, 0.35, 0.7] {
        // Along the way of a jump over the hazard, or on the ground below it.
        let seconds = share * JUMP / GRAVITY;
        let height = curve * (JUMP * JUMP / GRAVITY - GRAVITY * seconds * seconds) / 2.0 + 40.0;
        commands.spawn((art.of(Shape::Spark, Light::Gold), place(seconds * run.speed, height), Passing::Spark));
    }
}

/// Moves the course past the runner, who collects sparks, and at a hazard uses up a shield or crashes.
fn pass(
    mut commands: Commands,
    mut store: ResMut<Store>,
    mut run: ResMut<Run>,
    mut runner: ResMut<Runner>,
    mut effects: Effects,
    mut course: Query<(Entity, &mut Transform, &Passing)>,
) {
    let is_magnetic = store.owns("magnet");
    for (entity, mut at, passing) in &mut course {
        at.translation.x -= run.shift();
        let way = runner.middle() - at.translation.truncate();
        let is_touched = run.crashed_at.is_none()
            && match passing {
                Passing::Spark => way.length() < SPARK_REACH,
                Passing::Hazard(half) => way.abs().cmplt(half + Runner::HALF_SIZE).all() && runner.protected <= 0.0,
            };
        match passing {
            _ if at.translation.x < -1000.0 => commands.entity(entity).despawn(),
            Passing::Spark if is_touched => {
                commands.entity(entity).despawn();
                effects.burst(at.translation.truncate(), Light::Gold, 10, 260.0, 0.0..1.0);
                effects.tone(Tone::Spark);
                run.add(POINTS_PER_SPARK, &store);
            }
            Passing::Spark => {
                at.rotation = Quat::from_rotation_z(run.seconds * 3.0);
                if is_magnetic && way.length() < MAGNET_REACH {
                    at.translation += (way.normalize_or_zero() * 900.0 * run.step).extend(0.0);
                }
            }
            Passing::Hazard(_) if is_touched => {
                effects.burst(runner.middle(), Light::Danger, 30, 520.0, 0.0..1.0);
                effects.burst(runner.middle(), Light::Cyan, 40, 620.0, 0.0..1.0);
                effects.tone(Tone::Crash);
                runner.protected = PROTECTION;
                let used = store.consume("shield", 1);
                run.crashed_at = used.is_err().then_some(run.seconds);
                if let Err(ConsumeError::Store(error)) = used {
                    warn!("the shield cannot be used: {error}");
                }
            }
            Passing::Hazard(_) => {}
        }
    }
}
