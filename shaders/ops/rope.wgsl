// Rotary embedding in place: with (c, s) = table[position[t], i] for pair i < rope_pairs of a head, its elements
//   a, b = 2i, 2i + 1   or, if halves, i, i + rope_pairs:
//   x[t, h, a], x[t, h, b] = x[a] * c - x[b] * s, x[a] * s + x[b] * c
//
// Grid     x: COLS columns, a pair per invocation; y: tokens
// Layout   rows of x and of the table padded to 32 elements
// Traffic  reads and writes x once; the table's row comes from cache for all heads but one
//
// #import shared/step
struct Params {
    stride: u32,        // elements per row of x, padding included
    pairs: u32,         // pairs per row of x
    head_pairs: u32,    // pairs per head
    rope_pairs: u32,    // pairs per head that turn
    table_stride: u32,  // pairs per row of the table, padding included
    first_row: u32,     // position of the chunk's first row: other chunks have positions outside it
    n_rows: u32,        // rows of the chunk
    halves: u32,        // 0: elements 2i and 2i + 1 of a head are a pair; 1: i and i + rope_pairs
}

@group(0) @binding(1) var<uniform>             p: Params;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;            // (n_tokens, stride)
@group(0) @binding(3) var<storage, read>       table: array<vec2<f32>>;  // (n_rows, table_stride): cosine, sine

const COLS: u32 = 128;  // 64 invocations

@compute @workgroup_size(COLS / 2)
fn rope(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = group.x * (COLS / 2u) + thread;
    let in_head = i % p.head_pairs;
    let row = step.rows[group.y].position - p.first_row;  // wraps above n_rows for positions below first_row
    if i >= p.pairs || in_head >= p.rope_pairs || row >= p.n_rows { return; }

    let angle = table[row * p.table_stride + in_head];
    let head = group.y * p.stride + 2u * (i - in_head);
    let a = head + select(2u * in_head, in_head, p.halves == 1u);
    let b = a + select(1u, p.rope_pairs, p.halves == 1u);
    let v = vec2<f32>(x[a], x[b]);
    x[a] = v.x * angle.x - v.y * angle.y;
    x[b] = v.x * angle.y + v.y * angle.x;
}
