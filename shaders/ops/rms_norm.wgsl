// RMSNorm:  out[t, g, i] = x[t, g, i] / sqrt(mean_j(x[t, g, j]^2) + eps) * w[i]
//
// Grid     x: one workgroup per group of a row; y: rows
// Layout   rows of x, out and w padded with zeros to 32 elements: the padding of out stays zero. Groups of a row
//          contiguous, each a whole number of vectors if there are several
// Traffic  reads x twice (the second time from cache) and w, writes out once
struct Params {
    n: u32,       // elements of a group
    stride: u32,  // vectors of 4 per row, padding included
    eps: f32,     // added to the mean square
}

@group(0) @binding(1) var<uniform>             p: Params;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;  // (rows, stride)
@group(0) @binding(3) var<storage, read>       x: array<vec4<f32>>;    // (rows, stride); out itself if X_IN_PLACE
@group(0) @binding(4) var<storage, read>       w: array<vec4<f32>>;    // (n), padded

const X_IN_PLACE: bool = false;  // x is out: one binding may not be read-only and writable
const THREADS: u32 = 64;         // a row of 4096 takes 16 rounds of 4 elements

var<workgroup> partial: array<f32, THREADS>;

fn load(i: u32) -> vec4<f32> {
    if X_IN_PLACE { return out[i]; }
    return x[i];
}

@compute @workgroup_size(THREADS)
fn rms_norm(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let vectors = (p.n + 3u) / 4u;  // per group
    let start = group.y * p.stride + group.x * vectors;

    var sum = 0.0;
    for (var i = thread; i < vectors; i += THREADS) {
        let v = load(start + i);
        sum += dot(v, v);
    }
    partial[thread] = sum;
    workgroupBarrier();  // partial: each writes its own, all read all
    sum = 0.0;
    for (var i = 0u; i < THREADS; i++) { sum += partial[i]; }
    let scale = 1.0 / sqrt(sum / f32(p.n) + p.eps);

    for (var i = thread; i < vectors; i += THREADS) {
        out[start + i] = load(start + i) * scale * w[i];
    }
}
