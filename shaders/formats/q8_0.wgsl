// Q8_0:  w[i] = d * q[i],  q two's complement
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks, 2): 16 bytes each
@group(1) @binding(1) var<storage, read> scales: array<u32>;        // (blocks / 2): f16 d, of two blocks

// The 32 weights of one block.
fn decode(block: u32) -> array<vec4<f32>, 8> {
    let q = quants[block * 2u];
    let r = quants[block * 2u + 1u];
    let d = half_of(scales[block / 2u], block);
    return array<vec4<f32>, 8>(
        d * signed_bytes(q.x), d * signed_bytes(q.y), d * signed_bytes(q.z), d * signed_bytes(q.w),
        d * signed_bytes(r.x), d * signed_bytes(r.y), d * signed_bytes(r.z), d * signed_bytes(r.w),
    );
}
