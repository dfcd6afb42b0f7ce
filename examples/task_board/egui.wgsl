// egui's shader as bevy_egui has it, but for the last step: colours are multiplied by alpha after they were made linear,
// because that is where they are blended. Otherwise the soft edge of everything light has a dark fringe on a light ground.

struct Transform {
    scale: vec2<f32>,
    translation: vec2<f32>,
}

struct VertexInput {
    @location(0) position: vec2<f32>,
    @location(1) uv: vec2<f32>,
    @location(2) color: vec4<f32>,
}

struct VertexOutput {
    @builtin(position) position: vec4<f32>,
    @location(0) color: vec4<f32>,
    @location(1) uv: vec2<f32>,
}

@group(0) @binding(0) var<uniform> transform: Transform;

#ifdef BINDLESS
@group(1) @binding(0) var image_texture: binding_array<texture_2d<f32>>;
@group(1) @binding(1) var image_sampler: binding_array<sampler>;

struct BindlessOffset {
    offset: u32,
};
var<immediate> offset: BindlessOffset;
#else
@group(1) @binding(0) var image_texture: texture_2d<f32>;
@group(1) @binding(1) var image_sampler: sampler;
#endif

fn linear_from_gamma(gamma: vec3<f32>) -> vec3<f32> {
    let lower = gamma / vec3<f32>(12.92);
    let higher = pow((gamma + vec3<f32>(0.055)) / vec3<f32>(1.055), vec3<f32>(2.4));
    return select(higher, lower, gamma < vec3<f32>(0.04045));
}

fn gamma_from_linear(linear: vec3<f32>) -> vec3<f32> {
    let lower = linear * vec3<f32>(12.92);
    let higher = vec3<f32>(1.055) * pow(linear, vec3<f32>(1.0 / 2.4)) - vec3<f32>(0.055);
    return select(higher, lower, linear < vec3<f32>(0.0031308));
}

@vertex
fn vs_main(in: VertexInput) -> VertexOutput {
    let position = in.position * transform.scale + transform.translation;
    return VertexOutput(vec4<f32>(position, 0.0, 1.0), in.color, in.uv);
}

@fragment
fn fs_main(in: VertexOutput) -> @location(0) vec4<f32> {
    #ifdef BINDLESS
    let image_texture = image_texture[offset.offset];
    let image_sampler = image_sampler[offset.offset];
    #endif

    let texel = textureSample(image_texture, image_sampler, in.uv);
    // Both are in gamma space and multiplied by their alpha.
    let color = vec4<f32>(gamma_from_linear(texel.rgb), texel.a) * in.color;
    let alpha = max(color.a, 0.0001);
    return vec4<f32>(linear_from_gamma(min(color.rgb / alpha, vec3<f32>(1.0))) * alpha, color.a);
}
