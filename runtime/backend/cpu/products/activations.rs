//! Activations as 8-bit integers.

use super::simd::{Level, Simd, Work};
use bytemuck::{Pod, Zeroable};

/// Columns of a unit.
pub const UNIT: usize = 32;

/// Vectors that a product takes at once: their sums, 64 bytes each, stay in the first cache, and weights are read and unpacked
/// once for all of them. Unmeasured.
pub const CHUNK: usize = 64;

/// 32 activations `x = scale * q`, on one cache line with all that products need of them.
#[derive(Clone, Copy, Default, Debug, PartialEq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Unit {
    /// Integers from -127 to 127.
    pub q: [i8; UNIT],
    /// The scale.
    pub scale: f32,
    /// The sum of `q`.
    pub sum: i32,
    /// The sum of each half of `q`.
    pub half_sums: [i32; 2],
    /// `scale * sum`
    pub scaled_sum: f32,
    /// `scale * half_sums`
    pub scaled_half_sums: [f32; 2],
    unused: u32,
}

/// How finely activations are rounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Rounding {
    /// To 8 bits.
    #[default]
    I8,
    /// To 8 bits, and what that leaves to 8 bits again: two vectors per token.
    I16,
}

impl Rounding {
    /// Vectors of integers per token.
    pub fn planes(self) -> usize {
        match self {
            Rounding::I8 => 1,
            Rounding::I16 => 2,
        }
    }
}

/// Rows of activations, rounded to integers with a scale for each 32 of them.
///
/// In memory: chunks of up to [`CHUNK`] vectors; in a chunk unit after unit; in a unit the vectors of the chunk.
#[derive(Default)]
pub struct Activations {
    units: Vec<Unit>,
    tokens: usize,
    cols: usize,
    rounding: Rounding,
}

impl Activations {
    /// Makes room for `tokens` rows of `cols` columns, a multiple of 32. Their values are unspecified
    /// until [`Activations::round`] fills them.
    pub fn reshape(&mut self, tokens: usize, cols: usize, rounding: Rounding) {
        assert!(cols.is_multiple_of(UNIT), "{cols} columns are not whole units of {UNIT}");
        (self.tokens, self.cols, self.rounding) = (tokens, cols, rounding);
        let n = tokens * rounding.planes() * (cols / UNIT);
        if self.units.len() < n {
            self.units.resize(n, Unit::default());
        }
    }

    /// Bytes of memory that it holds.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.units[..])
    }

    /// What [`Activations::bytes`] are after [`Activations::reshape`], of a new one.
    pub fn size(tokens: usize, cols: usize, rounding: Rounding) -> usize {
        tokens * rounding.planes() * (cols / UNIT) * size_of::<Unit>()
    }

    /// Number of rows.
    #[cfg(test)]
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Number of vectors of integers per token.
    pub fn planes(&self) -> usize {
        self.rounding.planes()
    }

    /// Takes `tokens` rows of activations, (tokens, cols).
    pub fn round(&mut self, level: Level, x: &[f32], tokens: usize, rounding: Rounding) {
        self.reshape(tokens, x.len() / tokens.max(1), rounding);
        level.run(Round { to: self, x });
    }

    /// The chunks: (first token, number of vectors, units).
    pub(super) fn chunks(&self) -> impl Iterator<Item = (usize, usize, &[Unit])> {
        let (n_units, vectors) = (self.cols / UNIT, self.tokens * self.planes());
        (0..vectors).step_by(CHUNK).map(move |start| {
            let width = CHUNK.min(vectors - start);
            (start / self.planes(), width, &self.units[start * n_units..][..width * n_units])
        })
    }
}

struct Round<'a> {
    to: &'a mut Activations,
    x: &'a [f32],
}

impl Work for Round<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Activations { units, tokens, cols, rounding } = self.to;
        let (n_units, planes) = (*cols / UNIT, rounding.planes());
        let vectors = *tokens * planes;
        for (i, x) in self.x.as_chunks::<UNIT>().0.iter().enumerate() {
            let (vector, u) = (i / n_units * planes, i % n_units);
            let first = vector / CHUNK * CHUNK; // of the chunk
            let width = CHUNK.min(vectors - first);
            let planes = &mut units[first * n_units + u * width + (vector - first)..][..planes];
            planes[0] = rounded(x);
            if let [first, second] = planes {
                let mut rest = *x;
                for i in 0..UNIT {
                    rest[i] -= first.scale * f32::from(first.q[i]);
                }
                *second = rounded(&rest);
            }
        }
    }
}

/// `q = round(x / scale)`, ties to even, with the scale that makes the largest |q| 127. A value that is not finite makes the scale
/// NaN, and with it all sums.
#[inline(always)]
fn rounded(x: &[f32; UNIT]) -> Unit {
    /// Added to a small number it leaves the nearest integer in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23
    let mut largest = [0.0f32; 16];
    let mut not_finite = [0.0f32; 16];
    for i in 0..UNIT {
        largest[i % 16] = largest[i % 16].max(x[i].abs());
        not_finite[i % 16] += x[i] * 0.0; // 0, or NaN
    }
    let largest = largest.into_iter().fold(0.0, f32::max);
    let not_finite: f32 = not_finite.iter().sum();
    let inverse = if largest > f32::MIN_POSITIVE { 127.0 / largest } else { 0.0 };
    let mut unit = Unit { scale: largest / 127.0 + not_finite, ..Unit::default() };
    for i in 0..UNIT {
        let q = (x[i] * inverse + ROUND).to_bits().wrapping_sub(ROUND.to_bits());
        unit.q[i] = q as i8;
    }
    for half in 0..2 {
        unit.half_sums[half] = unit.q[16 * half..][..16].iter().map(|q| i32::from(*q)).sum();
        unit.scaled_half_sums[half] = unit.scale * unit.half_sums[half] as f32;
    }
    unit.sum = unit.half_sums[0] + unit.half_sums[1];
    unit.scaled_sum = unit.scale * unit.sum as f32;
    unit
}
