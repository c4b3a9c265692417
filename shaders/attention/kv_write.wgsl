// Writes to the KV cache:  keys[pair], values[pair] = v, two elements in one word of two halves, or in two words
//
// Layout   cache (slots, heads, head_units, 8) in pairs of elements
const KV_F16: bool = true;    // halves, else floats
const KV_Q8_0: bool = false;  // blocks of 32 are written by kv_store_q8_0.wgsl: a pair lacks the other elements of its scale
const_assert !KV_Q8_0;

// `v` rounded to the 11 significant bits of a half, ties to even: pack2x16float alone may truncate. 2^-14 is the
// smallest normal half.
fn rounded(v: vec2<f32>) -> vec2<f32> {
    let bits = bitcast<vec2<u32>>(v);
    let even = (bits + vec2<u32>(0xfffu) + ((bits >> vec2<u32>(13u)) & vec2<u32>(1u))) & vec2<u32>(0xffffe000u);
    return select(v, bitcast<vec2<f32>>(even), abs(v) >= vec2<f32>(exp2(-14.0)));
}

fn write_key(pair: u32, v: vec2<f32>) {
    if KV_F16 {
        keys[pair] = pack2x16float(rounded(v));
    } else {
        keys[2u * pair] = bitcast<u32>(v.x);
        keys[2u * pair + 1u] = bitcast<u32>(v.y);
    }
}

fn write_value(pair: u32, v: vec2<f32>) {
    if KV_F16 {
        values[pair] = pack2x16float(rounded(v));
    } else {
        values[2u * pair] = bitcast<u32>(v.x);
        values[2u * pair + 1u] = bitcast<u32>(v.y);
    }
}
