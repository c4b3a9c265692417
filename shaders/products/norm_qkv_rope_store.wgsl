// Results of Q, K and V:  q[t, :] = rotated v[t, rows of Q],  keys[slot[t], :] = rotated v[t, rows of K],
//   values[slot[t], :] = v[t, rows of V];  the rotation is that of neighbours in rope.wgsl
//
// Grid     that of the product: mat_vec.wgsl, mat_tiled.wgsl or mat_broadcast.wgsl; a pair is two neighbouring
//          rows of w
// Layout   w holds the rows of Q, then those of K, then those of V; rows of q padded to 32 elements; cache:
//          kv_write.wgsl
// Traffic  writes q and one row of each cache once per token; the table's row comes from cache for all heads but one
//
// #import shared/step
// #import attention/kv_write
struct Params {
    n_pairs: u32,       // pairs of rows of w
    units: u32,         // 32-element units per row of w
    first_row: u32,     // 0
    rows_are_outputs: u32,    // 0: rows of x are tokens
    q_pairs: u32,       // pairs of rows of Q
    k_pairs: u32,       // pairs of rows of K, and of V
    stride: u32,        // pairs per row of q, padding included
    head_pairs: u32,    // pairs per head
    rope_pairs: u32,    // pairs per head that turn
    table_stride: u32,  // pairs per row of the table, padding included
    head_units: u32,    // 8-element units per head of the cache
}

@group(0) @binding(3) var<storage, read_write> q: array<vec2<f32>>;      // (n_tokens, stride)
@group(0) @binding(4) var<storage, read>       table: array<vec2<f32>>;  // (positions, table_stride): cosine, sine
@group(0) @binding(5) var<storage, read_write> keys: array<u32>;         // (slots, heads, head_units, 4 or 8)
@group(0) @binding(6) var<storage, read_write> values: array<u32>;       // (slots, heads, head_units, 4 or 8)

fn pair_rows(i: u32) -> vec2<u32> {
    return vec2<u32>(2u * i, 2u * i + 1u);
}

// Pair i of a token's keys or values in the cache.
fn cache_pair(slot: u32, i: u32) -> u32 {
    return (slot * (p.k_pairs / p.head_pairs) + i / p.head_pairs) * p.head_units * 4u + i % p.head_pairs;
}

fn finish(token: u32, i: u32, v: vec2<f32>) {
    let row = step.rows[token];
    if i >= p.q_pairs + p.k_pairs {
        write_value(cache_pair(row.slot, i - p.q_pairs - p.k_pairs), v);
        return;
    }
    var turned = v;
    let in_head = i % p.head_pairs;
    if in_head < p.rope_pairs {
        let angle = table[row.position * p.table_stride + in_head];
        turned = vec2<f32>(v.x * angle.x - v.y * angle.y, v.x * angle.y + v.y * angle.x);
    }
    if i < p.q_pairs {
        q[token * p.stride + i] = turned;
    } else {
        write_key(cache_pair(row.slot, i - p.q_pairs), turned);
    }
}
