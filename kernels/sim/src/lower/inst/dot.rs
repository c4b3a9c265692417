//! `dp4a` and `dp2a`: sums of products of bytes and halves.

use crate::error::At;
use crate::ir::*;
use crate::lower::context::Lower;
use crate::lower::modifiers::Mods;
use crate::lower::rows::*;
use crate::parse::ast::AstInst;
use crate::ty::Ty;

/// Byte `i` of `v`, extended as asked.
fn byte(v: u32, i: u32, signed: bool) -> i32 {
    let b = (v >> (8 * i)) as u8;
    if signed { i32::from(b as i8) } else { i32::from(b) }
}

fn half(v: u32, i: u32, signed: bool) -> i32 {
    let h = (v >> (16 * i)) as u16;
    if signed { i32::from(h as i16) } else { i32::from(h) }
}

macro_rules! dot {
    ($a_signed:literal, $b_signed:literal) => {
        w3!(|a, b, c| {
            let mut sum = c as i32;
            for i in 0..4 {
                sum = sum.wrapping_add(byte(a, i, $a_signed) * byte(b, i, $b_signed));
            }
            sum as u32
        })
    };
}

impl Lower<'_> {
    pub fn dot(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let high = m.take("hi");
        let low = m.take("lo");
        let (at, bt) = (m.ty()?, m.ty()?);
        let [dst, a, b, c] = self.args(i)?;
        let f: W3 = match (i.op[0].as_str(), at, bt) {
            ("dp4a", Ty::S32, Ty::S32) => dot!(true, true),
            ("dp4a", Ty::S32, Ty::U32) => dot!(true, false),
            ("dp4a", Ty::U32, Ty::S32) => dot!(false, true),
            ("dp4a", Ty::U32, Ty::U32) => dot!(false, false),
            ("dp2a", Ty::S32 | Ty::U32, Ty::S32 | Ty::U32) if high != low => {
                let imm = u32::from(at == Ty::S32) | u32::from(bt == Ty::S32) << 1 | u32::from(high) << 2;
                let f: Any = |a, b, c, imm| {
                    let first = if imm & 4 != 0 { 2 } else { 0 };
                    let mut sum = c as i32;
                    for i in 0..2 {
                        sum =
                            sum.wrapping_add(half(a as u32, i, imm & 1 != 0) * byte(b as u32, first + i, imm & 2 != 0));
                    }
                    u64::from(sum as u32)
                };
                let s = [Reg::W(self.w(a, at)?), Reg::W(self.w(b, bt)?), Reg::W(self.w(c, at)?)];
                let d = Reg::W(self.wd(dst)?);
                self.emit(Class::DotProduct, Op::Any { f, imm, d, s });
                return Ok(true);
            }
            _ => return m.unknown(),
        };
        let op = Op::W3 { f, d: self.wd(dst)?, a: self.w(a, at)?, b: self.w(b, bt)?, c: self.w(c, at)? };
        self.emit(Class::DotProduct, op);
        Ok(true)
    }
}
