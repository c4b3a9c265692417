// Append to the KV cache:  K[slot[t], h, :] = k[t, h, :], and the same for V
//
// Grid     x: COLS columns of k and v, a pair per invocation; y: tokens
// Layout   cache (slots, heads, units, 8), heads padded with zeros to units of 8 elements, as f16 pairs or f32
// Traffic  reads k and v once, writes one row of each cache per token
//
// #import shared/step
// #import attention/kv_write
struct Params {
    stride: u32,      // pairs per row of k and v, padding included
    heads: u32,       // KV heads
    head_pairs: u32,  // pairs per head
    head_units: u32,  // 8-element units per head of the cache
}

@group(0) @binding(1) var<uniform>             p: Params;
@group(0) @binding(2) var<storage, read>       k: array<vec2<f32>>;  // (n_tokens, stride)
@group(0) @binding(3) var<storage, read>       v: array<vec2<f32>>;  // (n_tokens, stride)
@group(0) @binding(4) var<storage, read_write> keys: array<u32>;     // (slots, heads, head_units, 4 or 8)
@group(0) @binding(5) var<storage, read_write> values: array<u32>;   // (slots, heads, head_units, 4 or 8)

const COLS: u32 = 128;  // 64 invocations

@compute @workgroup_size(COLS / 2)
fn kv_store(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = group.x * (COLS / 2u) + thread;
    if i >= p.heads * p.head_pairs { return; }
    let head = step.rows[group.y].slot * p.heads + i / p.head_pairs;
    let pair = head * p.head_units * 4u + i % p.head_pairs;
    write_key(pair, k[group.y * p.stride + i]);
    write_value(pair, v[group.y * p.stride + i]);
}
