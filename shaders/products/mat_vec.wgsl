// Matrix-vector products of a few tokens:  v[t, r] = sum_c w[r, c] * x[t, c],  whose pairs of rows finish() takes
//
// Grid     x: COLS pairs of rows of w; y: TOKENS rows of x. LANES invocations share a row: lane l takes units l, l +
//          LANES, ... Each invocation has PAIRS pairs, so that a unit of x serves 2 * PAIRS rows, and a decoded unit of
//          w TOKENS tokens.
// Layout   w in planes (decode of the type), 32-element units; rows of x padded with zeros to whole units
// Traffic  reads w once per TOKENS rows of x; x once per workgroup, from cache for all but the first
//
// #import shared/step
// #import formats/TYPE
// #import products/END
@group(0) @binding(1) var<uniform>       p: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;  // (rows, units, 8)

const COLS: u32 = 8;    // pairs of rows per workgroup
const TOKENS: u32 = 1;  // rows of x per workgroup
const LANES: u32 = 8;   // invocations per row: 8 16-byte loads make a cache line of 128 bytes
const PAIRS: u32 = 1;   // pairs of rows per invocation
const THREADS: u32 = COLS / PAIRS * LANES;

var<workgroup> partial: array<vec2<f32>, THREADS>;

fn x_unit(at: u32) -> array<vec4<f32>, 8> {
    return array<vec4<f32>, 8>(
        x[at], x[at + 1u], x[at + 2u], x[at + 3u], x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u],
    );
}

fn dot_unit(a: array<vec4<f32>, 8>, b: array<vec4<f32>, 8>) -> f32 {
    return dot(a[0], b[0]) + dot(a[1], b[1]) + dot(a[2], b[2]) + dot(a[3], b[3])
        + dot(a[4], b[4]) + dot(a[5], b[5]) + dot(a[6], b[6]) + dot(a[7], b[7]);
}

@compute @workgroup_size(THREADS)
fn mat_vec(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % LANES;
    let n_tokens = select(step.n_tokens, step.n_outputs, p.rows_are_outputs != 0u);
    let first_token = group.y * TOKENS;
    let first_pair = group.x * COLS + thread / LANES;

    // Indices of pairs and tokens are clamped to the last one; results of clamped ones are not stored.
    var rows: array<vec2<u32>, PAIRS>;
    for (var k = 0u; k < PAIRS; k++) {
        let pair = min(first_pair + k * (COLS / PAIRS), p.n_pairs - 1u);
        rows[k] = (vec2<u32>(p.first_row) + pair_rows(pair)) * p.units;
    }
    var x_rows: array<u32, TOKENS>;
    for (var t = 0u; t < TOKENS; t++) { x_rows[t] = min(first_token + t, n_tokens - 1u) * p.units * 8u; }

    var sums: array<array<vec2<f32>, TOKENS>, PAIRS>;
    for (var unit = lane; unit < p.units; unit += LANES) {
        for (var k = 0u; k < PAIRS; k++) {
            let a = decode(rows[k].x + unit);
            let b = decode(rows[k].y + unit);
            for (var t = 0u; t < TOKENS; t++) {
                let v = x_unit(x_rows[t] + unit * 8u);
                sums[k][t] += vec2<f32>(dot_unit(a, v), dot_unit(b, v));
            }
        }
    }

    for (var k = 0u; k < PAIRS; k++) {
        let pair = first_pair + k * (COLS / PAIRS);
        for (var t = 0u; t < TOKENS; t++) {
            var sum = sums[k][t];
            if LANES > 1u {
                partial[thread] = sum;
                workgroupBarrier();  // partial: each writes its own, lane 0 reads its row's
                if lane == 0u {
                    for (var i = 1u; i < LANES; i++) { sum += partial[thread + i]; }
                }
                workgroupBarrier();  // partial: read by lane 0, before each overwrites its own
            }
            if lane == 0u && pair < p.n_pairs && first_token + t < n_tokens {
                finish(first_token + t, pair, sum);
            }
        }
    }
}
