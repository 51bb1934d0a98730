//! The game in a page of a browser, with the store's server beside it.
//!
//! The page and the game speak through one object, `globalThis.arcade`: it says where the server is (`server`, `key`), takes
//! what is shown and known (`told`), and has the lines that the game is to obey (`commands`): `link`, `join CODE`,
//! `offline` and `online`.

use std::error::Error;
use std::process::ExitCode;

use bevy::prelude::*;
use bevy::ui::UiSystems;
use bevy_iap::prelude::*;
use js_sys::{Array, Function, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use crate::CATALOG;
use crate::game::BestBeaten;
use crate::told::Known;

/// Under which name the page keeps the best score.
const BEST: &str = "neon_dusk.best";

/// What the last question about the account came to.
#[derive(Resource, Default)]
struct LastAsked(Option<String>);

/// Starts the game.
pub fn start() -> ExitCode {
    match play() {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            tell(&serde_json::json!({ "trouble": trouble.to_string() }).to_string());
            ExitCode::FAILURE
        }
    }
}

fn play() -> Result<(), Box<dyn Error>> {
    let word = |name: &str| page(name).as_string().ok_or_else(|| format!("the page does not say `arcade.{name}`"));
    let store = IapPlugin {
        server: Some(ServerAddress::new(&word("server")?, &word("key")?)?),
        offline_grants: OfflineGrants::Provisional,
        ..IapPlugin::new("arcade", CATALOG)
    };
    let best = storage("getItem").and_then(|(get, storage)| get.call1(&storage, &BEST.into()).ok());
    let best = best.and_then(|best| best.as_string()).and_then(|best| best.parse().ok());
    crate::game("assets", store, best.unwrap_or_default())
        .init_resource::<LastAsked>()
        .add_observer(|beaten: On<BestBeaten>| {
            if let Some((set, storage)) = storage("setItem") {
                let kept = set.call2(&storage, &BEST.into(), &beaten.0.to_string().into());
                kept.map_or_else(|_| warn!("the browser does not keep the best score"), drop);
            }
        })
        .add_observer(|asked: On<AccountUpdated>, mut last: ResMut<LastAsked>| {
            let outcome = asked.outcome.as_ref().map_or_else(ToString::to_string, |_| "done".to_owned());
            last.0 = Some(format!("{:?}: {outcome}", asked.asked));
        })
        .add_systems(PreUpdate, obey)
        .add_systems(PostUpdate, tell_all.after(UiSystems::PostLayout))
        .run();
    Ok(())
}

/// Does what the page asks for.
fn obey(mut store: ResMut<Store>, mut last: ResMut<LastAsked>) {
    let Ok(commands) = page("commands").dyn_into::<Array>() else { return };
    if commands.length() == 0 {
        return;
    }
    let line = commands.shift().as_string().unwrap_or_default();
    let (verb, noun) = line.split_once(' ').unwrap_or((&line, ""));
    let asked = match verb {
        "link" => store.request_link_code().map_err(|error| error.to_string()),
        "join" => store.join_by_code(noun).map_err(|error| error.to_string()),
        "offline" | "online" => store.set_offline(verb == "offline").map_err(|error| error.to_string()),
        _ => Err(format!("{line:?} is not known")),
    };
    last.0 = asked.err();
}

fn tell_all(known: Known, asked: Res<LastAsked>, mut last: Local<String>) {
    let mut line = known.line();
    line["asked"] = asked.0.clone().into();
    let line = line.to_string();
    if *last != line {
        tell(&line);
        *last = line;
    }
}

fn tell(line: &str) {
    if let Ok(told) = page("told").dyn_into::<Function>() {
        // What the page does with it is its own.
        let _ = told.call1(&page_object(), &line.into());
    }
}

fn page_object() -> JsValue {
    Reflect::get(&js_sys::global(), &"arcade".into()).unwrap_or_default()
}

/// What the page's object has under this name.
fn page(name: &str) -> JsValue {
    Reflect::get(&page_object(), &name.into()).unwrap_or_default()
}

/// A function of what the page may keep, if it may.
fn storage(function: &str) -> Option<(Function, Object)> {
    let storage: Object = Reflect::get(&js_sys::global(), &"localStorage".into()).ok()?.dyn_into().ok()?;
    let function = Reflect::get(&storage, &function.into()).ok()?.dyn_into().ok()?;
    Some((function, storage))
}
