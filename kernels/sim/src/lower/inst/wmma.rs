//! Matrices of `wmma`.

use super::memory::SPACES;
use crate::error::At;
use crate::ir::*;
use crate::lower::context::Lower;
use crate::lower::modifiers::Mods;
use crate::parse::ast::{Arg, AstInst};
use crate::ty::{Space, Ty};

/// Rows of A and D, columns of B and D, columns of A.
type Shape = [usize; 3];

const SHAPES: [(&str, Shape); 5] = [
    ("m16n16k16", [16, 16, 16]),
    ("m8n32k16", [8, 32, 16]),
    ("m32n8k16", [32, 8, 16]),
    ("m16n16k8", [16, 16, 8]),
    ("m8n8k4", [8, 8, 4]),
];

/// Which of the matrices of a product.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    A,
    B,
    /// C and D.
    Sum,
}

/// Whether a shape has multiplicands of this type.
fn multiplies(shape: Shape, ty: Ty) -> bool {
    match ty {
        Ty::F16 | Ty::BF16 | Ty::S8 | Ty::U8 => shape[2] == 16,
        Ty::Tf32 => shape[2] == 8,
        Ty::F64 => shape[2] == 4,
        _ => false,
    }
}

/// Whether products of elements of this type are summed in that one.
fn sums(ty: Ty, sum: Ty) -> bool {
    match ty {
        Ty::F16 => matches!(sum, Ty::F16 | Ty::F32),
        Ty::BF16 | Ty::Tf32 => sum == Ty::F32,
        Ty::S8 | Ty::U8 => sum == Ty::S32,
        _ => sum == ty,
    }
}

impl Lower<'_> {
    pub fn wmma(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        if i.op[0] != "wmma" {
            return Ok(false);
        }
        let action = m.one_of(&[("load", 0), ("store", 1), ("mma", 2)]);
        if !(m.take("sync") && m.take("aligned")) {
            return m.unknown();
        }
        match action {
            Some(0) => self.wmma_move(i, m, true),
            Some(1) => self.wmma_move(i, m, false),
            Some(2) => self.wmma_product(i, m),
            _ => m.unknown(),
        }
    }

    fn tile(&mut self, arg: &Arg, part: Part, [rows, cols, inner]: Shape, ty: Ty, dst: bool) -> Result<Tile, At> {
        let list: &[Arg] = match arg {
            Arg::List(list) => list,
            one => std::slice::from_ref(one),
        };
        let file = if ty == Ty::F64 { Ty::F64 } else { Ty::B32 };
        let mut regs = vec![];
        for arg in list {
            let reg = if dst { self.dst(arg, file)? } else { self.src(arg, file)? };
            regs.push(self.fits(arg, reg, file, false)?);
        }
        let (rows, cols) = match part {
            Part::A => (rows, inner),
            Part::B => (inner, cols),
            Part::Sum => (rows, cols),
        };
        let tile = Tile { rows, cols, ty, regs };
        if tile.has_its_registers(part != Part::Sum) { Ok(tile) } else { self.err("wmma: wrong number of registers") }
    }

    fn wmma_move(&mut self, i: &AstInst, m: &mut Mods, load: bool) -> Result<bool, At> {
        let part = m.one_of(&[("a", Part::A), ("b", Part::B), (if load { "c" } else { "d" }, Part::Sum)]);
        let layout = m.one_of(&[("row", false), ("col", true)]);
        let shape = m.one_of(&SHAPES);
        let space = m.one_of(&SPACES).unwrap_or(Space::Generic);
        let ty = m.ty()?;
        let (Some(part), Some(column_major), Some(shape)) = (part, layout, shape) else { return m.unknown() };
        let known = match part {
            Part::Sum => [Ty::F16, Ty::F32, Ty::S32, Ty::F64].contains(&ty),
            Part::A | Part::B => multiplies(shape, ty),
        };
        if !known || (part != Part::Sum && !load) {
            return m.unknown();
        }
        let (list, address, stride) = match (load, i.args.as_slice()) {
            (true, [list, address]) | (false, [address, list]) => (list, address, None),
            (true, [list, address, stride]) | (false, [address, list, stride]) => (list, address, Some(stride)),
            _ => return m.wrong_count(),
        };
        let stride = stride.map(|stride| self.w(stride, Ty::U32)).transpose()?;
        let tile = self.tile(list, part, shape, ty, load)?;
        let (addr, off) = self.addr(address)?;
        let op = Box::new(WmmaMove { tile, space, addr, off, column_major, stride });
        let class = match (space, load) {
            (Space::Shared, true) => Class::LoadShared,
            (Space::Shared, false) => Class::StoreShared,
            (_, true) => Class::LoadGlobal,
            (_, false) => Class::StoreGlobal,
        };
        self.emit(class, if load { Op::WmmaLoad(op) } else { Op::WmmaStore(op) });
        Ok(true)
    }

    fn wmma_product(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        // The layouts of A and B are those of their loads: in registers they are alike.
        for _ in 0..2 {
            if !(m.take("row") || m.take("col")) {
                return m.unknown();
            }
        }
        let Some(shape) = m.one_of(&SHAPES) else { return m.unknown() };
        let saturate = m.take("satfinite");
        m.take("rn");
        let mut types = vec![];
        while let Ok(ty) = m.ty() {
            types.push(ty);
        }
        let [d, a, b, c] = match types[..] {
            [d, c] => [d, Ty::F16, Ty::F16, c],
            [d, a, b, c] => [d, a, b, c],
            _ => return m.unknown(),
        };
        let alike = a == b || [a, b].iter().all(|ty| matches!(ty, Ty::S8 | Ty::U8));
        let known = alike && multiplies(shape, a) && sums(a, d) && sums(a, c);
        if !known || saturate && d == Ty::F64 {
            return m.unknown();
        }
        let [to, left, right, add] = self.args(i)?;
        let op = WmmaProduct {
            a: self.tile(left, Part::A, shape, a, false)?,
            b: self.tile(right, Part::B, shape, b, false)?,
            c: self.tile(add, Part::Sum, shape, c, false)?,
            d: self.tile(to, Part::Sum, shape, d, true)?,
            saturate,
        };
        self.emit(Class::Matrix, Op::Wmma(op.into()));
        Ok(true)
    }
}
