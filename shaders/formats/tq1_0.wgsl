// TQ1_0:  w[i] = d * (q[i] - 1),  256 weights to a block; digits to base 3: q[32 j + l] is digit j of byte l of quants
// (l < 32), q[160 + 16 j + l] digit j of byte 32 + l, q[240 + 4 j + l] digit j of byte l of highs
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks, 3): 16 bytes each, of five digits
@group(1) @binding(1) var<storage, read> highs: array<u32>;         // (blocks): 4 bytes, of four digits
@group(1) @binding(2) var<storage, read> supers: array<u32>;        // (blocks / 2): f16 d, of two blocks

// 3^j, j up to 4.
fn power(j: u32) -> i32 {
    return i32(select((0x1b090301u >> (8u * min(j, 3u))) & 255u, 81u, j == 4u));
}

// Digit j of each byte of `word`, less 1; power: 3^j. A byte is the fraction 0.(digits) times 256, rounded up.
fn four(word: u32, power: i32) -> vec4<f32> {
    let fraction = (fields(word, 0u, 255u) * power) & vec4<i32>(255);
    return vec4<f32>(((fraction * 3) >> vec4<u32>(8u)) - 1);
}

// The 32 weights of one unit, an eighth of a block.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let block = unit / 8u;
    let j = unit % 8u;
    let late = j >= 5u;
    let last = j == 7u;
    let d = half_of(supers[block / 2u], block);
    let a = quants[block * 3u + select(0u, 2u, late)];
    let b = select(quants[block * 3u + select(1u, 2u, late)], vec4<u32>(highs[block]), last);
    let p = power(select(j, 2u * j - 10u, late));
    let r = select(vec4<i32>(select(p, 3 * p, late)), vec4<i32>(1, 3, 9, 27), last);
    return array<vec4<f32>, 8>(
        d * four(a.x, p), d * four(a.y, p), d * four(a.z, p), d * four(a.w, p),
        d * four(b.x, r.x), d * four(b.y, r.y), d * four(b.z, r.z), d * four(b.w, r.w),
    );
}
