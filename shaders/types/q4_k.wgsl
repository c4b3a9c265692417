// Q4_K:  blocks of 256 in 8 units of 32,  w[u, i] = d * s[u] * q[u, i] - dmin * m[u],  q[u, i] = nibble u % 2 of byte 32 (u / 2) + i
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks, 8): 128 bytes of nibbles
@group(1) @binding(1) var<storage, read> scales: array<vec4<u32>>;  // (blocks): f16 d, f16 dmin, 12 bytes of s and m (unpack.wgsl)

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
    return array<vec4<f32>, 8>(
        d * low_nibbles(q.x) - m, d * low_nibbles(q.y) - m, d * low_nibbles(q.z) - m, d * low_nibbles(q.w) - m,
        d * low_nibbles(r.x) - m, d * low_nibbles(r.y) - m, d * low_nibbles(r.z) - m, d * low_nibbles(r.w) - m,
    );
}
