// Results of gate and up:  out[t, i] = g / (1 + exp(-g)) * u,  g, u = v[t, i], v[t, n_ff + i]
//
// Grid     that of the product: mat_vec.wgsl, mat_tiled.wgsl or mat_broadcast.wgsl; a pair is a row of gate and
//          the same of up
// Layout   w holds the rows of gate, then those of up; rows of out padded to 32 elements
// Traffic  writes out once
struct Params {
    n_pairs: u32,     // n_ff: a pair is a row of gate and a row of up
    units: u32,       // 32-element units per row of w
    first_row: u32,   // 0
    rows_are_outputs: u32,  // 1: rows of x are outputs, 0: tokens
    stride: u32,      // elements per row of out, padding included
}

@group(0) @binding(3) var<storage, read_write> out: array<f32>;  // (rows, stride)

fn pair_rows(i: u32) -> vec2<u32> {
    return vec2<u32>(i, p.n_pairs + i);
}

fn finish(token: u32, i: u32, v: vec2<f32>) {
    out[token * p.stride + i] = v.x / (1.0 + exp(-v.x)) * v.y;
}
