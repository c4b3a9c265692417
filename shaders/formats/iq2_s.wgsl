// IQ2_S:  w[i] = d * (scale[i / 16] + 1/2) / 4 * ±GRID[q[i / 8]][i % 8],  256 weights to a block
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<u32>;        // (blocks, 16): low bytes of 32 q, then 256 signs
@group(1) @binding(1) var<storage, read> scales: array<vec4<u32>>;  // (blocks): bits 8 and 9 of 32 q, then 16 nibbles
@group(1) @binding(2) var<storage, read> supers: array<u32>;        // (blocks / 2): f16 d, of two blocks
@group(1) @binding(3) var<storage, read> grid: array<u32>;          // (512): 1024 entries of eight digits

fn entry(q: u32, high: u32, i: u32) -> u32 {
    let at = byte_of(q, i) | (((high >> (2u * i)) & 3u) << 8u);
    return u16_of(grid[at / 2u], at);
}

// The 32 weights of one unit, an eighth of a block.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let block = unit / 8u;
    let j = unit % 8u;
    let q = quants[block * 16u + j];
    let signs = quants[block * 16u + 8u + j];
    let rest = scales[block];
    let high = byte_of(select(rest.x, rest.y, j >= 4u), j);
    let s = byte_of(select(rest.z, rest.w, j >= 4u), j);
    let d = half_of(supers[block / 2u], block) * (0.5 + vec2<f32>(vec2<i32>(vec2<u32>(s & 15u, s >> 4u)))) * 0.25;
    let a = entry(q, high, 0u);
    let b = entry(q, high, 1u);
    let c = entry(q, high, 2u);
    let e = entry(q, high, 3u);
    let sb = signs >> 8u;
    let sc = signs >> 16u;
    let se = signs >> 24u;
    return array<vec4<f32>, 8>(
        d.x * iq2_values(a, signs, 0u), d.x * iq2_values(a, signs, 4u), d.x * iq2_values(b, sb, 0u), d.x * iq2_values(b, sb, 4u),
        d.y * iq2_values(c, sc, 0u), d.y * iq2_values(c, sc, 4u), d.y * iq2_values(e, se, 0u), d.y * iq2_values(e, se, 4u),
    );
}
