//! Buys in a tunnel, within the allowance that the server set aside for this device: `cargo run --example offline`

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
    let store = IapPlugin {
        server: Some(address),
        save: Save::Memory(default()),
        ..IapPlugin::new("examples", "examples.catalog.ron")
    };
    Ok(App::new()
        .add_plugins(MinimalPlugins.set(ScheduleRunnerPlugin::run_loop(Duration::from_millis(16))))
        .add_plugins((LogPlugin::default(), AssetPlugin::default(), store))
        .add_systems(Update, (travel, give_up.run_if(once_after_real_delay(Duration::from_secs(30)))))
        .run())
}

/// Where the train is.
#[derive(Clone, Copy, Default)]
enum Place {
    #[default]
    Home,
    Station(OrderId),
    Portal,
    Tunnel(OrderId),
    Daylight(OrderId),
}

fn travel(mut place: Local<Place>, mut store: ResMut<Store>, mut exit: MessageWriter<AppExit>) -> Result {
    let is_granted = |order| store.order(order).is_some_and(|order| order.state == OrderState::Granted);
    match *place {
        Place::Home if store.is_ready() => *place = Place::Station(store.purchase("shield")?),
        Place::Station(order) if is_granted(order) && store.offline_allowance().is_some() => {
            println!("online: a shield was bought, and the receipt is here");
            tell_allowance(&store);
            store.set_offline(true)?;
            *place = Place::Portal;
        }
        Place::Portal if *store.connection() == Connection::Offline => {
            *place = Place::Tunnel(store.purchase("double_jump")?);
        }
        Place::Tunnel(order) if store.owns("double_jump") => {
            println!("offline: the double jump is given at once; its receipt is still to come");
            tell_allowance(&store);
            store.set_offline(false)?;
            *place = Place::Daylight(order);
        }
        Place::Daylight(order) if is_granted(order) => {
            println!("online again: the double jump is paid for, with {} receipts in all", store.receipts().len());
            exit.write(AppExit::Success);
        }
        _ => {}
    }
    Ok(())
}

fn tell_allowance(store: &Store) {
    if let Some(allowance) = store.offline_allowance() {
        println!("  {} of {} orders can be spent offline", allowance.left, allowance.orders);
    }
}

fn give_up(mut exit: MessageWriter<AppExit>) {
    println!("gave up");
    exit.write(AppExit::error());
}
