// Rows whose logits are wanted:  out[i, :] = x[output[i], :]
//
// Grid     x: COLS columns, 4 per invocation; y: outputs
// Layout   rows padded to 32 elements
// Traffic  reads and writes n_outputs rows
//
// #import shared/step
struct Params {
    stride: u32,  // vectors of 4 per row
}

@group(0) @binding(1) var<uniform>             p: Params;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;  // (n_outputs, stride)
@group(0) @binding(3) var<storage, read>       x: array<vec4<f32>>;    // (n_tokens, stride)

const COLS: u32 = 256;  // 64 invocations

@compute @workgroup_size(COLS / 4)
fn gather(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = group.x * (COLS / 4u) + thread;
    if i >= p.stride { return; }
    out[group.y * p.stride + i] = x[step.rows[group.y].output * p.stride + i];
}
