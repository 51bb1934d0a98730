//! The game's process without a window: reads a command a line, writes an event a line.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use bevy::app::ScheduleRunnerPlugin;
use bevy::prelude::*;
use bevy_iap::prelude::*;

use super::player::Standing;
use super::server::{ASSETS, CATALOG};

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

/// The commands that came on the standard input.
#[derive(Resource)]
struct Commanded(Mutex<Receiver<String>>);

/// Runs until the standard input ends.
pub fn run(client: &Client) -> ExitCode {
    match start(client) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("the game cannot run: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn start(client: &Client) -> Result<(), Box<dyn Error>> {
    let (sender, commanded) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let assets = AssetPlugin { file_path: ASSETS.into(), ..default() };
    let iap = IapPlugin {
        server: Some(ServerAddress::new(&client.url, &client.key)?),
        save: Save::Folder(client.save.clone()),
        offline_grants: OfflineGrants::Provisional,
        offline: client.offline,
        double_tap: Duration::ZERO,
        ..IapPlugin::new("arcade", CATALOG)
    };
    let frames = MinimalPlugins.set(ScheduleRunnerPlugin::run_loop(Duration::from_millis(2)));
    App::new()
        .add_plugins((frames, assets, iap))
        .insert_resource(Commanded(Mutex::new(commanded)))
        .add_systems(Update, (ready.run_if(store_ready.and_then(run_once)), obey.run_if(store_ready)).chain())
        .add_observer(|news: On<PurchaseUpdated>| {
            say(&format!("order {} {} {:?}", news.order, news.product, news.state))
        })
        .run();
    Ok(())
}

fn ready() {
    say("ready");
}

fn obey(commanded: Res<Commanded>, mut store: ResMut<Store>, mut exit: MessageWriter<AppExit>) {
    // Nobody else takes this lock.
    let Ok(commanded) = commanded.0.lock() else { return };
    loop {
        match commanded.try_recv() {
            Ok(command) => obey_one(&command, &mut store),
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => {
                exit.write(AppExit::Success);
                return;
            }
        }
    }
}

fn obey_one(command: &str, store: &mut Store) {
    let (verb, noun) = command.split_once(' ').unwrap_or((command, ""));
    match verb {
        "buy" => match store.purchase(noun) {
            Ok(order) => say(&format!("placed {order}")),
            Err(error) => say(&format!("refused {error}")),
        },
        "consume" => match store.consume(noun, 1) {
            Ok(()) => say(&format!("consumed {noun}")),
            Err(error) => say(&format!("refused {error}")),
        },
        "offline" | "online" => match store.set_offline(verb == "offline") {
            Ok(()) => say(verb),
            Err(error) => say(&format!("refused {error}")),
        },
        "standing" => match serde_json::to_string(&Standing::of(store)) {
            Ok(json) => say(&format!("standing {json}")),
            Err(error) => say(&format!("trouble {error}")),
        },
        "receipts" => {
            for receipt in store.receipts() {
                say(&format!("receipt {}", receipt.token));
            }
            say("receipts");
        }
        _ => say(&format!("refused {command:?} is not a command")),
    }
}

/// A line, out at once: whoever reads it may kill this process in the next moment.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The other end may be gone already; then nobody wants to know.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
