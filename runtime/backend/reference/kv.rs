//! The KV cache in its number formats.

use crate::plan::{KV_BLOCK, KvType};
use half::f16;

/// Keys or values of one layer: (slots, kv.row()), in the cache's number format.
pub enum KvRows {
    /// 4 bytes an element.
    F32(Vec<f32>),
    /// 2 bytes an element.
    F16(Vec<f16>),
    /// Blocks of 8-bit quants: [`KvType::Q8_0`].
    Q8_0 {
        /// One per element.
        quants: Vec<i8>,
        /// Of each [`KV_BLOCK`] quants.
        scales: Vec<f16>,
    },
}

impl KvRows {
    /// `len` zeros.
    pub(super) fn new(ty: KvType, len: usize) -> KvRows {
        match ty {
            // Pages that no token has reached yet take no memory.
            KvType::F32 => KvRows::F32(bytemuck::zeroed_vec(len)),
            KvType::F16 => KvRows::F16(bytemuck::zeroed_vec(len)),
            KvType::Q8_0 => KvRows::Q8_0 {
                quants: bytemuck::zeroed_vec(len),
                scales: bytemuck::zeroed_vec(len / KV_BLOCK as usize),
            },
        }
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        match self {
            KvRows::F32(kv) => size_of_val(&kv[..]),
            KvRows::F16(kv) => size_of_val(&kv[..]),
            KvRows::Q8_0 { quants, scales } => size_of_val(&quants[..]) + size_of_val(&scales[..]),
        }
    }

    /// Writes `row` from element `at` on.
    pub(super) fn store(&mut self, at: usize, row: &[f32]) {
        match self {
            KvRows::F32(kv) => kv[at..at + row.len()].copy_from_slice(row),
            KvRows::F16(kv) => {
                for (kv, v) in kv[at..at + row.len()].iter_mut().zip(row) {
                    *kv = f16::from_f32(*v);
                }
            }
            KvRows::Q8_0 { quants, scales } => {
                let block = KV_BLOCK as usize;
                let quants = quants[at..at + row.len()].chunks_exact_mut(block);
                for ((quants, scale), row) in quants.zip(&mut scales[at / block..]).zip(row.chunks_exact(block)) {
                    *scale = quantize(quants, row);
                }
            }
        }
    }

    /// Decodes `out.len()` elements from element `at` on.
    pub fn load(&self, at: usize, out: &mut [f32]) {
        use half::slice::HalfFloatSliceExt;
        match self {
            KvRows::F32(kv) => out.copy_from_slice(&kv[at..at + out.len()]),
            KvRows::F16(kv) => kv[at..at + out.len()].convert_to_f32_slice(out),
            KvRows::Q8_0 { quants, scales } => {
                let block = KV_BLOCK as usize;
                let quants = quants[at..at + out.len()].chunks_exact(block);
                for ((out, quants), scale) in out.chunks_exact_mut(block).zip(quants).zip(&scales[at / block..]) {
                    let scale = scale.to_f32();
                    out.iter_mut().zip(quants).for_each(|(out, q)| *out = *q as f32 * scale);
                }
            }
        }
    }
}

/// One block of [`KvType::Q8_0`]: its quants, and the scale to read them with.
fn quantize(quants: &mut [i8], x: &[f32]) -> f16 {
    let d = x.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0;
    let scale = f16::from_f32(d);
    let inverse = if scale == f16::ZERO { 0.0 } else { 1.0 / d };
    quants.iter_mut().zip(x).for_each(|(q, x)| *q = (x * inverse).round() as i8);
    scale
}
