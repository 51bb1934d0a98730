//! A theme's file: read, checked, and followed while the game runs.

use bevy::asset::io::Reader;
use bevy::asset::{AssetApp, AssetEvent, AssetLoadFailedEvent, AssetLoader, AssetServer, Assets, Handle, LoadContext};
use bevy::prelude::*;

use super::{TextSizes, Theme};

/// Reads `*.theme.ron` files.
#[derive(Default, TypePath, Clone, Copy, Debug)]
pub struct ThemeLoader;

impl AssetLoader for ThemeLoader {
    type Asset = Theme;
    type Settings = ();
    type Error = BevyError;

    async fn load(&self, reader: &mut dyn Reader, _: &(), _: &mut LoadContext<'_>) -> Result<Theme, BevyError> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await?;
        let theme: Theme = ron::Options::default()
            .with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME)
            .from_bytes(&bytes)?;
        match theme.wrong_member() {
            Some(member) => {
                Err(format!("the theme's `{member}` is out of range; write a number from 0 to 10000").into())
            }
            None => Ok(theme),
        }
    }

    fn extensions(&self) -> &[&str] {
        &["theme.ron"]
    }
}

impl Theme {
    /// A member that is no length or time.
    fn wrong_member(&self) -> Option<&'static str> {
        let TextSizes { small, body, large, title } = self.text;
        let numbers = [
            ("text.small", small),
            ("text.body", body),
            ("text.large", large),
            ("text.title", title),
            ("space", self.space),
            ("radius", self.radius),
            ("border", self.border),
            ("card", self.card),
            ("hold", self.hold),
            ("turn", self.turn),
        ];
        numbers.into_iter().find(|(_, number)| !(0.0..=10_000.0).contains(number)).map(|(name, _)| name)
    }
}

/// The file that the theme follows.
#[derive(Resource)]
struct ThemeFile(Handle<Theme>);

pub(in crate::ui) fn register(app: &mut App, file: Option<&str>) {
    app.init_resource::<Theme>();
    let (Some(file), Some(server)) = (file, app.world().get_resource::<AssetServer>().cloned()) else { return };
    app.init_asset::<Theme>().init_asset_loader::<ThemeLoader>();
    app.insert_resource(ThemeFile(server.load(file.to_owned())));
    let changed = on_message::<AssetEvent<Theme>>.or_else(on_message::<AssetLoadFailedEvent<Theme>>);
    app.add_systems(PreUpdate, follow_file.run_if(changed));
}

fn follow_file(
    file: Res<ThemeFile>,
    themes: Res<Assets<Theme>>,
    mut news: MessageReader<AssetEvent<Theme>>,
    mut failures: MessageReader<AssetLoadFailedEvent<Theme>>,
    mut theme: ResMut<Theme>,
) {
    for failure in failures.read().filter(|failure| failure.id == file.0.id()) {
        tracing::warn!("the shop keeps its last theme: {}", failure.error);
    }
    let is_taken = |event: &AssetEvent<Theme>| event.is_added(&file.0) || event.is_modified(&file.0);
    // All are read, so that none is news later.
    if news.read().filter(|event| is_taken(event)).count() > 0
        && let Some(loaded) = themes.get(&file.0)
    {
        theme.set_if_neq(loaded.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_below_zero_is_named() {
        let negative: Theme = ron::from_str("Theme(space: -1.0)").expect("a theme");
        assert_eq!(negative.wrong_member(), Some("space"));
    }
}
