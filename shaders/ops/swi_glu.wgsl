// SwiGLU:  out = gate / (1 + exp(-gate)) * up
//
// Grid     x: COLS columns, 4 per invocation; y: rows
// Layout   rows padded with zeros to 32 elements: the padding of out stays zero
// Traffic  reads gate and up once, writes out once
struct Params {
    stride: u32,  // vectors of 4 per row, padding included
}

@group(0) @binding(1) var<uniform>             p: Params;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;   // (rows, stride)
@group(0) @binding(3) var<storage, read>       gate: array<vec4<f32>>;  // (rows, stride); out itself if X_IN_PLACE
@group(0) @binding(4) var<storage, read>       up: array<vec4<f32>>;    // (rows, stride); out itself if Y_IN_PLACE

const X_IN_PLACE: bool = false;  // gate is out: one binding may not be read-only and writable
const Y_IN_PLACE: bool = false;  // up is out
const COLS: u32 = 256;           // 64 invocations

@compute @workgroup_size(COLS / 4)
fn swi_glu(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let col = group.x * (COLS / 4u) + thread;
    if col >= p.stride { return; }
    let i = group.y * p.stride + col;
    var a = out[i];
    var b = a;
    if !X_IN_PLACE { a = gate[i]; }
    if !Y_IN_PLACE { b = up[i]; }
    out[i] = a / (1.0 + exp(-a)) * b;
}
