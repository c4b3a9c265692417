// IQ3_XXS:  w[i] = d * (scale[i / 32] + 1/2) / 2 * ±GRID[q[i / 4]][i % 4],  256 weights to a block
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec2<u32>>;  // (blocks, 8): eight q
@group(1) @binding(1) var<storage, read> scales: array<u32>;        // (blocks, 8): four times seven signs, 4 bits of scale
@group(1) @binding(2) var<storage, read> supers: array<u32>;        // (blocks / 2): f16 d, of two blocks
@group(1) @binding(3) var<storage, read> grid: array<u32>;          // (128): 256 entries of four digits

// The four weights, but for d, of q[i] in a word of them: digits stand for 4, 12, 20, 28, 36, 44, 52, 62.
fn four(q: u32, i: u32, signs: u32) -> vec4<f32> {
    let at = byte_of(q, i);
    let digits = four_bit_digits(u16_of(grid[at / 2u], at));
    let magnitude = 4 + 8 * digits + 2 * ((digits + 1) >> vec4<u32>(3u));
    return vec4<f32>(magnitude) * four_signs(signs, i % 2u * 4u);
}

// The 32 weights of one unit, an eighth of a block.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let block = unit / 8u;
    let q = quants[unit];
    let s = scales[unit];
    let d = half_of(supers[block / 2u], block) * (0.5 + f32(i32(s >> 28u))) * 0.5;
    let sa = eight_signs(s);
    let sb = eight_signs(s >> 7u);
    let sc = eight_signs(s >> 14u);
    let se = eight_signs(s >> 21u);
    return array<vec4<f32>, 8>(
        d * four(q.x, 0u, sa), d * four(q.x, 1u, sa), d * four(q.x, 2u, sb), d * four(q.x, 3u, sb),
        d * four(q.y, 0u, sc), d * four(q.y, 1u, sc), d * four(q.y, 2u, se), d * four(q.y, 3u, se),
    );
}
