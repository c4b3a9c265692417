// Bias:  x[t, :] += b
//
// Grid     x: COLS columns, 4 per invocation; y: rows
// Layout   rows of x and b padded with zeros to 32 elements: the padding of x stays zero
// Traffic  reads x once, b once a row (from cache but for the first), writes x once
struct Params {
    stride: u32,  // vectors of 4 per row, padding included
}

@group(0) @binding(1) var<uniform>             p: Params;
@group(0) @binding(2) var<storage, read_write> x: array<vec4<f32>>;  // (rows, stride)
@group(0) @binding(3) var<storage, read>       b: array<vec4<f32>>;  // (stride)

const COLS: u32 = 256;  // 64 invocations

@compute @workgroup_size(COLS / 4)
fn add_bias(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let col = group.x * (COLS / 4u) + thread;
    if col >= p.stride { return; }
    let i = group.y * p.stride + col;
    x[i] = x[i] + b[col];
}
