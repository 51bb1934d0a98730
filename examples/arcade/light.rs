//! What the world is drawn with, by shaders in `assets/arcade`: boxes of light, dots that fly, and the dusk behind.

use bevy::camera::ScalingMode;
use bevy::ecs::system::SystemParam;
use bevy::prelude::*;
use bevy::render::render_resource::AsBindGroup;
use bevy::shader::ShaderRef;
use bevy::sprite_render::{AlphaMode2d, Material2d, Material2dPlugin};
use bevy_iap::ui::ShopSettings;

use crate::game::{GROUND, Run};
use crate::sound::Tone;

pub const CYAN: Color = Color::srgb(0.25, 0.95, 1.0);
pub const GOLD: Color = Color::srgb(1.0, 0.80, 0.25);
pub const RED: Color = Color::srgb(1.0, 0.20, 0.36);

/// Half width and height of a box, radius of its corners, how far it shines, and how filled it is (below 0: a bubble).
pub type Shape = [f32; 5];
const DOT: Shape = [0.0, 0.0, 5.0, 14.0, 1.0];

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

/// Makes what draws a shape.
#[derive(SystemParam)]
pub struct Art<'w> {
    meshes: ResMut<'w, Assets<Mesh>>,
    glows: ResMut<'w, Assets<Glow>>,
}

impl Art<'_> {
    pub fn of(&mut self, [x, y, radius, halo, filled]: Shape, light: Color) -> Drawn {
        let mesh = self.meshes.add(Rectangle::from_size(2.0 * (Vec2::new(x, y) + radius + halo)));
        let glow = Glow { color: light.to_linear(), shape: Vec4::new(x, y, radius, halo), filled };
        (Mesh2d(mesh), MeshMaterial2d(self.glows.add(glow)))
    }
}

/// A dot that flies, falls and shrinks.
#[derive(Component)]
pub struct Flying(Vec2);

/// Everything that makes an effect, to be seen or to be heard.
#[derive(SystemParam)]
pub struct Effects<'w, 's> {
    commands: Commands<'w, 's>,
    art: Art<'w>,
    settings: Res<'w, ShopSettings>,
    pub tones: MessageWriter<'w, Tone>,
}

impl Effects<'_, '_> {
    /// Throws dots to all sides, fast and slow ones.
    pub fn burst(&mut self, at: Vec2, light: Color, count: u32, speed: f32) {
        let drawn = self.art.of(DOT, light);
        let count = if self.settings.reduced_motion { count / 4 } else { count };
        for dot in 0..count {
            // The golden angle, in radians: with it no two dots fly the same way.
            let velocity = Vec2::from_angle(dot as f32 * 2.4) * speed * (dot % 5 + 1) as f32 / 5.0;
            self.commands.spawn((drawn.clone(), Transform::from_translation(at.extend(8.0)), Flying(velocity)));
        }
    }
}

pub fn plugin(app: &mut App) {
    app.add_plugins((Material2dPlugin::<Glow>::default(), Material2dPlugin::<Sky>::default()));
}

pub fn set_stage(mut commands: Commands, mut meshes: ResMut<Assets<Mesh>>, mut skies: ResMut<Assets<Sky>>) {
    let scaling_mode = ScalingMode::AutoMin { min_width: 1280.0, min_height: 720.0 };
    let projection = OrthographicProjection { scaling_mode, ..OrthographicProjection::default_2d() };
    // The shapes are smooth by themselves: more samples would cost twice the time and show nothing.
    commands.spawn((Camera2d, Msaa::Off, Projection::Orthographic(projection)));
    let (mesh, sky) = (meshes.add(Rectangle::new(4000.0, 2000.0)), skies.add(Sky { way: Vec4::ZERO }));
    commands.spawn((Mesh2d(mesh), MeshMaterial2d(sky), Transform::from_xyz(0.0, 0.0, -50.0)));
}

pub fn scroll_sky(run: Res<Run>, settings: Res<ShopSettings>, mut skies: ResMut<Assets<Sky>>) {
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
