// Append to the KV cache:  K[slot[t], h, :] = k[t, h, :], and the same for V
//
// Grid     x: COLS columns of the cache's row, a unit of 8 per invocation; y: tokens
// Layout   cache (slots, heads, units, 8), heads padded with zeros to units of 8 elements, as f16 pairs or f32
// Traffic  reads k and v once, writes one row of each cache per token
struct Params {
    stride: u32,      // elements per row of k and v, padding included
    heads: u32,       // KV heads
    head_dim: u32,    // elements per head
    head_units: u32,  // 8-element units per head
}

@group(0) @binding(1) var<uniform>             p: Params;
@group(0) @binding(2) var<storage, read>       k: array<f32>;             // (n_tokens, stride)
@group(0) @binding(3) var<storage, read>       v: array<f32>;             // (n_tokens, stride)
@group(0) @binding(4) var<storage, read_write> keys: array<vec4<u32>>;    // (slots, heads, head_units, 1 or 2)
@group(0) @binding(5) var<storage, read_write> values: array<vec4<u32>>;  // (slots, heads, head_units, 1 or 2)

const KV_F16: bool = true;  // 8 halves in one vector, or 8 floats in two
const COLS: u32 = 512;      // 64 invocations

// `v` rounded to the 11 bits of a half, ties to even: packing alone may truncate. 2^-14 is the smallest normal half.
fn rounded(v: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(v);
    let even = (bits + vec4<u32>(0xfffu) + ((bits >> vec4<u32>(13u)) & vec4<u32>(1u))) & vec4<u32>(0xffffe000u);
    return select(v, bitcast<vec4<f32>>(even), abs(v) >= vec4<f32>(exp2(-14.0)));
}

fn packed(a: vec4<f32>, b: vec4<f32>) -> vec4<u32> {
    let r = rounded(a);
    let s = rounded(b);
    return vec4<u32>(pack2x16float(r.xy), pack2x16float(r.zw), pack2x16float(s.xy), pack2x16float(s.zw));
}

@compute @workgroup_size(COLS / 8)
fn kv_store(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let unit = group.x * (COLS / 8u) + thread;
    if unit >= p.heads * p.head_units { return; }
    let first = unit % p.head_units * 8u;  // element of the head
    let from_row = group.y * p.stride + unit / p.head_units * p.head_dim;

    var key: array<f32, 8>;
    var value: array<f32, 8>;
    for (var i = 0u; i < 8u; i++) {
        if first + i < p.head_dim {
            key[i] = k[from_row + first + i];
            value[i] = v[from_row + first + i];
        }
    }
    let ka = vec4<f32>(key[0], key[1], key[2], key[3]);
    let kb = vec4<f32>(key[4], key[5], key[6], key[7]);
    let va = vec4<f32>(value[0], value[1], value[2], value[3]);
    let vb = vec4<f32>(value[4], value[5], value[6], value[7]);

    let to = now.rows[group.y].slot * p.heads * p.head_units + unit;
    if KV_F16 {
        keys[to] = packed(ka, kb);
        values[to] = packed(va, vb);
    } else {
        keys[2u * to] = bitcast<vec4<u32>>(ka);
        keys[2u * to + 1u] = bitcast<vec4<u32>>(kb);
        values[2u * to] = bitcast<vec4<u32>>(va);
        values[2u * to + 1u] = bitcast<vec4<u32>>(vb);
    }
}
