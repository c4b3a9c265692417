// NVFP4:  w[i] = scale[i / 16] / 2 * 2 q[i],  scale E4M3, q E2M1; 64 weights to a block; in each sub-block of 16, q[i]
// and q[i + 8] = low and high nibble of byte i
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks, 2): 16 bytes of nibbles, two sub-blocks
@group(1) @binding(1) var<storage, read> scales: array<u32>;        // (blocks): 4 bytes

// Half of an E4M3 number without sign; 0 for the byte that means NaN.
fn half_e4m3(byte: u32) -> f32 {
    let exponent = (byte >> 3u) & 15u;
    let mantissa = byte & 7u;
    let normal = bitcast<f32>(((exponent + 119u) << 23u) | (mantissa << 20u));
    let v = select(normal, f32(i32(mantissa)) * 0x1p-10, exponent == 0u);
    return select(v, 0.0, byte == 127u);
}

// The 32 weights of one unit, half of a block.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let q = quants[unit];
    let s = u16_of(scales[unit / 2u], unit);
    let a = half_e4m3(s & 255u);
    let b = half_e4m3(s >> 8u);
    return array<vec4<f32>, 8>(
        a * doubled_e2m1(q.x, 0u), a * doubled_e2m1(q.y, 0u), a * doubled_e2m1(q.x, 4u), a * doubled_e2m1(q.y, 4u),
        b * doubled_e2m1(q.z, 0u), b * doubled_e2m1(q.w, 0u), b * doubled_e2m1(q.z, 4u), b * doubled_e2m1(q.w, 4u),
    );
}
