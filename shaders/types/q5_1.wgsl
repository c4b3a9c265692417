// Q5_1:  w[i] = d * q[i] + m,  low four bits of q[i] and q[i + 16] = nibbles of byte i, fifth bit of q[i] = bit i of the highs
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks): 16 bytes of nibbles
@group(1) @binding(1) var<storage, read> highs: array<u32>;         // (blocks): 32 bits
@group(1) @binding(2) var<storage, read> scales: array<u32>;        // (blocks): f16 d, f16 m

// The 32 weights of one block.
fn decode(block: u32) -> array<vec4<f32>, 8> {
    let q = quants[block];
    let h = highs[block];
    let s = unpack2x16float(scales[block]);
    let d = s.x;
    let m = vec4<f32>(s.y);
    return array<vec4<f32>, 8>(
        d * (low_nibbles(q.x) + 16.0 * bits(h, 0u)) + m, d * (low_nibbles(q.y) + 16.0 * bits(h, 4u)) + m,
        d * (low_nibbles(q.z) + 16.0 * bits(h, 8u)) + m, d * (low_nibbles(q.w) + 16.0 * bits(h, 12u)) + m,
        d * (high_nibbles(q.x) + 16.0 * bits(h, 16u)) + m, d * (high_nibbles(q.y) + 16.0 * bits(h, 20u)) + m,
        d * (high_nibbles(q.z) + 16.0 * bits(h, 24u)) + m, d * (high_nibbles(q.w) + 16.0 * bits(h, 28u)) + m,
    );
}
