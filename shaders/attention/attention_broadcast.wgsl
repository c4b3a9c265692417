// Grouped-query attention, the softmax taken online (Milakov and Gimelshein, 2018):
//   out[t, h, :] = sum_s softmax_s(scale * q[t, h, :] . K[s, g, :]) V[s, g, :],  g = h / group,
//   over the slots kv_start .. kv_start + kv_len of row t
//
// For adapters that are CPUs, where a load costs more than a broadcast (mat_broadcast.wgsl): the 8 lanes of a
// subgroup are 8 slots while they compute scores, and 8 units of the head while they sum weighted values.
//
// Grid     x: KV heads; y: queries of that KV head, (n_tokens, group), TOKENS per workgroup of one subgroup
// Layout   cache (slots, heads, units, 8), heads padded with zeros to units of 8 elements: kv_read.wgsl
// Traffic  K and V of the queries' slots, from the lowest to the highest, once per TOKENS queries
//
// #import shared/step
// #import attention/attention_query
const TOKENS: u32 = 4;          // queries per workgroup
const ROUNDS: u32 = UNITS / 8;  // units per lane

// What each of the 8 lanes has in v.
fn all_lanes(v: f32) -> array<f32, 8> {
    return array<f32, 8>(
        subgroupBroadcast(v, 0u), subgroupBroadcast(v, 1u), subgroupBroadcast(v, 2u), subgroupBroadcast(v, 3u),
        subgroupBroadcast(v, 4u), subgroupBroadcast(v, 5u), subgroupBroadcast(v, 6u), subgroupBroadcast(v, 7u),
    );
}

fn all_lanes4(v: vec4<f32>) -> array<vec4<f32>, 8> {
    return array<vec4<f32>, 8>(
        subgroupBroadcast(v, 0u), subgroupBroadcast(v, 1u), subgroupBroadcast(v, 2u), subgroupBroadcast(v, 3u),
        subgroupBroadcast(v, 4u), subgroupBroadcast(v, 5u), subgroupBroadcast(v, 6u), subgroupBroadcast(v, 7u),
    );
}

@compute @workgroup_size(8)
fn attention(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let n_queries = step.n_tokens * p.group;
    let kv_stride = p.heads * p.head_units;  // units per slot
    let kv_at = group.x * p.head_units;

    // Indices of queries are clamped to the last one; results of clamped ones are not stored.
    var at: array<u32, TOKENS>;               // the head in q and out
    var slots: array<vec2<u32>, TOKENS>;      // first and end
    var query: array<array<Unit, ROUNDS>, TOKENS>;  // lane l has units l, l + 8, ...
    var begin = 0xffffffffu;
    var end = 0u;
    for (var i = 0u; i < TOKENS; i++) {
        let j = min(group.y * TOKENS + i, n_queries - 1u);
        let row = step.rows[j / p.group];
        at[i] = j / p.group * p.stride + (group.x * p.group + j % p.group) * p.head_dim;
        slots[i] = vec2<u32>(row.kv_start, row.kv_start + row.kv_len);
        begin = min(begin, slots[i].x);
        end = max(end, slots[i].y);
        for (var r = 0u; r < ROUNDS; r++) { query[i][r] = query_unit(at[i], r * 8u + lane); }
    }

    var largest: array<f32, TOKENS>;
    var sum: array<f32, TOKENS>;  // of the lane's slots
    var acc: array<array<Unit, ROUNDS>, TOKENS>;
    for (var i = 0u; i < TOKENS; i++) { largest[i] = LOWEST; }

    for (var first = begin; first < end; first += 8u) {
        var scores: array<f32, TOKENS>;
        let k_at = kv_at + min(first + lane, end - 1u) * kv_stride;
        for (var r = 0u; r < ROUNDS; r++) {
            var k: array<Unit, 8>;
            for (var j = 0u; j < 8u; j++) { k[j] = key(k_at + min(r * 8u + j, p.head_units - 1u)); }
            for (var i = 0u; i < TOKENS; i++) {
                let a = all_lanes4(query[i][r].a);
                let b = all_lanes4(query[i][r].b);
                for (var j = 0u; j < 8u; j++) { scores[i] += dot(a[j], k[j].a) + dot(b[j], k[j].b); }
            }
        }

        var weights: array<array<f32, 8>, TOKENS>;
        for (var i = 0u; i < TOKENS; i++) {
            let slot = first + lane;
            let seen = slot >= slots[i].x && slot < slots[i].y;
            let all = all_lanes(select(LOWEST, scores[i], seen));
            let low = max(max(all[0], all[1]), max(all[2], all[3]));
            let high = max(max(all[4], all[5]), max(all[6], all[7]));
            let new_largest = max(largest[i], max(low, high));
            let shrink = exp(largest[i] - new_largest);
            let weight = select(0.0, exp(scores[i] - new_largest), seen);
            largest[i] = new_largest;
            sum[i] = sum[i] * shrink + weight;
            weights[i] = all_lanes(weight);
            for (var r = 0u; r < ROUNDS; r++) {
                acc[i][r].a *= shrink;
                acc[i][r].b *= shrink;
            }
        }

        for (var r = 0u; r < ROUNDS; r++) {
            let unit = min(r * 8u + lane, p.head_units - 1u);
            for (var j = 0u; j < 8u; j++) {
                let v = value(kv_at + min(first + j, end - 1u) * kv_stride + unit);
                for (var i = 0u; i < TOKENS; i++) {
                    acc[i][r].a += weights[i][j] * v.a;
                    acc[i][r].b += weights[i][j] * v.b;
                }
            }
        }
    }

    for (var i = 0u; i < TOKENS; i++) {
        let all = all_lanes(sum[i]);
        let total = ((all[0] + all[1]) + (all[2] + all[3])) + ((all[4] + all[5]) + (all[6] + all[7]));
        for (var r = 0u; r < ROUNDS; r++) {
            if group.y * TOKENS + i < n_queries && r * 8u + lane < p.head_units {
                store_unit(at[i], r * 8u + lane, Unit(acc[i][r].a / total, acc[i][r].b / total));
            }
        }
    }
}
