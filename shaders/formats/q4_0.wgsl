// Q4_0:  w[i] = d * (q[i] - 8),  q[i] and q[i + 16] = low and high nibble of byte i
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks): 16 bytes of nibbles
@group(1) @binding(1) var<storage, read> scales: array<u32>;        // (blocks / 2): f16 d, of two blocks

// The 32 weights of one block.
fn decode(block: u32) -> array<vec4<f32>, 8> {
    let q = quants[block];
    let d = half_of(scales[block / 2u], block);
    let m = vec4<f32>(-8.0 * d);
    return array<vec4<f32>, 8>(
        d * low_nibbles(q.x) + m, d * low_nibbles(q.y) + m, d * low_nibbles(q.z) + m, d * low_nibbles(q.w) + m,
        d * high_nibbles(q.x) + m, d * high_nibbles(q.y) + m, d * high_nibbles(q.z) + m, d * high_nibbles(q.w) + m,
    );
}
