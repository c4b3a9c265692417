// F32:  w[i] = element i,  in units of 32, rows padded with zeros (runtime/quant/pack.rs)
@group(1) @binding(0) var<storage, read> elements: array<vec4<f32>>;  // (units, 8)

// The 32 weights of one unit.
fn decode(unit: u32) -> array<vec4<f32>, 8> {
    let i = unit * 8u;
    return array<vec4<f32>, 8>(
        elements[i], elements[i + 1u], elements[i + 2u], elements[i + 3u],
        elements[i + 4u], elements[i + 5u], elements[i + 6u], elements[i + 7u],
    );
}
