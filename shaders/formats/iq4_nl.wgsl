// IQ4_NL:  w[i] = d * value of q[i],  q[i] and q[i + 16] = low and high nibble of byte i
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks): 16 bytes of nibbles
@group(1) @binding(1) var<storage, read> scales: array<u32>;        // (blocks / 2): f16 d, of two blocks

// The 32 weights of one block.
fn decode(block: u32) -> array<vec4<f32>, 8> {
    let q = quants[block];
    let d = half_of(scales[block / 2u], block);
    return array<vec4<f32>, 8>(
        d * iq4_values(q.x, 0u), d * iq4_values(q.y, 0u), d * iq4_values(q.z, 0u), d * iq4_values(q.w, 0u),
        d * iq4_values(q.x, 4u), d * iq4_values(q.y, 4u), d * iq4_values(q.z, 4u), d * iq4_values(q.w, 4u),
    );
}
