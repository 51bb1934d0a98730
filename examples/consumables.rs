//! Buys many, uses them up offline, and hears which use the server refused: `cargo run --example consumables`

use std::time::Duration;

use bevy::app::ScheduleRunnerPlugin;
use bevy::log::LogPlugin;
use bevy::prelude::*;
use bevy::time::common_conditions::once_after_real_delay;
use bevy_iap::prelude::*;
use bevy_iap::protocol::Catalog;
use bevy_iap::server::{LocalServer, ServerConfig};

#[derive(Resource)]
struct Server(LocalServer);

fn main() -> Result<AppExit> {
    let folder = tempfile::tempdir()?;
    let catalog = Catalog::parse("examples.catalog.ron", include_str!("../assets/examples.catalog.ron"))?;
    let welcome = Some("1.00EUR".parse()?);
    let server = LocalServer::start(ServerConfig { welcome, ..ServerConfig::new(folder.path(), catalog) })?;
    let address = ServerAddress { url: server.url(), keys: vec![server.public_key()] };
    // Everything is given with its receipt: what is there is what the server knows of.
    let (save, offline_grants) = (Save::Memory(default()), OfflineGrants::Wait);
    let plugin = IapPlugin::new("examples", "examples.catalog.ron");
    Ok(App::new()
        .add_plugins(MinimalPlugins.set(ScheduleRunnerPlugin::run_loop(Duration::from_millis(16))))
        .add_plugins((LogPlugin::default(), AssetPlugin::default()))
        .add_plugins(IapPlugin { server: Some(address), save, offline_grants, ..plugin })
        .insert_resource(Server(server))
        .add_systems(Update, (play, give_up.run_if(once_after_real_delay(Duration::from_secs(30)))))
        .add_observer(|refused: On<ConsumeRefused>| println!("{} of {} are back", refused.quantity, refused.item))
        .run())
}

/// What the player does.
#[derive(Clone, Copy, Default)]
enum Step {
    #[default]
    Open,
    Buy(OrderId),
    Fight(OrderId),
    Return,
}

fn play(mut step: Local<Step>, mut store: ResMut<Store>, server: Res<Server>, mut commands: Commands) -> Result {
    match *step {
        Step::Open if store.is_ready() => {
            store.purchase_many("shield", 10)?;
            *step = Step::Buy(store.purchase("shield_crate")?);
        }
        Step::Buy(crate_order) if store.quantity("shield") == 15 => {
            println!("bought 10 shields and a crate of 5: there are 15");
            store.set_offline(true)?;
            *step = Step::Fight(crate_order);
        }
        Step::Fight(crate_order) if *store.connection() == Connection::Offline => {
            store.consume("shield", 8)?;
            store.consume("shield", 4)?;
            println!("used 8 and 4 offline: there are {}", store.quantity("shield"));
            println!("not used: {}", store.consume("shield", 100).err().ok_or("there were 100")?);
            server.0.refund(crate_order)?;
            println!("the crate was paid back meanwhile, so 10 are paid for: 8 can have been used, and 4 more cannot");
            store.set_offline(false)?;
            *step = Step::Return;
        }
        Step::Return if store.quantity("shield") == 2 => {
            println!("online again: there are 2");
            commands.write_message(AppExit::Success);
        }
        _ => {}
    }
    Ok(())
}

fn give_up(mut exit: MessageWriter<AppExit>) {
    println!("gave up");
    exit.write(AppExit::error());
}
