//! Products and products with sums: `mul`, `mad`, `mul24`, `mad24`, `dp4a`, `dp2a`.

use super::int::s16;
use crate::error::At;
use crate::ir::*;
use crate::lower::context::Lower;
use crate::lower::modifiers::Mods;
use crate::lower::rows::*;
use crate::parse::ast::{Arg, AstInst};
use crate::ty::Ty;

/// Which part of a product the instruction takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Low,
    High,
    /// The product has twice the bits of the operands.
    Wide,
}

fn low24(v: u32) -> u64 {
    u64::from(v & 0xff_ffff)
}

fn signed24(v: u32) -> i64 {
    i64::from((v << 8) as i32 >> 8)
}

/// Products of 32 bits to 64.
fn wide(a: u32, b: u32) -> u64 {
    u64::from(a) * u64::from(b)
}

fn signed_wide(a: u32, b: u32) -> u64 {
    (i64::from(a as i32) * i64::from(b as i32)) as u64
}

/// The upper half of products of 64 bits.
fn high64(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 64) as u64
}

fn signed_high64(a: u64, b: u64) -> u64 {
    ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64
}

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
    pub fn multiply(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let part = m.one_of(&[("lo", Part::Low), ("hi", Part::High), ("wide", Part::Wide)]);
        let Some(part) = part else { return m.unknown() };
        let ty = m.ty()?;
        let mad = i.op[0].starts_with("mad");
        let bits24 = i.op[0].ends_with("24");
        if bits24 && (ty.size() != 4 || part == Part::Wide) || !ty.integer() {
            return m.unknown();
        }
        let (d, a, b, c) = match i.args.as_slice() {
            [d, a, b] if !mad => (d, a, b, None),
            [d, a, b, c] if mad => (d, a, b, Some(c)),
            _ => return m.wrong_count(),
        };
        let op = match (part, ty.size()) {
            (Part::Wide, 4) => self.multiply_wide([d, a, b], c, ty)?,
            (_, 8) => match self.multiply64([d, a, b], c, ty, part)? {
                Some(op) => op,
                None => return m.unknown(),
            },
            _ => match product(bits24, part, ty) {
                Some(product) => self.multiply32([d, a, b], c, ty, part, product, bits24)?,
                None => return m.unknown(),
            },
        };
        self.emit(Class::Integer, op);
        Ok(true)
    }

    /// 32-bit factors, a 64-bit product and sum.
    fn multiply_wide(&mut self, [d, a, b]: [&Arg; 3], c: Option<&Arg>, ty: Ty) -> Result<Op, At> {
        let (d, a, b) = (self.dd(d)?, self.w(a, ty)?, self.w(b, ty)?);
        let c = c.map(|c| self.d(c, Ty::B64)).transpose()?;
        Ok(match (ty.signed(), c) {
            (true, None) => Op::Wide2 { f: mixed!((a: Row, b: Row) -> Row64, signed_wide(a, b)), d, a, b },
            (false, None) => Op::Wide2 { f: mixed!((a: Row, b: Row) -> Row64, wide(a, b)), d, a, b },
            (true, Some(c)) => {
                let f = mixed!((a: Row, b: Row, c: Row64) -> Row64, signed_wide(a, b).wrapping_add(c));
                Op::Wide3 { f, d, a, b, c }
            }
            (false, Some(c)) => {
                let f = mixed!((a: Row, b: Row, c: Row64) -> Row64, wide(a, b).wrapping_add(c));
                Op::Wide3 { f, d, a, b, c }
            }
        })
    }

    /// 64-bit factors; `None` for a product of 128 bits.
    fn multiply64(&mut self, [d, a, b]: [&Arg; 3], c: Option<&Arg>, ty: Ty, part: Part) -> Result<Option<Op>, At> {
        let (d, a, b) = (self.dd(d)?, self.d(a, ty)?, self.d(b, ty)?);
        let c = c.map(|c| self.d(c, ty)).transpose()?;
        let (two, three): (D2, D3) = match (part, ty.signed()) {
            (Part::Low, _) => (d2!(|a, b| a.wrapping_mul(b)), d3!(|a, b, c| a.wrapping_mul(b).wrapping_add(c))),
            (Part::High, true) => (d2!(|a, b| signed_high64(a, b)), d3!(|a, b, c| signed_high64(a, b).wrapping_add(c))),
            (Part::High, false) => (d2!(|a, b| high64(a, b)), d3!(|a, b, c| high64(a, b).wrapping_add(c))),
            (Part::Wide, _) => return Ok(None),
        };
        Ok(Some(match c {
            None => Op::D2 { f: two, d, a, b },
            Some(c) => Op::D3 { f: three, d, a, b, c },
        }))
    }

    /// Factors of up to 32 bits, a product of up to 32 bits.
    fn multiply32(
        &mut self,
        [d, a, b]: [&Arg; 3],
        c: Option<&Arg>,
        ty: Ty,
        part: Part,
        product: W2,
        bits24: bool,
    ) -> Result<Op, At> {
        let (d, a, b) = (self.wd(d)?, self.w(a, ty)?, self.w(b, ty)?);
        let Some(c) = c else {
            return Ok(Op::W2 { f: product, d, a, b });
        };
        let wide16 = part == Part::Wide;
        let c = self.w(c, if wide16 { Ty::B32 } else { ty })?;
        if part == Part::Low && ty.size() == 4 && !bits24 {
            return Ok(Op::W3 { f: w3!(|a, b, c| a.wrapping_mul(b).wrapping_add(c)), d, a, b, c });
        }
        // Rare forms: the product goes into a register of its own, then the sum is formed.
        let t = self.new_w()?;
        self.emit(Class::Integer, Op::W2 { f: product, d: t, a, b });
        let f: W2 = if ty.size() == 2 && !wide16 {
            w2!(|a, b| a.wrapping_add(b) & 0xffff)
        } else {
            w2!(|a, b| a.wrapping_add(b))
        };
        Ok(Op::W2 { f, d, a: t, b: c })
    }

    /// `dp4a` and `dp2a`: `c` plus a sum of products of bytes, or of halves and bytes.
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

/// The product of two values of up to 32 bits.
fn product(bits24: bool, part: Part, ty: Ty) -> Option<W2> {
    Some(match (bits24, part, ty) {
        (false, Part::Low, Ty::U32 | Ty::S32) => w2!(|a, b| a.wrapping_mul(b)),
        (false, Part::High, Ty::U32) => w2!(|a, b| (wide(a, b) >> 32) as u32),
        (false, Part::High, Ty::S32) => w2!(|a, b| (signed_wide(a, b) >> 32) as u32),
        (true, Part::Low, Ty::U32) => w2!(|a, b| (low24(a) * low24(b)) as u32),
        (true, Part::Low, Ty::S32) => w2!(|a, b| (signed24(a) * signed24(b)) as u32),
        (true, Part::High, Ty::U32) => w2!(|a, b| ((low24(a) * low24(b)) >> 16) as u32),
        (true, Part::High, Ty::S32) => w2!(|a, b| ((signed24(a) * signed24(b)) >> 16) as u32),
        (false, Part::Low, Ty::U16 | Ty::S16) => w2!(|a, b| a.wrapping_mul(b) & 0xffff),
        (false, Part::High, Ty::U16) => w2!(|a, b| a.wrapping_mul(b) >> 16),
        (false, Part::High, Ty::S16) => w2!(|a, b| (s16(a) * s16(b)) as u32 >> 16),
        (false, Part::Wide, Ty::U16) => w2!(|a, b| a.wrapping_mul(b)),
        (false, Part::Wide, Ty::S16) => w2!(|a, b| (s16(a) * s16(b)) as u32),
        _ => return None,
    })
}
