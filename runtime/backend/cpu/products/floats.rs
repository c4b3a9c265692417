//! Products in f32, for the types that have none in integers.
//!
//! Floats are read where they are in the file; rows of other types are decoded first. A result is the sum of 16 partial sums, each over
//! every 16th column in order, by one FMA per column: the same at every level, for any number of tokens and rows in the call.

use super::simd::{Level, Simd, Work};
use crate::quant::{self, GgmlType};

/// Rows that are decoded at once.
pub const DECODED: usize = 4;

/// Tokens that are multiplied with all rows before the next ones: their values stay in the second cache. Unmeasured.
const TOKENS: usize = 24;

/// `out[t * stride + r] = sum_c w[r, c] * x[t, c]`.
///
/// `weights`: (rows, cols) in blocks of `ty`. `x`: (tokens, cols). `decoded`: room for [`DECODED`] rows of floats.
pub fn product(
    level: Level,
    (ty, cols): (GgmlType, usize),
    weights: &[u8],
    x: &[f32],
    decoded: &mut [f32],
    out: &mut [f32],
    stride: usize,
) {
    let row_bytes = cols / ty.block_size() as usize * ty.block_bytes() as usize;
    match ty {
        GgmlType::F32 => level.run(Product::<F32>::new(weights, row_bytes, x, cols, out, stride)),
        GgmlType::F16 => level.run(Product::<F16>::new(weights, row_bytes, x, cols, out, stride)),
        GgmlType::BF16 => level.run(Product::<BF16>::new(weights, row_bytes, x, cols, out, stride)),
        _ => {
            for (i, rows) in weights.chunks(DECODED * row_bytes).enumerate() {
                let decoded = &mut decoded[..rows.len() / row_bytes * cols];
                quant::decode(ty, rows, decoded);
                let (weights, out) = (bytemuck::cast_slice(decoded), &mut out[i * DECODED..]);
                level.run(Product::<F32>::new(weights, 4 * cols, x, cols, out, stride));
            }
        }
    }
}

/// A type of floats in a file.
trait Element {
    /// Bytes of 16 elements.
    type Sixteen: bytemuck::Pod;
    /// Elements of the rows of a part.
    fn load<S: Simd>(s: S, v: &Self::Sixteen, part: usize) -> S::Floats;
}

struct F32;
struct F16;
struct BF16;

impl Element for F32 {
    type Sixteen = [u8; 64];
    #[inline(always)]
    fn load<S: Simd>(s: S, v: &[u8; 64], part: usize) -> S::Floats {
        s.floats(v, part)
    }
}

impl Element for F16 {
    type Sixteen = [u8; 32];
    #[inline(always)]
    fn load<S: Simd>(s: S, v: &[u8; 32], part: usize) -> S::Floats {
        s.halves(v, part)
    }
}

impl Element for BF16 {
    type Sixteen = [u8; 32];
    #[inline(always)]
    fn load<S: Simd>(s: S, v: &[u8; 32], part: usize) -> S::Floats {
        s.upper_halves(v, part)
    }
}

struct Product<'a, E> {
    weights: &'a [u8],
    row_bytes: usize,
    x: &'a [f32],
    cols: usize,
    out: &'a mut [f32],
    stride: usize,
    element: std::marker::PhantomData<E>,
}

impl<'a, E: Element> Product<'a, E> {
    fn new(weights: &'a [u8], row_bytes: usize, x: &'a [f32], cols: usize, out: &'a mut [f32], stride: usize) -> Self {
        Product { weights, row_bytes, x, cols, out, stride, element: std::marker::PhantomData }
    }

    /// `R` rows from `r`, for `T` tokens from `t`. Returns the token after these.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const T: usize>(&mut self, s: S, r: usize, t: usize) -> usize {
        let mut sums = [[[s.float(0.0); 2]; T]; R]; // of at most two parts
        let n = self.cols / 16;
        let mut w: [&[E::Sixteen]; R] = [&[]; R];
        let mut x: [&[[u8; 64]]; T] = [&[]; T];
        for i in 0..R {
            w[i] = &whole(&self.weights[(r + i) * self.row_bytes..][..self.row_bytes])[..n];
        }
        for i in 0..T {
            x[i] = &whole(bytemuck::cast_slice(&self.x[(t + i) * self.cols..][..self.cols]))[..n];
        }
        for c in 0..n {
            for w in &w {
                s.prefetch(bytemuck::bytes_of(&w[c]).as_ptr(), R * self.row_bytes);
            }
            for part in 0..16 / S::ROWS {
                let mut values = [s.float(0.0); T];
                for j in 0..T {
                    values[j] = s.floats(&x[j][c], part);
                }
                for i in 0..R {
                    let w = E::load(s, &w[i][c], part);
                    for j in 0..T {
                        sums[i][j][part] = s.fma(w, values[j], sums[i][j][part]);
                    }
                }
            }
        }
        if !self.cols.is_multiple_of(16) {
            for i in 0..R {
                let w = tail(&self.weights[(r + i) * self.row_bytes..][..self.row_bytes]);
                for j in 0..T {
                    let x = tail(bytemuck::cast_slice(&self.x[(t + j) * self.cols..][..self.cols]));
                    for part in 0..16 / S::ROWS {
                        sums[i][j][part] = s.fma(E::load(s, &w, part), s.floats(&x, part), sums[i][j][part]);
                    }
                }
            }
        }
        for i in 0..R {
            for j in 0..T {
                let mut lanes = [0.0; 16];
                for part in 0..16 / S::ROWS {
                    s.store(sums[i][j][part], &mut lanes, part);
                }
                self.out[(t + j) * self.stride + r + i] = total(&lanes);
            }
        }
        t + T
    }

    /// `R` rows from `r`, for the tokens from `t` to `end`, at most `T` of 6, 4, 2 or 1 at a time.
    #[inline(always)]
    fn rows<S: Simd, const R: usize, const T: usize>(&mut self, s: S, r: usize, mut t: usize, end: usize) {
        while t < end {
            match end - t {
                6.. if T >= 6 => t = self.tile::<S, R, 6>(s, r, t),
                4.. if T >= 4 => t = self.tile::<S, R, 4>(s, r, t),
                2.. if T >= 2 => t = self.tile::<S, R, 2>(s, r, t),
                _ => t = self.tile::<S, R, 1>(s, r, t),
            }
        }
    }
}

/// The sum, in the order of a tree.
#[inline(always)]
fn total(lanes: &[f32; 16]) -> f32 {
    let mut sums = [0.0; 8];
    for i in 0..8 {
        sums[i] = lanes[i] + lanes[i + 8];
    }
    for i in 0..4 {
        sums[i] += sums[i + 4];
    }
    (sums[0] + sums[2]) + (sums[1] + sums[3])
}

/// A row without what does not fill 16 elements.
#[inline(always)]
fn whole<T: bytemuck::Pod>(row: &[u8]) -> &[T] {
    bytemuck::cast_slice(&row[..row.len() / size_of::<T>() * size_of::<T>()])
}

/// The rest of a row, filled up with zeros.
#[inline(always)]
fn tail<T: bytemuck::Pod>(row: &[u8]) -> T {
    let mut tail = T::zeroed();
    let rest = &row[row.len() / size_of::<T>() * size_of::<T>()..];
    bytemuck::bytes_of_mut(&mut tail)[..rest.len()].copy_from_slice(rest);
    tail
}

impl<E: Element> Work for Product<'_, E> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let rows = self.weights.len() / self.row_bytes;
        let tokens = self.x.len() / self.cols;
        for first in (0..tokens).step_by(TOKENS) {
            let end = tokens.min(first + TOKENS);
            let mut r = 0;
            while r + 4 <= rows {
                // Sums that the registers hold: 24 of 32 with 16 lanes, 8 of 16 or 32 with 8.
                match S::ROWS {
                    16 => self.rows::<S, 4, 6>(s, r, first, end),
                    _ => {
                        self.rows::<S, 2, 2>(s, r, first, end);
                        self.rows::<S, 2, 2>(s, r + 2, first, end);
                    }
                }
                r += 4;
            }
            while r < rows {
                self.rows::<S, 1, 4>(s, r, first, end);
                r += 1;
            }
        }
    }
}
