// Append to a KV cache of 8-bit quants:  K[slot[t], h, :] = k[t, h, :], and the same for V. Of each 32 elements of a
// head, with d = max|x| / 127: quants round(x * (1 / d)), ties away from zero, and d as f16; quants are 0 where that
// f16 is 0
//
// Grid     x: COLS columns of k and v, four per invocation; y: tokens
// Layout   cache: quants (slots, heads, head_dim), four to a word; scales (slots, heads, head_dim / 32), those of K and
//          V as the halves of a word, so that no two invocations write one
// Traffic  reads k and v once, writes one row of each cache per token
//
// #import shared/step
struct Params {
    stride: u32,  // vectors per row of k and v, padding included
    words: u32,   // words per row of quants, a multiple of 8
}

@group(0) @binding(1) var<uniform>             p: Params;
@group(0) @binding(2) var<storage, read>       k: array<vec4<f32>>;  // (n_tokens, stride)
@group(0) @binding(3) var<storage, read>       v: array<vec4<f32>>;  // (n_tokens, stride)
@group(0) @binding(4) var<storage, read_write> keys: array<u32>;     // (slots, words)
@group(0) @binding(5) var<storage, read_write> values: array<u32>;   // (slots, words)
@group(0) @binding(6) var<storage, read_write> scales: array<u32>;   // (slots, words / 8)

const COLS: u32 = 256;  // 64 invocations
const BLOCK: u32 = 8;   // invocations per block of 32

var<workgroup> largest: array<vec2<f32>, COLS / 4>;  // of each invocation's elements of k and v

fn largest_of(x: vec4<f32>) -> f32 {
    let m = abs(x);
    return max(max(m.x, m.y), max(m.z, m.w));
}

// The bits of d as f16, rounded to nearest, ties to even: pack2x16float alone may truncate. Below 2^-14, the smallest
// normal half, the bits are the number of 2^-24s.
fn half_bits(d: f32) -> u32 {
    if d < exp2(-14.0) { return u32(round(d * exp2(24.0))); }
    let bits = bitcast<u32>(d);
    let even = (bits + 0xfffu + ((bits >> 13u) & 1u)) & 0xffffe000u;
    return pack2x16float(vec2<f32>(bitcast<f32>(even), 0.0)) & 0xffffu;
}

// Four quants in a word.
fn quants(x: vec4<f32>, d: f32, scale: u32) -> u32 {
    let scaled = x * select(0.0, 1.0 / d, scale != 0u);
    let whole = trunc(scaled);
    let away = select(vec4<f32>(0.0), sign(scaled), abs(scaled - whole) >= vec4<f32>(0.5));
    let q = bitcast<vec4<u32>>(vec4<i32>(whole + away)) & vec4<u32>(255u);
    return q.x | (q.y << 8u) | (q.z << 16u) | (q.w << 24u);
}

@compute @workgroup_size(COLS / 4)
fn kv_store_q8_0(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = group.x * (COLS / 4u) + thread;
    let at = group.y * p.stride + min(i, p.words - 1u);  // clamped; the result is not stored
    largest[thread] = vec2<f32>(largest_of(k[at]), largest_of(v[at]));
    workgroupBarrier();  // largest: each writes its own, all of a block read them
    if i >= p.words { return; }

    let first = thread / BLOCK * BLOCK;
    var block_largest = largest[first];
    for (var j = 1u; j < BLOCK; j++) { block_largest = max(block_largest, largest[first + j]); }
    let d = block_largest / 127.0;
    let scale = vec2<u32>(half_bits(d.x), half_bits(d.y));
    let slot = step.rows[group.y].slot;
    keys[slot * p.words + i] = quants(k[at], d.x, scale.x);
    values[slot * p.words + i] = quants(v[at], d.y, scale.y);
    if thread == first { scales[(slot * p.words + i) / BLOCK] = scale.x | (scale.y << 16u); }
}
