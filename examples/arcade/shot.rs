//! Pictures of the demo, taken by itself: the runner steers itself, keys press themselves, a picture ends it.

use bevy::input::InputSystems;
use bevy::prelude::*;
use bevy::render::view::screenshot::{Screenshot, ScreenshotCaptured, save_to_disk};

use crate::arguments::{ScriptedKey, Shot};
use crate::game::Autopilot;

/// Takes the picture and presses the keys.
pub fn prepare(app: &mut App, shot: Option<Shot>, mut script: Vec<ScriptedKey>) {
    if let Some(Shot { file, seconds }) = shot {
        app.insert_resource(Autopilot(true)).insert_resource(Picture { file, seconds });
        app.add_systems(Update, take_picture.run_if(resource_exists::<Picture>));
    }
    if !script.is_empty() {
        script.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
        app.insert_resource(Script(script));
        app.add_systems(PreUpdate, press_keys.after(InputSystems));
    }
}

#[derive(Resource)]
struct Picture {
    file: std::path::PathBuf,
    seconds: f32,
}

/// Keys still to be pressed, the next one last.
#[derive(Resource)]
struct Script(Vec<ScriptedKey>);

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

fn press_keys(mut script: ResMut<Script>, mut keys: ResMut<ButtonInput<KeyCode>>, time: Res<Time<Real>>) {
    while let Some(next) = script.0.pop_if(|next| next.seconds <= time.elapsed_secs()) {
        keys.press(next.key);
        keys.release(next.key);
    }
}
