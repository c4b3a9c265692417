//! Seeded random data of realistic scale, the same on every machine.

use super::FORMATS;
use crate::gguf::GgmlType;
use half::f16;
use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A seeded generator whose values are the same on every machine.
pub struct Random(ChaCha8Rng);

impl Random {
    /// The generator of `seed`.
    pub fn new(seed: u64) -> Random {
        Random(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Stream `n` of `seed`: streams of a seed are independent of each other.
    pub fn stream(seed: u64, n: u64) -> Random {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(n);
        Random(rng)
    }

    /// 64 random bits.
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

    /// Uniform in [-scale, scale), as the bytes of an f16.
    pub(super) fn f16(&mut self, scale: f32) -> [u8; 2] {
        f16::from_f32(self.uniform(scale)).to_le_bytes()
    }
}

/// `n` random weights of `ty` (a whole number of blocks), as blocks of a file: within a few units of 0 for every type.
///
/// # Panics
/// If the type cannot be decoded: ask [`super::format()`] first.
pub fn random_blocks(ty: GgmlType, n: u64, rng: &mut Random) -> Vec<u8> {
    blocks(ty, n, 1.0, rng)
}

/// `n` random weights of `ty` (a whole number of blocks), as blocks of a file. Their root mean square is `rms`, to some percent.
///
/// # Panics
/// If the type cannot be decoded: ask [`super::format()`] first.
pub fn random_weights(ty: GgmlType, n: u64, rms: f32, rng: &mut Random) -> Vec<u8> {
    /// A scale that the scales of every type can express: E8M0 and E4M3 have few bits.
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
    let format = super::format(ty).unwrap_or_else(|| panic!("no random blocks of {ty}"));
    let mut blocks = vec![0; (n / ty.block_size() * ty.block_bytes()) as usize];
    if ty.block_size() > 1 {
        rng.0.fill_bytes(&mut blocks); // quants; a block of one element is written by `set_scales`
    }
    (format.set_scales)(&mut blocks, scale, rng);
    blocks
}
