// Reads of the KV cache:  key(i), value(i) = elements 8 i .. 8 i + 8
//
// Layout   cache (slots, heads, head_units, 8) of f16, f32, or 8-bit quants with an f16 scale per 4 units
//
// #import shared/unpack
@group(0) @binding(4) var<storage, read> keys: array<vec4<u32>>;    // (slots, heads, head_units, 1, 2 or 1/2)
@group(0) @binding(5) var<storage, read> values: array<vec4<u32>>;  // (slots, heads, head_units, 1, 2 or 1/2)
@group(0) @binding(6) var<storage, read> scales: array<u32>;        // (slots, heads, head_units / 4): f16 of keys, f16 of values

const KV_F16: bool = true;    // 8 halves in one vector
const KV_Q8_0: bool = false;  // 16 bytes in one vector; with neither, 8 floats in two

struct Unit {
    a: vec4<f32>,
    b: vec4<f32>,
}

fn from_f16(v: vec4<u32>) -> Unit {
    return Unit(
        vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y)),
        vec4<f32>(unpack2x16float(v.z), unpack2x16float(v.w)),
    );
}

// Unit i of the two in v.
fn from_q8_0(v: vec4<u32>, i: u32, d: f32) -> Unit {
    let words = select(v.xy, v.zw, i % 2u == 1u);
    return Unit(d * signed_bytes(words.x), d * signed_bytes(words.y));
}

fn key(i: u32) -> Unit {
    if KV_F16 { return from_f16(keys[i]); }
    if KV_Q8_0 { return from_q8_0(keys[i / 2u], i, unpack2x16float(scales[i / 4u]).x); }
    return Unit(bitcast<vec4<f32>>(keys[2u * i]), bitcast<vec4<f32>>(keys[2u * i + 1u]));
}

fn value(i: u32) -> Unit {
    if KV_F16 { return from_f16(values[i]); }
    if KV_Q8_0 { return from_q8_0(values[i / 2u], i, unpack2x16float(scales[i / 4u]).y); }
    return Unit(bitcast<vec4<f32>>(values[2u * i]), bitcast<vec4<f32>>(values[2u * i + 1u]));
}
