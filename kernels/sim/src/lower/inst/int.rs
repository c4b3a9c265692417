//! Integer arithmetic: PTX ISA, "Integer Arithmetic Instructions" and "Extended-Precision Integer Arithmetic".
//!
//! 16-bit values live zero-extended in 32-bit rows.

use crate::error::At;
use crate::ir::*;
use crate::lower::Lower;
use crate::lower::operands::Mods;
use crate::lower::rows::*;
use crate::parse::ast::AstInst;
use crate::ty::Ty;

/// Sign extension of the low 16 bits.
fn s16(v: u32) -> i32 {
    v as u16 as i16 as i32
}

fn signed_halves(a: u32, b: u32, f: fn(i32, i32) -> i32) -> u32 {
    let high = f(s16(a >> 16), s16(b >> 16)) as u32;
    (f(s16(a), s16(b)) as u32 & 0xffff) | (high << 16)
}

fn low24(v: u32) -> u64 {
    u64::from(v & 0xff_ffff)
}

fn signed24(v: u32) -> i64 {
    i64::from((v << 8) as i32 >> 8)
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
    /// A function of two operands, by type; 16-bit functions get zero-extended rows.
    fn two(&mut self, i: &AstInst, ty: Ty, w: W2, d: D2) -> Result<bool, At> {
        let [dst, a, b] = self.args(i)?;
        let op = if ty.size() == 8 {
            Op::D2 { f: d, d: self.dd(dst)?, a: self.d(a, ty)?, b: self.d(b, ty)? }
        } else {
            Op::W2 { f: w, d: self.wd(dst)?, a: self.w(a, ty)?, b: self.w(b, ty)? }
        };
        self.emit(Class::Integer, op);
        Ok(true)
    }

    pub fn integer(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        match i.op[0].as_str() {
            "add" | "sub" | "mul" | "min" | "max" | "abs" | "neg" | "div" => {
                if i.op[1..].iter().any(|w| Ty::parse(w).is_some_and(Ty::float)) {
                    return Ok(false);
                }
            }
            "mad" | "mul24" | "mad24" | "rem" | "sad" | "dp4a" | "dp2a" | "addc" | "subc" | "madc" => {}
            _ => return Ok(false),
        }
        if i.op[0] == "mad" && i.op[1..].iter().any(|w| w == "f32" || w == "f64") {
            return Ok(false);
        }
        let carry = m.take("cc");
        if carry || matches!(i.op[0].as_str(), "addc" | "subc" | "madc") {
            return self.carry(i, m, carry);
        }
        match i.op[0].as_str() {
            "dp4a" | "dp2a" => return self.dot(i, m),
            "mul" | "mad" | "mul24" | "mad24" => return self.multiply(i, m),
            _ => {}
        }
        let sat = m.take("sat");
        let ty = m.ty()?;
        if sat && !(ty == Ty::S32 && matches!(i.op[0].as_str(), "add" | "sub")) {
            return m.unknown();
        }
        let (size, signed) = (ty.size(), ty.signed());
        if size == 1 || ty == Ty::Pred {
            return m.unknown();
        }
        if let Ty::U16x2 | Ty::S16x2 = ty {
            let f: W2 = match (i.op[0].as_str(), ty) {
                ("add", _) => w2!(|a, b| (a & 0x7fff_7fff).wrapping_add(b & 0x7fff_7fff) ^ ((a ^ b) & 0x8000_8000)),
                ("min", Ty::U16x2) => w2!(|a, b| (a & 0xffff).min(b & 0xffff) | ((a >> 16).min(b >> 16) << 16)),
                ("max", Ty::U16x2) => w2!(|a, b| (a & 0xffff).max(b & 0xffff) | ((a >> 16).max(b >> 16) << 16)),
                ("min", _) => w2!(|a, b| signed_halves(a, b, i32::min)),
                ("max", _) => w2!(|a, b| signed_halves(a, b, i32::max)),
                _ => return m.unknown(),
            };
            return self.two(i, ty, f, d2!(|a, b| a | b));
        }
        match i.op[0].as_str() {
            "add" if sat => self.two(i, ty, w2!(|a, b| (a as i32).saturating_add(b as i32) as u32), d2!(|a, b| a | b)),
            "sub" if sat => self.two(i, ty, w2!(|a, b| (a as i32).saturating_sub(b as i32) as u32), d2!(|a, b| a | b)),
            "add" if size == 2 => self.two(i, ty, w2!(|a, b| a.wrapping_add(b) & 0xffff), d2!(|a, b| a | b)),
            "add" => self.two(i, ty, w2!(|a, b| a.wrapping_add(b)), d2!(|a, b| a.wrapping_add(b))),
            "sub" if size == 2 => self.two(i, ty, w2!(|a, b| a.wrapping_sub(b) & 0xffff), d2!(|a, b| a | b)),
            "sub" => self.two(i, ty, w2!(|a, b| a.wrapping_sub(b)), d2!(|a, b| a.wrapping_sub(b))),
            "min" if size == 2 && signed => {
                self.two(i, ty, w2!(|a, b| if s16(a) < s16(b) { a } else { b }), d2!(|a, b| a | b))
            }
            "max" if size == 2 && signed => {
                self.two(i, ty, w2!(|a, b| if s16(a) > s16(b) { a } else { b }), d2!(|a, b| a | b))
            }
            "min" if signed => self.two(
                i,
                ty,
                w2!(|a, b| (a as i32).min(b as i32) as u32),
                d2!(|a, b| (a as i64).min(b as i64) as u64),
            ),
            "max" if signed => self.two(
                i,
                ty,
                w2!(|a, b| (a as i32).max(b as i32) as u32),
                d2!(|a, b| (a as i64).max(b as i64) as u64),
            ),
            "min" => self.two(i, ty, w2!(|a, b| a.min(b)), d2!(|a, b| a.min(b))),
            "max" => self.two(i, ty, w2!(|a, b| a.max(b)), d2!(|a, b| a.max(b))),
            // Division by zero is unspecified in PTX; the hardware's sequence yields all ones, and the dividend as remainder.
            "div" if size == 2 && signed => self.two(
                i,
                ty,
                w2!(|a, b| if s16(b) == 0 { 0xffff } else { (s16(a) / s16(b)) as u32 & 0xffff }),
                d2!(|a, b| a | b),
            ),
            "rem" if size == 2 && signed => self.two(
                i,
                ty,
                w2!(|a, b| if s16(b) == 0 { a } else { (s16(a) % s16(b)) as u32 & 0xffff }),
                d2!(|a, b| a | b),
            ),
            "div" if signed => self.two(
                i,
                ty,
                w2!(|a, b| if b == 0 { u32::MAX } else { (a as i32).wrapping_div(b as i32) as u32 }),
                d2!(|a, b| if b == 0 { u64::MAX } else { (a as i64).wrapping_div(b as i64) as u64 }),
            ),
            "rem" if signed => self.two(
                i,
                ty,
                w2!(|a, b| if b == 0 { a } else { (a as i32).wrapping_rem(b as i32) as u32 }),
                d2!(|a, b| if b == 0 { a } else { (a as i64).wrapping_rem(b as i64) as u64 }),
            ),
            "div" if size == 2 => self.two(i, ty, w2!(|a, b| a.checked_div(b).unwrap_or(0xffff)), d2!(|a, b| a | b)),
            "div" => self.two(
                i,
                ty,
                w2!(|a, b| a.checked_div(b).unwrap_or(u32::MAX)),
                d2!(|a, b| a.checked_div(b).unwrap_or(u64::MAX)),
            ),
            "rem" => {
                self.two(i, ty, w2!(|a, b| a.checked_rem(b).unwrap_or(a)), d2!(|a, b| a.checked_rem(b).unwrap_or(a)))
            }
            "abs" | "neg" => {
                let [dst, a] = self.args(i)?;
                let neg = i.op[0] == "neg";
                let op = match size {
                    8 => Op::D1 {
                        f: if neg { d1!(|a| a.wrapping_neg()) } else { d1!(|a| (a as i64).wrapping_abs() as u64) },
                        d: self.dd(dst)?,
                        a: self.d(a, ty)?,
                    },
                    _ => {
                        let f = match (neg, size) {
                            (true, 2) => w1!(|a| a.wrapping_neg() & 0xffff),
                            (true, _) => w1!(|a| a.wrapping_neg()),
                            (false, 2) => w1!(|a| s16(a).wrapping_abs() as u32 & 0xffff),
                            (false, _) => w1!(|a| (a as i32).wrapping_abs() as u32),
                        };
                        Op::W1 { f, d: self.wd(dst)?, a: self.w(a, ty)? }
                    }
                };
                self.emit(Class::Integer, op);
                Ok(true)
            }
            "sad" => {
                let [dst, a, b, c] = self.args(i)?;
                let f: Any = match ty {
                    Ty::S16 => {
                        |a, b, c, _| ((s16(a as u32).abs_diff(s16(b as u32))).wrapping_add(c as u32) & 0xffff).into()
                    }
                    Ty::S32 => |a, b, c, _| (a as i32).abs_diff(b as i32).wrapping_add(c as u32).into(),
                    Ty::S64 => |a, b, c, _| (a as i64).abs_diff(b as i64).wrapping_add(c),
                    Ty::U16 => |a, b, c, _| a.abs_diff(b).wrapping_add(c) & 0xffff,
                    Ty::U32 => |a, b, c, _| u64::from((a as u32).abs_diff(b as u32).wrapping_add(c as u32)),
                    Ty::U64 => |a, b, c, _| a.abs_diff(b).wrapping_add(c),
                    _ => return m.unknown(),
                };
                let s = [self.src(a, ty)?, self.src(b, ty)?, self.src(c, ty)?];
                let d = self.dst(dst, ty)?;
                self.emit(Class::Integer, Op::Any { f, imm: 0, d, s });
                Ok(true)
            }
            _ => m.unknown(),
        }
    }

    fn dot(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
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

    fn multiply(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let mode = m.one_of(&[("lo", 0), ("hi", 1), ("wide", 2)]);
        let Some(mode) = mode else { return m.unknown() };
        let ty = m.ty()?;
        let signed = ty.signed();
        let mad = i.op[0].starts_with("mad");
        let narrow = i.op[0].ends_with("24");
        if narrow && (ty.size() != 4 || mode == 2) || !ty.integer() {
            return m.unknown();
        }
        let (dst, a, b, c) = match i.args.as_slice() {
            [d, a, b] if !mad => (d, a, b, None),
            [d, a, b, c] if mad => (d, a, b, Some(c)),
            _ => return self.err(format!("instruction '{}': wrong number of operands", m.op)),
        };
        let op = match (mode, ty.size()) {
            (2, 4) => {
                let (d, a, b) = (self.dd(dst)?, self.w(a, ty)?, self.w(b, ty)?);
                match c {
                    None if signed => Op::Wide2 {
                        f: mixed!((a: Row, b: Row) -> Row64, (i64::from(a as i32) * i64::from(b as i32)) as u64),
                        d,
                        a,
                        b,
                    },
                    None => Op::Wide2 { f: mixed!((a: Row, b: Row) -> Row64, u64::from(a) * u64::from(b)), d, a, b },
                    Some(c) if signed => Op::Wide3 {
                        f: mixed!((a: Row, b: Row, c: Row64) -> Row64, ((i64::from(a as i32) * i64::from(b as i32)) as u64).wrapping_add(c)),
                        d,
                        a,
                        b,
                        c: self.d(c, Ty::B64)?,
                    },
                    Some(c) => Op::Wide3 {
                        f: mixed!((a: Row, b: Row, c: Row64) -> Row64, (u64::from(a) * u64::from(b)).wrapping_add(c)),
                        d,
                        a,
                        b,
                        c: self.d(c, Ty::B64)?,
                    },
                }
            }
            (_, 8) => {
                let (d, a, b) = (self.dd(dst)?, self.d(a, ty)?, self.d(b, ty)?);
                let c = c.map(|c| self.d(c, ty)).transpose()?;
                match (mode, signed, c) {
                    (0, _, None) => Op::D2 { f: d2!(|a, b| a.wrapping_mul(b)), d, a, b },
                    (0, _, Some(c)) => Op::D3 { f: d3!(|a, b, c| a.wrapping_mul(b).wrapping_add(c)), d, a, b, c },
                    (1, true, None) => {
                        Op::D2 { f: d2!(|a, b| ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64), d, a, b }
                    }
                    (1, false, None) => {
                        Op::D2 { f: d2!(|a, b| ((u128::from(a) * u128::from(b)) >> 64) as u64), d, a, b }
                    }
                    (1, true, Some(c)) => Op::D3 {
                        f: d3!(|a, b, c| (((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64).wrapping_add(c)),
                        d,
                        a,
                        b,
                        c,
                    },
                    (1, false, Some(c)) => Op::D3 {
                        f: d3!(|a, b, c| (((u128::from(a) * u128::from(b)) >> 64) as u64).wrapping_add(c)),
                        d,
                        a,
                        b,
                        c,
                    },
                    _ => return m.unknown(),
                }
            }
            _ => {
                let (d, ra, rb) = (self.wd(dst)?, self.w(a, ty)?, self.w(b, ty)?);
                let product: W2 = match (narrow, mode, ty) {
                    (false, 0, Ty::U32 | Ty::S32) => w2!(|a, b| a.wrapping_mul(b)),
                    (false, 1, Ty::U32) => w2!(|a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32),
                    (false, 1, Ty::S32) => {
                        w2!(|a, b| ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32)
                    }
                    (true, 0, Ty::U32) => w2!(|a, b| (low24(a) * low24(b)) as u32),
                    (true, 0, Ty::S32) => w2!(|a, b| (signed24(a) * signed24(b)) as u32),
                    (true, 1, Ty::U32) => w2!(|a, b| ((low24(a) * low24(b)) >> 16) as u32),
                    (true, 1, Ty::S32) => w2!(|a, b| ((signed24(a) * signed24(b)) >> 16) as u32),
                    (false, 0, Ty::U16 | Ty::S16) => w2!(|a, b| a.wrapping_mul(b) & 0xffff),
                    (false, 1, Ty::U16) => w2!(|a, b| a.wrapping_mul(b) >> 16),
                    (false, 1, Ty::S16) => w2!(|a, b| (s16(a) * s16(b)) as u32 >> 16),
                    (false, 2, Ty::U16) => w2!(|a, b| a.wrapping_mul(b)),
                    (false, 2, Ty::S16) => w2!(|a, b| (s16(a) * s16(b)) as u32),
                    _ => return m.unknown(),
                };
                match c {
                    None => Op::W2 { f: product, d, a: ra, b: rb },
                    Some(c) => {
                        let wide16 = mode == 2;
                        let c = self.w(c, if wide16 { Ty::B32 } else { ty })?;
                        if mode == 0 && ty.size() == 4 && !narrow {
                            Op::W3 { f: w3!(|a, b, c| a.wrapping_mul(b).wrapping_add(c)), d, a: ra, b: rb, c }
                        } else {
                            // Rare forms: product into a row of their own, then the sum.
                            let Reg::W(t) = self.new_reg(Ty::B32)? else {
                                return m.unknown();
                            };
                            self.emit(Class::Integer, Op::W2 { f: product, d: t, a: ra, b: rb });
                            let f: W2 = if ty.size() == 2 && !wide16 {
                                w2!(|a, b| a.wrapping_add(b) & 0xffff)
                            } else {
                                w2!(|a, b| a.wrapping_add(b))
                            };
                            Op::W2 { f, d, a: t, b: c }
                        }
                    }
                }
            }
        };
        self.emit(Class::Integer, op);
        Ok(true)
    }

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
            _ => return self.err(format!("instruction '{}': wrong number of operands", m.op)),
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
