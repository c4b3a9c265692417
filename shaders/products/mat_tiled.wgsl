// Matrix product of many tokens:  v[t, r] = sum_c w[r, c] * x[t, c],  whose pairs of rows finish() takes
//
// Grid     x: COLS pairs of rows of w; y: TOKENS rows of x. An invocation has 4 pairs and 8 tokens in registers.
// Layout   w in planes (decode of the type), 32-element units; rows of x padded with zeros to whole units.
//          Tiles in workgroup memory hold one unit: column c of w at w_tile[c], transposed so that the rows of an
//          invocation are contiguous.
// Traffic  reads w once per TOKENS tokens and x once per COLS pairs
//
// #import shared/step
// #import formats/TYPE
// #import products/END
@group(0) @binding(1) var<uniform>       p: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;  // (rows, units, 8)

const COLS: u32 = 32;    // pairs of rows per workgroup: 64 rows, one decoded per invocation
const TOKENS: u32 = 64;  // rows of x per workgroup, one loaded per invocation
const THREADS: u32 = 64;  // 8 groups of 4 pairs x 8 groups of 8 tokens

// 16 KiB together: the least that WebGPU promises.
var<workgroup> w_tile: array<array<f32, 64>, 32>;  // (column, row of w)
var<workgroup> x_tile: array<array<f32, 64>, 32>;  // (column, token)

@compute @workgroup_size(THREADS)
fn mat_tiled(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let n_tokens = select(step.n_tokens, step.n_outputs, p.rows_are_outputs != 0u);
    let first_token = group.y * TOKENS;
    let first_pair = group.x * COLS;

    // What this invocation loads into the tiles. Indices of rows are clamped to the last one; results of clamped ones
    // are not stored.
    let w_pair = pair_rows(min(first_pair + thread / 2u, p.n_pairs - 1u));
    let w_row = (p.first_row + select(w_pair.x, w_pair.y, thread % 2u == 1u)) * p.units;
    let x_row = min(first_token + thread, n_tokens - 1u) * p.units * 8u;

    // What it computes.
    let my_row = thread % 8u * 8u;
    let my_token = thread / 8u * 8u;
    var sums: array<array<vec4<f32>, 2>, 8>;  // (token, rows)

    for (var unit = 0u; unit < p.units; unit++) {
        var w = decode(w_row + unit);
        for (var i = 0u; i < 8u; i++) {
            let v = x[x_row + unit * 8u + i];
            for (var j = 0u; j < 4u; j++) {
                w_tile[i * 4u + j][thread] = w[i][j];
                x_tile[i * 4u + j][thread] = v[j];
            }
        }
        workgroupBarrier();  // tiles: each writes its row and token, all read many
        for (var c = 0u; c < 32u; c++) {
            let a = vec4<f32>(
                w_tile[c][my_row], w_tile[c][my_row + 1u], w_tile[c][my_row + 2u], w_tile[c][my_row + 3u]);
            let b = vec4<f32>(
                w_tile[c][my_row + 4u], w_tile[c][my_row + 5u], w_tile[c][my_row + 6u], w_tile[c][my_row + 7u]);
            for (var t = 0u; t < 8u; t++) {
                let v = x_tile[c][my_token + t];
                sums[t][0] += a * v;
                sums[t][1] += b * v;
            }
        }
        workgroupBarrier();  // tiles: read by all, before the next unit overwrites them
    }

    for (var t = 0u; t < 8u; t++) {
        let token = first_token + my_token + t;
        if token < n_tokens {
            for (var k = 0u; k < 4u; k++) {
                let pair = first_pair + my_row / 2u + k;
                let four = sums[t][k / 2u];
                if pair < p.n_pairs { finish(token, pair, select(four.xy, four.zw, k % 2u == 1u)); }
            }
        }
    }
}
