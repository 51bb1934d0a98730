//! Drawing with coloured triangles: everything on the screen is a [`Sketch`] turned into a mesh.
//!
//! A colour per corner lets one white material draw it all, and corners without alpha make the soft
//! edges that stand in for bloom.

use bevy::asset::RenderAssetUsages;
use bevy::mesh::{Indices, PrimitiveTopology};
use bevy::prelude::*;
use std::f32::consts::TAU;

/// Points of an outline: a multiple of four, so that every round corner gets as many.
const CORNERS: u32 = 48;
const HALO_STEPS: u32 = 6;

/// Triangles collected for one mesh.
#[derive(Default)]
pub(super) struct Sketch {
    positions: Vec<[f32; 3]>,
    colors: Vec<[f32; 4]>,
    indices: Vec<u32>,
}

/// A box with round corners: without a box it is a disc, with a flat one a capsule.
#[derive(Clone, Copy)]
pub(super) struct Pill {
    center: Vec2,
    core: Vec2,
    radius: f32,
}

/// Two opposite points of a band.
pub(super) type Pair = [(Vec2, Color); 2];

/// The box that the corners are rounded around is given by its half size.
pub(super) fn pill(x: f32, y: f32, half_width: f32, half_height: f32, radius: f32) -> Pill {
    let (center, core) = (Vec2::new(x, y), Vec2::new(half_width, half_height));
    Pill { center, core, radius }
}

pub(super) fn circle(x: f32, y: f32, radius: f32) -> Pill {
    pill(x, y, 0.0, 0.0, radius)
}

/// A level pair, for bands that are stacked upwards or downwards.
pub(super) fn row(x: f32, half_width: f32, y: f32, color: Color) -> Pair {
    [-half_width, half_width].map(|side| (Vec2::new(x + side, y), color))
}

impl Pill {
    pub(super) fn grown(self, amount: f32) -> Self {
        Self { radius: self.radius + amount, ..self }
    }

    fn outline(self) -> impl Iterator<Item = Vec2> {
        (0..=CORNERS).map(move |corner| {
            let direction = Vec2::from_angle((corner as f32 + 0.5) / CORNERS as f32 * TAU);
            self.center + self.core * direction.signum() + direction * self.radius
        })
    }
}

impl Sketch {
    /// A band between two edges.
    pub(super) fn strip(mut self, pairs: impl IntoIterator<Item = Pair>) -> Self {
        let first = self.positions.len() as u32;
        for (point, color) in pairs.into_iter().flatten() {
            self.corner(point, color);
        }
        let last = (self.positions.len() as u32).saturating_sub(2);
        for left in (first..last).step_by(2) {
            self.indices.extend([0, 1, 2, 2, 1, 3].map(|corner| left + corner));
        }
        self
    }

    /// A filled shape.
    pub(super) fn fill(mut self, shape: Pill, inside: Color, rim: Color) -> Self {
        let hub = self.corner(shape.center, inside);
        for (step, point) in shape.outline().enumerate() {
            let corner = self.corner(point, rim);
            if step > 0 {
                self.indices.extend([hub, corner - 1, corner]);
            }
        }
        self
    }

    /// The band between a shape's outline and the same shape grown or shrunk.
    pub(super) fn border(self, shape: Pill, width: f32, near: Color, far: Color) -> Self {
        let edges = shape.outline().zip(shape.grown(width).outline());
        self.strip(edges.map(|(inner, outer)| [(inner, near), (outer, far)]))
    }

    /// Light around a shape, or inside it, that falls off with no edge to be seen.
    pub(super) fn halo(self, shape: Pill, width: f32, light: Color) -> Self {
        let left = |step| 1.0 - step as f32 / HALO_STEPS as f32;
        let faded = |step| light.with_alpha(light.alpha() * left(step).powi(2));
        let ring = width / HALO_STEPS as f32;
        (0..HALO_STEPS).fold(self, |sketch, step| {
            let inner = shape.grown(ring * step as f32);
            sketch.border(inner, ring, faded(step), faded(step + 1))
        })
    }

    /// A dark shape with a bright outline and a halo.
    pub(super) fn neon(self, shape: Pill, dark: Color, light: Color, halo: f32) -> Self {
        self.halo(shape, halo, light.with_alpha(0.55)).fill(shape, dark, dark).border(shape, -3.0, light, light)
    }

    pub(super) fn into_mesh(self) -> Mesh {
        Mesh::new(PrimitiveTopology::TriangleList, RenderAssetUsages::default())
            .with_inserted_attribute(Mesh::ATTRIBUTE_POSITION, self.positions)
            .with_inserted_attribute(Mesh::ATTRIBUTE_COLOR, self.colors)
            .with_inserted_indices(Indices::U32(self.indices))
    }

    fn corner(&mut self, point: Vec2, color: Color) -> u32 {
        self.positions.push([point.x, point.y, 0.0]);
        self.colors.push(color.to_linear().to_f32_array());
        self.positions.len() as u32 - 1
    }
}
