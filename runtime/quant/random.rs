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

/// Byte offsets of a block's f16 scales, and how large they may be: the quants may be anything, the scales must be finite
/// and such that the values are of the order of 1.
fn scales(ty: GgmlType) -> (&'static [usize], f32) {
    match ty {
        GgmlType::Q4_0 | GgmlType::Q5_0 | GgmlType::Q8_0 | GgmlType::IQ4_NL | GgmlType::IQ4_XS => (&[0], 0.02),
        GgmlType::Q4_1 | GgmlType::Q5_1 | GgmlType::Q4_K | GgmlType::Q5_K => (&[0, 2], 0.02),
        GgmlType::Q2_K => (&[80, 82], 0.02),
        GgmlType::Q3_K => (&[108], 0.02),
        GgmlType::Q6_K => (&[208], 0.02),
        GgmlType::IQ2_XXS | GgmlType::IQ2_XS | GgmlType::IQ2_S => (&[0], 0.02),
        GgmlType::IQ3_XXS | GgmlType::IQ3_S => (&[0], 0.01),
        GgmlType::IQ1_S => (&[0], 0.2),
        GgmlType::TQ1_0 => (&[52], 1.0),
        GgmlType::TQ2_0 => (&[64], 1.0),
        _ => (&[], 0.0),
    }
}

/// Does the same for scales that are not f16.
fn tame_scales(ty: GgmlType, block: &mut [u8], rng: &mut Random) {
    match ty {
        GgmlType::IQ1_M => {
            let d = f16::from_f32(rng.uniform(0.2)).to_bits();
            for i in 0..4 {
                let high = &mut block[49 + 2 * i]; // its upper half is bits 4 i and up of d
                *high = *high & 15 | ((d >> (4 * i) & 15) as u8) << 4;
            }
        }
        GgmlType::MXFP4 => block[0] = 120 + block[0] % 7, // 2^-8 to 2^-2
        GgmlType::NVFP4 => block[..4].iter_mut().for_each(|d| *d &= 0x3f), // 0 to 1.875
        _ => {}
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
                let (offsets, most) = scales(ty);
                for &at in offsets {
                    block[at..at + 2].copy_from_slice(&f16::from_f32(rng.uniform(most)).to_le_bytes());
                }
                tame_scales(ty, block, rng);
            }
            blocks
        }
    }
}
