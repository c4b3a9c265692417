//! The two sides of a product: rows of weights, and rows of activations.

use super::products::{Activations, Level, Packed, ROWS, Rounding, UNIT};
use super::vector;
use crate::quant::{self, GgmlType};
use bytes::Bytes;
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::ops::Range;

/// A matrix of weights as products read it.
pub enum Weights {
    /// Repacked for products of integers.
    Packed(Packed),
    /// As in the file: each row is decoded where it is used.
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
    /// The `rows` rows of `cols` elements in `bytes`, repacked if the type has products of integers.
    pub fn new(ty: GgmlType, rows: usize, cols: usize, bytes: Bytes) -> Weights {
        match Packed::new(ty, rows, cols, &bytes) {
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

    /// What [`Weights::bytes`] of such a matrix are.
    pub fn size(ty: GgmlType, rows: usize, cols: usize) -> usize {
        Packed::size(ty, rows, cols).unwrap_or(0)
    }

    /// Whether products of the type are of rounded activations.
    pub fn rounds(ty: GgmlType) -> bool {
        Packed::size(ty, 0, 0).is_some()
    }

    /// `out[t, r - range.start] = sum_c w[r, c] * x[t, c]` for the rows `r` of `range`, which begins at a multiple of [`ROWS`] and ends at one
    /// or at the last row.
    ///
    /// `out`: (tokens, range.len()). `row`: room for a row of weights.
    pub fn product(&self, level: Level, range: Range<usize>, x: &Block, row: &mut [f32], out: &mut [f32]) {
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
                for (i, r) in range.enumerate() {
                    let w = decoded(*ty, &bytes[r * row_bytes..][..row_bytes], &mut row[..*cols]);
                    vector::dots(w, &x.plain, &mut out[i..], n);
                }
            }
        }
    }
}

/// The values of a row: those in `bytes`, or decoded to `row`.
fn decoded<'a>(ty: GgmlType, bytes: &'a [u8], row: &'a mut [f32]) -> &'a [f32] {
    match ty {
        GgmlType::F32 => {
            if let Ok(values) = bytemuck::try_cast_slice(bytes) {
                return values;
            }
            quant::decode(ty, bytes, row);
        }
        GgmlType::F16 => match bytemuck::try_cast_slice::<u8, f16>(bytes) {
            Ok(values) => values.convert_to_f32_slice(row),
            Err(_) => quant::decode(ty, bytes, row),
        },
        _ => quant::decode(ty, bytes, row),
    }
    row
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
    pub rounded: bool,
}

impl Needs {
    /// What `weights` multiply together.
    pub fn of<'a>(weights: impl Iterator<Item = &'a Weights>) -> Needs {
        weights.fold(Needs::default(), |needs, weights| match weights {
            Weights::Packed(_) => Needs { rounded: true, ..needs },
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
        if needs.rounded {
            block.rounded.reshape(tokens, cols.next_multiple_of(UNIT), Rounding::I8);
        }
        block
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<f32>() * self.plain.capacity() + self.rounded.bytes()
    }

    /// Takes `x`, (tokens, cols).
    pub fn fill(&mut self, level: Level, needs: Needs, x: &[f32], tokens: usize) {
        self.tokens = tokens;
        if needs.plain {
            self.plain.clear();
            self.plain.extend_from_slice(x);
        }
        if needs.rounded {
            self.rounded.round(level, x, tokens, Rounding::I8);
        }
    }

    /// Number of rows.
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}
