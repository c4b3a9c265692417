//! Formats of the values -1, 0 and 1.

use bytemuck::{Pod, Zeroable};

use super::{Block, f16_to_f32};
use crate::gguf::GgmlType;

/// `x = d * (q - 1)`
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct TQ1_0 {
    /// Five q to a byte ([`digit`]): value 32 j + l is digit j of byte l (l < 32), value 160 + 16 j + l digit j of byte 32 + l.
    qs: [u8; 48],
    /// Four q to a byte: value 240 + 4 j + l is digit j of byte l.
    qh: [u8; 4],
    /// Scale, f16.
    d: [u8; 2],
}

/// Digit `j` to base 3, the first one largest, of a byte that is the fraction 0.(digits) times 256, rounded up.
#[inline(always)]
fn digit(byte: u8, j: usize) -> i32 {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    (i32::from(byte.wrapping_mul(POWERS[j])) * 3) >> 8
}

impl Block for TQ1_0 {
    const TY: GgmlType = GgmlType::TQ1_0;
    type Values = [f32; 256];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let d = f16_to_f32(self.d);
        let (first, rest) = out.split_at_mut(160);
        let (second, third) = rest.split_at_mut(80);
        let (qs, ql) = self.qs.split_at(32);
        for (out, bytes) in [(first, qs), (second, ql), (third, &self.qh[..])] {
            for (j, out) in out.chunks_exact_mut(bytes.len()).enumerate() {
                for (out, byte) in out.iter_mut().zip(bytes) {
                    *out = d * (digit(*byte, j) - 1) as f32;
                }
            }
        }
    }
}

/// `x = d * (q - 1)`
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct TQ2_0 {
    /// q, 2 bits: value 128 h + 32 j + l in bits 2 j, 2 j + 1 of byte 32 h + l.
    qs: [u8; 64],
    /// Scale, f16.
    d: [u8; 2],
}

impl Block for TQ2_0 {
    const TY: GgmlType = GgmlType::TQ2_0;
    type Values = [f32; 256];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let d = f16_to_f32(self.d);
        for (group, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let qs: &[u8; 32] = &self.qs.as_chunks().0[group / 4];
            for i in 0..32 {
                out[i] = d * (i32::from(qs[i] >> (2 * (group % 4)) & 3) - 1) as f32;
            }
        }
    }
}
