//! Matrix products: weights as they lie in memory, activations as they are multiplied.

use crate::backend::reference::dot;
use crate::quant::{self, GgmlType};
use bytes::Bytes;
use std::ops::Range;

/// Ranges of rows begin at a multiple of this.
pub const ROW_GROUP: usize = 16;

/// A matrix, (rows, cols).
pub struct Packed {
    ty: GgmlType,
    rows: usize,
    cols: usize,
    bytes: Bytes,
}

impl Packed {
    /// Takes `rows` rows of `cols` elements in blocks of `ty`.
    pub fn new(ty: GgmlType, rows: usize, cols: usize, bytes: Bytes) -> Packed {
        Packed { ty, rows, cols, bytes }
    }

    /// Bytes that [`Packed::new`] allocates; 0 where it reads the file's bytes.
    pub fn size(_ty: GgmlType, _rows: usize, _cols: usize) -> u64 {
        0
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// `out[t, r - range.start] = sum_c w[r, c] * x[t, c]` for the rows `r` of `range`, which begins at a multiple of [`ROW_GROUP`].
    ///
    /// `out`: (x.tokens(), range.len()).
    pub fn product(&self, range: Range<usize>, x: &Activations, out: &mut [f32]) {
        let row_bytes = self.cols / self.ty.block_size() as usize * self.ty.block_bytes() as usize;
        let (first, n) = (range.start, range.len());
        let mut row = vec![0.0; self.cols];
        for r in range {
            quant::decode(self.ty, &self.bytes[r * row_bytes..][..row_bytes], &mut row);
            for (t, x) in x.values.chunks_exact(self.cols).enumerate() {
                out[t * n + r - first] = dot(&row, x);
            }
        }
    }
}

/// Rows of activations, ready to be multiplied.
#[derive(Default)]
pub struct Activations {
    values: Vec<f32>,
    cols: usize,
}

impl Activations {
    /// Takes `x`, (tokens, cols).
    pub fn prepare(&mut self, x: &[f32], cols: usize) {
        self.values.clear();
        self.values.extend_from_slice(x);
        self.cols = cols;
    }

    /// Number of rows.
    pub fn tokens(&self) -> usize {
        self.values.len() / self.cols.max(1)
    }
}
