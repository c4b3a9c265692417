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
