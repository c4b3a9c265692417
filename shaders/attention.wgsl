// Grouped-query attention, the softmax taken online (Milakov and Gimelshein, 2018):
//   out[t, h, :] = sum_s softmax_s(scale * q[t, h, :] . K[s, g, :]) V[s, g, :],  g = h / group,
//   over the slots kv_start .. kv_start + kv_len of row t
//
// Grid     x: one workgroup per query head; y: tokens
// Layout   cache (slots, heads, units, 8), heads padded with zeros to units of 8 elements, as f16 pairs or f32
// Traffic  K and V of the row's slots once per query head (from cache for all but the first of a group)
struct Params {
    stride: u32,      // elements per row of q and out, padding included
    heads: u32,       // KV heads
    group: u32,       // query heads per KV head
    head_dim: u32,    // elements per head, at most 256
    head_units: u32,  // 8-element units per head
    scale: f32,       // of the scores
}

@group(0) @binding(1) var<uniform>             p: Params;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;           // (n_tokens, stride)
@group(0) @binding(3) var<storage, read>       q: array<f32>;             // (n_tokens, stride)
@group(0) @binding(4) var<storage, read>       keys: array<vec4<u32>>;    // (slots, heads, head_units, 1 or 2)
@group(0) @binding(5) var<storage, read>       values: array<vec4<u32>>;  // (slots, heads, head_units, 1 or 2)

const KV_F16: bool = true;  // 8 halves in one vector, or 8 floats in two
const THREADS: u32 = 64;    // slots per round; at least the 32 units of a head of 256
const LOWEST: f32 = -3.0e38;

struct Unit {
    a: vec4<f32>,
    b: vec4<f32>,
}

var<workgroup> query: array<Unit, 32>;         // (head_units): the head's query times scale, padded with zeros
var<workgroup> scores: array<f32, THREADS>;    // of the round's slots
var<workgroup> partial: array<Unit, THREADS>;  // each invocation's part of out
var<workgroup> sums: array<f32, THREADS>;      // each invocation's part of the softmax's denominator

fn from_f16(v: vec4<u32>) -> Unit {
    return Unit(
        vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y)),
        vec4<f32>(unpack2x16float(v.z), unpack2x16float(v.w)),
    );
}

fn key(i: u32) -> Unit {
    if KV_F16 { return from_f16(keys[i]); }
    return Unit(bitcast<vec4<f32>>(keys[2u * i]), bitcast<vec4<f32>>(keys[2u * i + 1u]));
}

fn value(i: u32) -> Unit {
    if KV_F16 { return from_f16(values[i]); }
    return Unit(bitcast<vec4<f32>>(values[2u * i]), bitcast<vec4<f32>>(values[2u * i + 1u]));
}

fn query_element(i: u32, at: u32) -> f32 {
    if i < p.head_dim { return p.scale * q[at + i]; }
    return 0.0;
}

fn query_vector(i: u32, at: u32) -> vec4<f32> {
    return vec4<f32>(
        query_element(i, at), query_element(i + 1u, at), query_element(i + 2u, at), query_element(i + 3u, at),
    );
}

@compute @workgroup_size(THREADS)
fn attention(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = group.y * p.stride + group.x * p.head_dim;  // the head in q and out
    let row = now.rows[group.y];
    let kv_stride = p.heads * p.head_units;              // units per slot
    let kv_at = row.kv_start * kv_stride + group.x / p.group * p.head_units;

    if thread < p.head_units {
        query[thread] = Unit(query_vector(thread * 8u, at), query_vector(thread * 8u + 4u, at));
    }
    workgroupBarrier();  // query: written by the first head_units invocations, read by all

    // While weighting values, invocations share out (units) x (every parts-th slot).
    let unit = thread % p.head_units;
    let part = thread / p.head_units;
    let parts = THREADS / p.head_units;

    var largest = LOWEST;
    var sum = 0.0;
    var acc = Unit(vec4<f32>(0.0), vec4<f32>(0.0));
    for (var first = 0u; first < row.kv_len; first += THREADS) {
        let n = min(THREADS, row.kv_len - first);
        var score = LOWEST;
        if thread < n {
            let k_at = kv_at + (first + thread) * kv_stride;
            score = 0.0;
            for (var i = 0u; i < p.head_units; i++) {
                let k = key(k_at + i);
                score += dot(query[i].a, k.a) + dot(query[i].b, k.b);
            }
        }
        scores[thread] = score;
        workgroupBarrier();  // scores: each writes its own, all read all
        var new_largest = largest;
        for (var i = 0u; i < n; i++) { new_largest = max(new_largest, scores[i]); }
        workgroupBarrier();  // scores: read by all, before each overwrites its own
        scores[thread] = exp(score - new_largest);
        workgroupBarrier();  // scores: each writes its own, all read many

        let shrink = exp(largest - new_largest);
        largest = new_largest;
        sum *= shrink;
        acc.a *= shrink;
        acc.b *= shrink;
        if part < parts {
            for (var s = part; s < n; s += parts) {
                let weight = scores[s];
                let v = value(kv_at + (first + s) * kv_stride + unit);
                sum += weight;
                acc.a += weight * v.a;
                acc.b += weight * v.b;
            }
        }
        workgroupBarrier();  // scores: read by all, before the next round overwrites them
    }

    partial[thread] = acc;
    sums[thread] = sum;
    workgroupBarrier();  // partial, sums: each writes its own, the first head_units invocations read all
    if thread < p.head_units {
        for (var i = 1u; i < parts; i++) {
            let other = thread + i * p.head_units;
            sum += sums[other];
            acc.a += partial[other].a;
            acc.b += partial[other].b;
        }
        acc.a /= sum;
        acc.b /= sum;
        for (var i = 0u; i < 4u; i++) {
            let first = thread * 8u + i;
            if first < p.head_dim { out[at + first] = acc.a[i]; }
            if first + 4u < p.head_dim { out[at + first + 4u] = acc.b[i]; }
        }
    }
}
