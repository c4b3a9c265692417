// IQ2_XS:  w[i] = d * (scale[i / 16] + 1/2) / 4 * ±GRID[q[i / 8]][i % 8],  256 weights to a block
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec2<u32>>;  // (blocks, 8): four times 9 bits of q and seven signs
@group(1) @binding(1) var<storage, read> scales: array<u32>;        // (blocks, 2): 16 nibbles
@group(1) @binding(2) var<storage, read> supers: array<u32>;        // (blocks / 2): f16 d, of two blocks
@group(1) @binding(3) var<storage, read> grid: array<u32>;          // (256): 512 entries of eight digits

fn entry(q: u32) -> u32 {
    let at = q & 511u;
    return u16_of(grid[at / 2u], at);
}

// The 32 weights of one unit, an eighth of a block.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let block = unit / 8u;
    let j = unit % 8u;
    let q = quants[unit];
    let s = byte_of(scales[unit / 4u], j);
    let d = half_of(supers[block / 2u], block) * (0.5 + vec2<f32>(vec2<i32>(vec2<u32>(s & 15u, s >> 4u)))) * 0.25;
    let a = entry(q.x);
    let b = entry(q.x >> 16u);
    let c = entry(q.y);
    let e = entry(q.y >> 16u);
    let sa = eight_signs(q.x >> 9u);
    let sb = eight_signs(q.x >> 25u);
    let sc = eight_signs(q.y >> 9u);
    let se = eight_signs(q.y >> 25u);
    return array<vec4<f32>, 8>(
        d.x * iq2_values(a, sa, 0u), d.x * iq2_values(a, sa, 4u), d.x * iq2_values(b, sb, 0u), d.x * iq2_values(b, sb, 4u),
        d.y * iq2_values(c, sc, 0u), d.y * iq2_values(c, sc, 4u), d.y * iq2_values(e, se, 0u), d.y * iq2_values(e, se, 4u),
    );
}
