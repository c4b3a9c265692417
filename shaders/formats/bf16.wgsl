// BF16:  w[i] = the float whose upper 16 bits are element i, in units of 32, rows padded with zeros
// (runtime/quant/pack.rs)
@group(1) @binding(0) var<storage, read> elements: array<vec4<u32>>;  // (units, 4): 8 upper halves each

fn widened(pairs: vec2<u32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(
        pairs.x << 16u, pairs.x & 0xffff0000u, pairs.y << 16u, pairs.y & 0xffff0000u,
    ));
}

// The 32 weights of one unit.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let a = elements[unit * 4u];
    let b = elements[unit * 4u + 1u];
    let c = elements[unit * 4u + 2u];
    let d = elements[unit * 4u + 3u];
    return array<vec4<f32>, 8>(
        widened(a.xy), widened(a.zw), widened(b.xy), widened(b.zw),
        widened(c.xy), widened(c.zw), widened(d.xy), widened(d.zw),
    );
}
