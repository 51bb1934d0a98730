//! Sells bundles: several things for one price, in the shop that comes with the library. Press B to open it.

use bevy::prelude::*;
use bevy_iap::prelude::*;
use bevy_iap::protocol::Catalog;
use bevy_iap::server::{LocalServer, ServerConfig};
use bevy_iap::ui::{ShopCommand, ShopPlugin};

fn main() -> Result {
    // A store server in the game's own process, with an empty folder: a player of its own at every start.
    let folder = tempfile::tempdir()?;
    let catalog = Catalog::parse("bundles.catalog.ron", include_str!("../assets/bundles.catalog.ron"))?;
    let welcome = Some("1.00EUR".parse()?);
    let server = LocalServer::start(ServerConfig { welcome, ..ServerConfig::new(folder.path(), catalog) })?;
    let address = ServerAddress { url: server.url(), keys: vec![server.public_key()] };
    let store = IapPlugin {
        server: Some(address),
        save: Save::Folder(folder.path().join("save")),
        ..IapPlugin::new("bundles", "bundles.catalog.ron")
    };
    App::new()
        .add_plugins((DefaultPlugins, store, ShopPlugin::default()))
        .add_systems(Startup, set_the_scene)
        .add_systems(Update, open_shop)
        .add_systems(Update, count_lanterns.run_if(resource_changed::<Store>))
        .run();
    server.stop();
    Ok(())
}

#[derive(Component)]
struct Lanterns;

fn set_the_scene(mut commands: Commands, mut shop: MessageWriter<ShopCommand>) {
    commands.spawn(Camera2d);
    commands.spawn((Lanterns, Text::default()));
    shop.write(ShopCommand::Open);
}

fn open_shop(keys: Res<ButtonInput<KeyCode>>, mut shop: MessageWriter<ShopCommand>) {
    if keys.just_pressed(KeyCode::KeyB) {
        shop.write(ShopCommand::Open);
    }
}

/// A bundle gives what its parts give: the game asks for the sail and for lanterns, never for the pack.
fn count_lanterns(store: Res<Store>, mut text: Single<&mut Text, With<Lanterns>>) {
    let sail = if store.owns("blue_sail") { "blue" } else { "grey" };
    text.0 = format!("A {sail} sail, and {} lanterns. B opens the shop.", store.quantity("lantern"));
}
