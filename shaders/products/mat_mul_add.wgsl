// Results of a matrix product and residual:  out[t, r] = residual[t, r] + v[t, r]
//
// Grid     that of the product: mat_vec.wgsl, mat_tiled.wgsl or mat_broadcast.wgsl; a pair is two neighbouring rows of w
// Layout   rows of out and residual padded to 32 elements
// Traffic  reads residual once, writes out once
struct Params {
    n_pairs: u32,     // pairs of rows of w, the last one possibly of one row
    units: u32,       // 32-element units per row of w
    first_row: u32,   // row of the chunk of w that gives the first column of out
    rows_are_outputs: u32,  // 1: rows of x are outputs, 0: tokens
    n_out: u32,       // rows of w
    stride: u32,      // elements per row of out, padding included
    first_col: u32,   // column of out that the first row of w gives
}

@group(0) @binding(3) var<storage, read_write> out: array<f32>;       // (rows, stride)
@group(0) @binding(4) var<storage, read>       residual: array<f32>;  // (rows, stride); out itself if X_IN_PLACE

const X_IN_PLACE: bool = false;  // residual is out: one binding may not be read-only and writable

fn pair_rows(i: u32) -> vec2<u32> {
    return vec2<u32>(2u * i, min(2u * i + 1u, p.n_out - 1u));
}

fn finish_one(at: u32, v: f32) {
    if X_IN_PLACE {
        out[at] += v;
    } else {
        out[at] = residual[at] + v;
    }
}

fn finish(token: u32, i: u32, v: vec2<f32>) {
    let at = token * p.stride + p.first_col + 2u * i;
    finish_one(at, v.x);
    if 2u * i + 1u < p.n_out { finish_one(at + 1u, v.y); }
}
