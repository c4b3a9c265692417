// Q6_K:  w[i] = d * scale[i / 16] * (q[i] - 32),  256 weights to a block; in each half of 128, the low four bits of
// sub-blocks 0 and 2 (1 and 3) of 32 are the low and high nibbles of the first (second) 32 bytes, the two high bits of
// sub-block k are bits 2k, 2k + 1 of highs' bytes
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks, 8): 16 bytes of nibbles each
@group(1) @binding(1) var<storage, read> highs: array<vec4<u32>>;   // (blocks, 4): 16 bytes each
@group(1) @binding(2) var<storage, read> scales: array<vec4<u32>>;  // (blocks): 16 signed bytes
@group(1) @binding(3) var<storage, read> supers: array<u32>;        // (blocks / 2): f16 d, of two blocks

fn six_bits(q: u32, shift: u32, high: u32, high_shift: u32) -> vec4<f32> {
    return vec4<f32>((fields(q, shift, 15u) | (fields(high, high_shift, 3u) << vec4<u32>(4u))) - vec4<i32>(32));
}

// The 32 weights of one unit, an eighth of a block.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let block = unit / 8u;
    let j = unit % 8u;
    let k = j % 4u;
    let at = block * 8u + j / 4u * 4u + k % 2u * 2u;
    let a = quants[at];
    let b = quants[at + 1u];
    let ha = highs[block * 4u + j / 4u * 2u];
    let hb = highs[block * 4u + j / 4u * 2u + 1u];
    let s = signed_bytes(scales[block][j / 2u]);
    let d = half_of(supers[block / 2u], block) * select(s.xy, s.zw, j % 2u == 1u);
    let shift = k / 2u * 4u;
    return array<vec4<f32>, 8>(
        d.x * six_bits(a.x, shift, ha.x, 2u * k),
        d.x * six_bits(a.y, shift, ha.y, 2u * k),
        d.x * six_bits(a.z, shift, ha.z, 2u * k),
        d.x * six_bits(a.w, shift, ha.w, 2u * k),
        d.y * six_bits(b.x, shift, hb.x, 2u * k),
        d.y * six_bits(b.y, shift, hb.y, 2u * k),
        d.y * six_bits(b.z, shift, hb.z, 2u * k),
        d.y * six_bits(b.w, shift, hb.w, 2u * k),
    );
}
