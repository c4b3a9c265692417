//! How weights lie in a GPU's memory: in planes of aligned words, of 16 bytes where a unit has that many.
//!
//! A block of the file mixes a scale of two bytes with 16 bytes of quants, so nothing after the first block is aligned. Here
//! plane `p` of a tensor holds bytes `planes[p].bytes` of block 0, then of block 1, and so on, row after row. The order of the
//! bits inside a plane stays GGML's: `word & 0x0f0f0f0f` of a Q4_0 word is four consecutive weights.
//!
//! Types without blocks (F32, F16, BF16) lie in units of 32 elements. Their rows are padded with zeros to whole units, so that
//! kernels read whole units only.

use super::GgmlType;
use super::grids::Grid;
use std::ops::Range;

/// Elements of a unit of the types without blocks. Every block is a whole number of units.
pub const UNIT: u64 = 32;

/// What a plane holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlaneKind {
    /// The elements, of types without blocks.
    Elements,
    /// Quants: integers that scales multiply, or indices of a table or codebook; all of their bits, or the low ones.
    Quants,
    /// The high bits of quants, and what lies among them.
    Highs,
    /// Scales of a block, or of groups inside it.
    Scales,
    /// Scales of the scales.
    Supers,
}

impl PlaneKind {
    /// The name of the WGSL binding that reads it.
    pub const fn binding(self) -> &'static str {
        match self {
            PlaneKind::Elements => "elements",
            PlaneKind::Quants => "quants",
            PlaneKind::Highs => "highs",
            PlaneKind::Scales => "scales",
            PlaneKind::Supers => "supers",
        }
    }
}

/// One plane: the same bytes of every block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plane {
    /// What it holds.
    pub kind: PlaneKind,
    /// Which bytes of the block (or unit).
    pub bytes: Range<usize>,
}

impl Plane {
    /// The plane of a type without blocks, whose elements are `T`.
    pub const fn elements<T>() -> Plane {
        Plane { kind: PlaneKind::Elements, bytes: 0..UNIT as usize * size_of::<T>() }
    }
}

/// In `impl Block`: `plane!(Scales: d..qs)` is the plane of the fields from `d` up to, not including, `qs`;
/// `plane!(Quants: qs..)` that of the fields from `qs` to the last.
macro_rules! plane {
    ($kind:ident: $from:ident..) => {
        plane!($kind, $from, size_of::<Self>())
    };
    ($kind:ident: $from:ident..$to:ident) => {
        plane!($kind, $from, std::mem::offset_of!(Self, $to))
    };
    ($kind:ident, $from:ident, $end:expr) => {
        $crate::quant::pack::Plane {
            kind: $crate::quant::pack::PlaneKind::$kind,
            bytes: std::mem::offset_of!(Self, $from)..$end,
        }
    };
}

/// How tensors of one type lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The type.
    pub ty: GgmlType,
    /// Each byte of a block (or unit) is in one of them.
    pub planes: &'static [Plane],
    /// The codebook that the quants index, if any.
    pub grid: Option<&'static Grid>,
}

/// The layout of a tensor type; None if the type cannot be decoded.
pub fn layout(ty: GgmlType) -> Option<&'static Layout> {
    super::format(ty).map(|format| &format.layout)
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
    use crate::quant::{FORMATS, Format};

    #[test]
    fn the_planes_of_a_layout_hold_every_byte_of_the_block_once() {
        for Format { layout, .. } in &FORMATS {
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
