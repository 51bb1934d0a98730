//! What is owned switches systems on, and the end of a pass switches them off: `cargo run --example entitlements`

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bevy::app::ScheduleRunnerPlugin;
use bevy::log::LogPlugin;
use bevy::prelude::*;
use bevy::time::common_conditions::once_after_real_delay;
use bevy_iap::prelude::*;
use bevy_iap::protocol::{Catalog, UnixSeconds};
use bevy_iap::server::clock::{Clock, SystemClock};
use bevy_iap::server::{LocalServer, ServerConfig};

/// The server's clock, which the example sets forward: nobody wants to wait for a day.
#[derive(Resource, Clone, Debug, Default)]
struct FastClock(Arc<AtomicI64>);

impl Clock for FastClock {
    fn now(&self) -> UnixSeconds {
        SystemClock.now() + self.0.load(Ordering::Relaxed)
    }
}

fn main() -> Result<AppExit> {
    let folder = tempfile::tempdir()?;
    let catalog = Catalog::parse("examples.catalog.ron", include_str!("../assets/examples.catalog.ron"))?;
    let (welcome, clock) = (Some("1.00EUR".parse()?), FastClock::default());
    let config = ServerConfig { welcome, clock: Arc::new(clock.clone()), ..ServerConfig::new(folder.path(), catalog) };
    let server = LocalServer::start(config)?;
    let address = ServerAddress { url: server.url(), keys: vec![server.public_key()] };
    // A pass begins when the server sells it: here it is given with the receipt, and not on credit before.
    let (save, offline_grants) = (Save::Memory(default()), OfflineGrants::Wait);
    let plugin = IapPlugin::new("examples", "examples.catalog.ron");
    Ok(App::new()
        .add_plugins(MinimalPlugins.set(ScheduleRunnerPlugin::run_loop(Duration::from_millis(16))))
        .add_plugins((LogPlugin::default(), AssetPlugin::default()))
        .add_plugins(IapPlugin { server: Some(address), save, offline_grants, ..plugin })
        .insert_resource(clock)
        .add_systems(Update, buy.run_if(store_ready.and_then(run_once)))
        .add_systems(Update, jump_twice.run_if(owns("double_jump").and_then(run_once)))
        .add_systems(Update, let_a_day_pass.run_if(owns("day_pass").and_then(run_once)))
        .add_systems(PreUpdate, tell.after(StoreSystems::Receive).run_if(on_message::<EntitlementsChanged>))
        .add_systems(Update, give_up.run_if(once_after_real_delay(Duration::from_secs(30))))
        .run())
}

fn buy(mut store: ResMut<Store>) -> Result {
    store.purchase("double_jump")?;
    store.purchase("day_pass")?;
    Ok(())
}

fn jump_twice() {
    println!("jumping twice, from now on");
}

fn let_a_day_pass(store: Res<Store>, clock: Res<FastClock>) {
    let left = store.time_left("day_pass").unwrap_or_default();
    println!("the day pass is on for {} minutes, and a day goes by", left.as_secs() / 60);
    clock.0.fetch_add(24 * 60 * 60, Ordering::Relaxed);
    store.sync_now();
}

fn tell(mut changes: MessageReader<EntitlementsChanged>, mut exit: MessageWriter<AppExit>) {
    for change in changes.read() {
        change.gained.iter().for_each(|right| println!("gained: {right}"));
        for right in &change.lost {
            println!("lost: {right}");
            exit.write(AppExit::Success);
        }
    }
}

fn give_up(mut exit: MessageWriter<AppExit>) {
    println!("gave up");
    exit.write(AppExit::error());
}
