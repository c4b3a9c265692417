// IQ4_XS:  w[i] = d * (scale[i / 32] - 32) * value of q[i],  256 weights to a block; in each sub-block of 32, q[i] and
// q[i + 16] = low and high nibble of byte i
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks, 8): 16 bytes of nibbles each
@group(1) @binding(1) var<storage, read> scales: array<vec2<u32>>;  // (blocks): f16 d, 8 pairs of high bits; 8 nibbles of low bits

// The 32 weights of one unit, an eighth of a block.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let block = unit / 8u;
    let j = unit % 8u;
    let q = quants[unit];
    let s = scales[block];
    let scale = ((s.y >> (4u * j)) & 15u) | (((s.x >> (16u + 2u * j)) & 3u) << 4u);
    let d = unpack2x16float(s.x).x * f32(i32(scale) - 32);
    return array<vec4<f32>, 8>(
        d * iq4_values(q.x, 0u), d * iq4_values(q.y, 0u), d * iq4_values(q.z, 0u), d * iq4_values(q.w, 0u),
        d * iq4_values(q.x, 4u), d * iq4_values(q.y, 4u), d * iq4_values(q.z, 4u), d * iq4_values(q.w, 4u),
    );
}
