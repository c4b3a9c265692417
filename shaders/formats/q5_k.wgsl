// Q5_K:  w[i] = d * scale[i / 32] * q[i] - dmin * min[i / 32],  256 weights to a block; the low four bits of sub-blocks
// 2j and 2j + 1 of 32 are the low and high nibbles of bytes 32j .. 32j + 32, the fifth bit of sub-block j is bit j of
// highs' bytes
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks, 8): 16 bytes of nibbles each
@group(1) @binding(1) var<storage, read> highs: array<vec4<u32>>;   // (blocks, 2): 16 bytes each
@group(1) @binding(2) var<storage, read> scales: array<vec4<u32>>;  // (blocks): f16 d, f16 dmin, 12 bytes of scales and minima

// Scale and minimum of sub-block j, six bits each: the first four in the low bits of bytes 0..8, the others' four low
// bits in bytes 8..12 and two high bits above those of the first four.
fn scale_and_min(s: vec4<u32>, j: u32) -> vec2<f32> {
    let a = byte_of(s.y, j);
    let b = byte_of(s.z, j);
    let c = byte_of(s.w, j);
    let first = vec2<u32>(a & 63u, b & 63u);
    let later = vec2<u32>((c & 15u) | ((a >> 6u) << 4u), (c >> 4u) | ((b >> 6u) << 4u));
    return unpack2x16float(s.x) * vec2<f32>(vec2<i32>(select(later, first, j < 4u)));
}

fn five_bits(q: u32, shift: u32, high: u32, j: u32) -> vec4<f32> {
    return vec4<f32>(fields(q, shift, 15u) | (fields(high, j, 1u) << vec4<u32>(4u)));
}

// The 32 weights of one unit, an eighth of a block.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let block = unit / 8u;
    let j = unit % 8u;
    let a = quants[block * 8u + j / 2u * 2u];
    let b = quants[block * 8u + j / 2u * 2u + 1u];
    let ha = highs[block * 2u];
    let hb = highs[block * 2u + 1u];
    let s = scale_and_min(scales[block], j);
    let d = s.x;
    let m = vec4<f32>(s.y);
    let high = j % 2u * 4u;
    return array<vec4<f32>, 8>(
        d * five_bits(a.x, high, ha.x, j) - m,
        d * five_bits(a.y, high, ha.y, j) - m,
        d * five_bits(a.z, high, ha.z, j) - m,
        d * five_bits(a.w, high, ha.w, j) - m,
        d * five_bits(b.x, high, hb.x, j) - m,
        d * five_bits(b.y, high, hb.y, j) - m,
        d * five_bits(b.z, high, hb.z, j) - m,
        d * five_bits(b.w, high, hb.w, j) - m,
    );
}
