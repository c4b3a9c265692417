// What attention kernels share: parameters, reads of queries, writes of results. A query is one head of one token.
//
// #import attention/kv_read
struct Params {
    stride: u32,      // elements per row of q and out, padding included
    heads: u32,       // KV heads
    group: u32,       // query heads per KV head
    head_dim: u32,    // elements per head
    head_units: u32,  // 8-element units per head
    scale: f32,       // of the scores
}

@group(0) @binding(1) var<uniform>             p: Params;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;  // (n_tokens, stride)
@group(0) @binding(3) var<storage, read>       q: array<f32>;    // (n_tokens, stride)

const UNITS: u32 = 32;       // units of a head that there is room for: a multiple of 8, at least head_units
const LOWEST: f32 = -3.0e38;  // below any score

fn query_vector(at: u32, first: u32) -> vec4<f32> {
    var v = vec4<f32>(0.0);
    if first < p.head_dim { v.x = q[at + first]; }
    if first + 1u < p.head_dim { v.y = q[at + first + 1u]; }
    if first + 2u < p.head_dim { v.z = q[at + first + 2u]; }
    if first + 3u < p.head_dim { v.w = q[at + first + 3u]; }
    return p.scale * v;
}

// Unit `unit` of the head that begins at q[at], times scale; zeros past its end.
fn query_unit(at: u32, unit: u32) -> Unit {
    return Unit(query_vector(at, unit * 8u), query_vector(at, unit * 8u + 4u));
}

fn store_vector(at: u32, first: u32, v: vec4<f32>) {
    if first < p.head_dim { out[at + first] = v.x; }
    if first + 1u < p.head_dim { out[at + first + 1u] = v.y; }
    if first + 2u < p.head_dim { out[at + first + 2u] = v.z; }
    if first + 3u < p.head_dim { out[at + first + 3u] = v.w; }
}

fn store_unit(at: u32, unit: u32, v: Unit) {
    store_vector(at, unit * 8u, v.a);
    store_vector(at, unit * 8u + 4u, v.b);
}
