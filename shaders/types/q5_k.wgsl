// Q5_K:  as Q4_K, with a fifth bit: that of q[u, i] is bit u of byte i of the highs
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks, 8): 128 bytes of nibbles
@group(1) @binding(1) var<storage, read> highs: array<vec4<u32>>;   // (blocks, 2): 32 bytes
@group(1) @binding(2) var<storage, read> scales: array<vec4<u32>>;  // (blocks): f16 d, f16 dmin, 12 bytes of s and m (unpack.wgsl)

// The 32 weights of one unit.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let u = unit % 8u;
    let scale = k_scale(scales[unit / 8u], u);
    let d = scale.x;
    let m = vec4<f32>(scale.y);
    let first = unit / 8u * 8u + u / 2u * 2u;
    let shift = vec4<u32>(u % 2u * 4u);
    let q = quants[first] >> shift;
    let r = quants[first + 1u] >> shift;
    let h = highs[unit / 8u * 2u] >> vec4<u32>(u);
    let i = highs[unit / 8u * 2u + 1u] >> vec4<u32>(u);
    return array<vec4<f32>, 8>(
        d * (low_nibbles(q.x) + 16.0 * byte_bits(h.x, 1u)) - m, d * (low_nibbles(q.y) + 16.0 * byte_bits(h.y, 1u)) - m,
        d * (low_nibbles(q.z) + 16.0 * byte_bits(h.z, 1u)) - m, d * (low_nibbles(q.w) + 16.0 * byte_bits(h.w, 1u)) - m,
        d * (low_nibbles(r.x) + 16.0 * byte_bits(i.x, 1u)) - m, d * (low_nibbles(r.y) + 16.0 * byte_bits(i.y, 1u)) - m,
        d * (low_nibbles(r.z) + 16.0 * byte_bits(i.z, 1u)) - m, d * (low_nibbles(r.w) + 16.0 * byte_bits(i.w, 1u)) - m,
    );
}
