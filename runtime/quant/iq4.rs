//! 4-bit formats whose values come from a table.

use bytemuck::{Pod, Zeroable};

use super::{Block, f16_to_f32};
use crate::gguf::GgmlType;

/// The sixteen values of a 4-bit code, denser near zero. From GGML's `kvalues_iq4nl`.
const VALUES: [f32; 16] = [
    -127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0,
    89.0, 113.0,
];

/// `x = d * VALUES[q]`
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct IQ4_NL {
    /// Scale, f16.
    d: [u8; 2],
    /// q, 4 bits: value i in the low half of byte i, value 16 + i in its high half.
    qs: [u8; 16],
}

impl Block for IQ4_NL {
    const TY: GgmlType = GgmlType::IQ4_NL;
    type Values = [f32; 32];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 32]) {
        look_up(f16_to_f32(self.d), &self.qs, out);
    }
}

/// `x = (d * (scale - 32)) * VALUES[q]`, a scale per 32 values
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct IQ4_XS {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// Bits 4 and 5 of the scales: scale i in bits 2 i, 2 i + 1 of this u16.
    scales_h: [u8; 2],
    /// Bits 0 to 3 of the scales: scale 2 i in the low half of byte i, scale 2 i + 1 in its high half.
    scales_l: [u8; 4],
    /// q: eight groups of 32 values, each placed as in [`IQ4_NL`].
    qs: [u8; 128],
}

impl Block for IQ4_XS {
    const TY: GgmlType = GgmlType::IQ4_XS;
    type Values = [f32; 256];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let d = f16_to_f32(self.d);
        let scales_h = u16::from_le_bytes(self.scales_h);
        for (group, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let low = i32::from(self.scales_l[group / 2] >> (4 * (group % 2)) & 15);
            let high = i32::from(scales_h >> (2 * group) & 3);
            let scale = d * ((low | high << 4) - 32) as f32;
            look_up(scale, &self.qs.as_chunks().0[group], out);
        }
    }
}

#[inline(always)]
fn look_up(scale: f32, qs: &[u8; 16], out: &mut [f32; 32]) {
    for i in 0..16 {
        out[i] = scale * VALUES[usize::from(qs[i] & 15)];
        out[i + 16] = scale * VALUES[usize::from(qs[i] >> 4)];
    }
}
