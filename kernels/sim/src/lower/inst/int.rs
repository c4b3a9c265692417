//! Integer arithmetic: PTX ISA, "Integer Arithmetic Instructions" and "Extended-Precision Integer Arithmetic".
//!
//! 16-bit values lie zero-extended in 32-bit rows.

use crate::error::At;
use crate::ir::*;
use crate::lower::context::Lower;
use crate::lower::modifiers::Mods;
use crate::lower::rows::*;
use crate::parse::ast::AstInst;
use crate::ty::Ty;

/// Sign extension of the low 16 bits.
pub(super) fn s16(v: u32) -> i32 {
    v as u16 as i16 as i32
}

/// `f` on the two signed halves of each row.
fn signed_halves(a: u32, b: u32, f: fn(i32, i32) -> i32) -> u32 {
    let high = f(s16(a >> 16), s16(b >> 16)) as u32;
    (f(s16(a), s16(b)) as u32 & 0xffff) | (high << 16)
}

/// The functions of two operands of 16 bits whose results differ from those of zero-extended 32 bits.
///
/// Division by zero is unspecified in PTX; the hardware's sequence yields all ones, and the dividend as remainder.
fn arithmetic16(name: &str, signed: bool) -> Option<W2> {
    Some(match (name, signed) {
        ("add", _) => w2!(|a, b| a.wrapping_add(b) & 0xffff),
        ("sub", _) => w2!(|a, b| a.wrapping_sub(b) & 0xffff),
        ("min", true) => w2!(|a, b| if s16(a) < s16(b) { a } else { b }),
        ("max", true) => w2!(|a, b| if s16(a) > s16(b) { a } else { b }),
        ("div", true) => w2!(|a, b| if s16(b) == 0 { 0xffff } else { (s16(a) / s16(b)) as u32 & 0xffff }),
        ("rem", true) => w2!(|a, b| if s16(b) == 0 { a } else { (s16(a) % s16(b)) as u32 & 0xffff }),
        ("div", false) => w2!(|a, b| a.checked_div(b).unwrap_or(0xffff)),
        _ => return None,
    })
}

/// The functions of two operands of 32 bits, and of 64.
fn arithmetic(name: &str, signed: bool) -> Option<(W2, D2)> {
    Some(match (name, signed) {
        ("add", _) => (w2!(|a, b| a.wrapping_add(b)), d2!(|a, b| a.wrapping_add(b))),
        ("sub", _) => (w2!(|a, b| a.wrapping_sub(b)), d2!(|a, b| a.wrapping_sub(b))),
        ("min", true) => (w2!(|a, b| (a as i32).min(b as i32) as u32), d2!(|a, b| (a as i64).min(b as i64) as u64)),
        ("max", true) => (w2!(|a, b| (a as i32).max(b as i32) as u32), d2!(|a, b| (a as i64).max(b as i64) as u64)),
        ("min", false) => (w2!(|a, b| a.min(b)), d2!(|a, b| a.min(b))),
        ("max", false) => (w2!(|a, b| a.max(b)), d2!(|a, b| a.max(b))),
        ("div", true) => (
            w2!(|a, b| if b == 0 { u32::MAX } else { (a as i32).wrapping_div(b as i32) as u32 }),
            d2!(|a, b| if b == 0 { u64::MAX } else { (a as i64).wrapping_div(b as i64) as u64 }),
        ),
        ("rem", true) => (
            w2!(|a, b| if b == 0 { a } else { (a as i32).wrapping_rem(b as i32) as u32 }),
            d2!(|a, b| if b == 0 { a } else { (a as i64).wrapping_rem(b as i64) as u64 }),
        ),
        ("div", false) => {
            (w2!(|a, b| a.checked_div(b).unwrap_or(u32::MAX)), d2!(|a, b| a.checked_div(b).unwrap_or(u64::MAX)))
        }
        ("rem", false) => (w2!(|a, b| a.checked_rem(b).unwrap_or(a)), d2!(|a, b| a.checked_rem(b).unwrap_or(a))),
        _ => return None,
    })
}

/// Functions of two packed pairs of 16-bit integers.
fn packed(name: &str, ty: Ty) -> Option<W2> {
    Some(match (name, ty) {
        ("add", _) => w2!(|a, b| (a & 0x7fff_7fff).wrapping_add(b & 0x7fff_7fff) ^ ((a ^ b) & 0x8000_8000)),
        ("min", Ty::U16x2) => w2!(|a, b| (a & 0xffff).min(b & 0xffff) | ((a >> 16).min(b >> 16) << 16)),
        ("max", Ty::U16x2) => w2!(|a, b| (a & 0xffff).max(b & 0xffff) | ((a >> 16).max(b >> 16) << 16)),
        ("min", _) => w2!(|a, b| signed_halves(a, b, i32::min)),
        ("max", _) => w2!(|a, b| signed_halves(a, b, i32::max)),
        _ => return None,
    })
}

impl Lower<'_> {
    pub fn integer(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let name = i.op[0].as_str();
        match name {
            "add" | "sub" | "mul" | "min" | "max" | "abs" | "neg" | "div" => {
                if i.op[1..].iter().any(|w| Ty::parse(w).is_some_and(Ty::float)) {
                    return Ok(false);
                }
            }
            "mad" if i.op[1..].iter().any(|w| w == "f32" || w == "f64") => return Ok(false),
            "mad" | "mul24" | "mad24" | "rem" | "sad" | "dp4a" | "dp2a" | "addc" | "subc" | "madc" => {}
            _ => return Ok(false),
        }
        let carry = m.take("cc");
        match name {
            "addc" | "subc" | "madc" => self.carry(i, m, carry),
            _ if carry => self.carry(i, m, carry),
            "dp4a" | "dp2a" => self.dot(i, m),
            "mul" | "mad" | "mul24" | "mad24" => self.multiply(i, m),
            _ => self.basic(i, m),
        }
    }

    /// Arithmetic without carry, by the type of the operands.
    fn basic(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let name = i.op[0].as_str();
        let sat = m.take("sat");
        let ty = m.ty()?;
        if ty.size() == 1 || ty == Ty::Pred {
            return m.unknown();
        }
        if sat {
            let f: W2 = match (name, ty) {
                ("add", Ty::S32) => w2!(|a, b| (a as i32).saturating_add(b as i32) as u32),
                ("sub", Ty::S32) => w2!(|a, b| (a as i32).saturating_sub(b as i32) as u32),
                _ => return m.unknown(),
            };
            return self.two(i, Class::Integer, f, ty);
        }
        if let Ty::U16x2 | Ty::S16x2 = ty {
            let Some(f) = packed(name, ty) else { return m.unknown() };
            return self.two(i, Class::Integer, f, ty);
        }
        match name {
            "abs" | "neg" => self.abs_or_neg(i, ty),
            "sad" => self.sum_of_difference(i, m, ty),
            _ => self.arithmetic(i, m, ty),
        }
    }

    fn arithmetic(&mut self, i: &AstInst, m: &Mods, ty: Ty) -> Result<bool, At> {
        let name = i.op[0].as_str();
        if ty.size() == 2
            && let Some(f) = arithmetic16(name, ty.signed())
        {
            return self.two(i, Class::Integer, f, ty);
        }
        let Some((w, f)) = arithmetic(name, ty.signed()) else { return m.unknown() };
        if ty.size() < 8 {
            return self.two(i, Class::Integer, w, ty);
        }
        let [d, a, b] = self.args(i)?;
        let op = Op::D2 { f, d: self.dd(d)?, a: self.d(a, ty)?, b: self.d(b, ty)? };
        self.emit(Class::Integer, op);
        Ok(true)
    }

    fn abs_or_neg(&mut self, i: &AstInst, ty: Ty) -> Result<bool, At> {
        let [d, a] = self.args(i)?;
        let neg = i.op[0] == "neg";
        let op = if ty.size() == 8 {
            let f = if neg { d1!(|a| a.wrapping_neg()) } else { d1!(|a| (a as i64).wrapping_abs() as u64) };
            Op::D1 { f, d: self.dd(d)?, a: self.d(a, ty)? }
        } else {
            let f = match (neg, ty.size()) {
                (true, 2) => w1!(|a| a.wrapping_neg() & 0xffff),
                (true, _) => w1!(|a| a.wrapping_neg()),
                (false, 2) => w1!(|a| s16(a).wrapping_abs() as u32 & 0xffff),
                (false, _) => w1!(|a| (a as i32).wrapping_abs() as u32),
            };
            Op::W1 { f, d: self.wd(d)?, a: self.w(a, ty)? }
        };
        self.emit(Class::Integer, op);
        Ok(true)
    }

    /// `sad`: `c + |a - b|`.
    fn sum_of_difference(&mut self, i: &AstInst, m: &Mods, ty: Ty) -> Result<bool, At> {
        let [d, a, b, c] = self.args(i)?;
        let f: Any = match ty {
            Ty::S16 => |a, b, c, _| ((s16(a as u32).abs_diff(s16(b as u32))).wrapping_add(c as u32) & 0xffff).into(),
            Ty::S32 => |a, b, c, _| (a as i32).abs_diff(b as i32).wrapping_add(c as u32).into(),
            Ty::S64 => |a, b, c, _| (a as i64).abs_diff(b as i64).wrapping_add(c),
            Ty::U16 => |a, b, c, _| a.abs_diff(b).wrapping_add(c) & 0xffff,
            Ty::U32 => |a, b, c, _| u64::from((a as u32).abs_diff(b as u32).wrapping_add(c as u32)),
            Ty::U64 => |a, b, c, _| a.abs_diff(b).wrapping_add(c),
            _ => return m.unknown(),
        };
        let s = [self.src(a, ty)?, self.src(b, ty)?, self.src(c, ty)?];
        let d = self.dst(d, ty)?;
        self.emit(Class::Integer, Op::Any { f, imm: 0, d, s });
        Ok(true)
    }

    /// Extended-precision arithmetic: `add.cc`, `addc`, `sub.cc`, `subc`, `mad.cc`, `madc`. `write`: the carry is set (`.cc`).
    fn carry(&mut self, i: &AstInst, m: &mut Mods, write: bool) -> Result<bool, At> {
        let read = i.op[0].ends_with('c') && i.op[0] != "mad";
        let mul = i.op[0].starts_with("mad");
        let high = m.take("hi");
        let low = m.take("lo");
        let ty = m.ty()?;
        if mul != (high || low) || ty.size() < 4 {
            return m.unknown();
        }
        let (dst, mut a, b) = match (mul, i.args.as_slice()) {
            (false, [d, a, b]) => (d, self.src(a, ty)?, self.src(b, ty)?),
            (true, [d, a, b, c]) => {
                let t = self.new_reg(ty)?;
                let s = [self.src(a, ty)?, self.src(b, ty)?, self.src(b, ty)?];
                let f: Any = match (ty, high) {
                    (Ty::U32 | Ty::S32, false) => |a, b, _, _| u64::from((a as u32).wrapping_mul(b as u32)),
                    (Ty::U32, true) => |a, b, _, _| (a * b) >> 32,
                    (Ty::S32, true) => {
                        |a, b, _, _| u64::from(((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32)
                    }
                    (Ty::U64 | Ty::S64, false) => |a, b, _, _| a.wrapping_mul(b),
                    (Ty::U64, true) => |a, b, _, _| ((u128::from(a) * u128::from(b)) >> 64) as u64,
                    (Ty::S64, true) => |a, b, _, _| ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64,
                    _ => return m.unknown(),
                };
                self.emit(Class::Integer, Op::Any { f, imm: 0, d: t, s });
                (d, t, self.src(c, ty)?)
            }
            _ => return m.wrong_count(),
        };
        if let (Reg::D(_), false) = (a, ty.size() == 8) {
            a = Reg::W(self.w(&i.args[1], ty)?);
        }
        let sub = i.op[0].starts_with("sub");
        let f: fn(u64, u64, bool) -> (u64, bool) = match (sub, ty.size()) {
            (false, 4) => |a, b, c| {
                let s = a + b + u64::from(c);
                (s & 0xffff_ffff, s >> 32 != 0)
            },
            (true, 4) => |a, b, c| {
                let s = a.wrapping_sub(b).wrapping_sub(u64::from(c));
                (s & 0xffff_ffff, s >> 63 != 0)
            },
            (false, _) => |a, b, c| {
                let s = u128::from(a) + u128::from(b) + u128::from(c);
                (s as u64, s >> 64 != 0)
            },
            (true, _) => |a, b, c| {
                let s = u128::from(a).wrapping_sub(u128::from(b)).wrapping_sub(u128::from(c));
                (s as u64, s >> 127 != 0)
            },
        };
        let d = self.dst(dst, ty)?;
        self.emit(Class::Integer, Op::Carry { f, d, a, b, read, write });
        Ok(true)
    }
}
