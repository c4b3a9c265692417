//! Weights repacked for the kernels: panels of 16 rows, whose bytes lie in the order in which the kernels read them.
//!
//! A panel has, for each unit of 32 columns, the quants of 16 rows in lines of 64 bytes, and for each block the scales of the 16 rows.
//! "Byte (k, r, i)" is the quant of column 4 k + i of the unit in row r, and stands in byte 4 r + i of a line:
//!
//! | bits | lines |
//! |---|---|
//! | 8 | line k has bytes k |
//! | 4 | line k (k < 4) has bytes k in the low halves, bytes k + 4 in the high halves |
//! | 2 | line h (h < 2) has bytes 4 h + j in bits 2 j and 2 j + 1 |
//! | 5, 3 | as 4 or 2; then a line with the highest bit of bytes k in bit k |
//! | 6 | as 4; then two lines as 2 with the two highest bits |
//!
//! The scales of a block, each for 16 rows: d (f16), m (f16), the scales of the groups, their minimums: those that the type has. So no
//! type takes more memory than in the file, but Q3_K 3.6%, Q4_K 2.8%, Q5_K 2.3% more, and TQ1_0, which becomes TQ2_0, 22%; and a last
//! panel of less than 16 rows is filled with zeros.

use super::kernel::{lines, low_bits, scale_bytes, units};
use super::simd::Line;
use crate::quant::integers::{Integers, Scales, Scaling};
use multiversion::multiversion;

/// Bytes of one byte of a unit for each of 16 rows: `[k][4 r + i]`.
type Canonical = [[u8; 64]; 8];

/// Packs up to 16 rows of `blocks_per_row` blocks. `quants`, `scales`: of one panel.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2"))]
pub fn pack<K: Integers>(rows: &[u8], blocks_per_row: usize, quants: &mut [Line], scales: &mut [u8]) {
    let blocks: &[K] = bytemuck::cast_slice(rows);
    let quants = quants.chunks_exact_mut(units::<K>() * lines::<K>());
    let scales = scales.chunks_exact_mut(scale_bytes::<K>());
    for (b, (quants, scales)) in quants.zip(scales).enumerate() {
        let block = |r: usize| blocks.get(r * blocks_per_row + b);
        let mut values = [<K::Quants as bytemuck::Zeroable>::zeroed(); 16];
        for (r, values) in values.iter_mut().enumerate() {
            if let Some(block) = block(r) {
                *values = block.quants();
                pack_scales::<K>(&block.scales(), r, scales);
            }
        }
        for (u, quants) in quants.chunks_exact_mut(lines::<K>()).enumerate() {
            let mut bytes: Canonical = [[0; 64]; 8];
            for (r, values) in values.iter().enumerate() {
                let unit: &[[u8; 4]] = bytemuck::cast_slice(&bytemuck::bytes_of(values)[32 * u..][..32]);
                for (k, bytes) in bytes.iter_mut().enumerate() {
                    bytes.as_chunks_mut().0[r] = unit[k];
                }
            }
            pack_quants::<K>(&bytes, quants);
        }
    }
}

#[inline(always)]
fn pack_quants<K: Integers>(bytes: &Canonical, out: &mut [Line]) {
    let low = low_bits::<K>();
    let (lows, highs) = out.split_at_mut(low);
    match low {
        8 => {
            for (line, bytes) in lows.iter_mut().zip(bytes) {
                line.0 = *bytes;
            }
        }
        4 => {
            for (k, line) in lows.iter_mut().enumerate() {
                for i in 0..64 {
                    line.0[i] = bytes[k][i] & 15 | bytes[k + 4][i] << 4;
                }
            }
        }
        _ => pack_pairs(bytes, 0, lows),
    }
    match highs.len() {
        0 => {}
        1 => {
            for i in 0..64 {
                highs[0].0[i] = (0..8).fold(0, |line, k| line | (bytes[k][i] >> low & 1) << k);
            }
        }
        _ => pack_pairs(bytes, low, highs),
    }
}

/// Bits `from` and `from + 1` of all bytes in two lines.
#[inline(always)]
fn pack_pairs(bytes: &Canonical, from: usize, out: &mut [Line]) {
    for (line, bytes) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
        for i in 0..64 {
            line.0[i] = (0..4).fold(0, |line, j| line | (bytes[j][i] >> from & 3) << (2 * j));
        }
    }
}

/// The scales of row `r` among those of a block of 16 rows.
#[inline(always)]
fn pack_scales<K: Integers>(block: &Scales, r: usize, out: &mut [u8]) {
    let mut half = |i: usize, v: [u8; 2]| out[16 * i..][2 * r..][..2].copy_from_slice(&v);
    let first = match K::SCALING {
        Scaling::Exponent | Scaling::Float8 => 0,
        Scaling::Block | Scaling::Groups(_) => {
            half(0, block.d);
            2
        }
        Scaling::BlockMin | Scaling::GroupsMin | Scaling::NibblesMin => {
            half(0, block.d);
            half(2, block.m);
            4
        }
    };
    let bytes = out[16 * first..].chunks_exact_mut(16);
    let n = if K::SCALING == Scaling::GroupsMin { units::<K>() } else { bytes.len() };
    for (bytes, byte) in bytes.zip(block.scales[..n].iter().chain(&block.mins)) {
        bytes[r] = *byte;
    }
}
