//! The block formats of GGML: one row of [`FORMATS`] per type, decoded to `f32` exactly as GGML defines them.
//!
//! Each format is a [`Block`]: a struct with the layout of the file and a plain loop. The loops are fixed-size so that the
//! compiler vectorizes them; they are the reference and also what the CPU backend runs.

mod fp4;
pub mod grids;
mod iq;
mod iq1;
mod iq4;
mod k;
pub mod pack;
mod random;
mod simple;
mod ternary;

use bytemuck::Pod;
use multiversion::multiversion;

pub use crate::gguf::GgmlType;
pub use fp4::{MXFP4, NVFP4};
pub use iq::{IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS};
pub use iq1::{IQ1_M, IQ1_S};
pub use iq4::{IQ4_NL, IQ4_XS};
pub use k::{Q2_K, Q3_K, Q4_K, Q5_K, Q6_K};
pub use random::{Random, random_blocks, random_weights};
pub use simple::{BF16, F16, F32, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub use ternary::{TQ1_0, TQ2_0};

/// One block as it lies in the file. Alignment 1: a block may begin at any byte.
pub trait Block: Pod {
    const TY: GgmlType;
    /// `[f32; TY.block_size()]`
    type Values: Pod;

    /// Writes every value of the block.
    fn decode(&self, out: &mut Self::Values);
}

/// A tensor type that can be decoded.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    pub ty: GgmlType,
    /// Decodes whole blocks: `blocks` (n * ty.block_bytes() bytes, any alignment), `out` (n * ty.block_size()).
    /// Panics if the two lengths disagree.
    pub decode: fn(blocks: &[u8], out: &mut [f32]),
}

/// Every tensor type that can be decoded.
pub static FORMATS: [Format; 26] = [
    row::<F32>(),
    row::<F16>(),
    row::<BF16>(),
    row::<Q4_0>(),
    row::<Q4_1>(),
    row::<Q5_0>(),
    row::<Q5_1>(),
    row::<Q8_0>(),
    row::<Q2_K>(),
    row::<Q3_K>(),
    row::<Q4_K>(),
    row::<Q5_K>(),
    row::<Q6_K>(),
    row::<IQ4_NL>(),
    row::<IQ4_XS>(),
    row::<IQ3_S>(),
    row::<IQ3_XXS>(),
    row::<IQ2_S>(),
    row::<IQ2_XS>(),
    row::<IQ2_XXS>(),
    row::<IQ1_M>(),
    row::<IQ1_S>(),
    row::<TQ2_0>(),
    row::<TQ1_0>(),
    row::<MXFP4>(),
    row::<NVFP4>(),
];

const fn row<B: Block>() -> Format {
    assert!(align_of::<B>() == 1);
    assert!(size_of::<B>() as u64 == B::TY.block_bytes());
    assert!(size_of::<B::Values>() as u64 == B::TY.block_size() * size_of::<f32>() as u64);
    Format { ty: B::TY, decode: decode_blocks::<B> }
}

/// The format of a tensor type; None if the type cannot be decoded.
pub fn format(ty: GgmlType) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.ty == ty)
}

/// Decodes whole blocks of `ty` to `out`, as [`Format::decode`].
///
/// # Panics
/// If the type cannot be decoded: ask [`format`] first.
pub fn decode(ty: GgmlType, blocks: &[u8], out: &mut [f32]) {
    let format = format(ty).unwrap_or_else(|| panic!("no decoder for {}", ty.name()));
    (format.decode)(blocks, out);
}

#[multiversion(targets("x86_64+avx2"))]
fn decode_blocks<B: Block>(blocks: &[u8], out: &mut [f32]) {
    let blocks: &[B] = bytemuck::cast_slice(blocks);
    let out: &mut [B::Values] = bytemuck::cast_slice_mut(out);
    let (n_blocks, room) = (blocks.len(), out.len());
    assert!(n_blocks == room, "{}: {n_blocks} blocks, room for the values of {room}", B::TY);
    for (block, out) in blocks.iter().zip(out) {
        block.decode(out);
    }
}

/// An IEEE half, little-endian, to `f32`. Exact; no branch, so it vectorizes.
#[inline(always)]
fn f16_to_f32(half: [u8; 2]) -> f32 {
    let half = u32::from(u16::from_le_bytes(half));
    let (sign, magnitude) = ((half & 0x8000) << 16, half & 0x7fff);
    // Moved to its place in an f32 the exponent is 127 - 15 too small; the product also normalizes subnormals.
    let finite = f32::from_bits(magnitude << 13) * f32::from_bits((127 + 127 - 15) << 23);
    let special = 0x7f80_0000 | magnitude << 13; // infinity or NaN
    f32::from_bits(sign | if magnitude < 0x7c00 { finite.to_bits() } else { special })
}

#[cfg(test)]
mod tests {
    use super::f16_to_f32;

    #[test]
    fn every_half_converts_exactly() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (f16_to_f32(bits.to_le_bytes()), half::f16::from_bits(bits).to_f32());
            let same = if theirs.is_nan() { ours.is_nan() } else { ours.to_bits() == theirs.to_bits() };
            assert!(same, "half {bits:#06x}: {ours} expected {theirs}");
        }
    }
}
