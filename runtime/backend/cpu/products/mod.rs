//! Products of weights with activations: weights repacked for the kernels, activations rounded to 8-bit integers, integer dot products
//! in the vector instructions that the processor has.
//!
//! [`Packed`] holds the weights of one tensor, [`Activations`] the rows that they multiply. [`Packed::product`] computes panels of 16
//! rows: any thread may take any panel, and the result is the same.

#![allow(clippy::needless_range_loop, reason = "indices name rows, lanes and registers of several arrays at once")]

mod activations;
mod floats;
mod kernel;
mod memory;
mod pack;
mod simd;

pub use activations::{Activations, CHUNK, Rounding, UNIT};
pub use floats::{DECODED, product as float_product};
pub use simd::{Level, Simd, Work};

use crate::quant::integers::Integers;
use crate::quant::{self, GgmlType};
use kernel::{Panel, Product};
use memory::Memory;
use rayon::prelude::*;
use simd::Line;
use std::ops::Range;

/// Rows of a panel.
pub const ROWS: usize = 16;

/// The kernels of a type.
struct Kernels {
    ty: GgmlType,
    /// Columns of a block.
    block: usize,
    /// Lines of quants of a block of 16 rows.
    lines: usize,
    /// Bytes of scales of a block of 16 rows.
    scale_bytes: usize,
    pack: fn(rows: &[u8], blocks_per_row: usize, quants: &mut [Line], scales: &mut [u8]),
    product: fn(Level, Panel),
}

/// The types whose products are of integers.
static KERNELS: [Kernels; 16] = [
    kernels::<quant::Q4_0>(),
    kernels::<quant::Q4_1>(),
    kernels::<quant::Q5_0>(),
    kernels::<quant::Q5_1>(),
    kernels::<quant::Q8_0>(),
    kernels::<quant::Q2_K>(),
    kernels::<quant::Q3_K>(),
    kernels::<quant::Q4_K>(),
    kernels::<quant::Q5_K>(),
    kernels::<quant::Q6_K>(),
    kernels::<quant::IQ4_NL>(),
    kernels::<quant::IQ4_XS>(),
    kernels::<quant::MXFP4>(),
    kernels::<quant::NVFP4>(),
    kernels::<quant::TQ1_0>(),
    kernels::<quant::TQ2_0>(),
];

const fn kernels<K: Integers>() -> Kernels {
    Kernels {
        ty: K::TY,
        block: K::TY.block_size() as usize,
        lines: kernel::units::<K>() * kernel::lines::<K>(),
        scale_bytes: kernel::scale_bytes::<K>(),
        pack: pack::pack::<K>,
        product: |level, panel| match panel.sums.len() {
            1 => level.run(Product::<K, true>::new(panel)),
            _ => level.run(Product::<K, false>::new(panel)),
        },
    }
}

/// A tensor of weights, repacked.
pub struct Packed {
    kernels: &'static Kernels,
    rows: usize,
    cols: usize,
    quants: Memory,
    scales: Memory,
}

/// Results of 16 rows of weights, fewer in the last panel, for some tokens.
pub struct Tile<'a> {
    /// The first row of weights.
    pub row: usize,
    /// Number of rows of weights: at most 16.
    pub rows: usize,
    /// The first token.
    pub token: usize,
    /// (tokens, 16): the first `rows` of each are results.
    pub sums: &'a [[f32; ROWS]],
}

impl Packed {
    /// Repacks a tensor of `rows` rows of `cols` columns, with the threads of the current pool of rayon. None if the type has no kernel
    /// of integers.
    pub fn new(ty: GgmlType, rows: usize, cols: usize, weights: &[u8]) -> Option<Packed> {
        let kernels = KERNELS.iter().find(|kernels| kernels.ty == ty)?;
        let blocks = cols / kernels.block;
        let (panels, row_bytes) = (rows.div_ceil(ROWS), blocks * ty.block_bytes() as usize);
        assert_eq!(weights.len(), rows * row_bytes, "{ty}: bytes of {rows} rows of {cols}");
        let mut quants = Memory::zeroed(panels * blocks * kernels.lines);
        let mut scales = Memory::zeroed((panels * blocks * kernels.scale_bytes).div_ceil(size_of::<Line>()));
        let scale_bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut scales);
        let panels =
            quants.par_chunks_mut(blocks * kernels.lines).zip(scale_bytes.par_chunks_mut(blocks * kernels.scale_bytes));
        panels.zip(weights.par_chunks(ROWS * row_bytes)).for_each(|((quants, scales), rows)| {
            (kernels.pack)(rows, blocks, quants, scales);
        });
        Some(Packed { kernels, rows, cols, quants, scales })
    }

    /// Bytes of memory that it holds.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.quants[..]) + size_of_val(&self.scales[..])
    }

    /// What [`Packed::bytes`] of such a tensor are. None if the type has no kernel of integers.
    pub fn size(ty: GgmlType, rows: usize, cols: usize) -> Option<usize> {
        let kernels = KERNELS.iter().find(|kernels| kernels.ty == ty)?;
        let blocks = rows.div_ceil(ROWS) * (cols / kernels.block);
        let scales = (blocks * kernels.scale_bytes).next_multiple_of(size_of::<Line>());
        Some(blocks * kernels.lines * size_of::<Line>() + scales)
    }

    /// The products of some panels with all tokens of `x`. `out` receives each panel's results for some tokens at a time.
    pub fn product(&self, level: Level, panels: Range<usize>, x: &Activations, out: &mut dyn FnMut(Tile)) {
        assert_eq!(x.cols(), self.cols, "columns of activations and of weights");
        let blocks = self.cols / self.kernels.block;
        let (lines, scale_bytes) = (blocks * self.kernels.lines, blocks * self.kernels.scale_bytes);
        let mut sums = [[0.0; ROWS]; CHUNK];
        for panel in panels {
            let quants = &self.quants[panel * lines..][..lines];
            let scales = &bytemuck::cast_slice(&self.scales)[panel * scale_bytes..][..scale_bytes];
            let row = panel * ROWS;
            for (token, vectors, x_units) in x.chunks() {
                (self.kernels.product)(level, Panel { quants, scales, x: x_units, sums: &mut sums[..vectors] });
                let tokens = vectors / x.planes();
                if x.planes() == 2 {
                    for t in 0..tokens {
                        for r in 0..ROWS {
                            sums[t][r] = sums[2 * t][r] + sums[2 * t + 1][r];
                        }
                    }
                }
                out(Tile { row, rows: ROWS.min(self.rows - row), token, sums: &sums[..tokens] });
            }
        }
    }
}

#[cfg(test)]
mod tests;
