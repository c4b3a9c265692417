// F16:  w[i] = half i,  in units of 32, rows padded with zeros (runtime/quant/pack.rs)
@group(1) @binding(0) var<storage, read> elements: array<vec4<u32>>;  // (units, 4): 8 halves each

fn halves(pairs: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(pairs.x), unpack2x16float(pairs.y));
}

// The 32 weights of one unit.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let a = elements[unit * 4u];
    let b = elements[unit * 4u + 1u];
    let c = elements[unit * 4u + 2u];
    let d = elements[unit * 4u + 3u];
    return array<vec4<f32>, 8>(
        halves(a.xy), halves(a.zw), halves(b.xy), halves(b.zw),
        halves(c.xy), halves(c.zw), halves(d.xy), halves(d.zw),
    );
}
