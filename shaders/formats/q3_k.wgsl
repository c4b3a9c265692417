// Q3_K:  w[i] = d * scale[i / 16] * (q[i] - 4),  256 weights to a block; in each half of 128, the low two bits of
// sub-block k of 32 are bits 2k, 2k + 1 of 32 bytes; the third bit of sub-block j is bit j of highs' bytes
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks, 4): 16 bytes each
@group(1) @binding(1) var<storage, read> highs: array<vec4<u32>>;   // (blocks, 2): 16 bytes each
@group(1) @binding(2) var<storage, read> scales: array<u32>;        // (blocks, 3): 12 bytes
@group(1) @binding(3) var<storage, read> supers: array<u32>;        // (blocks / 2): f16 d, of two blocks

// Scale i of a block: its low four bits are nibbles of bytes 0..8, low ones first; its two high bits are in bytes
// 8..12.
fn scale_of(block: u32, i: u32) -> f32 {
    let low = byte_of(scales[block * 3u + i % 8u / 4u], i) >> (i / 8u * 4u);
    let high = byte_of(scales[block * 3u + 2u], i) >> (i / 4u * 2u);
    return f32(i32((low & 15u) | ((high & 3u) << 4u)) - 32);
}

fn three_bits(q: u32, shift: u32, high: u32, j: u32) -> vec4<f32> {
    return vec4<f32>((fields(q, shift, 3u) | (fields(high, j, 1u) << vec4<u32>(2u))) - vec4<i32>(4));
}

// The 32 weights of one unit, an eighth of a block.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let block = unit / 8u;
    let j = unit % 8u;
    let a = quants[block * 4u + j / 4u * 2u];
    let b = quants[block * 4u + j / 4u * 2u + 1u];
    let ha = highs[block * 2u];
    let hb = highs[block * 2u + 1u];
    let d = half_of(supers[block / 2u], block) * vec2<f32>(scale_of(block, 2u * j), scale_of(block, 2u * j + 1u));
    let shift = j % 4u * 2u;
    return array<vec4<f32>, 8>(
        d.x * three_bits(a.x, shift, ha.x, j),
        d.x * three_bits(a.y, shift, ha.y, j),
        d.x * three_bits(a.z, shift, ha.z, j),
        d.x * three_bits(a.w, shift, ha.w, j),
        d.y * three_bits(b.x, shift, hb.x, j),
        d.y * three_bits(b.y, shift, hb.y, j),
        d.y * three_bits(b.z, shift, hb.z, j),
        d.y * three_bits(b.w, shift, hb.w, j),
    );
}
