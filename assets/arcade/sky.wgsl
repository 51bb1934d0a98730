// What is behind the course: sky, stars, sun, hills, a city, and the floor in front of them.
#import bevy_sprite::mesh2d_vertex_output::VertexOutput

// How far the runner has come, how high the ground is, the seconds, and whether what is far moves.
@group(#{MATERIAL_BIND_GROUP}) @binding(0) var<uniform> way: vec4<f32>;

const DEEP_NIGHT: vec3<f32> = vec3(0.035, 0.02, 0.10);
const NIGHT: vec3<f32> = vec3(0.07, 0.04, 0.19);
const VIOLET: vec3<f32> = vec3(0.27, 0.09, 0.42);
const DUSK: vec3<f32> = vec3(0.78, 0.20, 0.50);
const PEACH: vec3<f32> = vec3(1.0, 0.62, 0.42);
const CREAM: vec3<f32> = vec3(1.0, 0.97, 0.80);
const CYAN: vec3<f32> = vec3(0.25, 0.95, 1.0);
const SUN: vec2<f32> = vec2(410.0, 130.0);
const SUN_RADIUS: f32 = 150.0;

fn random(at: vec2<f32>) -> f32 {
    return fract(sin(dot(at, vec2(127.1, 311.7))) * 43758.547);
}

fn sky(y: f32) -> vec3<f32> {
    var color = mix(PEACH, DUSK, smoothstep(0.0, 110.0, y));
    color = mix(color, VIOLET, smoothstep(60.0, 270.0, y));
    color = mix(color, NIGHT, smoothstep(190.0, 430.0, y));
    return mix(color, DEEP_NIGHT, smoothstep(380.0, 700.0, y));
}

fn stars(at: vec2<f32>) -> f32 {
    let cell = floor(at / 34.0);
    let place = vec2(random(cell), random(cell + 7.0)) * 0.8 + 0.1;
    let away = length(fract(at / 34.0) - place) * 34.0;
    let twinkle = 0.7 + 0.3 * sin(way.z * 2.0 + random(cell + 3.0) * 40.0);
    let size = 0.8 + 1.2 * random(cell + 11.0);
    return smoothstep(size, size * 0.4, away) * step(0.45, random(cell + 5.0)) * twinkle;
}

fn sunlit(at: vec2<f32>, behind: vec3<f32>) -> vec3<f32> {
    let away = length(at) - SUN_RADIUS;
    let glow = mix(DUSK, PEACH, 0.35) * exp(-max(away, 0.0) / 110.0) * 0.55;
    let height = at.y / SUN_RADIUS;
    let below = max(0.34 - height, 0.0);
    let gap = smoothstep(0.0, 0.03, 0.12 + below * 0.35 - fract(below * 5.2 + 0.02)) * step(0.001, below);
    let disc = mix(DUSK, CREAM, pow(clamp(height * 0.5 + 0.5, 0.0, 1.0), 0.8));
    return mix(behind + glow, disc, smoothstep(1.0, -1.0, away) * (1.0 - gap));
}

fn ridge(x: f32, height: f32) -> f32 {
    return height * (0.62 + 0.35 * sin(x * 0.0089) + 0.22 * sin(x * 0.0201 + 2.0) + 0.05 * sin(x * 0.05));
}

fn city(at: vec2<f32>, behind: vec3<f32>) -> vec3<f32> {
    let house = floor(at.x / 48.0);
    let height = 14.0 * floor(1.0 + 7.0 * random(vec2(house, 1.0))) * step(0.15, random(vec2(house, 2.0)));
    let wall = mix(mix(DEEP_NIGHT, DUSK, 0.30), mix(DEEP_NIGHT, VIOLET, 0.3), clamp(at.y / 60.0, 0.0, 1.0));
    let pane = floor(at / vec2(12.0, 14.0));
    let inside = abs(fract(at / vec2(12.0, 14.0)) - 0.5);
    let is_lit = step(0.78, random(pane)) * step(inside.x, 0.17) * step(inside.y, 0.22) * step(at.y, height - 4.0);
    let light = mix(PEACH, CYAN, step(0.7, random(pane + 9.0)));
    return mix(behind, mix(wall, light, is_lit * 0.75), step(at.y, height));
}

fn floor_below(x: f32, depth: f32) -> vec3<f32> {
    var color = mix(mix(VIOLET, NIGHT, 0.35), NIGHT, smoothstep(0.0, 80.0, depth));
    color = mix(color, DEEP_NIGHT, smoothstep(60.0, 260.0, depth));
    // The floor gets wider towards the player.
    let spread = 1.0 + depth / 110.0;
    let across = (x / spread + way.x) / 84.0;
    let along = (1.0 - 1.0 / spread) / 0.105;
    let from_line = abs(fract(across + 0.5) - 0.5) * 84.0 * spread;
    let from_row = abs(fract(along + 0.5) - 0.5) / max(fwidth(along), 0.0001);
    let lines = exp(-from_line / (1.2 * spread)) + 0.7 * exp(-from_row / 1.2) * step(0.5, along);
    let under_sun = exp(-pow((x - SUN.x) / 150.0, 2.0)) * exp(-depth / 70.0) * 0.35;
    return color + DUSK * (lines * mix(0.9, 0.25, smoothstep(0.0, 240.0, depth)) + under_sun);
}

@fragment
fn fragment(mesh: VertexOutput) -> @location(0) vec4<f32> {
    let at = mesh.world_position.xy - vec2(0.0, way.y);
    let passed = way.x * way.w;
    var color = sky(at.y) + CREAM * stars(at + vec2(passed * 0.015, 0.0)) * smoothstep(170.0, 420.0, at.y);
    color = sunlit(at - SUN, color);
    let far = ridge(at.x + passed * 0.05, 118.0);
    color = mix(color, mix(mix(DUSK, PEACH, 0.25), mix(VIOLET, DUSK, 0.3), at.y / far), smoothstep(1.0, -1.0, at.y - far));
    let near = ridge(at.x + passed * 0.11 + 900.0, 84.0);
    color = mix(color, mix(mix(DUSK, VIOLET, 0.35), mix(VIOLET, NIGHT, 0.3), at.y / near), smoothstep(1.0, -1.0, at.y - near));
    color = city(at + vec2(passed * 0.24, 0.0), color);
    color = mix(floor_below(at.x, -at.y), color, step(0.0, at.y));
    color += CYAN * 0.55 * exp(-abs(at.y) / 9.0);
    color = mix(color, vec3(0.9, 1.0, 1.0), smoothstep(2.2, 1.2, abs(at.y + 1.5)));
    return vec4(pow(clamp(color, vec3(0.0), vec3(1.0)), vec3(2.2)), 1.0);
}
