//! The IQ1 formats: groups of 8 values -1, 0 or 1 from a codebook, all moved up or down by an eighth.

use bytemuck::{Pod, Zeroable};

use super::{Block, f16_to_f32, grids};
use crate::gguf::GgmlType;

static GRID: [[i8; 8]; 2048] = grids::IQ1_S.expand();

/// `out[i] = scale * (GRID[q][i] ± 1/8)`, minus if `down`.
#[inline(always)]
fn moved(scale: f32, q: usize, down: bool, out: &mut [f32; 8]) {
    let by = if down { -0.125 } else { 0.125 };
    for i in 0..8 {
        out[i] = scale * (f32::from(GRID[q][i]) + by);
    }
}

/// `x = (d * (2 scale + 1)) * (GRID[q] ± 1/8)`, a scale and a sign of 1/8 per 32 values
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct IQ1_S {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// Bits 0 to 7 of the q of 8 values each.
    qs: [u8; 32],
    /// For each 32 values a u16: bits 8 to 10 of four q, the scale in 3 bits, the sign.
    qh: [[u8; 2]; 8],
}

impl Block for IQ1_S {
    const TY: GgmlType = GgmlType::IQ1_S;
    type Values = [f32; 256];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let d = f16_to_f32(self.d);
        for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
            let qh = usize::from(u16::from_le_bytes(self.qh[i / 4]));
            let scale = d * (2 * (qh >> 12 & 7) + 1) as f32;
            let high = qh >> (3 * (i % 4)) & 7;
            moved(scale, usize::from(self.qs[i]) | high << 8, qh >> 15 != 0, out);
        }
    }
}

/// `x = (d * (2 scale + 1)) * (GRID[q] ± 1/8)`, a scale per 16 values, a sign of 1/8 per 8
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct IQ1_M {
    /// Bits 0 to 7 of the q of 8 values each.
    qs: [u8; 32],
    /// For each 8 values a nibble, low ones first: bits 8 to 10 of q, the sign.
    qh: [u8; 16],
    /// For each 64 values a u16: four scales of 3 bits, and 4 bits of d, the scale of the scales, an f16 whose lowest bits
    /// come first.
    scales: [[u8; 2]; 4],
}

impl Block for IQ1_M {
    const TY: GgmlType = GgmlType::IQ1_M;
    type Values = [f32; 256];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let scales = self.scales.map(u16::from_le_bytes);
        let d = scales[0] >> 12 | scales[1] >> 12 << 4 | scales[2] >> 12 << 8 | scales[3] >> 12 << 12;
        let d = f16_to_f32(d.to_le_bytes());
        for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
            let qh = usize::from(self.qh[i / 2] >> (4 * (i % 2)));
            let scale = d * (2 * (scales[i / 8] >> (3 * (i / 2 % 4)) & 7) + 1) as f32;
            moved(scale, usize::from(self.qs[i]) | (qh & 7) << 8, qh & 8 != 0, out);
        }
    }
}
