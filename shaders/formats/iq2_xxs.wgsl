// IQ2_XXS:  w[i] = d * (scale[i / 32] + 1/2) / 4 * ±GRID[q[i / 8]][i % 8],  256 weights to a block
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec2<u32>>;  // (blocks, 8): four q; four times seven signs, 4 bits of scale
@group(1) @binding(1) var<storage, read> supers: array<u32>;        // (blocks / 2): f16 d, of two blocks
@group(1) @binding(2) var<storage, read> grid: array<u32>;          // (128): 256 entries of eight digits

fn entry(q: u32, i: u32) -> u32 {
    let at = byte_of(q, i);
    return u16_of(grid[at / 2u], at);
}

// The 32 weights of one unit, an eighth of a block.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let block = unit / 8u;
    let q = quants[unit];
    let d = half_of(supers[block / 2u], block) * (0.5 + f32(i32(q.y >> 28u))) * 0.25;
    let a = entry(q.x, 0u);
    let b = entry(q.x, 1u);
    let c = entry(q.x, 2u);
    let e = entry(q.x, 3u);
    let sa = eight_signs(q.y);
    let sb = eight_signs(q.y >> 7u);
    let sc = eight_signs(q.y >> 14u);
    let se = eight_signs(q.y >> 21u);
    return array<vec4<f32>, 8>(
        d * iq2_values(a, sa, 0u), d * iq2_values(a, sa, 4u), d * iq2_values(b, sb, 0u), d * iq2_values(b, sb, 4u),
        d * iq2_values(c, sc, 0u), d * iq2_values(c, sc, 4u), d * iq2_values(e, se, 0u), d * iq2_values(e, se, 4u),
    );
}
