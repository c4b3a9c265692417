// IQ3_S:  w[i] = d * (2 * scale[i / 32] + 1) * ±GRID[q[i / 4]][i % 4],  256 weights to a block
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec2<u32>>;  // (blocks, 8): low bytes of eight q
@group(1) @binding(1) var<storage, read> highs: array<u32>;         // (blocks, 10): bit 8 of 64 q, then 256 signs
@group(1) @binding(2) var<storage, read> scales: array<u32>;        // (blocks): 8 nibbles
@group(1) @binding(3) var<storage, read> supers: array<u32>;        // (blocks / 2): f16 d, of two blocks
@group(1) @binding(4) var<storage, read> grid: array<u32>;          // (256): 512 entries of four digits

// The four weights, but for d, of q[i] in a word of them: digits stand for odd numbers.
fn four(q: u32, high: u32, signs: u32, i: u32) -> vec4<f32> {
    let at = byte_of(q, i) | (((high >> i) & 1u) << 8u);
    let digits = four_bit_digits(u16_of(grid[at / 2u], at));
    return vec4<f32>(1 + 2 * digits) * four_signs(signs, 4u * i);
}

// The 32 weights of one unit, an eighth of a block.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let block = unit / 8u;
    let j = unit % 8u;
    let q = quants[unit];
    let h = byte_of(highs[block * 10u + j / 4u], j);
    let signs = highs[block * 10u + 2u + j];
    let scale = (scales[block] >> (4u * j)) & 15u;
    let d = half_of(supers[block / 2u], block) * f32(i32(2u * scale + 1u));
    let hb = h >> 4u;
    let sb = signs >> 16u;
    return array<vec4<f32>, 8>(
        d * four(q.x, h, signs, 0u), d * four(q.x, h, signs, 1u), d * four(q.x, h, signs, 2u), d * four(q.x, h, signs, 3u),
        d * four(q.y, hb, sb, 0u), d * four(q.y, hb, sb, 1u), d * four(q.y, hb, sb, 2u), d * four(q.y, hb, sb, 3u),
    );
}
