//! What the world is drawn with: boxes of light, dots that fly, and the dusk behind it all.
//!
//! Both materials are shaders in `assets/arcade`; each shape is made once, in each of three lights.

use bevy::ecs::system::SystemParam;
use bevy::prelude::*;
use bevy::render::render_resource::AsBindGroup;
use bevy::shader::ShaderRef;
use bevy::sprite_render::{AlphaMode2d, Material2d, Material2dPlugin};
use std::f32::consts::TAU;
use std::ops::Range;

use crate::game::{GROUND, Run};
use crate::screens::Settings;
use crate::sound::Tone;

/// A colour of light.
#[derive(Clone, Copy)]
pub enum Light {
    Cyan,
    Gold,
    Danger,
}

const LIGHTS: [Color; 3] = [Color::srgb(0.25, 0.95, 1.0), Color::srgb(1.0, 0.80, 0.25), Color::srgb(1.0, 0.20, 0.36)];

/// A shape, in the order of [`SHAPES`].
#[derive(Clone, Copy)]
pub enum Shape {
    Low,
    Wide,
    Tall,
    Drone,
    Spark,
    Dot,
    Bubble,
    Torso,
    Head,
    Visor,
    Limb,
}

/// Half width and height of the box, radius of its corners, how far it shines, and how filled it is (below 0: a bubble).
const SHAPES: [[f32; 5]; 11] = [
    [18.0, 19.0, 5.0, 26.0, 0.0],
    [43.0, 19.0, 5.0, 26.0, 0.0],
    [18.0, 58.0, 5.0, 26.0, 0.0],
    [18.0, 3.0, 12.0, 26.0, 0.0],
    [7.0, 7.0, 2.0, 26.0, 1.0],
    [0.0, 0.0, 5.0, 14.0, 1.0],
    [0.0, 0.0, 58.0, 22.0, -1.0],
    [1.0, 7.0, 10.0, 44.0, 0.0],
    [1.0, 0.0, 12.5, 14.0, 0.0],
    [4.0, 0.0, 4.5, 8.0, 1.0],
    [0.0, 11.0, 4.2, 6.0, 0.6],
];

#[derive(Asset, TypePath, AsBindGroup, Clone)]
pub struct Glow {
    #[uniform(0)]
    color: LinearRgba,
    #[uniform(0)]
    shape: Vec4,
    #[uniform(0)]
    filled: f32,
}

impl Material2d for Glow {
    fn fragment_shader() -> ShaderRef {
        "arcade/glow.wgsl".into()
    }

    fn alpha_mode(&self) -> AlphaMode2d {
        AlphaMode2d::Blend
    }
}

#[derive(Asset, TypePath, AsBindGroup, Clone)]
pub struct Sky {
    /// How far the runner has come, how high the ground is, the seconds, and whether what is far moves.
    #[uniform(0)]
    way: Vec4,
}

impl Material2d for Sky {
    fn fragment_shader() -> ShaderRef {
        "arcade/sky.wgsl".into()
    }
}

/// What draws a shape.
type Drawn = (Mesh2d, MeshMaterial2d<Glow>);

/// Each shape in each light.
#[derive(Resource)]
pub struct Art(Vec<[Drawn; 3]>);

impl Art {
    pub fn of(&self, shape: Shape, light: Light) -> Drawn {
        self.0[shape as usize][light as usize].clone()
    }
}

impl FromWorld for Art {
    fn from_world(world: &mut World) -> Self {
        let reach = |[x, y, radius, halo, _]: [f32; 5]| Vec2::new(x, y) + radius + halo;
        let quad = |shape| Mesh::from(Rectangle::from_size(2.0 * reach(shape)));
        let meshes = SHAPES.map(|shape| Mesh2d(world.resource_mut::<Assets<Mesh>>().add(quad(shape))));
        let mut glows = world.resource_mut::<Assets<Glow>>();
        let mut glow = |[x, y, radius, halo, filled]: [f32; 5], light: Color| {
            let glow = Glow { color: light.to_linear(), shape: Vec4::new(x, y, radius, halo), filled };
            MeshMaterial2d(glows.add(glow))
        };
        let shapes = SHAPES.into_iter().zip(meshes);
        Self(shapes.map(|(shape, mesh)| LIGHTS.map(|light| (mesh.clone(), glow(shape, light)))).collect())
    }
}

/// A dot that flies, falls and shrinks.
#[derive(Component)]
pub struct Flying(Vec2);

/// Everything that makes an effect, to be seen or to be heard.
#[derive(SystemParam)]
pub struct Effects<'w, 's> {
    commands: Commands<'w, 's>,
    art: Res<'w, Art>,
    random: ResMut<'w, Random>,
    settings: Res<'w, Settings>,
    tones: MessageWriter<'w, Tone>,
}

impl Effects<'_, '_> {
    /// Throws dots between two angles, given in turns.
    pub fn burst(&mut self, at: Vec2, light: Light, count: u32, speed: f32, turns: Range<f32>) {
        for _ in 0..if self.settings.reduced_motion { count.div_ceil(4) } else { count } {
            let angle = self.random.between(turns.start, turns.end) * TAU;
            let velocity = Vec2::from_angle(angle) * speed * self.random.between(0.25, 1.0);
            let size = Vec3::splat(self.random.between(0.5, 1.2));
            let place = Transform::from_translation(at.extend(8.0)).with_scale(size);
            self.commands.spawn((self.art.of(Shape::Dot, light), place, Flying(velocity)));
        }
    }

    pub fn tone(&mut self, tone: Tone) {
        self.tones.write(tone);
    }
}

/// A tiny xorshift generator: every start meets the same course, so that pictures and mistakes repeat.
#[derive(Resource)]
pub struct Random(u32);

impl Random {
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        low + (high - low) * ((self.0 >> 8) as f32 / 16_777_216.0)
    }
}

pub fn plugin(app: &mut App) {
    app.add_plugins((Material2dPlugin::<Glow>::default(), Material2dPlugin::<Sky>::default()))
        .insert_resource(Random(0x9E37_79B9))
        .init_resource::<Art>();
}

pub fn spawn_sky(mut commands: Commands, mut meshes: ResMut<Assets<Mesh>>, mut skies: ResMut<Assets<Sky>>) {
    let (mesh, sky) = (meshes.add(Rectangle::new(4000.0, 2000.0)), skies.add(Sky { way: Vec4::ZERO }));
    commands.spawn((Mesh2d(mesh), MeshMaterial2d(sky), Transform::from_xyz(0.0, 0.0, -50.0)));
}

pub fn scroll_sky(run: Res<Run>, settings: Res<Settings>, mut skies: ResMut<Assets<Sky>>) {
    for (_, sky) in skies.iter_mut() {
        let motion = if settings.reduced_motion { 0.0 } else { 1.0 };
        sky.way = Vec4::new(run.way, GROUND, run.seconds * motion, motion);
    }
}

pub fn fly(mut commands: Commands, run: Res<Run>, mut dots: Query<(Entity, &mut Flying, &mut Transform)>) {
    for (entity, mut velocity, mut at) in &mut dots {
        velocity.0.y -= 700.0 * run.step;
        at.translation += (velocity.0 * run.step).extend(0.0);
        at.scale -= 1.6 * run.step;
        if at.scale.x <= 0.05 {
            commands.entity(entity).despawn();
        }
    }
}
