//! How the shop looks: one resource, also from a RON file that is followed while the game runs.

mod contrast;
mod file;

use bevy::asset::Asset;
use bevy::prelude::*;
use serde::{Deserialize, Deserializer};

pub use self::contrast::Contrast;
pub(super) use self::contrast::tell_of_low_contrast;
pub use self::file::ThemeLoader;
pub(super) use self::file::register;

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

fn color<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Color, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |_| serde::de::Error::custom(format!("{text:?} is not a colour (write for example \"#5bd8f7\")"));
    Srgba::hex(&text).map(Color::from).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_only_what_is_other_than_usual() {
        let theme: Theme = ron::from_str("Theme(radius: 4.0, colors: (accent: \"#ff0000\"))").expect("a theme");
        assert_eq!((theme.radius, theme.colors.accent), (4.0, Color::from(Srgba::rgb(1.0, 0.0, 0.0))));
        assert_eq!(theme.colors.text, Colors::default().text);
        let wrong = ron::from_str::<Theme>("Theme(colors: (accent: \"red\"))").expect_err("no colour");
        assert!(wrong.to_string().contains("\"red\" is not a colour"), "{wrong}");
    }
}
