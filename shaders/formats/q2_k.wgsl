// Q2_K:  w[i] = d * scale[i / 16] * q[i] - dmin * min[i / 16],  256 weights to a block; in each half of 128, sub-block
// k of 32 is bits 2k, 2k + 1 of 32 bytes
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks, 4): 16 bytes each
@group(1) @binding(1) var<storage, read> scales: array<vec4<u32>>;  // (blocks): 16 bytes, scale in the low nibble, minimum in the high
@group(1) @binding(2) var<storage, read> supers: array<u32>;        // (blocks): f16 d, f16 dmin

// The 32 weights of one unit, an eighth of a block.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let block = unit / 8u;
    let j = unit % 8u;
    let a = quants[block * 4u + j / 4u * 2u];
    let b = quants[block * 4u + j / 4u * 2u + 1u];
    let s = scales[block][j / 2u] >> (j % 2u * 16u);
    let super_scale = unpack2x16float(supers[block]);
    let d = super_scale.x * low_nibbles(s).xy;
    let m = super_scale.y * high_nibbles(s).xy;
    let shift = j % 4u * 2u;
    return array<vec4<f32>, 8>(
        d.x * vec4<f32>(fields(a.x, shift, 3u)) - m.x,
        d.x * vec4<f32>(fields(a.y, shift, 3u)) - m.x,
        d.x * vec4<f32>(fields(a.z, shift, 3u)) - m.x,
        d.x * vec4<f32>(fields(a.w, shift, 3u)) - m.x,
        d.y * vec4<f32>(fields(b.x, shift, 3u)) - m.y,
        d.y * vec4<f32>(fields(b.y, shift, 3u)) - m.y,
        d.y * vec4<f32>(fields(b.z, shift, 3u)) - m.y,
        d.y * vec4<f32>(fields(b.w, shift, 3u)) - m.y,
    );
}
