// Q6_K:  blocks of 256 in 8 units of 32,  w[u, i] = d * s[2 u + i / 16] * (q[u, i] - 32).  With h = u / 4, j = u % 4: the low four
// bits of q[u, i] are nibble j / 2 of byte 64 h + 32 (j % 2) + i, the high two are bits 2 j of byte 32 h + i of the highs
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks, 8): 128 bytes of nibbles
@group(1) @binding(1) var<storage, read> highs: array<vec4<u32>>;   // (blocks, 4): 64 bytes of pairs of bits
@group(1) @binding(2) var<storage, read> scales: array<vec4<u32>>;  // (blocks): 16 bytes, two's complement
@group(1) @binding(3) var<storage, read> supers: array<u32>;        // (blocks / 2): f16 d, of two blocks

// The 32 weights of one unit.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let block = unit / 8u;
    let h = unit % 8u / 4u;
    let j = unit % 4u;
    let s = signed_bytes(scales[block][2u * h + j / 2u]);
    let d = half_of(supers[block / 2u], block) * select(s.xy, s.zw, j % 2u == 1u);
    let low = block * 8u + 4u * h + 2u * (j % 2u);
    let low_shift = vec4<u32>(j / 2u * 4u);
    let high = block * 4u + 2u * h;
    let high_shift = vec4<u32>(2u * j);
    let q = quants[low] >> low_shift;
    let r = quants[low + 1u] >> low_shift;
    let t = highs[high] >> high_shift;
    let u = highs[high + 1u] >> high_shift;
    let m = vec4<f32>(32.0);
    return array<vec4<f32>, 8>(
        d.x * (low_nibbles(q.x) + 16.0 * byte_bits(t.x, 3u) - m), d.x * (low_nibbles(q.y) + 16.0 * byte_bits(t.y, 3u) - m),
        d.x * (low_nibbles(q.z) + 16.0 * byte_bits(t.z, 3u) - m), d.x * (low_nibbles(q.w) + 16.0 * byte_bits(t.w, 3u) - m),
        d.y * (low_nibbles(r.x) + 16.0 * byte_bits(u.x, 3u) - m), d.y * (low_nibbles(r.y) + 16.0 * byte_bits(u.y, 3u) - m),
        d.y * (low_nibbles(r.z) + 16.0 * byte_bits(u.z, 3u) - m), d.y * (low_nibbles(r.w) + 16.0 * byte_bits(u.w, 3u) - m),
    );
}
