//! What `Store::purchase` costs on the game's thread, beside one Ed25519 signature. Run with
//! `cargo bench --bench purchase_call`; needs valgrind.

mod measure;

use std::hint::black_box;
use std::time::Duration;

use bevy::asset::AssetPlugin;
use bevy::prelude::*;
use bevy_iap::client::storage::memory::MemoryStorage;
use bevy_iap::plugin::{IapPlugin, Save, Store};
use ed25519_dalek::Signer;

const CATALOG: &str =
    r#"Catalog(game: "bench", products: { "shield": Consumable(title: "Shield", prices: { "EUR": "0.005" }) })"#;

fn purchases(count: u64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("bench.catalog.ron"), CATALOG).expect("a file in it");
    let mut app = App::new();
    let assets = AssetPlugin { file_path: folder.path().display().to_string(), ..AssetPlugin::default() };
    let save = Save::Memory(MemoryStorage::default());
    let plugin = IapPlugin { save, double_tap: Duration::ZERO, ..IapPlugin::new("bench", "bench.catalog.ron") };
    app.add_plugins((MinimalPlugins, assets, plugin));
    app.finish();
    app.cleanup();
    while !app.world().resource::<Store>().is_ready() {
        app.update();
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut store = app.world_mut().resource_mut::<Store>();
    for _ in 0..count {
        black_box(store.purchase("shield")).expect("ordered");
    }
}

fn signatures(count: u64) {
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let message = [b'x'; 600];
    for _ in 0..count {
        black_box(key.sign(black_box(&message)));
    }
}

fn main() {
    match measure::job() {
        Some((job, count)) if job == "purchase" => return purchases(count),
        Some((_, count)) => return signatures(count),
        None => {}
    }
    match (measure::instructions("sign"), measure::instructions("purchase")) {
        (Ok(sign), Ok(purchase)) => {
            let ratio = purchase as f64 / sign as f64;
            println!(
                "purchase_call: {purchase} instructions on the game's thread; one signature is {sign}: \
                 {ratio:.3} signatures (goal: at most 1.3)"
            );
        }
        (Err(trouble), _) | (_, Err(trouble)) => println!("purchase_call: not measured: {trouble}"),
    }
}
