// Small integers inside 32-bit words. Signed: CPUs have no instruction that makes floats of unsigned ones.
const BYTE_SHIFTS = vec4<u32>(0u, 8u, 16u, 24u);

// Of each byte of `word`, the bits of `mask` from bit `shift` on.
fn fields(word: u32, shift: u32, mask: u32) -> vec4<i32> {
    return vec4<i32>((vec4<u32>(word) >> (BYTE_SHIFTS + shift)) & vec4<u32>(mask));
}

// The low nibble of each byte of `word`.
fn low_nibbles(word: u32) -> vec4<f32> {
    return vec4<f32>(fields(word, 0u, 15u));
}

// The high nibble of each byte of `word`.
fn high_nibbles(word: u32) -> vec4<f32> {
    return vec4<f32>(fields(word, 4u, 15u));
}

// Bits `first` to `first + 3` of `word`.
fn four_bits(word: u32, first: u32) -> vec4<i32> {
    return vec4<i32>((vec4<u32>(word) >> (vec4<u32>(0u, 1u, 2u, 3u) + first)) & vec4<u32>(1u));
}

// The bytes of `word`, each two's complement.
fn signed_bytes(word: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}

// Byte `i` of a word that holds bytes i / 4 * 4 and up.
fn byte_of(word: u32, i: u32) -> u32 {
    return (word >> (i % 4u * 8u)) & 255u;
}

// Half `i` of an array of pairs of halves: from the pair that holds it.
fn half_of(pair: u32, i: u32) -> f32 {
    let v = unpack2x16float(pair);
    return select(v.x, v.y, i % 2u == 1u);
}
