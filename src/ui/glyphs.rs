//! The pictures of products that have none of their own: one for each kind, drawn from a formula.

use std::collections::BTreeMap;

use bevy::asset::RenderAssetUsages;
use bevy::prelude::*;

use crate::protocol::ProductKind;

/// How many dots a picture is wide and high.
const SIDE: u16 = 96;

/// The pictures, each drawn when it is first needed.
#[derive(Resource, Debug, Default)]
pub(super) struct Glyphs(BTreeMap<&'static str, Handle<Image>>);

impl Glyphs {
    /// The picture of a kind of product: a star, a drop or a clock.
    pub(super) fn of(&mut self, kind: ProductKind, images: &mut Assets<Image>) -> Handle<Image> {
        let (name, ink, color): (_, fn(f32, f32) -> f32, _) = match kind {
            ProductKind::Unlock => ("unlock", star, [255, 204, 92]),
            ProductKind::Consumable => ("consumable", drop, [92, 219, 247]),
            ProductKind::Pass { .. } => ("pass", clock, [255, 158, 128]),
        };
        self.0.entry(name).or_insert_with(|| images.add(draw(ink, color))).clone()
    }
}

/// How far inside the star with five points a place is: on which side of the edge between a point and the notch beside
/// it.
fn star(x: f32, y: f32) -> f32 {
    const POINT: f32 = 0.95;
    const NOTCH: f32 = 0.42;
    let sector = std::f32::consts::TAU / 5.0;
    let turned = x.atan2(y).rem_euclid(sector);
    let (across, along) = turned.min(sector - turned).sin_cos();
    let (across, along) = (across * x.hypot(y), along * x.hypot(y));
    let (notch_across, notch_along) = (sector / 2.0).sin_cos();
    let (notch_across, notch_along) = (NOTCH * notch_across, NOTCH * notch_along);
    let edge = Vec2::new(notch_across, notch_along - POINT);
    ((POINT - along) * edge.x + across * edge.y) / edge.length()
}

/// How far inside a drop a place is.
fn drop(x: f32, y: f32) -> f32 {
    let width = if y > -0.2 { 0.62 * ((0.95 - y) / 1.15).clamp(0.0, 1.0) } else { 0.62 };
    let round = 0.62 - x.hypot(y + 0.2);
    if y > -0.2 { width - x.abs() } else { round }
}

/// How far inside the ring and the hands of a clock a place is.
fn clock(x: f32, y: f32) -> f32 {
    let ring = 0.09 - (x.hypot(y) - 0.8).abs();
    let up = (0.07 - x.abs()).min(y.min(0.55 - y) + 0.07);
    let side = (0.07 - y.abs()).min(x.min(0.42 - x) + 0.07);
    ring.max(up).max(side)
}

/// A picture of whatever is inside, with soft edges.
fn draw(inside: fn(f32, f32) -> f32, [red, green, blue]: [u8; 3]) -> Image {
    let half = f32::from(SIDE) / 2.0;
    let place = |dot: u16| (f32::from(dot) + 0.5 - half) / half;
    let dots = (0..SIDE).flat_map(|row| (0..SIDE).map(move |column| (place(column), -place(row))));
    let opacity = |(x, y)| (inside(x, y) * half + 0.5).clamp(0.0, 1.0) * 255.0;
    let bytes = dots.flat_map(|dot| [red, green, blue, opacity(dot) as u8]).collect();
    let mut image = Image::default();
    let size = &mut image.texture_descriptor.size;
    (size.width, size.height) = (u32::from(SIDE), u32::from(SIDE));
    image.data = Some(bytes);
    image.asset_usage = RenderAssetUsages::RENDER_WORLD;
    image
}
