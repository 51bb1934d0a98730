//! What was written behind the demo's name.

use std::path::PathBuf;

use bevy::prelude::KeyCode;

/// How to call the demo.
pub const USAGE: &str =
    "usage: arcade [--headless] [--kills COUNT] [--fresh] [--shot FILE SECONDS [--script 1.0:tab,2.0:1,3.0:o]]";

/// The demo's arguments.
#[derive(Default)]
pub struct Arguments {
    /// What to do.
    pub mode: Mode,
    /// Begin with nothing bought, in a folder that is gone afterwards.
    pub fresh: bool,
    /// Play by itself, take a picture and leave.
    pub shot: Option<Shot>,
    /// Keys that press themselves.
    pub script: Vec<ScriptedKey>,
}

/// What to do.
#[derive(Default)]
pub enum Mode {
    /// Play in a window.
    #[default]
    Window,
    /// Play without one.
    Headless,
    /// Kill the game while it buys, this many times.
    Kills(u32),
    /// Be the game's process in a session without a window.
    Client(Client),
}

/// What a session tells the game's process that it starts.
pub struct Client {
    /// The save folder.
    pub save: PathBuf,
    /// The server's URL.
    pub url: String,
    /// The server's public key.
    pub key: String,
    /// Whether to begin offline.
    pub offline: bool,
}

/// A picture to take.
pub struct Shot {
    /// Where to write it.
    pub file: PathBuf,
    /// Seconds after the start.
    pub seconds: f32,
}

/// A key that presses itself.
pub struct ScriptedKey {
    /// Seconds after the start.
    pub seconds: f32,
    /// The key.
    pub key: KeyCode,
}

impl Arguments {
    /// Reads the arguments, or says what is wrong with them.
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--headless" => arguments.mode = Mode::Headless,
                "--kills" => {
                    let count = words.next().and_then(|count| count.parse().ok());
                    arguments.mode = Mode::Kills(count.ok_or("--kills needs a number")?);
                }
                "--client" => {
                    let mut next =
                        || words.next().ok_or("--client needs a save folder, a URL, a key, and online or offline");
                    let (save, url, key, connection) = (next()?.into(), next()?, next()?, next()?);
                    arguments.mode = Mode::Client(Client { save, url, key, offline: connection == "offline" });
                }
                "--fresh" => arguments.fresh = true,
                "--shot" => {
                    let file = words.next().ok_or("--shot needs a file")?.into();
                    let seconds = seconds(&words.next().ok_or("--shot needs a time in seconds")?)?;
                    arguments.shot = Some(Shot { file, seconds });
                }
                "--script" => {
                    let script = words.next().ok_or("--script needs a list such as 1.0:tab,2.0:1")?;
                    arguments.script = script.split(',').map(scripted_key).collect::<Result<_, _>>()?;
                }
                other => return Err(format!("{other:?} is not known")),
            }
        }
        Ok(arguments)
    }
}

fn seconds(text: &str) -> Result<f32, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))
}

fn scripted_key(text: &str) -> Result<ScriptedKey, String> {
    let (at, name) =
        text.split_once(':').ok_or_else(|| format!("{text:?} is not a time and a key, such as 1.0:tab"))?;
    let key = match name {
        "tab" => KeyCode::Tab,
        "space" => KeyCode::Space,
        "o" => KeyCode::KeyO,
        "1" => KeyCode::Digit1,
        "2" => KeyCode::Digit2,
        "3" => KeyCode::Digit3,
        "4" => KeyCode::Digit4,
        "5" => KeyCode::Digit5,
        _ => return Err(format!("{name:?} is no key of this demo; take tab, space, o or 1 to 5")),
    };
    Ok(ScriptedKey { seconds: seconds(at)?, key })
}
