//! How well the texts of a theme can be read.

use bevy::prelude::*;

use super::Theme;

/// The least contrast with which most people can read.
const LEAST: f32 = 4.5;

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

/// Tells the makers of a theme that is hard to read, once for each set of colours that are too much alike.
pub(in crate::ui) fn tell_of_low_contrast(theme: Res<Theme>, mut told: Local<Vec<String>>) {
    let low: Vec<_> = theme.contrasts().into_iter().filter(|contrast| contrast.ratio < LEAST).collect();
    let colors: Vec<_> = low.iter().map(|contrast| contrast.colors.clone()).collect();
    if !low.is_empty() && *told != colors {
        let shown: Vec<_> = low.iter().map(|Contrast { colors, ratio }| format!("`{colors}` of {ratio:.1}")).collect();
        tracing::warn!("the shop's theme is hard to read, with contrasts below {LEAST}: {}", shown.join(", "));
    }
    *told = colors;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_the_default_theme_can_be_read_on_its_ground() {
        for Contrast { colors, ratio } in Theme::default().contrasts() {
            assert!(ratio >= LEAST, "{colors}: {ratio}");
        }
    }

    #[test]
    fn contrast_is_that_of_the_guidelines() {
        let most = contrast_ratio(Color::WHITE, Color::BLACK);
        assert!((20.99..=21.0).contains(&most), "{most}");
        let grey = contrast_ratio(Color::srgb_u8(0x76, 0x76, 0x76), Color::WHITE);
        assert!((4.5..4.6).contains(&grey), "the known limit of grey on white: {grey}");
    }
}
