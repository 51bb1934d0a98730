//! Pictures of the demo, taken by itself: the runner steers itself or keys press themselves, and a picture ends it.
//!
//! `--shot FILE SECONDS` plays by itself, writes a picture of the window after that time and leaves.
//! `--script 1.0:b,2.0-3.5:enter` presses these keys at these seconds instead, for a moment or from one to the other:
//! letters, digits, `space`, `enter`, `tab`, `escape`, `up`, `down`, `left` and `right`.
//! `--tell` prints what is shown and known, one line of JSON whenever it changes.
//! `--frames SECONDS WIDTH HEIGHT` plays by itself in a window of that size, and prints how many frames a second it drew.

use std::path::PathBuf;

use bevy::input::keyboard::{Key, KeyboardInput};
use bevy::input::{ButtonState, InputSystems};
use bevy::prelude::*;
use bevy::render::view::screenshot::{Screenshot, ScreenshotCaptured, save_to_disk};
use bevy::ui::UiSystems;
use bevy::window::PrimaryWindow;

use crate::game::{Passing, Run, Screen, advance};
use crate::runner::{GRAVITY, JUMP, PLACE, Runner};
use crate::told::Known;

/// Seconds for which a key is down, unless the script says otherwise.
const TAP: f32 = 0.05;
const LETTERS: [KeyCode; 26] = [
    KeyCode::KeyA,
    KeyCode::KeyB,
    KeyCode::KeyC,
    KeyCode::KeyD,
    KeyCode::KeyE,
    KeyCode::KeyF,
    KeyCode::KeyG,
    KeyCode::KeyH,
    KeyCode::KeyI,
    KeyCode::KeyJ,
    KeyCode::KeyK,
    KeyCode::KeyL,
    KeyCode::KeyM,
    KeyCode::KeyN,
    KeyCode::KeyO,
    KeyCode::KeyP,
    KeyCode::KeyQ,
    KeyCode::KeyR,
    KeyCode::KeyS,
    KeyCode::KeyT,
    KeyCode::KeyU,
    KeyCode::KeyV,
    KeyCode::KeyW,
    KeyCode::KeyX,
    KeyCode::KeyY,
    KeyCode::KeyZ,
];
const DIGITS: [KeyCode; 10] = [
    KeyCode::Digit0,
    KeyCode::Digit1,
    KeyCode::Digit2,
    KeyCode::Digit3,
    KeyCode::Digit4,
    KeyCode::Digit5,
    KeyCode::Digit6,
    KeyCode::Digit7,
    KeyCode::Digit8,
    KeyCode::Digit9,
];

#[derive(Resource)]
struct Picture {
    file: PathBuf,
    seconds: f32,
}

/// Frames that are counted, from the second second on.
#[derive(Resource)]
struct Frames {
    seconds: f32,
    count: u32,
    longest: f32,
}

/// Seconds in which everything is loaded, and nothing counted.
const WARM_UP: f32 = 2.0;

/// Keys still to be pressed or released, the next one last.
#[derive(Resource)]
struct Script(Vec<(f32, KeyCode, Key, ButtonState)>);

/// Takes the picture and presses the keys that the arguments ask for, or says what is wrong with them.
pub fn prepare(app: &mut App, arguments: &[String]) -> Result<(), String> {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--fresh" => {}
            "--shot" => {
                let file = words.next().ok_or("--shot needs a file")?.into();
                let seconds = seconds(words.next().ok_or("--shot needs a time in seconds")?)?;
                app.insert_resource(Picture { file, seconds });
            }
            "--script" => {
                let script = words.next().ok_or("--script needs a list such as 1.0:b,2.0:enter")?;
                let mut keys: Vec<_> = script.split(',').map(strokes).collect::<Result<Vec<_>, _>>()?.concat();
                keys.sort_by(|one, other| other.0.total_cmp(&one.0));
                app.insert_resource(Script(keys));
            }
            "--frames" => {
                let mut number = |what: &str| seconds(words.next().ok_or(format!("--frames needs {what}"))?);
                let seconds = number("a time in seconds")?;
                let size = (number("a width")? as u32, number("a height")? as u32);
                app.insert_resource(Frames { seconds, count: 0, longest: 0.0 });
                app.add_systems(Startup, move |mut window: Single<&mut Window, With<PrimaryWindow>>| {
                    window.resolution = size.into();
                });
            }
            "--tell" => _ = app.add_systems(PostUpdate, tell.after(UiSystems::PostLayout)),
            other => {
                return Err(format!(
                    "{other:?} is not known; there are --headless, --kills COUNT, --fresh, --shot FILE SECONDS, \
                     --script LIST, --frames SECONDS WIDTH HEIGHT and --tell"
                ));
            }
        }
    }
    let plays_itself = resource_exists::<Picture>.and_then(not(resource_exists::<Script>));
    let plays_itself = plays_itself.or_else(resource_exists::<Frames>);
    app.add_systems(PreUpdate, press_keys.before(InputSystems).run_if(resource_exists::<Script>))
        .add_systems(Update, (begin, steer).before(advance).run_if(plays_itself))
        .add_systems(Update, take_picture.run_if(resource_exists::<Picture>))
        .add_systems(Update, count_frames.run_if(resource_exists::<Frames>));
    Ok(())
}

fn seconds(text: &str) -> Result<f32, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))
}

/// The press and the release of a key.
fn strokes(text: &str) -> Result<[(f32, KeyCode, Key, ButtonState); 2], String> {
    let (times, name) =
        text.split_once(':').ok_or_else(|| format!("{text:?} is not a time and a key, such as 1.0:b"))?;
    let (press, release) = match times.split_once('-') {
        Some((press, release)) => (seconds(press)?, seconds(release)?),
        None => (seconds(times)?, seconds(times)? + TAP),
    };
    let (code, key) = key(name).ok_or_else(|| format!("{name:?} is no key that a script can press"))?;
    Ok([(press, code, key.clone(), ButtonState::Pressed), (release, code, key, ButtonState::Released)])
}

fn key(name: &str) -> Option<(KeyCode, Key)> {
    Some(match (name, name.as_bytes()) {
        ("space", _) => (KeyCode::Space, Key::Space),
        ("enter", _) => (KeyCode::Enter, Key::Enter),
        ("tab", _) => (KeyCode::Tab, Key::Tab),
        ("escape", _) => (KeyCode::Escape, Key::Escape),
        ("up", _) => (KeyCode::ArrowUp, Key::ArrowUp),
        ("down", _) => (KeyCode::ArrowDown, Key::ArrowDown),
        ("left", _) => (KeyCode::ArrowLeft, Key::ArrowLeft),
        ("right", _) => (KeyCode::ArrowRight, Key::ArrowRight),
        (_, [letter @ b'a'..=b'z']) => (LETTERS[usize::from(letter - b'a')], Key::Character(name.into())),
        (_, [digit @ b'0'..=b'9']) => (DIGITS[usize::from(digit - b'0')], Key::Character(name.into())),
        _ => return None,
    })
}

fn press_keys(
    mut script: ResMut<Script>,
    mut keyboard: MessageWriter<KeyboardInput>,
    window: Single<Entity, With<PrimaryWindow>>,
    time: Res<Time<Real>>,
) {
    while let Some((_, key_code, logical_key, state)) = script.0.pop_if(|next| next.0 <= time.elapsed_secs()) {
        let text = match &logical_key {
            Key::Character(text) if state == ButtonState::Pressed => Some(text.clone()),
            _ => None,
        };
        keyboard.write(KeyboardInput { key_code, logical_key, state, text, repeat: false, window: *window });
    }
}

fn begin(screen: Res<State<Screen>>, mut next: ResMut<NextState<Screen>>) {
    if *screen != Screen::Run {
        next.set(Screen::Run);
    }
}

/// Jumps so that the highest point is over the next block.
fn steer(run: Res<Run>, mut runner: ResMut<Runner>, course: Query<(&Passing, &Transform)>) {
    let ways = course.iter().filter(|(passing, _)| matches!(passing, Passing::Hazard(half) if half.y > 20.0));
    let seconds = ways.map(|(_, at)| (at.translation.x - PLACE) / run.speed.max(1.0));
    if seconds.filter(|seconds| *seconds > 0.0).any(|seconds| seconds < JUMP / GRAVITY) {
        runner.wants_to_jump = 0.02;
    }
}

fn take_picture(mut commands: Commands, picture: Res<Picture>, time: Res<Time<Real>>) {
    if time.elapsed_secs() < picture.seconds {
        return;
    }
    commands.spawn(Screenshot::primary_window()).observe(save_to_disk(picture.file.clone())).observe(
        |_: On<ScreenshotCaptured>, mut exit: MessageWriter<AppExit>| {
            exit.write(AppExit::Success);
        },
    );
    commands.remove_resource::<Picture>();
}

fn count_frames(mut frames: ResMut<Frames>, time: Res<Time<Real>>, mut exit: MessageWriter<AppExit>) {
    let counted = time.elapsed_secs() - WARM_UP;
    if counted <= 0.0 {
        return;
    }
    frames.count += 1;
    frames.longest = frames.longest.max(time.delta_secs());
    if counted >= frames.seconds {
        println!("{:.1} frames a second, the longest {:.0} ms", frames.count as f32 / counted, frames.longest * 1e3);
        exit.write(AppExit::Success);
    }
}

/// Prints what is shown and known, if it is not what the last line said.
fn tell(known: Known, mut last: Local<String>) {
    let line = known.line().to_string();
    if *last != line {
        println!("{line}");
        *last = line;
    }
}
