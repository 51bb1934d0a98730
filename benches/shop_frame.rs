//! What the shop costs a game in a frame in which nothing happens: instructions with the shop closed and with it open,
//! beside the same game without the shop. Run with `cargo bench --bench shop_frame`; needs valgrind.

#[path = "measure/frames.rs"]
mod frames;
mod measure;

use std::path::Path;

use bevy::prelude::*;
use bevy::render::RenderPlugin;
use bevy::render::settings::{RenderCreation, WgpuSettings};
use bevy::winit::WinitPlugin;
use bevy_iap::client::storage::memory::MemoryStorage;
use bevy_iap::plugin::{IapPlugin, Save};
use bevy_iap::ui::{ShopCommand, ShopPlugin};

const CATALOG: &str = r#"Catalog(
    game: "bench",
    products: {
        "double_jump": Unlock(title: "Double jump", prices: { "EUR": "0.05" }),
        "shield": Consumable(title: "Shield", prices: { "EUR": "0.005" }),
        "day_pass": Pass(title: "Day pass", hours: 24, prices: { "EUR": "0.01" }),
    },
)"#;

/// The whole engine but for a graphics card and a desktop, with the store, and with the shop closed or open.
fn app(folder: &Path, shop: Option<bool>) -> App {
    let nothing_to_draw_with = WgpuSettings { backends: None, ..default() };
    let engine = DefaultPlugins
        .set(RenderPlugin { render_creation: RenderCreation::Automatic(Box::new(nothing_to_draw_with)), ..default() })
        .set(AssetPlugin { file_path: folder.display().to_string(), ..default() })
        .disable::<WinitPlugin>()
        .disable::<bevy::log::LogPlugin>();
    let save = Save::Memory(MemoryStorage::default());
    let mut app = App::new();
    app.add_plugins((engine, IapPlugin { save, ..IapPlugin::new("bench", "bench.catalog.ron") }));
    app.add_systems(Startup, |mut commands: Commands| {
        commands.spawn(Camera2d);
    });
    if shop.is_some() {
        app.add_plugins(ShopPlugin { language: Some("en".to_owned()), ..default() });
    }
    frames::settle(&mut app);
    if shop == Some(true) {
        app.world_mut().write_message(ShopCommand::Open);
    }
    // Until every table is grown.
    frames::run(&mut app, 30);
    app
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("bench.catalog.ron"), CATALOG).expect("a file in it");
    let shop = |job: &str| match job {
        "without" => None,
        job => Some(job == "open"),
    };
    if let Some((job, count)) = measure::job() {
        return frames::run(&mut app(folder.path(), shop(&job)), count);
    }
    let mut open = app(folder.path(), Some(true));
    let before = open.world().entities().count_spawned();
    frames::run(&mut open, 1_000);
    let after = open.world().entities().count_spawned();
    println!("shop_frame: {before} entities with the shop open, {after} after 1000 frames");
    match ["without", "closed", "open"].map(measure::instructions) {
        [Ok(without), Ok(closed), Ok(open)] => {
            let more = |with: u64| (with as f64 / without as f64 - 1.0) * 100.0;
            println!("shop_frame: {without} instructions a frame without the shop");
            println!("shop_frame: {closed} with it closed: {:+.2} % (goal: nothing)", more(closed));
            println!("shop_frame: {open} with it open and idle: {:+.2} %", more(open));
        }
        outcomes => outcomes.into_iter().filter_map(Result::err).for_each(|trouble| {
            println!("shop_frame: not measured: {trouble}");
        }),
    }
}
