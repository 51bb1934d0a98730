//! How the shop looks: one resource, also from a RON file that is followed while the game runs.

use bevy::asset::io::Reader;
use bevy::asset::{
    Asset, AssetApp, AssetEvent, AssetLoadFailedEvent, AssetLoader, AssetServer, Assets, Handle, LoadContext,
};
use bevy::prelude::*;
use serde::{Deserialize, Deserializer};

/// How the shop looks. Change the resource, or a file that [`ShopPlugin::theme`](super::ShopPlugin::theme) names, at
/// any time.
///
/// A file has the members that are other than here: `Theme(colors: (accent: "#ff00aa"), radius: 4.0)`. Lengths are in
/// logical pixels of a window of 1280 by 720, and grow and shrink with the window.
#[derive(Resource, Asset, TypePath, Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Theme {
    /// The colours.
    pub colors: Colors,
    /// The sizes of text.
    pub text: TextSizes,
    /// The asset path of the font. None is the one that comes with the shop, with Latin letters, signs of currencies and
    /// Hangul.
    pub font: Option<String>,
    /// The space between things.
    pub space: f32,
    /// How round corners are.
    pub radius: f32,
    /// How thick edges are.
    pub border: f32,
    /// How wide a card is.
    pub card: f32,
    /// How long a press must be held to buy, in seconds; at least a quarter of one.
    pub hold: f32,
    /// How long a spinner takes to turn round once, in seconds.
    pub turn: f32,
}

/// The colours of a shop. In a file they are `"#rrggbb"` or `"#rrggbbaa"`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Colors {
    /// What lies over the game while the shop is open.
    #[serde(deserialize_with = "color")]
    pub veil: Color,
    /// The ground of the shop.
    #[serde(deserialize_with = "color")]
    pub panel: Color,
    /// The ground of a card and of a field.
    #[serde(deserialize_with = "color")]
    pub card: Color,
    /// The ground of what is pointed at.
    #[serde(deserialize_with = "color")]
    pub hovered: Color,
    /// Edges.
    #[serde(deserialize_with = "color")]
    pub edge: Color,
    /// Text.
    #[serde(deserialize_with = "color")]
    pub text: Color,
    /// Text that matters less.
    #[serde(deserialize_with = "color")]
    pub quiet: Color,
    /// What can be pressed, what is chosen, and prices.
    #[serde(deserialize_with = "color")]
    pub accent: Color,
    /// Text on the accent.
    #[serde(deserialize_with = "color")]
    pub on_accent: Color,
    /// What went well, and what is owned.
    #[serde(deserialize_with = "color")]
    pub good: Color,
    /// What is to be known.
    #[serde(deserialize_with = "color")]
    pub warning: Color,
    /// What went wrong.
    #[serde(deserialize_with = "color")]
    pub bad: Color,
    /// The ring around what has the focus.
    #[serde(deserialize_with = "color")]
    pub focus: Color,
}

/// The sizes of a shop's text.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextSizes {
    /// Remarks.
    pub small: f32,
    /// Most of it.
    pub body: f32,
    /// Prices, and names of products.
    pub large: f32,
    /// Headings.
    pub title: f32,
}

impl Default for Theme {
    fn default() -> Self {
        Self {
            colors: Colors::default(),
            text: TextSizes::default(),
            font: None,
            space: 12.0,
            radius: 10.0,
            border: 2.0,
            card: 220.0,
            hold: 0.5,
            turn: 1.2,
        }
    }
}

impl Default for Colors {
    fn default() -> Self {
        Self {
            veil: Color::srgba(0.01, 0.01, 0.03, 0.72),
            panel: Color::srgb(0.06, 0.06, 0.11),
            card: Color::srgb(0.11, 0.11, 0.19),
            hovered: Color::srgb(0.16, 0.16, 0.27),
            edge: Color::srgb(0.30, 0.31, 0.45),
            text: Color::srgb(0.96, 0.96, 0.98),
            quiet: Color::srgb(0.71, 0.72, 0.82),
            accent: Color::srgb(0.36, 0.86, 0.97),
            on_accent: Color::srgb(0.02, 0.06, 0.10),
            good: Color::srgb(0.45, 0.91, 0.55),
            warning: Color::srgb(1.0, 0.78, 0.30),
            bad: Color::srgb(1.0, 0.55, 0.55),
            focus: Color::srgb(1.0, 1.0, 1.0),
        }
    }
}

impl Default for TextSizes {
    fn default() -> Self {
        Self { small: 15.0, body: 18.0, large: 21.0, title: 28.0 }
    }
}

/// Two colours of which one is text on the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Contrast {
    /// Which colours, in words: `quiet on card`.
    pub colors: String,
    /// How much they differ, from 1 to 21.
    pub ratio: f32,
}

impl Theme {
    /// Every text colour on every ground that the shop puts it on, and how much they differ: the contrast ratio of the
    /// [Web Content Accessibility Guidelines](https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio). Below 4.5 is hard to
    /// read for many.
    pub fn contrasts(&self) -> Vec<Contrast> {
        let c = &self.colors;
        let grounds = [("panel", c.panel), ("card", c.card), ("hovered", c.hovered)];
        let texts = [
            ("text", c.text),
            ("quiet", c.quiet),
            ("accent", c.accent),
            ("good", c.good),
            ("warning", c.warning),
            ("bad", c.bad),
            ("focus", c.focus),
        ];
        let on_grounds = texts.iter().flat_map(|text| grounds.iter().map(move |ground| (*text, *ground)));
        let pairs = on_grounds.chain([(("on_accent", c.on_accent), ("accent", c.accent))]);
        let contrast = |((text, color), (ground, on))| Contrast {
            colors: format!("{text} on {ground}"),
            ratio: contrast_ratio(color, on),
        };
        pairs.map(contrast).collect()
    }
}

fn contrast_ratio(one: Color, other: Color) -> f32 {
    let (one, other) = (relative_luminance(one), relative_luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

fn relative_luminance(color: Color) -> f32 {
    let LinearRgba { red, green, blue, .. } = color.to_linear();
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn color<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Color, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |_| serde::de::Error::custom(format!("{text:?} is not a colour (write for example \"#5bd8f7\")"));
    Srgba::hex(&text).map(Color::from).map_err(wrong)
}

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

pub(super) fn register(app: &mut App, file: Option<&str>) {
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
    mut failures: MessageReader<AssetLoadFailedEvent<Theme>>,
    mut theme: ResMut<Theme>,
) {
    for failure in failures.read() {
        tracing::warn!("the shop keeps its last theme: {}", failure.error);
    }
    if let Some(loaded) = themes.get(&file.0) {
        theme.set_if_neq(loaded.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_the_default_theme_can_be_read_on_its_ground() {
        for Contrast { colors, ratio } in Theme::default().contrasts() {
            assert!(ratio >= 4.5, "{colors}: {ratio}");
        }
    }

    #[test]
    fn contrast_is_that_of_the_guidelines() {
        let most = contrast_ratio(Color::WHITE, Color::BLACK);
        assert!((20.99..=21.0).contains(&most), "{most}");
        let grey = contrast_ratio(Color::srgb_u8(0x76, 0x76, 0x76), Color::WHITE);
        assert!((4.5..4.6).contains(&grey), "the known limit of grey on white: {grey}");
    }

    #[test]
    fn a_file_has_only_what_is_other_than_usual() {
        let theme: Theme = ron::from_str("Theme(radius: 4.0, colors: (accent: \"#ff0000\"))").expect("a theme");
        assert_eq!((theme.radius, theme.colors.accent), (4.0, Color::from(Srgba::rgb(1.0, 0.0, 0.0))));
        assert_eq!(theme.colors.text, Colors::default().text);
        let wrong = ron::from_str::<Theme>("Theme(colors: (accent: \"red\"))").expect_err("no colour");
        assert!(wrong.to_string().contains("\"red\" is not a colour"), "{wrong}");
        let negative: Theme = ron::from_str("Theme(space: -1.0)").expect("a theme");
        assert_eq!(negative.wrong_member(), Some("space"));
    }
}
