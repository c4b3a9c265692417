// IQ1_S:  w[i] = d * (2 * scale[i / 32] + 1) * (GRID[q[i / 8]][i % 8] ± 1/8),  256 weights to a block
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<u32>;  // (blocks, 8): low bytes of four q
@group(1) @binding(1) var<storage, read> highs: array<u32>;   // (blocks, 4): of two units: bits 8 to 10 of four q, scale, sign
@group(1) @binding(2) var<storage, read> supers: array<u32>;  // (blocks / 2): f16 d, of two blocks
@group(1) @binding(3) var<storage, read> grid: array<u32>;    // (1024): 2048 entries of eight digits

fn entry(q: u32, high: u32, i: u32) -> u32 {
    let at = byte_of(q, i) | (((high >> (3u * i)) & 7u) << 8u);
    return u16_of(grid[at / 2u], at);
}

// Four weights, but for d: digits stand for -1, 0, 1.
fn four(entry: u32, first: u32, by: f32) -> vec4<f32> {
    return vec4<f32>(two_bit_digits(entry, first)) + by;
}

// The 32 weights of one unit, an eighth of a block.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let block = unit / 8u;
    let q = quants[unit];
    let high = u16_of(highs[unit / 2u], unit);
    let d = half_of(supers[block / 2u], block) * f32(i32(2u * ((high >> 12u) & 7u) + 1u));
    let by = select(-0.875, -1.125, high >= 0x8000u);
    let a = entry(q, high, 0u);
    let b = entry(q, high, 1u);
    let c = entry(q, high, 2u);
    let e = entry(q, high, 3u);
    return array<vec4<f32>, 8>(
        d * four(a, 0u, by), d * four(a, 4u, by), d * four(b, 0u, by), d * four(b, 4u, by),
        d * four(c, 0u, by), d * four(c, 4u, by), d * four(e, 0u, by), d * four(e, 4u, by),
    );
}
