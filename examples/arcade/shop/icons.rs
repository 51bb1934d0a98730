//! The products' icons: twelve dots by twelve, drawn right here.

use bevy::asset::RenderAssetUsages;
use bevy::image::ImageSampler;
use bevy::prelude::*;
use bevy::render::render_resource::{Extent3d, TextureDimension, TextureFormat};
use bevy_iap::protocol::ProductId;

const SIZE: u32 = 12;

/// `#` is bright, `+` is dim, anything else is left out.
type Drawing = [&'static str; SIZE as usize];

const SHIELD: Drawing = [
    ".##########.",
    ".#++++++++#.",
    ".#+++##+++#.",
    ".#+++##+++#.",
    ".#+######+#.",
    ".#+######+#.",
    ".#+++##+++#.",
    ".#+++##+++#.",
    ".##++++++##.",
    "..##++++##..",
    "...##++##...",
    ".....##.....",
];

const CROWN: Drawing = [
    ".....##.....",
    ".....##.....",
    "#...####...#",
    "##..####..##",
    "##.######.##",
    "############",
    "############",
    "############",
    "##++####++##",
    "############",
    "............",
    "############",
];

const CLOCK: Drawing = [
    "...######...",
    "..##++++##..",
    ".##++##++##.",
    "##+++##+++##",
    "#++++##++++#",
    "#++++##++++#",
    "#++++####++#",
    "#+++++###++#",
    "##++++++++##",
    ".##++++++##.",
    "..##++++##..",
    "...######...",
];

const CHEVRONS: Drawing = [
    ".....##.....",
    "....####....",
    "...######...",
    "..###..###..",
    ".###....###.",
    ".##..##..##.",
    "....####....",
    "...######...",
    "..###..###..",
    ".###....###.",
    ".##......##.",
    "............",
];

const HOUSE: Drawing = [
    ".....##.....",
    "....####....",
    "...######...",
    "..########..",
    ".##########.",
    "############",
    ".##########.",
    ".#++####++#.",
    ".#++#++#++#.",
    ".####++####.",
    ".####++####.",
    ".####++####.",
];

const DIAMOND: Drawing = [
    ".....##.....",
    "....####....",
    "...##++##...",
    "..##++++##..",
    ".##++++++##.",
    "##++++++++##",
    "##++++++++##",
    ".##++++++##.",
    "..##++++##..",
    "...##++##...",
    "....####....",
    ".....##.....",
];

/// The icons, drawn once.
#[derive(Resource)]
pub(super) struct Icons {
    known: [(&'static str, Handle<Image>); 5],
    other: Handle<Image>,
}

impl Icons {
    /// The icon of a product; one that is new in the catalogue has the diamond.
    pub(super) fn of(&self, product: &ProductId) -> Handle<Image> {
        let known = self.known.iter().find(|(name, _)| *name == product.as_str());
        known.map_or(&self.other, |(_, icon)| icon).clone()
    }
}

impl FromWorld for Icons {
    fn from_world(world: &mut World) -> Self {
        let mut images = world.resource_mut::<Assets<Image>>();
        let mut draw = |drawing| images.add(image(drawing));
        Self {
            known: [
                ("shield", draw(SHIELD)),
                ("skin", draw(CROWN)),
                ("day_pass", draw(CLOCK)),
                ("double_jump", draw(CHEVRONS)),
                ("mansion", draw(HOUSE)),
            ],
            other: draw(DIAMOND),
        }
    }
}

/// A drawing in white, for its place to colour.
fn image(drawing: Drawing) -> Image {
    let opacity = |dot| match dot {
        '#' => 255,
        '+' => 70,
        _ => 0,
    };
    let dots = drawing.iter().flat_map(|line| line.chars());
    let bytes = dots.flat_map(|dot| [255, 255, 255, opacity(dot)]).collect();
    let size = Extent3d { width: SIZE, height: SIZE, depth_or_array_layers: 1 };
    let usage = RenderAssetUsages::RENDER_WORLD;
    let mut image = Image::new(size, TextureDimension::D2, bytes, TextureFormat::Rgba8UnormSrgb, usage);
    image.sampler = ImageSampler::nearest();
    image
}
