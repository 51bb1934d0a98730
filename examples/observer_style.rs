//! Hears everything by observers, with no system that looks every frame: `cargo run --example observer_style`

use std::time::Duration;

use bevy::app::ScheduleRunnerPlugin;
use bevy::log::LogPlugin;
use bevy::prelude::*;
use bevy::time::common_conditions::once_after_real_delay;
use bevy_iap::prelude::*;
use bevy_iap::protocol::Catalog;
use bevy_iap::server::{LocalServer, ServerConfig};

fn main() -> Result<AppExit> {
    let folder = tempfile::tempdir()?;
    let catalog = Catalog::parse("examples.catalog.ron", include_str!("../assets/examples.catalog.ron"))?;
    let welcome = Some("1.00EUR".parse()?);
    let server = LocalServer::start(ServerConfig { welcome, ..ServerConfig::new(folder.path(), catalog) })?;
    let address = ServerAddress { url: server.url(), keys: vec![server.public_key()] };
    let plugin = IapPlugin::new("examples", "examples.catalog.ron");
    let exit = App::new()
        .add_plugins(MinimalPlugins.set(ScheduleRunnerPlugin::run_loop(Duration::from_millis(16))))
        .add_plugins((LogPlugin::default(), AssetPlugin::default()))
        .add_plugins(IapPlugin { server: Some(address), save: Save::Memory(default()), ..plugin })
        // The journal and the catalogue are read side by side: whichever is last makes the store ready.
        .add_observer(|_: On<StoreOpened>, store: ResMut<Store>| buy(store))
        .add_observer(|_: On<CatalogLoaded>, store: ResMut<Store>| buy(store))
        .add_observer(|_: On<CatalogFailed>, mut exit: MessageWriter<AppExit>| _ = exit.write(AppExit::error()))
        .add_observer(|trouble: On<StoreTrouble>| println!("trouble: {}", trouble.trouble))
        .add_observer(|change: On<ConnectionChanged>| println!("connection: {:?}", change.connection))
        .add_observer(tell_wallet)
        .add_observer(tell_purchase)
        .add_observer(tell_entitlements)
        .add_systems(Update, give_up.run_if(once_after_real_delay(Duration::from_secs(30))))
        .run();
    println!("ended: {exit:?}");
    Ok(exit)
}

fn buy(mut store: ResMut<Store>) -> Result {
    if store.is_ready() {
        println!("ready: buying the double jump");
        store.purchase("double_jump")?;
    }
    Ok(())
}

fn tell_wallet(change: On<WalletChanged>) {
    for balance in &change.wallet {
        let money = |micros| Money::new(micros, balance.currency);
        println!("wallet: {}, and {} set aside", money(balance.available), money(balance.held));
    }
}

fn tell_purchase(update: On<PurchaseUpdated>, store: Res<Store>, mut exit: MessageWriter<AppExit>) {
    println!("order: {} is {:?}", update.product, update.state);
    if let Some(reason) = store.order(update.order).and_then(|order| order.reason) {
        println!("because {reason}");
        exit.write(AppExit::error());
    } else if update.state == OrderState::Granted {
        exit.write(AppExit::Success);
    }
}

fn tell_entitlements(change: On<EntitlementsChanged>) {
    change.gained.iter().for_each(|right| println!("gained: {right}"));
    change.lost.iter().for_each(|right| println!("lost: {right}"));
}

fn give_up(mut exit: MessageWriter<AppExit>) {
    println!("gave up");
    exit.write(AppExit::error());
}
