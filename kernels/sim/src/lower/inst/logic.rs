//! Logic, shifts and selections.

use crate::error::At;
use crate::ir::*;
use crate::lower::context::Lower;
use crate::lower::modifiers::Mods;
use crate::lower::rows::*;
use crate::parse::ast::{Arg, AstInst};
use crate::ty::Ty;

/// `b` above `a`: the 64 bits from which a funnel shift takes 32.
fn joined(a: u32, b: u32) -> u64 {
    u64::from(b) << 32 | u64::from(a)
}

impl Lower<'_> {
    pub fn logic(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        match i.op[0].as_str() {
            "and" | "or" | "xor" | "not" | "cnot" => self.bitwise(i, m),
            "lop3" => self.lop3(i, m),
            "shl" | "shr" => self.shift(i, m),
            "shf" => self.funnel_shift(i, m),
            "selp" => self.select(i, m),
            "slct" => self.select_by_sign(i, m),
            "mov" => self.mov(i, m),
            _ => self.bits(i, m),
        }
    }

    fn bitwise(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let ty = m.ty()?;
        let name = i.op[0].as_str();
        if matches!(name, "not" | "cnot") {
            let [d, a] = self.args(i)?;
            let op = match (name, ty.size(), ty) {
                ("not", _, Ty::Pred) => {
                    let a = self.p(a)?;
                    Op::Pred { f: |a, _| !a, d: self.pd(d)?, a, b: a }
                }
                ("not", 8, _) => Op::D1 { f: d1!(|a| !a), d: self.dd(d)?, a: self.d(a, ty)? },
                ("not", 4, _) => Op::W1 { f: w1!(|a| !a), d: self.wd(d)?, a: self.w(a, ty)? },
                ("not", ..) => Op::W1 { f: w1!(|a| !a & 0xffff), d: self.wd(d)?, a: self.w(a, ty)? },
                (_, 8, _) => Op::D1 { f: d1!(|a| u64::from(a == 0)), d: self.dd(d)?, a: self.d(a, ty)? },
                _ => Op::W1 { f: w1!(|a| u32::from(a == 0)), d: self.wd(d)?, a: self.w(a, ty)? },
            };
            self.emit(if ty == Ty::Pred { Class::Predicate } else { Class::Integer }, op);
            return Ok(true);
        }
        let [d, a, b] = self.args(i)?;
        type Fs = (fn(u32, u32) -> u32, W2, D2);
        let (p, w, q): Fs = match name {
            "and" => (|a, b| a & b, w2!(|a, b| a & b), d2!(|a, b| a & b)),
            "or" => (|a, b| a | b, w2!(|a, b| a | b), d2!(|a, b| a | b)),
            _ => (|a, b| a ^ b, w2!(|a, b| a ^ b), d2!(|a, b| a ^ b)),
        };
        let op = match (ty, ty.size()) {
            (Ty::Pred, _) => Op::Pred { f: p, a: self.p(a)?, b: self.p(b)?, d: self.pd(d)? },
            (_, 8) => Op::D2 { f: q, d: self.dd(d)?, a: self.d(a, ty)?, b: self.d(b, ty)? },
            _ => Op::W2 { f: w, d: self.wd(d)?, a: self.w(a, ty)?, b: self.w(b, ty)? },
        };
        self.emit(if ty == Ty::Pred { Class::Predicate } else { Class::Integer }, op);
        Ok(true)
    }

    /// Any function of three bits, by its table.
    fn lop3(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        if m.ty()? != Ty::B32 {
            return m.unknown();
        }
        let [d, a, b, c, Arg::Int(lut @ 0..=255)] = self.args(i)? else {
            return self.err("lop3 without a table from 0 to 255");
        };
        let (d, a, b, c) = (self.wd(d)?, self.w(a, Ty::B32)?, self.w(b, Ty::B32)?, self.w(c, Ty::B32)?);
        let f: Option<W3> = match *lut as u8 {
            0xea => Some(w3!(|a, b, c| (a & b) | c)),
            0xf8 => Some(w3!(|a, b, c| a | (b & c))),
            0x96 => Some(w3!(|a, b, c| a ^ b ^ c)),
            0x6a => Some(w3!(|a, b, c| (a & b) ^ c)),
            0xca => Some(w3!(|a, b, c| (a & b) | (!a & c))),
            _ => None,
        };
        let op = match f {
            Some(f) => Op::W3 { f, d, a, b, c },
            None => Op::Lop3 { lut: *lut as u8, d, a, b, c },
        };
        self.emit(Class::Integer, op);
        Ok(true)
    }

    /// Shifts by at least the width yield zeros, or copies of the sign.
    fn shift(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let ty = m.ty()?;
        let [d, a, b] = self.args(i)?;
        let left = i.op[0] == "shl";
        let op = if ty.size() == 8 {
            let f: fn(&Row64, &Row, &mut Row64) = match (left, ty.signed()) {
                (true, _) => mixed!((a: Row64, b: Row) -> Row64, if b > 63 { 0 } else { a << b }),
                (false, true) => {
                    mixed!((a: Row64, b: Row) -> Row64, ((a as i64) >> b.min(63)) as u64)
                }
                (false, false) => {
                    mixed!((a: Row64, b: Row) -> Row64, if b > 63 { 0 } else { a >> b })
                }
            };
            Op::Shift64 { f, d: self.dd(d)?, a: self.d(a, ty)?, b: self.w(b, Ty::U32)? }
        } else {
            let f: W2 = match (left, ty.signed(), ty.size()) {
                (true, _, 4) => w2!(|a, b| if b > 31 { 0 } else { a << b }),
                (true, ..) => w2!(|a, b| if b > 15 { 0 } else { (a << b) & 0xffff }),
                (false, true, 4) => w2!(|a, b| ((a as i32) >> b.min(31)) as u32),
                (false, true, _) => w2!(|a, b| (i32::from(a as i16) >> b.min(15)) as u32 & 0xffff),
                (false, false, _) => w2!(|a, b| if b > 31 { 0 } else { a >> b }),
            };
            Op::W2 { f, d: self.wd(d)?, a: self.w(a, ty)?, b: self.w(b, Ty::U32)? }
        };
        self.emit(Class::Integer, op);
        Ok(true)
    }

    /// `shf`: 32 bits of two registers side by side.
    fn funnel_shift(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let wrap = m.take("wrap");
        if !wrap && !m.take("clamp") {
            return m.unknown();
        }
        let right = m.take("r");
        if !right && !m.take("l") || m.ty()? != Ty::B32 {
            return m.unknown();
        }
        let f: W3 = match (right, wrap) {
            (true, true) => w3!(|a, b, c| (joined(a, b) >> (c & 31)) as u32),
            (true, false) => w3!(|a, b, c| (joined(a, b) >> c.min(32)) as u32),
            (false, true) => w3!(|a, b, c| ((joined(a, b) << (c & 31)) >> 32) as u32),
            (false, false) => w3!(|a, b, c| ((joined(a, b) << c.min(32)) >> 32) as u32),
        };
        self.three(i, Class::Integer, f, [Ty::B32; 3])
    }

    fn select(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let ty = m.ty()?;
        let [d, a, b, p] = self.args(i)?;
        let p = self.p(p)?;
        let op = if ty.size() == 8 {
            Op::SelD { d: self.dd(d)?, a: self.d(a, ty)?, b: self.d(b, ty)?, p }
        } else {
            Op::SelW { d: self.wd(d)?, a: self.w(a, ty)?, b: self.w(b, ty)?, p }
        };
        self.emit(Class::Move, op);
        Ok(true)
    }

    fn select_by_sign(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let ftz = m.take("ftz");
        let ty = m.ty()?;
        let c = m.ty()?;
        let f: Any = match (c, ftz) {
            (Ty::S32, false) => |a, b, c, _| if c as i32 >= 0 { a } else { b },
            (Ty::F32, _) => |a, b, c, _| {
                if f32::from_bits(c as u32) >= 0.0 { a } else { b }
            },
            _ => return m.unknown(),
        };
        self.any(i, Class::Move, f, 0, ty, [ty, ty, c])
    }
}
