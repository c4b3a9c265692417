// MXFP4:  w[i] = 2^(e - 128) * 2 q[i],  q E2M1: q[i] and q[i + 16] = low and high nibble of byte i
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks): 16 bytes of nibbles
@group(1) @binding(1) var<storage, read> scales: array<u32>;        // (blocks / 4): e, of four blocks

// The 32 weights of one block.
fn decode(block: u32) -> array<vec4<f32>, 8> {
    let q = quants[block];
    let e = byte_of(scales[block / 4u], block);
    let d = bitcast<f32>(select((e - 1u) << 23u, 0x200000u << e, e < 2u));  // 2^-128 and 2^-127 are subnormal
    return array<vec4<f32>, 8>(
        d * doubled_e2m1(q.x, 0u), d * doubled_e2m1(q.y, 0u), d * doubled_e2m1(q.z, 0u), d * doubled_e2m1(q.w, 0u),
        d * doubled_e2m1(q.x, 4u), d * doubled_e2m1(q.y, 4u), d * doubled_e2m1(q.z, 4u), d * doubled_e2m1(q.w, 4u),
    );
}
