// IQ1_M:  w[i] = d * (2 * scale[i / 16] + 1) * (GRID[q[i / 8]][i % 8] ± 1/8),  256 weights to a block
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<u32>;        // (blocks, 8): low bytes of four q
@group(1) @binding(1) var<storage, read> highs: array<u32>;         // (blocks, 4): of two units: four times bits 8 to 10 of q, sign
@group(1) @binding(2) var<storage, read> scales: array<vec2<u32>>;  // (blocks): four times four scales of 3 bits, 4 bits of f16 d
@group(1) @binding(3) var<storage, read> grid: array<u32>;          // (1024): 2048 entries of eight digits

fn entry(q: u32, high: u32, i: u32) -> u32 {
    let at = byte_of(q, i) | (((high >> (4u * i)) & 7u) << 8u);
    return u16_of(grid[at / 2u], at);
}

// Four weights, but for d, of the group of eight `i`: digits stand for -1, 0, 1.
fn four(entry: u32, first: u32, high: u32, i: u32) -> vec4<f32> {
    let by = select(-0.875, -1.125, ((high >> (4u * i)) & 8u) != 0u);
    return vec4<f32>(two_bit_digits(entry, first)) + by;
}

// The 32 weights of one unit, an eighth of a block.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let block = unit / 8u;
    let j = unit % 8u;
    let q = quants[unit];
    let high = u16_of(highs[unit / 2u], unit);
    let s = scales[block];
    let tops = (s >> vec2<u32>(12u)) & vec2<u32>(15u);
    let d_bits = tops.x | ((s.x >> 28u) << 4u) | (tops.y << 8u) | ((s.y >> 28u) << 12u);
    let two = (u16_of(select(s.x, s.y, j >= 4u), j / 2u) >> (j % 2u * 6u)) & 63u;
    let d = unpack2x16float(d_bits).x * vec2<f32>(vec2<i32>(2u * vec2<u32>(two & 7u, two >> 3u) + 1u));
    let a = entry(q, high, 0u);
    let b = entry(q, high, 1u);
    let c = entry(q, high, 2u);
    let e = entry(q, high, 3u);
    return array<vec4<f32>, 8>(
        d.x * four(a, 0u, high, 0u), d.x * four(a, 4u, high, 0u), d.x * four(b, 0u, high, 1u), d.x * four(b, 4u, high, 1u),
        d.y * four(c, 0u, high, 2u), d.y * four(c, 4u, high, 2u), d.y * four(e, 0u, high, 3u), d.y * four(e, 4u, high, 3u),
    );
}
