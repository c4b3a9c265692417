//! Seeded random data of realistic scale, the same on every machine.

use crate::gguf::GgmlType;
use half::{bf16, f16};
use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng};

/// A seeded generator whose values are the same on every machine.
pub struct Random(ChaCha8Rng);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in [-scale, scale).
    pub fn uniform(&mut self, scale: f32) -> f32 {
        self.0.random_range(-scale..scale)
    }

    /// Uniform in 0..n.
    pub fn below(&mut self, n: u32) -> u32 {
        self.0.random_range(0..n)
    }
}

/// Byte offsets of a block's f16 scales: the quants may be anything, the scales must be finite and small.
fn scale_offsets(ty: GgmlType) -> &'static [usize] {
    match ty {
        GgmlType::Q4_0 | GgmlType::Q5_0 | GgmlType::Q8_0 | GgmlType::IQ4_NL | GgmlType::IQ4_XS => &[0],
        GgmlType::Q4_1 | GgmlType::Q5_1 | GgmlType::Q4_K | GgmlType::Q5_K => &[0, 2],
        GgmlType::Q2_K => &[80, 82],
        GgmlType::Q3_K => &[108],
        GgmlType::Q6_K => &[208],
        _ => &[],
    }
}

/// `n` random weights (a whole number of blocks) of `ty`: within a few units of 0 for every type.
pub fn random_blocks(ty: GgmlType, n: u64, rng: &mut Random) -> Vec<u8> {
    let float = |_| rng.uniform(1.0);
    match ty {
        GgmlType::F32 => (0..n).map(float).flat_map(f32::to_le_bytes).collect(),
        GgmlType::F16 => (0..n).map(float).flat_map(|v| f16::from_f32(v).to_le_bytes()).collect(),
        GgmlType::BF16 => (0..n).map(float).flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect(),
        _ => {
            let block_bytes = ty.block_bytes() as usize;
            let mut blocks = vec![0; (n / ty.block_size()) as usize * block_bytes];
            rng.0.fill_bytes(&mut blocks);
            for block in blocks.chunks_exact_mut(block_bytes) {
                for &at in scale_offsets(ty) {
                    block[at..at + 2].copy_from_slice(&f16::from_f32(rng.uniform(0.02)).to_le_bytes());
                }
            }
            blocks
        }
    }
}
