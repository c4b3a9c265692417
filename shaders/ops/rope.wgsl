// Rotary embedding in place, neighbours paired: with (c, s) = table[position[t], i],
//   x[t, h, 2i], x[t, h, 2i + 1] = x0 * c - x1 * s, x0 * s + x1 * c   for the first rope_pairs pairs of each head
//
// Grid     x: COLS columns, a pair per invocation; y: tokens
// Layout   rows of x and of the table padded to 32 elements
// Traffic  reads and writes x once; the table's row comes from cache for all heads but one
//
// #import shared/step
struct Params {
    stride: u32,        // pairs per row of x, padding included
    pairs: u32,         // pairs per row of x
    head_pairs: u32,    // pairs per head
    rope_pairs: u32,    // pairs per head that turn
    table_stride: u32,  // pairs per row of the table, padding included
    first_row: u32,     // position of the chunk's first row: positions outside the chunk are left to its neighbours
    n_rows: u32,        // rows of the chunk
}

@group(0) @binding(1) var<uniform>             p: Params;
@group(0) @binding(2) var<storage, read_write> x: array<vec2<f32>>;      // (n_tokens, stride)
@group(0) @binding(3) var<storage, read>       table: array<vec2<f32>>;  // (n_rows, table_stride): cosine, sine

const COLS: u32 = 128;  // 64 invocations

@compute @workgroup_size(COLS / 2)
fn rope(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = group.x * (COLS / 2u) + thread;
    let in_head = i % p.head_pairs;
    let row = now.rows[group.y].position - p.first_row;  // wraps above n_rows for positions below first_row
    if i >= p.pairs || in_head >= p.rope_pairs || row >= p.n_rows { return; }

    let angle = table[row * p.table_stride + in_head];
    let v = x[group.y * p.stride + i];
    x[group.y * p.stride + i] = vec2<f32>(v.x * angle.x - v.y * angle.y, v.x * angle.y + v.y * angle.x);
}
