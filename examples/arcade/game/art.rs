//! Every shape that is drawn more than once.

use bevy::prelude::*;

use super::course::Hazard;
use super::sketch::{Sketch, circle, pill, row};
use crate::palette::{CREAM, CYAN, DANGER, GOLD};

const CRIMSON: Color = Color::srgb(0.62, 0.02, 0.22);
const EMBER: Color = Color::srgb(0.16, 0.03, 0.13);
const BRONZE: Color = Color::srgb(0.80, 0.50, 0.12);
const BROWN: Color = Color::srgb(0.34, 0.13, 0.05);
const ICE: Color = Color::srgb(0.88, 1.0, 1.0);
const STEEL: Color = Color::srgb(0.20, 0.58, 0.80);
const NAVY: Color = Color::srgb(0.05, 0.10, 0.26);

/// Length of a thigh, a shin and either part of an arm.
pub(super) const LIMB: f32 = 15.0;
/// Length of either half of the cape.
pub(super) const CAPE: f32 = 26.0;
/// How many steps a fading shape takes from solid to invisible.
const FADE_STEPS: usize = 12;

/// The light that a particle gives.
#[derive(Clone, Copy)]
pub(super) enum Tint {
    Cyan,
    Gold,
    Danger,
}

/// Meshes and materials, made once.
#[derive(Resource)]
pub(super) struct Art {
    pub(super) hazards: [Handle<Mesh>; 4],
    pub(super) spark: Handle<Mesh>,
    pub(super) bubble: Handle<Mesh>,
    pub(super) plain: Outfit,
    pub(super) golden: Outfit,
    /// One per [`Tint`].
    pub(super) dots: [Handle<Mesh>; 3],
    /// One per [`Tint`], with a radius of 1.
    pub(super) rings: [Handle<Mesh>; 3],
    fades: Vec<Handle<ColorMaterial>>,
}

/// The parts of a runner's body; limbs hang down from their joints.
pub(super) struct Outfit {
    pub(super) body: Handle<Mesh>,
    pub(super) near_limb: Handle<Mesh>,
    pub(super) far_limb: Handle<Mesh>,
    pub(super) cape: Option<[Handle<Mesh>; 2]>,
    pub(super) trail: Color,
}

impl Art {
    /// What draws a mesh in its own colours.
    pub(super) fn drawn(&self, mesh: &Handle<Mesh>) -> (Mesh2d, MeshMaterial2d<ColorMaterial>) {
        (Mesh2d(mesh.clone()), MeshMaterial2d(self.faded(1.0)))
    }

    /// The shared material that is nearest to this opacity.
    pub(super) fn faded(&self, opacity: f32) -> Handle<ColorMaterial> {
        let step = (opacity.clamp(0.0, 1.0) * FADE_STEPS as f32).round() as usize;
        self.fades[step].clone()
    }
}

impl FromWorld for Art {
    fn from_world(world: &mut World) -> Self {
        let mut materials = world.resource_mut::<Assets<ColorMaterial>>();
        let opacity = |step: usize| step as f32 / FADE_STEPS as f32;
        let mut white = |step| materials.add(Color::WHITE.with_alpha(opacity(step)));
        let mut fades: Vec<_> = (0..FADE_STEPS).map(&mut white).collect();
        fades.push(materials.add(ColorMaterial::default()));
        let mut meshes = world.resource_mut::<Assets<Mesh>>();
        let mut draw = |sketch: Sketch| meshes.add(sketch.into_mesh());
        let lights = [CYAN, GOLD, DANGER];
        Self {
            hazards: Hazard::ALL.map(|hazard| match hazard {
                Hazard::Drone => draw(drone()),
                _ => draw(block(hazard.size())),
            }),
            spark: draw(spark()),
            bubble: draw(bubble()),
            plain: Outfit {
                body: draw(figure(Sketch::default(), CYAN, ICE, NAVY)),
                near_limb: draw(limb(ICE)),
                far_limb: draw(limb(STEEL)),
                cape: None,
                trail: CYAN,
            },
            golden: Outfit {
                body: draw(crown(figure(aura(), GOLD, CREAM, BROWN))),
                near_limb: draw(limb(CREAM)),
                far_limb: draw(limb(BRONZE)),
                cape: Some([(6.0, GOLD, 12.0, DANGER), (12.0, DANGER, 19.0, CRIMSON)])
                    .map(|halves| halves.map(|half| draw(cape(half)))),
                trail: GOLD,
            },
            dots: lights.map(|light| draw(dot(light))),
            rings: lights.map(|light| draw(ring(light))),
            fades,
        }
    }
}

/// A dark box with chevrons that point to the way out.
fn block(size: Vec2) -> Sketch {
    let frame = pill(0.0, 0.0, size.x / 2.0 - 5.0, size.y / 2.0 - 5.0, 5.0);
    let chevrons = (size.y / 30.0) as i32;
    let sketch = Sketch::default().neon(frame, EMBER, DANGER, 20.0);
    (0..chevrons).fold(sketch, |sketch, chevron| {
        let tip = (chevron as f32 - (chevrons - 1) as f32 / 2.0) * 26.0 + 7.0;
        sketch.strip([-11.0f32, 0.0, 11.0].map(|x| {
            let point = |down| Vec2::new(x, tip - x.abs() * 0.9 - down);
            [(point(0.0), DANGER), (point(6.0), DANGER.with_alpha(0.5))]
        }))
    })
}

fn drone() -> Sketch {
    let beam = [(8.0, -12.0, 0.32), (30.0, -62.0, 0.0)];
    let beam = beam.map(|(half, y, alpha)| row(0.0, half, y, DANGER.with_alpha(alpha)));
    let rotor = |sketch: Sketch, x: f32| {
        let blade = pill(x, 17.0, 13.0, 0.0, 2.5);
        let mast = [4.0, 16.0].map(|y| row(x, 1.5, y, DANGER));
        sketch.fill(blade, CREAM, DANGER).strip(mast)
    };
    rotor(rotor(Sketch::default().strip(beam), -27.0), 27.0)
        .neon(pill(0.0, 0.0, 18.0, 3.0, 12.0), EMBER, DANGER, 20.0)
        .halo(circle(-9.0, 0.0, 0.0), 14.0, GOLD.with_alpha(0.6))
        .fill(circle(-9.0, 0.0, 5.5), Color::WHITE, GOLD)
}

fn spark() -> Sketch {
    let diamond = |size: f32, color| {
        [(0.0, 1.0), (0.72, 0.0), (0.0, -1.0)].map(|(half, y)| row(0.0, half * size, y * size, color))
    };
    Sketch::default()
        .halo(circle(0.0, 0.0, 0.0), 30.0, GOLD.with_alpha(0.5))
        .strip(diamond(15.0, GOLD))
        .strip(diamond(10.0, Color::WHITE))
}

fn bubble() -> Sketch {
    let shell = circle(0.0, 0.0, 56.0);
    Sketch::default()
        .halo(shell, 18.0, CYAN.with_alpha(0.4))
        .halo(shell, -34.0, CYAN.with_alpha(0.45))
        .border(shell, -2.5, ICE, CYAN)
        .fill(pill(-19.0, 28.0, 7.0, 0.0, 4.0), ICE, CYAN.with_alpha(0.3))
}

fn aura() -> Sketch {
    Sketch::default().halo(circle(2.0, 44.0, 0.0), 120.0, GOLD.with_alpha(0.75))
}

/// Torso, head and visor in a glow.
fn figure(sketch: Sketch, light: Color, bright: Color, dark: Color) -> Sketch {
    sketch
        .halo(circle(2.0, 42.0, 0.0), 66.0, light.with_alpha(0.38))
        .neon(pill(2.0, 41.0, 1.0, 7.0, 10.0), dark, light, 8.0)
        .fill(circle(4.0, 43.0, 4.5), Color::WHITE, light)
        .neon(pill(6.0, 68.0, 1.0, 0.0, 12.5), dark, bright, 8.0)
        .fill(pill(11.5, 69.0, 4.5, 0.0, 4.5), Color::WHITE, light)
}

fn crown(sketch: Sketch) -> Sketch {
    [(-3.0, 89.0), (5.0, 93.0), (13.0, 89.0)]
        .into_iter()
        .fold(sketch, |sketch, (x, tip)| sketch.strip([row(x, 4.5, 80.0, GOLD), row(x, 0.0, tip, CREAM)]))
}

fn limb(color: Color) -> Sketch {
    Sketch::default().fill(pill(0.0, -LIMB / 2.0, 0.0, LIMB / 2.0, 4.2), color, color)
}

/// One half of the cape, from its upper width and colour to its lower.
fn cape((upper, top, lower, bottom): (f32, Color, f32, Color)) -> Sketch {
    Sketch::default().strip([row(0.0, upper, 1.0, top), row(0.0, lower, -CAPE - 1.0, bottom)])
}

fn dot(light: Color) -> Sketch {
    Sketch::default().halo(circle(0.0, 0.0, 0.0), 3.0, light.with_alpha(0.5)).fill(
        circle(0.0, 0.0, 1.0),
        Color::WHITE,
        light,
    )
}

fn ring(light: Color) -> Sketch {
    let outer = circle(0.0, 0.0, 1.0);
    Sketch::default().border(outer, -0.1, Color::WHITE, light).halo(outer, 0.4, light.with_alpha(0.5)).halo(
        outer.grown(-0.1),
        -0.5,
        light.with_alpha(0.35),
    )
}
