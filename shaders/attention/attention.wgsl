// Grouped-query attention, the softmax taken online (Milakov and Gimelshein, 2018):
//   out[t, h, :] = sum_s softmax_s(scale * q[t, h, :] . K[s, g, :]) V[s, g, :],  g = h / group,
//   over the slots kv_start .. kv_start + kv_len of row t
//
// Grid     x: KV heads; y: queries of that KV head, (n_tokens, group), one workgroup each
// Layout   cache (slots, heads, units, 8), heads padded with zeros to units of 8 elements: kv_read.wgsl
// Traffic  K and V of the row's slots once per query (from cache for all but the first of a group)
//
// #import shared/step
// #import attention/attention_query
const THREADS: u32 = 64;  // slots per round; at least UNITS

var<workgroup> query: array<Unit, UNITS>;      // the head's query times scale, padded with zeros
var<workgroup> scores: array<f32, THREADS>;    // of the round's slots
var<workgroup> partial: array<Unit, THREADS>;  // each invocation's part of out
var<workgroup> sums: array<f32, THREADS>;      // each invocation's part of the softmax's denominator

@compute @workgroup_size(THREADS)
fn attention(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let token = group.y / p.group;
    let head = group.x * p.group + group.y % p.group;
    let at = token * p.stride + head * p.head_dim;  // the head in q and out
    let row = step.rows[token];
    let kv_stride = p.heads * p.head_units;         // units per slot
    let kv_at = row.kv_start * kv_stride + group.x * p.head_units;

    if thread < p.head_units { query[thread] = query_unit(at, thread); }
    workgroupBarrier();  // query: written by the first head_units invocations, read by all

    // To sum weighted values, an invocation takes one unit of the head and every parts-th slot.
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
        store_unit(at, thread, Unit(acc.a / sum, acc.b / sum));
    }
}
