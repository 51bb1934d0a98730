// A box with round corners, as a neon tube or filled with light, and the light around it.
#import bevy_sprite::mesh2d_vertex_output::VertexOutput

struct Glow {
    color: vec4<f32>,
    // Half of the box, the radius of its corners, and how far it shines.
    shape: vec4<f32>,
    // 0 is a tube around the dark, 1 is filled, below 0 is a bubble.
    filled: f32,
}

@group(#{MATERIAL_BIND_GROUP}) @binding(0) var<uniform> glow: Glow;

@fragment
fn fragment(mesh: VertexOutput) -> @location(0) vec4<f32> {
    let reach = glow.shape.xy + glow.shape.z + glow.shape.w;
    let out = abs((mesh.uv - 0.5) * 2.0 * reach) - glow.shape.xy;
    let away = length(max(out, vec2(0.0))) + min(max(out.x, out.y), 0.0) - glow.shape.z;

    let light = glow.color.rgb;
    let is_inside = smoothstep(0.7, -0.7, away);
    let halo = 0.6 * pow(1.0 - clamp(away / glow.shape.w, 0.0, 1.0), 2.5);
    if glow.filled > 0.5 {
        let depth = glow.shape.z + min(glow.shape.x, glow.shape.y);
        let hot = mix(light, vec3(1.0), smoothstep(0.2 * depth, depth, -away) * glow.filled);
        return vec4(mix(light, hot, is_inside), max(is_inside, halo));
    }
    let tube = smoothstep(2.4, 1.2, abs(away + 1.6));
    let hot = mix(light, vec3(1.0), tube * smoothstep(1.4, 0.2, abs(away + 1.6)) * 0.7);
    if glow.filled < 0.0 {
        let film = 0.5 * exp(away / 12.0) * is_inside + halo * (1.0 - is_inside);
        return vec4(hot, max(film, tube * 0.9));
    }
    let dark = light * (0.02 + 0.25 * exp(away / 7.0));
    return vec4(mix(mix(light, dark, is_inside), hot, tube), max(is_inside * 0.94, halo));
}
