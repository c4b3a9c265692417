//! Formats of 4-bit floats (E2M1), with scales that are floats of 8 bits.

use bytemuck::{Pod, Zeroable};

use super::Block;
use crate::gguf::GgmlType;

/// The sixteen values of E2M1, doubled; scales are halved. Microscaling Formats (MX) Specification, Open Compute Project, 2023.
const VALUES: [f32; 16] = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];

/// `x = 2^(e - 128) * VALUES[q]`
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct MXFP4 {
    /// Exponent of the scale, E8M0.
    e: u8,
    /// q, 4 bits: value i in the low half of byte i, value 16 + i in its high half.
    qs: [u8; 16],
}

impl Block for MXFP4 {
    const TY: GgmlType = GgmlType::MXFP4;
    type Values = [f32; 32];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 32]) {
        let scale = match self.e {
            e @ 0..2 => f32::from_bits(1 << (21 + e)), // subnormal: 2^-149 is the last bit
            e => f32::from_bits(u32::from(e - 1) << 23),
        };
        look_up(scale, &self.qs, out);
    }
}

/// `x = d / 2 * VALUES[q]`, a scale d per 16 values
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct NVFP4 {
    /// Scales, E4M3 without sign.
    d: [u8; 4],
    /// q, 4 bits: value 16 g + i in the low half of byte 8 g + i, value 16 g + 8 + i in its high half.
    qs: [u8; 32],
}

impl Block for NVFP4 {
    const TY: GgmlType = GgmlType::NVFP4;
    type Values = [f32; 64];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 64]) {
        for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let qs: &[u8; 8] = &self.qs.as_chunks().0[group];
            look_up(half_e4m3(self.d[group]), qs, out);
        }
    }
}

/// Half of an E4M3 number whose sign is not looked at; 0 for the byte that means NaN.
#[inline(always)]
fn half_e4m3(d: u8) -> f32 {
    if d == 0x7f {
        return 0.0;
    }
    let (exponent, mantissa) = (d >> 3 & 15, d & 7);
    match exponent {
        0 => f32::from(mantissa) * f32::from_bits((127 - 10) << 23), // 2^-6 / 8 / 2
        _ => f32::from_bits((u32::from(exponent) + 127 - 8) << 23 | u32::from(mantissa) << 20),
    }
}

/// `out[i]` from the low half of `qs[i]`, `out[H + i]` from its high half.
#[inline(always)]
fn look_up<const H: usize, const N: usize>(scale: f32, qs: &[u8; H], out: &mut [f32; N]) {
    for i in 0..H {
        out[i] = scale * VALUES[usize::from(qs[i] & 15)];
        out[H + i] = scale * VALUES[usize::from(qs[i] >> 4)];
    }
}
