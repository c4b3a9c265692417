//! Floats, and the formats with one scale per 32 values.

use bytemuck::{Pod, Zeroable};

use super::{Block, f16_to_f32};
use crate::gguf::GgmlType;

/// `x = v`
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct F32 {
    v: [u8; 4],
}

impl Block for F32 {
    const TY: GgmlType = GgmlType::F32;
    type Values = [f32; 1];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 1]) {
        out[0] = f32::from_le_bytes(self.v);
    }
}

/// `x = v`
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct F16 {
    v: [u8; 2],
}

impl Block for F16 {
    const TY: GgmlType = GgmlType::F16;
    type Values = [f32; 1];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 1]) {
        out[0] = f16_to_f32(self.v);
    }
}

/// `x = v`: the upper half of an f32.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct BF16 {
    v: [u8; 2],
}

impl Block for BF16 {
    const TY: GgmlType = GgmlType::BF16;
    type Values = [f32; 1];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 1]) {
        out[0] = f32::from_bits(u32::from(u16::from_le_bytes(self.v)) << 16);
    }
}

/// `x = (q - 8) * d`
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct Q4_0 {
    /// Scale, f16.
    d: [u8; 2],
    /// q, 4 bits: value i in the low half of byte i, value 16 + i in its high half.
    qs: [u8; 16],
}

impl Block for Q4_0 {
    const TY: GgmlType = GgmlType::Q4_0;
    type Values = [f32; 32];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 32]) {
        let d = f16_to_f32(self.d);
        for i in 0..16 {
            out[i] = (i32::from(self.qs[i] & 15) - 8) as f32 * d;
            out[i + 16] = (i32::from(self.qs[i] >> 4) - 8) as f32 * d;
        }
    }
}

/// `x = q * d + m`
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct Q4_1 {
    /// Scale, f16.
    d: [u8; 2],
    /// Minimum, f16.
    m: [u8; 2],
    /// q, 4 bits, placed as in [`Q4_0`].
    qs: [u8; 16],
}

impl Block for Q4_1 {
    const TY: GgmlType = GgmlType::Q4_1;
    type Values = [f32; 32];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 32]) {
        let (d, m) = (f16_to_f32(self.d), f16_to_f32(self.m));
        for i in 0..16 {
            out[i] = i32::from(self.qs[i] & 15) as f32 * d + m;
            out[i + 16] = i32::from(self.qs[i] >> 4) as f32 * d + m;
        }
    }
}

/// `x = (q - 16) * d`
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct Q5_0 {
    /// Scale, f16.
    d: [u8; 2],
    /// Bit 4 of q: value i in bit i of this u32.
    qh: [u8; 4],
    /// Bits 0 to 3 of q, placed as in [`Q4_0`].
    qs: [u8; 16],
}

impl Block for Q5_0 {
    const TY: GgmlType = GgmlType::Q5_0;
    type Values = [f32; 32];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 32]) {
        let d = f16_to_f32(self.d);
        let qh = u32::from_le_bytes(self.qh);
        for i in 0..16 {
            let (low, high) = five_bits(self.qs[i], qh, i);
            out[i] = (low - 16) as f32 * d;
            out[i + 16] = (high - 16) as f32 * d;
        }
    }
}

/// `x = q * d + m`
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct Q5_1 {
    /// Scale, f16.
    d: [u8; 2],
    /// Minimum, f16.
    m: [u8; 2],
    /// Bit 4 of q, placed as in [`Q5_0`].
    qh: [u8; 4],
    /// Bits 0 to 3 of q, placed as in [`Q4_0`].
    qs: [u8; 16],
}

impl Block for Q5_1 {
    const TY: GgmlType = GgmlType::Q5_1;
    type Values = [f32; 32];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 32]) {
        let (d, m) = (f16_to_f32(self.d), f16_to_f32(self.m));
        let qh = u32::from_le_bytes(self.qh);
        for i in 0..16 {
            let (low, high) = five_bits(self.qs[i], qh, i);
            out[i] = low as f32 * d + m;
            out[i + 16] = high as f32 * d + m;
        }
    }
}

/// Values i and 16 + i of a block whose byte i of `qs` is `q`.
#[inline(always)]
fn five_bits(q: u8, qh: u32, i: usize) -> (i32, i32) {
    let low = u32::from(q & 15) | (qh >> i & 1) << 4;
    let high = u32::from(q >> 4) | (qh >> (i + 16) & 1) << 4;
    (low as i32, high as i32)
}

/// `x = q * d`
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct Q8_0 {
    /// Scale, f16.
    d: [u8; 2],
    qs: [i8; 32],
}

impl Block for Q8_0 {
    const TY: GgmlType = GgmlType::Q8_0;
    type Values = [f32; 32];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 32]) {
        let d = f16_to_f32(self.d);
        for (out, q) in out.iter_mut().zip(self.qs) {
            *out = f32::from(q) * d;
        }
    }
}
