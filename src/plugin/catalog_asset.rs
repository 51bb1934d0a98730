//! The catalogue as an asset: loaded, reloaded when the file changes, and refused without losing the last good one.

use std::sync::Arc;

use bevy::app::{App, PreUpdate};
use bevy::asset::io::Reader;
use bevy::asset::{
    Asset, AssetApp, AssetEvent, AssetLoadFailedEvent, AssetLoader, AssetServer, Assets, Handle, LoadContext,
};
use bevy::ecs::error::BevyError;
use bevy::ecs::message::MessageReader;
use bevy::ecs::resource::Resource;
use bevy::ecs::schedule::IntoScheduleConfigs;
use bevy::ecs::schedule::SystemCondition;
use bevy::ecs::schedule::common_conditions::on_message;
use bevy::ecs::system::{Commands, Res, ResMut};
use bevy::reflect::TypePath;

use super::{CatalogFailed, CatalogLoaded, Store, StoreSystems};
use crate::protocol::Catalog;

/// A checked catalogue, as an asset.
#[derive(Asset, TypePath, Clone, Debug)]
pub struct CatalogAsset(pub Arc<Catalog>);

/// Reads `*.catalog.ron` files.
#[derive(Default, TypePath, Clone, Copy, Debug)]
pub struct CatalogLoader;

impl AssetLoader for CatalogLoader {
    type Asset = CatalogAsset;
    type Settings = ();
    type Error = BevyError;

    async fn load(
        &self,
        reader: &mut dyn Reader,
        _: &Self::Settings,
        context: &mut LoadContext<'_>,
    ) -> Result<CatalogAsset, BevyError> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await?;
        let text = std::str::from_utf8(&bytes).map_err(|error| format!("the catalogue is not UTF-8 text: {error}"))?;
        let catalog = Catalog::parse(&context.path().to_string(), text)?;
        Ok(CatalogAsset(Arc::new(catalog)))
    }

    fn extensions(&self) -> &[&str] {
        &["catalog.ron"]
    }
}

/// The catalogue that this app sells from.
#[derive(Resource, Debug)]
struct CurrentCatalog {
    handle: Handle<CatalogAsset>,
    game: String,
}

pub(super) fn register(app: &mut App, game: &str, path: &str) {
    let Some(server) = app.world().get_resource::<AssetServer>().cloned() else {
        let reason = "the asset plugin is not there; add `IapPlugin` after `DefaultPlugins` or `AssetPlugin`";
        tracing::error!("nothing can be bought: {reason}");
        app.world_mut().resource_mut::<Store>().refuse_catalog(reason.to_owned());
        return;
    };
    app.init_asset::<CatalogAsset>().init_asset_loader::<CatalogLoader>();
    let handle = server.load(path.to_owned());
    app.insert_resource(CurrentCatalog { handle, game: game.to_owned() });
    let changed = on_message::<AssetEvent<CatalogAsset>>.or_else(on_message::<AssetLoadFailedEvent<CatalogAsset>>);
    app.add_systems(PreUpdate, follow_catalog.in_set(StoreSystems::Catalog).run_if(changed));
}

fn follow_catalog(
    current: Res<CurrentCatalog>,
    assets: Res<Assets<CatalogAsset>>,
    mut changes: MessageReader<AssetEvent<CatalogAsset>>,
    mut failures: MessageReader<AssetLoadFailedEvent<CatalogAsset>>,
    mut store: ResMut<Store>,
    mut commands: Commands,
) {
    for failure in failures.read().filter(|failure| failure.id == current.handle.id()) {
        refuse(&mut store, &mut commands, words(&failure.error));
    }
    let loaded = changes.read().any(|change| match change {
        AssetEvent::Added { id } | AssetEvent::Modified { id } => *id == current.handle.id(),
        _ => false,
    });
    let Some(CatalogAsset(catalog)) = assets.get(&current.handle).filter(|_| loaded) else { return };
    if catalog.game != *current.game.as_str() {
        let reason = format!("it is of the game {:?}, and this is {:?}", catalog.game.as_str(), current.game);
        return refuse(&mut store, &mut commands, reason);
    }
    let digest = catalog.digest();
    store.take_catalog(catalog.clone());
    commands.write_message(CatalogLoaded { digest });
    commands.trigger(CatalogLoaded { digest });
}

/// Keeps the last good catalogue, and says why there is no newer one.
fn refuse(store: &mut Store, commands: &mut Commands, reason: String) {
    tracing::error!("there is no new catalogue: {reason}");
    store.refuse_catalog(reason.clone());
    commands.write_message(CatalogFailed { reason: reason.clone() });
    commands.trigger(CatalogFailed { reason });
}

/// What went wrong, without the engine's own words around a loader's.
fn words(error: &bevy::asset::AssetLoadError) -> String {
    match error {
        bevy::asset::AssetLoadError::AssetLoaderError(error) => error.error().to_string(),
        other => other.to_string(),
    }
}
