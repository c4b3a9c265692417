// Small integers inside 32-bit words, as signed ones: CPUs lack an instruction that converts unsigned integers to
// floats.
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

// Half `i` of an array of pairs of 16-bit words: from the pair that holds it.
fn u16_of(pair: u32, i: u32) -> u32 {
    return (pair >> (i % 2u * 16u)) & 0xffffu;
}

// For each of bits `first` to `first + 3` of `word`: -1 if it is set, else 1.
fn four_signs(word: u32, first: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(1) - 2 * four_bits(word, first));
}

// The signs of eight values from the seven that a file has: the number of minus signs is even.
fn eight_signs(seven: u32) -> u32 {
    let signs = seven & 127u;
    return signs | ((countOneBits(signs) & 1u) << 7u);
}

// Digits `first` to `first + 3`, of 2 bits each, of an entry of a codebook (runtime/quant/grids.rs).
fn two_bit_digits(entry: u32, first: u32) -> vec4<i32> {
    return vec4<i32>((vec4<u32>(entry) >> (vec4<u32>(0u, 2u, 4u, 6u) + 2u * first)) & vec4<u32>(3u));
}

// All four digits, of 4 bits each, of an entry of a codebook.
fn four_bit_digits(entry: u32) -> vec4<i32> {
    return vec4<i32>((vec4<u32>(entry) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u));
}

// Values `first` to `first + 3` of a group of eight of the IQ2 types: digits stand for 8, 25, 43.
fn iq2_values(entry: u32, signs: u32, first: u32) -> vec4<f32> {
    let q = two_bit_digits(entry, first);
    return vec4<f32>(8 + 17 * q + (q >> vec4<u32>(1u))) * four_signs(signs, first);
}

// Of each byte of `word`, the four bits from bit `shift` on as a float E2M1, doubled: 0, 1, 2, 3, 4, 6, 8, 12, or minus
// that.
fn doubled_e2m1(word: u32, shift: u32) -> vec4<f32> {
    let q = vec4<u32>(fields(word, shift, 15u));
    let row = select(vec4<u32>(0x03020100u), vec4<u32>(0x0c080604u), (q & vec4<u32>(4u)) != vec4<u32>(0u));
    let magnitude = vec4<i32>((row >> (8u * (q & vec4<u32>(3u)))) & vec4<u32>(255u));
    return vec4<f32>(magnitude * (1 - 2 * vec4<i32>(q >> vec4<u32>(3u))));
}

// Of each byte of `word`, the four bits from bit `shift` on as the IQ4 types read them: -127, -104, -83, -65, -49, -35,
// -22, -10, 1, 13, 25, 38, 53, 69, 89, 113. Packed into words, since indexing an array would go through memory.
fn iq4_values(word: u32, shift: u32) -> vec4<f32> {
    let q = vec4<u32>(fields(word, shift, 15u));
    let odd = (q & vec4<u32>(4u)) != vec4<u32>(0u);
    let minus = select(vec4<u32>(0xbfad9881u), vec4<u32>(0xf6eaddcfu), odd);
    let plus = select(vec4<u32>(0x26190d01u), vec4<u32>(0x71594535u), odd);
    let row = select(minus, plus, q >= vec4<u32>(8u));
    return vec4<f32>(vec4<i32>(row << (24u - 8u * (q & vec4<u32>(3u)))) >> vec4<u32>(24u));
}
