// The KV cache as attention reads it: units of 8 elements, as f16 pairs or f32.
@group(0) @binding(4) var<storage, read> keys: array<vec4<u32>>;    // (slots, heads, head_units, 1 or 2)
@group(0) @binding(5) var<storage, read> values: array<vec4<u32>>;  // (slots, heads, head_units, 1 or 2)

const KV_F16: bool = true;  // 8 halves in one vector, or 8 floats in two

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

fn key(i: u32) -> Unit {
    if KV_F16 { return from_f16(keys[i]); }
    return Unit(bitcast<vec4<f32>>(keys[2u * i]), bitcast<vec4<f32>>(keys[2u * i + 1u]));
}

fn value(i: u32) -> Unit {
    if KV_F16 { return from_f16(values[i]); }
    return Unit(bitcast<vec4<f32>>(values[2u * i]), bitcast<vec4<f32>>(values[2u * i + 1u]));
}
