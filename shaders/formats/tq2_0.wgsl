// TQ2_0:  w[i] = d * (q[i] - 1),  256 weights to a block; in each half of 128, sub-block k of 32 is bits 2k, 2k + 1 of
// 32 bytes
//
// #import shared/unpack
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks, 4): 16 bytes each
@group(1) @binding(1) var<storage, read> supers: array<u32>;        // (blocks / 2): f16 d, of two blocks

fn four(word: u32, shift: u32) -> vec4<f32> {
    return vec4<f32>(fields(word, shift, 3u) - 1);
}

// The 32 weights of one unit, an eighth of a block.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let block = unit / 8u;
    let j = unit % 8u;
    let a = quants[block * 4u + j / 4u * 2u];
    let b = quants[block * 4u + j / 4u * 2u + 1u];
    let d = half_of(supers[block / 2u], block);
    let shift = j % 4u * 2u;
    return array<vec4<f32>, 8>(
        d * four(a.x, shift), d * four(a.y, shift), d * four(a.z, shift), d * four(a.w, shift),
        d * four(b.x, shift), d * four(b.y, shift), d * four(b.z, shift), d * four(b.w, shift),
    );
}
