//! How weights lie in a GPU's memory: the pieces of each block apart, in planes of aligned words, 16 bytes where a unit has as many.
//!
//! A block of the file mixes a scale of two bytes with 16 bytes of quants, so nothing after the first block is aligned. Here
//! plane `p` of a tensor holds bytes `planes[p].bytes` of block 0, then of block 1, and so on, row after row. The order of the
//! bits inside a piece stays GGML's: `word & 0x0f0f0f0f` of a Q4_0 word is four consecutive weights.
//!
//! Types without blocks (F32, F16, BF16) lie in units of 32 elements, rows padded with zeros to whole units, so that kernels
//! meet no ragged rows.

use super::GgmlType;
use std::ops::Range;

/// Elements of a unit of the types without blocks. Every block is a whole number of units.
pub const UNIT: u64 = 32;

/// One plane: the same bytes of every block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plane {
    /// The name of the shader binding that reads it.
    pub name: &'static str,
    /// Which bytes of the block (or unit).
    pub bytes: Range<usize>,
}

/// How tensors of one type lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    pub ty: GgmlType,
    pub planes: &'static [Plane],
}

const fn plane(name: &'static str, bytes: Range<usize>) -> Plane {
    Plane { name, bytes }
}

/// Every type that has a layout. The comments give the block of the file.
pub static LAYOUTS: [Layout; 26] = [
    Layout { ty: GgmlType::F32, planes: &[plane("elements", 0..128)] },
    Layout { ty: GgmlType::F16, planes: &[plane("elements", 0..64)] },
    Layout { ty: GgmlType::BF16, planes: &[plane("elements", 0..64)] },
    // d: f16, qs: 32 nibbles
    Layout { ty: GgmlType::Q4_0, planes: &[plane("quants", 2..18), plane("scales", 0..2)] },
    // d, m: f16, qs: 32 nibbles
    Layout { ty: GgmlType::Q4_1, planes: &[plane("quants", 4..20), plane("scales", 0..4)] },
    // d: f16, qh: 32 bits, qs: 32 nibbles
    Layout { ty: GgmlType::Q5_0, planes: &[plane("quants", 6..22), plane("highs", 2..6), plane("scales", 0..2)] },
    // d, m: f16, qh: 32 bits, qs: 32 nibbles
    Layout { ty: GgmlType::Q5_1, planes: &[plane("quants", 8..24), plane("highs", 4..8), plane("scales", 0..4)] },
    // d: f16, qs: 32 bytes
    Layout { ty: GgmlType::Q8_0, planes: &[plane("quants", 2..34), plane("scales", 0..2)] },
    // scales: 16 pairs of nibbles, qs: 256 pairs of bits, d, dmin: f16
    Layout { ty: GgmlType::Q2_K, planes: &[plane("quants", 16..80), plane("scales", 0..16), plane("supers", 80..84)] },
    // hmask: 256 bits, qs: 256 pairs of bits, scales: 12 bytes, d: f16
    Layout {
        ty: GgmlType::Q3_K,
        planes: &[plane("quants", 32..96), plane("highs", 0..32), plane("scales", 96..108), plane("supers", 108..110)],
    },
    // d, dmin: f16, scales: 12 bytes (together one 16-byte word), qs: 256 nibbles
    Layout { ty: GgmlType::Q4_K, planes: &[plane("quants", 16..144), plane("scales", 0..16)] },
    // d, dmin: f16, scales: 12 bytes (together one 16-byte word), qh: 256 bits, qs: 256 nibbles
    Layout { ty: GgmlType::Q5_K, planes: &[plane("quants", 48..176), plane("highs", 16..48), plane("scales", 0..16)] },
    // ql: 256 nibbles, qh: 256 pairs of bits, scales: 16 bytes, d: f16
    Layout {
        ty: GgmlType::Q6_K,
        planes: &[
            plane("quants", 0..128),
            plane("highs", 128..192),
            plane("scales", 192..208),
            plane("supers", 208..210),
        ],
    },
    // d: f16, qs: 32 nibbles
    Layout { ty: GgmlType::IQ4_NL, planes: &[plane("quants", 2..18), plane("scales", 0..2)] },
    // d: f16, scales_h: 2 bytes, scales_l: 4 bytes (together one 8-byte word), qs: 256 nibbles
    Layout { ty: GgmlType::IQ4_XS, planes: &[plane("quants", 8..136), plane("scales", 0..8)] },
    // d: f16, qs: 64 bytes, qh: 64 bits and signs: 256 bits (together ten words), scales: 8 nibbles
    Layout {
        ty: GgmlType::IQ3_S,
        planes: &[plane("quants", 2..66), plane("highs", 66..106), plane("scales", 106..110), plane("supers", 0..2)],
    },
    // d: f16, qs: 64 bytes, a word of signs and scale per unit
    Layout { ty: GgmlType::IQ3_XXS, planes: &[plane("quants", 2..66), plane("scales", 66..98), plane("supers", 0..2)] },
    // d: f16, qs: 32 bytes and signs: 256 bits (together four 16-byte words), qh: 64 bits and scales: 16 nibbles (one)
    Layout { ty: GgmlType::IQ2_S, planes: &[plane("quants", 2..66), plane("scales", 66..82), plane("supers", 0..2)] },
    // d: f16, qs: 32 times 9 bits and seven signs, scales: 16 nibbles
    Layout { ty: GgmlType::IQ2_XS, planes: &[plane("quants", 2..66), plane("scales", 66..74), plane("supers", 0..2)] },
    // d: f16, qs: per unit 4 bytes, and a word of signs and scale
    Layout { ty: GgmlType::IQ2_XXS, planes: &[plane("quants", 2..66), plane("supers", 0..2)] },
    // qs: 32 bytes, qh: 32 nibbles, scales: 16 times 3 bits and the 16 of d, 16 bits per two units
    Layout { ty: GgmlType::IQ1_M, planes: &[plane("quants", 0..32), plane("highs", 32..48), plane("scales", 48..56)] },
    // d: f16, qs: 32 bytes, qh: 16 bits per unit
    Layout { ty: GgmlType::IQ1_S, planes: &[plane("quants", 2..34), plane("highs", 34..50), plane("supers", 0..2)] },
    // qs: 256 pairs of bits, d: f16
    Layout { ty: GgmlType::TQ2_0, planes: &[plane("quants", 0..64), plane("supers", 64..66)] },
    // qs: 48 bytes of five digits, qh: 4 bytes of four, d: f16
    Layout { ty: GgmlType::TQ1_0, planes: &[plane("quants", 0..48), plane("highs", 48..52), plane("supers", 52..54)] },
    // e: a byte, qs: 32 nibbles
    Layout { ty: GgmlType::MXFP4, planes: &[plane("quants", 1..17), plane("scales", 0..1)] },
    // d: 4 bytes, qs: 64 nibbles
    Layout { ty: GgmlType::NVFP4, planes: &[plane("quants", 4..36), plane("scales", 0..4)] },
];

/// The layout of a tensor type, if it has one.
pub fn layout(ty: GgmlType) -> Option<&'static Layout> {
    LAYOUTS.iter().find(|l| l.ty == ty)
}

/// Elements of a row of `cols` with its padding: a whole number of units.
pub fn padded(cols: u64) -> u64 {
    cols.next_multiple_of(UNIT)
}

impl Layout {
    /// Elements of a block, or of a unit of the types without blocks.
    pub fn block_size(&self) -> u64 {
        self.ty.block_size().max(UNIT)
    }

    /// Bytes of a block (or unit) as the file has it.
    fn block_bytes(&self) -> usize {
        (self.block_size() / self.ty.block_size() * self.ty.block_bytes()) as usize
    }

    /// Blocks of a row of `cols` elements.
    pub fn blocks_per_row(&self, cols: u64) -> u64 {
        cols.div_ceil(self.block_size())
    }

    /// Bytes of plane `p` of a tensor of `rows` rows of `cols` elements.
    pub fn plane_bytes(&self, p: usize, rows: u64, cols: u64) -> u64 {
        rows * self.blocks_per_row(cols) * self.planes[p].bytes.len() as u64
    }

    /// Appends plane `p` of some rows of the file to `out`. `rows`: a whole number of rows of `cols` elements.
    pub fn pack(&self, p: usize, rows: &[u8], cols: u64, out: &mut Vec<u8>) {
        let row_bytes = (cols / self.ty.block_size() * self.ty.block_bytes()) as usize;
        let bytes = &self.planes[p].bytes;
        if bytes.len() == self.block_bytes() && row_bytes.is_multiple_of(self.block_bytes()) {
            return out.extend_from_slice(rows); // the file's own layout
        }
        for row in rows.chunks_exact(row_bytes) {
            let blocks = row.chunks_exact(self.block_bytes());
            let tail = blocks.remainder();
            blocks.for_each(|block| out.extend_from_slice(&block[bytes.clone()]));
            if !tail.is_empty() {
                out.extend_from_slice(tail);
                out.resize(out.len() + self.block_bytes() - tail.len(), 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_planes_of_a_layout_hold_every_byte_of_the_block_once() {
        for layout in &LAYOUTS {
            let mut seen: Vec<usize> = layout.planes.iter().flat_map(|p| p.bytes.clone()).collect();
            seen.sort();
            assert_eq!(seen, (0..layout.block_bytes()).collect::<Vec<_>>(), "{}", layout.ty.name());
        }
    }

    #[test]
    fn packing_separates_quants_from_scales() {
        let blocks: Vec<u8> = (0..36).collect(); // two blocks of Q4_0: bytes 0..18 and 18..36
        let layout = layout(GgmlType::Q4_0).expect("Q4_0 has a layout");
        let (mut quants, mut scales) = (vec![], vec![]);
        layout.pack(0, &blocks, 32, &mut quants);
        layout.pack(1, &blocks, 32, &mut scales);
        assert_eq!(quants, [&blocks[2..18], &blocks[20..36]].concat());
        assert_eq!(scales, [0, 1, 18, 19]);
        assert_eq!(quants.len() as u64, layout.plane_bytes(0, 2, 32));
    }

    #[test]
    fn rows_without_blocks_are_padded_with_zeros() {
        let rows: Vec<u8> = (0..2 * 33 * 2).map(|i| i as u8 | 1).collect(); // two rows of 33 halves
        let layout = layout(GgmlType::F16).expect("F16 has a layout");
        let mut packed = vec![];
        layout.pack(0, &rows, 33, &mut packed);
        assert_eq!(packed.len() as u64, layout.plane_bytes(0, 2, 33));
        assert_eq!(packed[..66], rows[..66]);
        assert_eq!(packed[66..128], [0; 62]);
        assert_eq!(packed[128..128 + 66], rows[66..]);
    }
}
