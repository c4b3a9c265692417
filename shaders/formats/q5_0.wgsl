// Q5_0:  w[i] = d * (q[i] - 16),  low four bits of q[i] and q[i + 16] = low and high nibble of byte i, fifth = bit i of
// highs
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks): 16 bytes of nibbles
@group(1) @binding(1) var<storage, read> highs: array<u32>;         // (blocks): 32 bits
@group(1) @binding(2) var<storage, read> scales: array<u32>;        // (blocks / 2): f16 d, of two blocks

fn five_bits(q: u32, shift: u32, high: u32, first: u32) -> vec4<f32> {
    return vec4<f32>(fields(q, shift, 15u) | (four_bits(high, first) << vec4<u32>(4u)));
}

// The 32 weights of one block.
fn decode(block: u32) -> array<vec4<f32>, 8> {
    let q = quants[block];
    let h = highs[block];
    let d = half_of(scales[block / 2u], block);
    let m = vec4<f32>(-16.0 * d);
    return array<vec4<f32>, 8>(
        d * five_bits(q.x, 0u, h, 0u) + m,
        d * five_bits(q.y, 0u, h, 4u) + m,
        d * five_bits(q.z, 0u, h, 8u) + m,
        d * five_bits(q.w, 0u, h, 12u) + m,
        d * five_bits(q.x, 4u, h, 16u) + m,
        d * five_bits(q.y, 4u, h, 20u) + m,
        d * five_bits(q.z, 4u, h, 24u) + m,
        d * five_bits(q.w, 4u, h, 28u) + m,
    );
}
