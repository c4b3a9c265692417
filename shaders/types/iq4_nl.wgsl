// IQ4_NL:  w[i] = d * VALUES[q[i]],  q[i] and q[i + 16] = low and high nibble of byte i
@group(1) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // (blocks): 16 bytes of nibbles
@group(1) @binding(1) var<storage, read> scales: array<u32>;        // (blocks / 2): f16 d, of two blocks

// The 16 values that a nibble stands for.
const VALUES = array<f32, 16>(
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0,
);

fn looked_up(word: u32, shift: u32) -> vec4<f32> {
    var table = VALUES;
    let i = fields(word, shift, 15u);
    return vec4<f32>(table[i.x], table[i.y], table[i.z], table[i.w]);
}

// The 32 weights of one block.
fn decode(block: u32) -> array<vec4<f32>, 8> {
    let q = quants[block];
    let d = half_of(scales[block / 2u], block);
    return array<vec4<f32>, 8>(
        d * looked_up(q.x, 0u), d * looked_up(q.y, 0u), d * looked_up(q.z, 0u), d * looked_up(q.w, 0u),
        d * looked_up(q.x, 4u), d * looked_up(q.y, 4u), d * looked_up(q.z, 4u), d * looked_up(q.w, 4u),
    );
}
