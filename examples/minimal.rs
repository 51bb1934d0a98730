//! Sells one thing. Start a server first: see "Quick start" in the README.

use bevy::app::ScheduleRunnerPlugin;
use bevy::log::LogPlugin;
use bevy::prelude::*;
use bevy_iap::prelude::*;
use std::time::Duration;

fn main() -> Result {
    // `iap-server serve` prints its key; a real game has it in its source.
    let key = std::env::var("IAP_SERVER_KEY").map_err(|_| "set IAP_SERVER_KEY to the key that `iap-server` printed")?;
    let server = ServerAddress::new("http://127.0.0.1:7878", &key)?;
    App::new()
        .add_plugins(MinimalPlugins.set(ScheduleRunnerPlugin::run_loop(Duration::from_millis(16))))
        .add_plugins((LogPlugin::default(), AssetPlugin::default()))
        .add_plugins(IapPlugin { server: Some(server), ..IapPlugin::new("minimal", "minimal.catalog.ron") })
        .add_systems(Update, buy.run_if(store_ready.and_then(run_once)))
        .add_systems(Update, jump_twice.run_if(owns("double_jump")))
        .add_observer(tell)
        .run();
    Ok(())
}

fn buy(mut store: ResMut<Store>) {
    println!("account: {}", store.account().map_or("none", |account| account.as_str()));
    match store.purchase("double_jump") {
        Ok(order) => println!("ordered: {order}"),
        Err(error) => println!("not ordered: {error}"),
    }
}

fn tell(update: On<PurchaseUpdated>, store: Res<Store>, mut exit: MessageWriter<AppExit>) {
    println!("{} is {:?}", update.product, update.state);
    if let Some(reason) = store.order(update.order).and_then(|order| order.reason) {
        println!("because {reason}");
        exit.write(AppExit::error());
    }
}

fn jump_twice(mut exit: MessageWriter<AppExit>) {
    println!("the double jump is yours");
    exit.write(AppExit::Success);
}
