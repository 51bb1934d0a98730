//! A game that shows a word, and, with the feature `purchases`, sells something.

use bevy::prelude::*;

fn main() {
    let mut app = App::new();
    app.add_plugins(DefaultPlugins).add_systems(Startup, show);
    #[cfg(feature = "purchases")]
    purchases::sell(&mut app);
    app.run();
}

fn show(mut commands: Commands) {
    commands.spawn(Camera2d);
    commands.spawn(Text::new("a game"));
}

#[cfg(feature = "purchases")]
mod purchases {
    use bevy::prelude::*;
    use bevy_iap::prelude::*;

    pub(crate) fn sell(app: &mut App) {
        let server = ServerAddress::new("https://store.example.com", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        app.add_plugins(IapPlugin { server: server.ok(), ..IapPlugin::new("game", "game.catalog.ron") });
        #[cfg(feature = "shop")]
        app.add_plugins(bevy_iap::ui::ShopPlugin::default());
        app.add_systems(Update, buy.run_if(store_ready.and_then(run_once)))
            .add_systems(Update, use_up.run_if(owns("double_jump")));
    }

    fn buy(mut store: ResMut<Store>) {
        if let Err(error) = store.purchase("double_jump") {
            warn!("not ordered: {error}");
        }
    }

    fn use_up(mut store: ResMut<Store>) {
        if let Err(error) = store.consume("shield", 1) {
            warn!("not used up: {error}");
        }
    }
}
