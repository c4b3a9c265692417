//! Seeded random data of realistic scale, the same on every machine.

use super::FORMATS;
use crate::gguf::GgmlType;
use half::{bf16, f16};
use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A seeded generator whose values are the same on every machine.
pub struct Random(ChaCha8Rng);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Generator `n` of this seed: they have nothing in common.
    pub fn stream(seed: u64, n: u64) -> Random {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(n);
        Random(rng)
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

/// Sets scales that are not f16, `scale` times as large as those that give values of the order of 1.
fn other_scales(ty: GgmlType, block: &mut [u8], scale: f32, rng: &mut Random) {
    match ty {
        GgmlType::IQ1_M => {
            let d = f16::from_f32(rng.uniform(0.2 * scale)).to_bits();
            for i in 0..4 {
                let high = &mut block[49 + 2 * i]; // its upper half is bits 4 i and up of d
                *high = *high & 15 | ((d >> (4 * i) & 15) as u8) << 4;
            }
        }
        GgmlType::MXFP4 => {
            // 2^-8 to 2^-2 where scale is 1; between two powers the nearer one is the likelier.
            let exponent = (scale.log2() + rng.uniform(0.5)).round();
            block[0] = (120.0 + exponent).max(0.0) as u8 + block[0] % 7;
        }
        GgmlType::NVFP4 => {
            // The sign that nobody looks at stays random.
            block[..4].iter_mut().for_each(|d| *d = ue4m3(rng.uniform(scale).abs()) | *d & 0x80);
        }
        _ => {}
    }
}

/// The nearest float of 4 bits of exponent and 3 of mantissa, without sign, for 0 <= v < 448.
fn ue4m3(v: f32) -> u8 {
    const SMALLEST_NORMAL: f32 = 1.0 / 64.0;
    const STEP_BELOW: f32 = SMALLEST_NORMAL / 8.0;
    if v < SMALLEST_NORMAL {
        return (v / STEP_BELOW).round() as u8;
    }
    (((v.to_bits() + (1 << 19)) >> 20) - ((127 - 7) << 3)) as u8 // rounded to 3 of 23 bits, the bias of f32 exchanged
}

/// `n` random weights (a whole number of blocks) of `ty`: within a few units of 0 for every type.
pub fn random_blocks(ty: GgmlType, n: u64, rng: &mut Random) -> Vec<u8> {
    blocks(ty, n, 1.0, rng)
}

/// `n` random weights (a whole number of blocks) of `ty`, whose root mean square is `rms` to some percent.
///
/// # Panics
/// If the type cannot be decoded: ask [`super::format`] first.
pub fn random_weights(ty: GgmlType, n: u64, rms: f32, rng: &mut Random) -> Vec<u8> {
    /// Well inside of what every kind of scale can hold.
    const SCALE: f32 = 0.1;
    /// Root mean square at that scale.
    static MEASURED: LazyLock<BTreeMap<GgmlType, f32>> = LazyLock::new(|| {
        let measure = |ty| {
            let mut values = vec![0.0; 1 << 17]; // 512 blocks or more
            super::decode(ty, &blocks(ty, values.len() as u64, SCALE, &mut Random::new(0)), &mut values);
            let squares: f64 = values.iter().map(|v| f64::from(v * v)).sum();
            (squares / values.len() as f64).sqrt() as f32
        };
        FORMATS.iter().map(|format| (format.ty, measure(format.ty))).collect()
    });
    blocks(ty, n, rms * SCALE / MEASURED[&ty], rng)
}

/// `n` weights whose magnitude is proportional to `scale`, about 1 where that is 1.
fn blocks(ty: GgmlType, n: u64, scale: f32, rng: &mut Random) -> Vec<u8> {
    let float = |_| rng.uniform(scale);
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
                    block[at..at + 2].copy_from_slice(&f16::from_f32(rng.uniform(most * scale)).to_le_bytes());
                }
                other_scales(ty, block, scale, rng);
            }
            blocks
        }
    }
}
