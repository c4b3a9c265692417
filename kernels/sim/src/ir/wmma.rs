//! `wmma`: matrices that are spread over the lanes of a warp in a way that only `wmma` knows.

use super::{LANES, R, Reg};
use crate::ty::{Space, Ty};

/// A matrix in the registers of a warp. Its elements are numbered row by row, and each lane has the same number of consecutive ones, in
/// the order of its registers; where the registers have room for more, the matrix is repeated.
#[derive(Debug)]
pub(crate) struct Tile {
    pub rows: usize,
    pub cols: usize,
    pub ty: Ty,
    pub regs: Vec<Reg>,
}

impl Tile {
    /// Elements of one register.
    pub fn per_register(&self) -> usize {
        if self.ty == Ty::F64 { 1 } else { 4 / self.ty.size() as usize }
    }

    /// The row and the column of element `e` of register `i` of a lane.
    pub fn place(&self, lane: usize, i: usize, e: usize) -> (usize, usize) {
        let of_lane = self.regs.len() * self.per_register();
        let number = (lane * of_lane + i * self.per_register() + e) % (self.rows * self.cols);
        (number / self.cols, number % self.cols)
    }

    /// Registers that the PTX ISA prescribes: one element of each lane at least, 16 for multiplicands in f16.
    pub fn has_its_registers(&self, multiplicand: bool) -> bool {
        let elements = if multiplicand && self.ty == Ty::F16 { 512 } else { self.rows * self.cols };
        self.regs.len() == elements / LANES / self.per_register()
    }
}

/// `wmma.load` and `wmma.store`.
#[derive(Debug)]
pub(crate) struct WmmaMove {
    pub tile: Tile,
    pub space: Space,
    pub addr: Reg,
    pub off: i64,
    pub column_major: bool,
    /// Elements from the beginning of a row to the next, or of a column. None: they follow each other.
    pub stride: Option<R>,
}

/// `wmma.mma`: `d = a b + c`.
#[derive(Debug)]
pub(crate) struct WmmaProduct {
    pub a: Tile,
    pub b: Tile,
    pub c: Tile,
    pub d: Tile,
    pub saturate: bool,
}
