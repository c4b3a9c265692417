//! The two sides of a product: rows of weights, and rows of activations.

use super::products::{self, Activations, Level, Packed, ROWS, Rounding, UNIT};
use crate::quant::GgmlType;
use bytes::Bytes;
use std::ops::Range;

/// A matrix of weights as products read it.
pub enum Weights {
    /// Repacked for products of integers.
    Packed(Packed),
    /// As in the file: floats are read there, rows of other types decoded where they are used.
    Mapped {
        /// Its type.
        ty: GgmlType,
        /// Elements of a row.
        cols: usize,
        /// All rows.
        bytes: Bytes,
    },
}

impl Weights {
    /// The `rows` rows of `cols` elements in `bytes`, repacked if that is wanted and the type has products of integers.
    pub fn new(ty: GgmlType, rows: usize, cols: usize, bytes: Bytes, repack: bool) -> Weights {
        match repack.then(|| Packed::new(ty, rows, cols, &bytes)).flatten() {
            Some(packed) => Weights::Packed(packed),
            None => Weights::Mapped { ty, cols, bytes },
        }
    }

    /// Bytes that it takes beside the file.
    pub fn bytes(&self) -> usize {
        match self {
            Weights::Packed(packed) => packed.bytes(),
            Weights::Mapped { .. } => 0,
        }
    }

    /// What [`Weights::bytes`] of such a matrix are if it is repacked. None if the type has no products of integers.
    pub fn size(ty: GgmlType, rows: usize, cols: usize) -> Option<usize> {
        Packed::size(ty, rows, cols)
    }

    /// `out[t, r - range.start] = sum_c w[r, c] * x[t, c]` for the rows `r` of `range`, which begins at a multiple of [`ROWS`] and ends at one
    /// or at the last row.
    ///
    /// `out`: (tokens, range.len()). `decoded`: room for [`products::DECODED`] rows of
    /// weights.
    pub fn product(&self, level: Level, range: Range<usize>, x: &Block, decoded: &mut [f32], out: &mut [f32]) {
        let n = range.len();
        match self {
            Weights::Packed(packed) => {
                let panels = range.start / ROWS..range.end.div_ceil(ROWS);
                packed.product(level, panels, &x.rounded, &mut |tile| {
                    let first = tile.row - range.start;
                    for (t, sums) in (tile.token..).zip(tile.sums) {
                        out[t * n + first..][..tile.rows].copy_from_slice(&sums[..tile.rows]);
                    }
                });
            }
            Weights::Mapped { ty, cols, bytes } => {
                let row_bytes = cols / ty.block_size() as usize * ty.block_bytes() as usize;
                let rows = &bytes[range.start * row_bytes..range.end * row_bytes];
                products::float_product(level, (*ty, *cols), rows, &x.plain, decoded, out, n);
            }
        }
    }
}

/// Rows of activations, as the weights of a stage need them.
#[derive(Default)]
pub struct Block {
    tokens: usize,
    /// For weights that are decoded: (tokens, cols).
    plain: Vec<f32>,
    rounded: Activations,
}

/// What weights multiply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Needs {
    /// Values as they are.
    pub plain: bool,
    /// Values rounded to integers.
    pub rounded: Option<Rounding>,
}

impl Needs {
    /// What `weights` multiply together.
    pub fn of<'a>(weights: impl Iterator<Item = &'a Weights>, rounding: Rounding) -> Needs {
        weights.fold(Needs::default(), |needs, weights| match weights {
            Weights::Packed(_) => Needs { rounded: Some(rounding), ..needs },
            Weights::Mapped { .. } => Needs { plain: true, ..needs },
        })
    }
}

impl Block {
    /// Room for `tokens` rows of `cols` elements.
    pub fn new(tokens: usize, cols: usize, needs: Needs) -> Block {
        let mut block = Block::default();
        if needs.plain {
            block.plain.reserve_exact(tokens * cols);
        }
        if let Some(rounding) = needs.rounded {
            block.rounded.reshape(tokens, cols.next_multiple_of(UNIT), rounding);
        }
        block
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<f32>() * self.plain.capacity() + self.rounded.bytes()
    }

    /// What [`Block::bytes`] of a new one are.
    pub fn size(tokens: usize, cols: usize, needs: Needs) -> usize {
        let plain = if needs.plain { size_of::<f32>() * tokens * cols } else { 0 };
        let cols = cols.next_multiple_of(UNIT);
        plain + needs.rounded.map_or(0, |rounding| Activations::size(tokens, cols, rounding))
    }

    /// Takes `x`, (tokens, cols).
    pub fn fill(&mut self, level: Level, needs: Needs, x: &[f32], tokens: usize) {
        self.tokens = tokens;
        if needs.plain {
            self.plain.clear();
            self.plain.extend_from_slice(x);
        }
        if let Some(rounding) = needs.rounded {
            self.rounded.round(level, x, tokens, rounding);
        }
    }

    /// Number of rows.
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}
