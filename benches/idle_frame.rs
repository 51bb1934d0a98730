//! What the plugin costs a game in frames in which nothing is bought: instructions beside the same app without it, and
//! allocations. Run with `cargo bench --bench idle_frame`; needs valgrind.

#[path = "measure/frames.rs"]
mod frames;
mod measure;

use std::path::Path;

use bevy::asset::AssetPlugin;
use bevy::diagnostic::FrameCountPlugin;
use bevy::prelude::*;
use bevy::time::TimePlugin;
use bevy_iap::client::storage::memory::MemoryStorage;
use bevy_iap::plugin::{IapPlugin, Save};

const CATALOG: &str =
    r#"Catalog(game: "bench", products: { "shield": Consumable(title: "Shield", prices: { "EUR": "0.005" }) })"#;

fn app(folder: &Path, with_plugin: bool) -> App {
    let mut app = App::new();
    let assets = AssetPlugin { file_path: folder.display().to_string(), ..AssetPlugin::default() };
    app.add_plugins((TaskPoolPlugin::default(), FrameCountPlugin, TimePlugin, assets));
    if with_plugin {
        let save = Save::Memory(MemoryStorage::default());
        app.add_plugins(IapPlugin { save, ..IapPlugin::new("bench", "bench.catalog.ron") });
    }
    frames::settle(&mut app);
    // Until every table is grown.
    frames::run(&mut app, 20);
    app
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("bench.catalog.ron"), CATALOG).expect("a file in it");
    if let Some((job, count)) = measure::job() {
        return frames::run(&mut app(folder.path(), job == "with"), count);
    }
    let mut measured = app(folder.path(), true);
    let allocations = allocation_counter::measure(|| frames::run(&mut measured, 1_000));
    println!("idle_frame: {} allocations in 1000 frames with the plugin", allocations.count_total);
    match (measure::instructions("without"), measure::instructions("with")) {
        (Ok(without), Ok(with)) => {
            let more = (with as f64 / without as f64 - 1.0) * 100.0;
            println!(
                "idle_frame: {without} instructions without the plugin, {with} with it: {more:+.2} % (goal: at most +6 %)"
            );
        }
        (Err(trouble), _) | (_, Err(trouble)) => println!("idle_frame: not measured: {trouble}"),
    }
}
