// Embedding:  out[t, :] = table[token[t], :],  the token from the step, or from next where the step says NEXT_TOKEN
//
// Grid     x: COLS columns of out, a unit of 32 per invocation; y: tokens
// Layout   table in planes of one chunk of rows (decode of the type); rows of out padded to 32 elements
// Traffic  reads one row of the table per token, writes out once
// A token that argmax could not choose (NOT_FINITE) gives a row of zeros.
//
// #import shared/step
// #import formats/TYPE
struct Params {
    units: u32,      // 32-element units per row
    first_row: u32,  // token id of the chunk's first row: other chunks have tokens outside it
    n_rows: u32,     // rows of the chunk
}

@group(0) @binding(1) var<uniform>             p: Params;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;  // (n_tokens, units, 8)
@group(0) @binding(3) var<storage, read>       next: array<u32>;       // (n_outputs, 32): what argmax wrote, in column 0

const NEXT_TOKEN: u32 = 0xffffffffu;
const NOT_FINITE: u32 = 0xffffffffu;
const COLS: u32 = 1024;  // 32 invocations: a row of 4096 is spread over 4 workgroups

@compute @workgroup_size(COLS / 32)
fn embed(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let unit = group.x * (COLS / 32u) + thread;
    var token = step.rows[group.y].token;
    if token == NEXT_TOKEN { token = next[group.y * 32u]; }
    let row = token - p.first_row;  // wraps above n_rows for tokens below first_row
    let none = token == NOT_FINITE && p.first_row == 0u;  // no chunk has it: the first one writes the zeros
    if unit >= p.units || (row >= p.n_rows && !none) { return; }

    let at = (group.y * p.units + unit) * 8u;
    if none {
        for (var i = 0u; i < 8u; i++) { out[at + i] = vec4<f32>(0.0); }
        return;
    }
    var w = decode(row * p.units + unit);
    for (var i = 0u; i < 8u; i++) { out[at + i] = w[i]; }
}
