// Products of a few tokens:  v[t, r] = sum_c w[r, c] * x[t, c],  whose pairs of rows finish() takes
//
// For adapters that are CPUs, where an invocation is a vector lane: a load with a different address in each lane costs
// about as much as ten multiplications, a broadcast about as much as one (unmeasured). So each lane has its own rows of
// w, the 8 lanes of a subgroup load the 32 columns of x together, and each lane gets all of them by broadcast.
//
// Grid     x: COLS pairs of rows of w; y: TOKENS rows of x. Each invocation has PAIRS pairs.
// Layout   w in planes (decode of the type), 32-element units; rows of x padded with zeros to whole units
// Traffic  reads w once per TOKENS rows of x; x once per subgroup
//
// #import shared/step
// #import formats/TYPE
// #import products/END
@group(0) @binding(1) var<uniform>       p: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;  // (rows, units, 8)

const COLS: u32 = 8;    // pairs of rows per workgroup
const TOKENS: u32 = 1;  // rows of x per workgroup
const PAIRS: u32 = 1;   // pairs of rows per invocation
const THREADS: u32 = COLS / PAIRS;

fn dot_unit(w: array<vec4<f32>, 8>, mine: vec4<f32>) -> f32 {
    return dot(w[0], subgroupBroadcast(mine, 0u)) + dot(w[1], subgroupBroadcast(mine, 1u))
        + dot(w[2], subgroupBroadcast(mine, 2u)) + dot(w[3], subgroupBroadcast(mine, 3u))
        + dot(w[4], subgroupBroadcast(mine, 4u)) + dot(w[5], subgroupBroadcast(mine, 5u))
        + dot(w[6], subgroupBroadcast(mine, 6u)) + dot(w[7], subgroupBroadcast(mine, 7u));
}

@compute @workgroup_size(THREADS)
fn mat_broadcast(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let n_tokens = select(step.n_tokens, step.n_outputs, p.rows_are_outputs != 0u);
    let first_token = group.y * TOKENS;
    let first_pair = group.x * COLS + thread;

    // Indices of pairs and tokens are clamped to the last one; results of clamped ones are not stored.
    var rows: array<vec2<u32>, PAIRS>;
    for (var k = 0u; k < PAIRS; k++) {
        let pair = min(first_pair + k * THREADS, p.n_pairs - 1u);
        rows[k] = (vec2<u32>(p.first_row) + pair_rows(pair)) * p.units;
    }
    var x_rows: array<u32, TOKENS>;
    for (var t = 0u; t < TOKENS; t++) { x_rows[t] = min(first_token + t, n_tokens - 1u) * p.units * 8u + lane; }

    var sums: array<array<vec2<f32>, TOKENS>, PAIRS>;
    for (var unit = 0u; unit < p.units; unit++) {
        for (var k = 0u; k < PAIRS; k++) {
            let a = decode(rows[k].x + unit);
            let b = decode(rows[k].y + unit);
            for (var t = 0u; t < TOKENS; t++) {
                let mine = x[x_rows[t] + unit * 8u];
                sums[k][t] += vec2<f32>(dot_unit(a, mine), dot_unit(b, mine));
            }
        }
    }

    for (var k = 0u; k < PAIRS; k++) {
        let pair = first_pair + k * THREADS;
        for (var t = 0u; t < TOKENS; t++) {
            if pair < p.n_pairs && first_token + t < n_tokens {
                finish(first_token + t, pair, sums[k][t]);
            }
        }
    }
}
