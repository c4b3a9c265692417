//! The block formats of GGML: one row of [`FORMATS`] per type, decoded to `f32` exactly as GGML defines them.
//!
//! Each format is a [`Block`]: a struct with the layout of the file, a plain loop that decodes it, the planes that it has in a
//! GPU's memory, and how a random block gets its scales. The layouts are the structs `block_*` of GGML's `ggml-common.h`, the
//! formulas those of `dequantize_row_*` in its `ggml-quants.c`. The loops are of fixed size so that the compiler vectorizes them;
//! they are the definition, and what the reference runs.

#[macro_use]
pub mod pack;
mod codebook;
pub mod grids;
pub mod integers;
mod k;
mod plain;
mod random;
mod table;

use bytemuck::Pod;
use multiversion::multiversion;

pub use crate::gguf::GgmlType;
pub use codebook::*;
use grids::Grid;
pub use k::*;
use pack::{Layout, Plane};
pub use plain::*;
pub use random::{Random, random_blocks, random_weights};
pub use table::*;

/// One block as it lies in the file. Alignment 1: a block may begin at any byte.
pub trait Block: Pod {
    /// The type, whose id, name and sizes are GGML's.
    const TY: GgmlType;
    /// `[f32; TY.block_size()]`
    type Values: Pod;
    /// Which bytes of the block lie together in a GPU's memory: each byte is in one plane. See [`pack`].
    const PLANES: &[Plane];
    /// The codebook that the block's quants index, if any.
    const GRID: Option<&Grid> = None;

    /// Writes every value of the block.
    fn decode(&self, out: &mut Self::Values);

    /// Makes of a block of random bytes one with finite values, whose magnitude is proportional to `scale` and of the order of 1
    /// where `scale` is 1. A type without scales writes its element.
    fn set_scales(&mut self, scale: f32, rng: &mut Random);
}

/// A tensor type that can be decoded.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// The type, whose id, name and sizes are GGML's.
    pub ty: GgmlType,
    /// How its blocks lie in a GPU's memory.
    pub layout: Layout,
    /// Decodes whole blocks: `blocks` (n * ty.block_bytes() bytes, any alignment), `out` (n * ty.block_size()).
    /// Panics if the two lengths disagree.
    pub decode: fn(blocks: &[u8], out: &mut [f32]),
    /// [`Block::set_scales`] for whole blocks.
    set_scales: fn(blocks: &mut [u8], scale: f32, rng: &mut Random),
}

/// Every tensor type that can be decoded. What else a type needs: a kernel's struct in `kernels/formats` and its row in
/// `types.cuh`, a decoder in `shaders/formats`, golden blocks in `tests/data/blocks`; a test names what is missing.
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
    let layout = Layout { ty: B::TY, planes: B::PLANES, grid: B::GRID };
    Format { ty: B::TY, layout, decode: decode_blocks::<B>, set_scales: set_scales::<B> }
}

/// The format of a tensor type; None if the type cannot be decoded.
pub fn format(ty: GgmlType) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.ty == ty)
}

/// Decodes whole blocks of `ty` to `out`, as [`Format::decode`].
///
/// # Panics
/// If the type cannot be decoded: ask [`format()`] first.
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

fn set_scales<B: Block>(blocks: &mut [u8], scale: f32, rng: &mut Random) {
    for block in bytemuck::cast_slice_mut::<u8, B>(blocks) {
        block.set_scales(scale, rng);
    }
}

/// A scale, an f16 with its low byte first, to `f32`. Exact.
///
/// The crate's conversion stays a call, so the compiler vectorizes inside a block. With one that it sees through it vectorizes over
/// blocks: Q4_0 then takes 0.34 ns a value instead of 0.09, Q4_1 0.34 instead of 0.11 (AMD EPYC with AVX2, 2026-11-25).
#[inline(always)]
fn f16_to_f32(bytes: [u8; 2]) -> f32 {
    half::f16::from_le_bytes(bytes).to_f32()
}
