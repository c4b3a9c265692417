use super::Config;
use bytes::Bytes;
use rayon::prelude::*;

/// Cosine and sine of every pair's angle at every position: (positions, rope_dim) f32, pairs interleaved.
///
/// The angle of pair `i` at position `p` is `p * base^(-2i / rope_dim) / scale / divisors[i]` (Su et al., 2021; linear scaling:
/// Chen et al., 2023; divisors: Llama 3.1's `rope_freqs`), computed in f64: at position 131071 an f32 angle is wrong by 0.01 rad.
pub fn table(config: &Config, divisors: Option<&[f32]>, positions: u32) -> Bytes {
    let pairs = config.rope_dim as usize / 2;
    let frequency = |i: usize| {
        let plain = (config.rope_base as f64).powf(-2.0 * i as f64 / config.rope_dim as f64);
        plain / config.rope_scale as f64 / divisors.map_or(1.0, |d| d[i] as f64)
    };
    let frequencies: Vec<f64> = (0..pairs).map(frequency).collect();
    let mut table = vec![0.0f32; positions as usize * 2 * pairs];
    table.par_chunks_exact_mut(2 * pairs).enumerate().for_each(|(p, row)| {
        for (pair, frequency) in row.chunks_exact_mut(2).zip(&frequencies) {
            let (sin, cos) = (p as f64 * frequency).sin_cos();
            (pair[0], pair[1]) = (cos as f32, sin as f32);
        }
    });
    Bytes::from_owner(Table(table))
}

/// Floats that can be seen as bytes.
struct Table(Vec<f32>);

impl AsRef<[u8]> for Table {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}
