//! A small endless runner: jump the blocks, run under the drones, collect the sparks.
//!
//! What was bought is asked of the [`Store`] right where it matters: in the jump, at a spark, and at a crash, which
//! uses up a shield. Nothing moves while the shop is open.

use bevy::prelude::*;
use bevy_iap::prelude::*;
use bevy_iap::ui::shop_is_closed;

use crate::light::{self, Art, Effects, GOLD, RED, Shape};
use crate::runner::{self, GRAVITY, JUMP, Runner};
use crate::screens;
use crate::sound::Tone;

/// Height of the line the runner runs on, above the middle of the window.
pub const GROUND: f32 = -125.0;
/// Speed, and seconds between two hazards: at the start, and when it is as hard as it gets.
const SPEEDS: (f32, f32) = (430.0, 900.0);
const GAPS: (f32, f32) = (1.6, 0.86);
const SECONDS_TO_HARDEST: f32 = 55.0;
const POINTS_PER_SECOND: f32 = 12.0;
const POINTS_PER_SPARK: f32 = 25.0;
const SPARK_REACH: f32 = 46.0;
const MAGNET_REACH: f32 = 300.0;
/// Seconds during which nothing hurts after a shield is used up, and for which a crash is looked at.
const RESPITE: f32 = 1.0;
/// The hazards, in the order in which they first come: what they look like, half their size, how high they are, and how
/// high the sparks' way over them is, in jumps. The second is to be run under; the third asks for good timing.
const HAZARDS: [(Shape, Vec2, f32, f32); 3] = [
    ([18.0, 19.0, 5.0, 26.0, 0.0], Vec2::new(23.0, 24.0), 24.0, 1.0),
    ([18.0, 3.0, 12.0, 26.0, 0.0], Vec2::new(32.0, 17.0), 128.0, 0.0),
    ([18.0, 58.0, 5.0, 26.0, 0.0], Vec2::new(23.0, 63.0), 63.0, 1.5),
];
const SPARK: Shape = [7.0, 7.0, 2.0, 26.0, 1.0];

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
    next_hazard: f32,
    pub crashed_at: Option<f32>,
}

/// The best score was beaten: whoever keeps it hears of it.
#[derive(Event)]
pub struct BestBeaten(pub u32);

/// Passes the runner: a spark, or a hazard with half of its size.
#[derive(Component)]
pub enum Passing {
    Spark,
    Hazard(Vec2),
}

pub fn plugin(app: &mut App) {
    let moving = (
        (screens::read_jumps.run_if(in_state(Screen::Run)), advance, runner::jump_and_fall, extend, pass).chain(),
        (runner::show, light::scroll_sky, light::fly),
    );
    app.init_state::<Screen>()
        .init_resource::<Runner>()
        .add_systems(Startup, (runner::spawn, light::set_stage))
        .add_systems(OnEnter(Screen::Run), start)
        .add_systems(OnEnter(Screen::Title), start)
        .add_systems(Update, moving.chain().run_if(shop_is_closed))
        .add_systems(Update, runner::dress.run_if(resource_changed::<Store>.or_else(state_changed::<Screen>)));
}

impl Run {
    /// No run yet, with the best score so far.
    pub fn after_best(best: u32) -> Self {
        Self { best, ..default() }
    }

    /// From 0 at the start to 1 at the hardest.
    fn hardness(&self) -> f32 {
        (self.seconds / SECONDS_TO_HARDEST).min(1.0)
    }
}

/// What each point counts.
fn worth(store: &Store) -> f32 {
    if store.owns("day_pass") { 2.0 } else { 1.0 }
}

fn start(mut commands: Commands, mut run: ResMut<Run>, mut runner: ResMut<Runner>, old: Query<Entity, With<Passing>>) {
    *run = Run::after_best(run.best);
    *runner = default();
    old.iter().for_each(|entity| commands.entity(entity).despawn());
}

pub fn advance(
    time: Res<Time>,
    store: Res<Store>,
    screen: Res<State<Screen>>,
    mut run: ResMut<Run>,
    mut next: ResMut<NextState<Screen>>,
) {
    // A slow frame slows the game down, so that it skips no block.
    run.step = time.delta_secs().min(0.05);
    run.seconds += run.step;
    match (screen.get(), run.crashed_at) {
        (Screen::Title | Screen::Settings, _) => run.speed = SPEEDS.0 / 2.0,
        (Screen::Run, Some(crashed_at)) if run.seconds > crashed_at + RESPITE => next.set(Screen::Crashed),
        (_, Some(_)) => run.speed *= (-3.5 * run.step).exp(),
        (_, None) => {
            run.speed = SPEEDS.0.lerp(SPEEDS.1, run.hardness());
            run.score += POINTS_PER_SECOND * run.step * worth(&store);
        }
    }
    run.way += run.speed * run.step;
}

/// From 0 to below 1, without an order that a player could see.
fn random(seed: f32) -> f32 {
    (seed.sin() * 43_758.547).rem_euclid(1.0).min(0.999)
}

/// Puts the next hazard and its sparks behind the right edge once there is room for them.
fn extend(mut commands: Commands, mut art: Art, mut run: ResMut<Run>) {
    if run.way < run.next_hazard || run.speed < SPEEDS.0 || run.crashed_at.is_some() {
        return;
    }
    run.next_hazard = run.way + run.speed * GAPS.0.lerp(GAPS.1, run.hardness()) * (1.0 + 0.25 * random(run.way));
    let kinds = (1.0 + 9.0 * run.hardness()).min(HAZARDS.len() as f32);
    let (shape, half, altitude, curve) = HAZARDS[(random(run.way + 1.0) * kinds) as usize];
    let place = |x: f32, y: f32| Transform::from_xyz(900.0 + x, GROUND + y, 5.0);
    commands.spawn((art.of(shape, RED), place(0.0, altitude), Passing::Hazard(half)));
    let spark = art.of(SPARK, GOLD);
    for share in [-0.7, -0.35, 0.0, 0.35, 0.7] {
        // Along the way of a jump over the hazard, or on the ground below it.
        let seconds = share * JUMP / GRAVITY;
        let height = curve * (JUMP * JUMP / GRAVITY - GRAVITY * seconds * seconds) / 2.0 + 40.0;
        commands.spawn((spark.clone(), place(seconds * run.speed, height), Passing::Spark));
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
    for (entity, mut at, passing) in &mut course {
        at.translation.x -= run.speed * run.step;
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
                effects.burst(at.translation.truncate(), GOLD, 10, 260.0);
                effects.tones.write(Tone::Spark);
                run.score += POINTS_PER_SPARK * worth(&store);
            }
            Passing::Spark if store.owns("magnet") && way.length() < MAGNET_REACH => {
                at.translation += (way.normalize_or_zero() * 900.0 * run.step).extend(0.0);
            }
            Passing::Hazard(_) if is_touched => {
                effects.burst(runner.middle(), RED, 60, 620.0);
                effects.tones.write(Tone::Crash);
                runner.protected = RESPITE;
                let had_shield = store.consume("shield", 1).is_ok();
                run.crashed_at = (!had_shield).then_some(run.seconds);
            }
            Passing::Spark | Passing::Hazard(_) => {}
        }
    }
}
