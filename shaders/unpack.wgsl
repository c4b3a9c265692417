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

// Bits `first` to `first + 3` of `word`.
fn bits(word: u32, first: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>((vec4<u32>(word) >> (vec4<u32>(0u, 1u, 2u, 3u) + first)) & vec4<u32>(1u)));
}

// The lowest bits of each byte of `word`: those of `mask`.
fn byte_bits(word: u32, mask: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>((vec4<u32>(word) >> BYTE_SHIFTS) & vec4<u32>(mask)));
}

// Scale and minimum of unit `u` (0 to 7) of a Q4_K or Q5_K block: (d * s[u], dmin * m[u]). `words`: f16 d, f16 dmin, then 12 bytes b.
// For u < 4: s = low six bits of b[u], m = of b[u + 4]. Else: low four bits of s and m are the nibbles of b[u + 4], the high two are
// the high two of b[u - 4] and b[u].
fn k_scale(words: vec4<u32>, u: u32) -> vec2<f32> {
    let shift = u % 4u * 8u;
    let b = vec3<u32>(words.y, words.z, words.w) >> vec3<u32>(shift);
    let first = b.xy & vec2<u32>(63u);
    let second = (vec2<u32>(b.z, b.z >> 4u) & vec2<u32>(15u)) | ((b.xy >> vec2<u32>(2u)) & vec2<u32>(48u));
    return unpack2x16float(words.x) * vec2<f32>(vec2<i32>(select(first, second, u >= 4u)));
}
