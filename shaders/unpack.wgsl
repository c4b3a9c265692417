// Small integers inside 32-bit words, as floats. Signed conversions: CPUs have no instruction for the unsigned one.
const BYTE_SHIFTS = vec4<u32>(0u, 8u, 16u, 24u);

// The low nibble of each byte of `word`.
fn low_nibbles(word: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>((vec4<u32>(word) >> BYTE_SHIFTS) & vec4<u32>(15u)));
}

// The high nibble of each byte of `word`.
fn high_nibbles(word: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>((vec4<u32>(word) >> (BYTE_SHIFTS + 4u)) & vec4<u32>(15u)));
}

// The bytes of `word`, each two's complement.
fn signed_bytes(word: u32) -> vec4<f32> {
    return vec4<f32>((vec4<i32>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u))) >> vec4<u32>(24u));
}

// Half number `i` of an array of f16 pairs.
fn half_of(pair: u32, i: u32) -> f32 {
    let v = unpack2x16float(pair);
    return select(v.x, v.y, i % 2u == 1u);
}
