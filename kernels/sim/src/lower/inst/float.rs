//! Floating point: PTX ISA, "Floating Point Instructions", "Half Precision Floating Point Instructions", "Comparison and
//! Selection Instructions".
//!
//! The `.approx` functions are computed in f64 and rounded once, so they are at least as accurate as the hardware's;
//! their last bits differ from it.

use crate::error::At;
use crate::fp::{self, BF16, F16, FTZ, Rnd, SAT, b, canon, f, ftz, h, to_b, to_h};
use crate::ir::*;
use crate::lower::Lower;
use crate::lower::operands::Mods;
use crate::lower::rows::*;
use crate::parse::ast::AstInst;
use crate::ty::Ty;

/// Both halves of a register, one after the other.
fn pair2(a: u32, b: u32, op: impl Fn(u32, u32) -> u32) -> u32 {
    op(a & 0xffff, b & 0xffff) | op(a >> 16, b >> 16) << 16
}

fn pair3(a: u32, b: u32, c: u32, op: impl Fn(u32, u32, u32) -> u32) -> u32 {
    op(a & 0xffff, b & 0xffff, c & 0xffff) | op(a >> 16, b >> 16, c >> 16) << 16
}

/// Options of the half-precision operations, beside [`FTZ`] and [`SAT`].
const RELU: u32 = 16;
const NAN: u32 = 32;
const BF: u32 = 64;

fn half_in(v: u32, imm: u32) -> f32 {
    if imm & BF != 0 {
        b(v)
    } else if imm & FTZ != 0 && v & 0x7c00 == 0 {
        h(v & 0x8000)
    } else {
        h(v)
    }
}

fn half_out(x: f64, imm: u32) -> u32 {
    let mut v = if imm & BF != 0 { BF16.encode(x, Rnd::Rn, false) } else { F16.encode(x, Rnd::Rn, false) };
    if imm & FTZ != 0 && v & 0x7c00 == 0 && imm & BF == 0 {
        v &= 0x8000;
    }
    let value = half_in(v, imm);
    if imm & SAT != 0 {
        v = match value {
            x if x.is_nan() || x <= 0.0 => 0,
            x if x >= 1.0 => half_out(1.0, imm & BF),
            _ => v,
        };
    }
    if imm & RELU != 0 && value < 0.0 { 0 } else { v }
}

/// Negation flips the sign, also of a zero; a NaN becomes the canonical one.
fn half_neg(v: u32, imm: u32) -> u32 {
    if half_in(v, imm).is_nan() { 0x7fff } else { v ^ 0x8000 }
}

fn half_pick(a: u32, b: u32, imm: u32, max: bool) -> u32 {
    let (x, y) = (half_in(a, imm), half_in(b, imm));
    let r = f(if max { fp::max32(x, y, imm & NAN != 0) } else { fp::min32(x, y, imm & NAN != 0) });
    half_out(r.into(), imm)
}

type Half = fn(u32, u32, u32, u32) -> u32;

/// Operations on one half, by name. Sums are exact or odd-rounded in f64 before the one rounding.
fn half_op(name: &str) -> Option<(Half, Any, Any)> {
    macro_rules! both {
        ($e:expr) => {{
            const OP: Half = $e;
            fn one(a: u64, b: u64, c: u64, imm: u32) -> u64 {
                OP(a as u32, b as u32, c as u32, imm).into()
            }
            fn two(a: u64, b: u64, c: u64, imm: u32) -> u64 {
                pair3(a as u32, b as u32, c as u32, |a, b, c| OP(a, b, c, imm)).into()
            }
            (OP, one as Any, two as Any)
        }};
    }
    Some(match name {
        "add" => both!(|a, b, _, imm| half_out(fp::add_odd(half_in(a, imm).into(), half_in(b, imm).into()), imm)),
        "sub" => both!(|a, b, _, imm| half_out(fp::add_odd(half_in(a, imm).into(), (-half_in(b, imm)).into()), imm)),
        "mul" => both!(|a, b, _, imm| half_out(f64::from(half_in(a, imm)) * f64::from(half_in(b, imm)), imm)),
        "fma" => both!(|a, b, c, imm| {
            half_out(fp::add_odd(f64::from(half_in(a, imm)) * f64::from(half_in(b, imm)), half_in(c, imm).into()), imm)
        }),
        "min" => both!(|a, b, _, imm| half_pick(a, b, imm, false)),
        "max" => both!(|a, b, _, imm| half_pick(a, b, imm, true)),
        "neg" => both!(|a, _, _, imm| half_neg(a, imm)),
        "abs" => both!(|a, _, _, imm| if half_in(a, imm).is_nan() { 0x7fff } else { a & 0x7fff }),
        "ex2" => both!(|a, _, _, imm| half_out(f64::from(half_in(a, imm)).exp2(), imm)),
        "tanh" => both!(|a, _, _, imm| half_out(f64::from(half_in(a, imm)).tanh(), imm)),
        _ => return None,
    })
}

/// Functions of one f32 that the hardware approximates, in f64.
fn approx(name: &str) -> Option<Any> {
    macro_rules! of {
        ($e:expr) => {
            |a, _, _, imm| {
                let a = if imm & FTZ != 0 { ftz(a as u32) } else { a as u32 };
                let r = canon($e(f64::from(f(a))) as f32);
                u64::from(if imm & FTZ != 0 { ftz(r) } else { r })
            }
        };
    }
    Some(match name {
        "rcp" => of!(|x: f64| 1.0 / x),
        "sqrt" => of!(f64::sqrt),
        "rsqrt" => of!(|x: f64| 1.0 / x.sqrt()),
        "sin" => of!(f64::sin),
        "cos" => of!(f64::cos),
        "lg2" => of!(f64::log2),
        "ex2" => of!(f64::exp2),
        "tanh" => of!(f64::tanh),
        _ => return None,
    })
}

impl Lower<'_> {
    pub fn float(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        match i.op[0].as_str() {
            "add" | "sub" | "mul" | "fma" | "mad" | "min" | "max" | "neg" | "abs" | "div" | "rcp" | "sqrt"
            | "rsqrt" | "sin" | "cos" | "lg2" | "ex2" | "tanh" => {}
            "setp" | "set" => return self.compare(i, m),
            "copysign" => {
                let wide = m.ty()? == Ty::F64;
                let f: Any = if wide {
                    |a, b, _, _| (b & !(1 << 63)) | (a & (1 << 63))
                } else {
                    |a, b, _, _| (b & 0x7fff_ffff) | (a & 0x8000_0000)
                };
                let t = if wide { Ty::F64 } else { Ty::F32 };
                return self.any(i, Class::Float32, f, 0, t, [t; 3]);
            }
            "testp" => {
                let kind = m.one_of(&[
                    ("finite", 0),
                    ("infinite", 1),
                    ("number", 2),
                    ("notanumber", 3),
                    ("normal", 4),
                    ("subnormal", 5),
                ]);
                let (Some(kind), ty) = (kind, m.ty()?) else {
                    return m.unknown();
                };
                let f: Any = |a, _, _, imm| {
                    let x = if imm & 8 != 0 { f64::from_bits(a) } else { f64::from(f(a as u32)) };
                    let (normal, sub) = if imm & 8 != 0 {
                        (x.is_normal(), x.is_subnormal())
                    } else {
                        (f(a as u32).is_normal(), f(a as u32).is_subnormal())
                    };
                    u64::from(
                        [x.is_finite(), x.is_infinite(), !x.is_nan(), x.is_nan(), normal, sub][(imm & 7) as usize],
                    )
                };
                return self.any(i, Class::Predicate, f, kind | if ty == Ty::F64 { 8 } else { 0 }, Ty::Pred, [ty; 3]);
            }
            _ => return Ok(false),
        }
        let rnd = m.one_of(&[("rn", 0), ("rz", 1), ("rm", 2), ("rp", 3)]);
        let ftz = if m.take("ftz") { FTZ } else { 0 };
        let sat = if m.take("sat") { SAT } else { 0 };
        let relu = if m.take("relu") { RELU } else { 0 };
        let nan = if m.take("NaN") { NAN } else { 0 };
        let approximate = m.take("approx");
        let full = m.take("full");
        let ty = m.ty()?;
        let imm = rnd.unwrap_or(0) | ftz | sat;
        let name = if i.op[0] == "mad" { "fma" } else { i.op[0].as_str() };
        if i.args.len()
            != 1 + if name == "fma" {
                3
            } else {
                usize::from(matches!(name, "add" | "sub" | "mul" | "min" | "max" | "div")) + 1
            }
        {
            return self.err(format!("instruction '{}': wrong number of operands", m.op));
        }
        match ty {
            Ty::F32 => self.float32(i, m, name, (rnd, imm, nan), approximate, full, relu),
            Ty::F64 => self.float64(i, m, name, imm, approximate),
            Ty::F16 | Ty::F16x2 | Ty::BF16 | Ty::BF16x2 => {
                let bf = matches!(ty, Ty::BF16 | Ty::BF16x2);
                let packed = matches!(ty, Ty::F16x2 | Ty::BF16x2);
                if imm & 3 != 0 || full || (approximate != matches!(name, "ex2" | "tanh")) {
                    return m.unknown();
                }
                let Some((_, one, two)) = half_op(name) else {
                    return m.unknown();
                };
                let imm = ftz | sat | relu | nan | if bf { BF } else { 0 };
                // Rows for the plain forms that inner loops use: rounding an f32 sum or product to 11 or 8 bits is as good
                // as rounding the exact one, because f32 has more than twice the bits.
                let fast: Option<W2> = match (name, bf, packed, imm & !BF) {
                    ("add", false, true, 0) => Some(w2!(|x, y| pair2(x, y, |x, y| to_h(h(x) + h(y))))),
                    ("sub", false, true, 0) => Some(w2!(|x, y| pair2(x, y, |x, y| to_h(h(x) - h(y))))),
                    ("mul", false, true, 0) => Some(w2!(|x, y| pair2(x, y, |x, y| to_h(h(x) * h(y))))),
                    ("add", true, true, 0) => Some(w2!(|x, y| pair2(x, y, |x, y| to_b(b(x) + b(y))))),
                    ("mul", true, true, 0) => Some(w2!(|x, y| pair2(x, y, |x, y| to_b(b(x) * b(y))))),
                    _ => None,
                };
                if let Some(f) = fast {
                    let op =
                        Op::W2 { f, d: self.wd(&i.args[0])?, a: self.w(&i.args[1], ty)?, b: self.w(&i.args[2], ty)? };
                    self.emit(Class::Half, op);
                    return Ok(true);
                }
                let class = if approximate { Class::Special } else { Class::Half };
                self.any(i, class, if packed { two } else { one }, imm, ty, [ty; 3])
            }
            _ => m.unknown(),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn float32(
        &mut self,
        i: &AstInst,
        m: &Mods,
        name: &str,
        (rnd, imm, nan): (Option<u32>, u32, u32),
        approximate: bool,
        full: bool,
        relu: u32,
    ) -> Result<bool, At> {
        let t = Ty::F32;
        if relu != 0 {
            return m.unknown();
        }
        if let ("div", true) | ("rcp" | "sqrt" | "rsqrt" | "sin" | "cos" | "lg2" | "ex2" | "tanh", true) =
            (name, approximate || full)
        {
            let f: Any = if name == "div" {
                |a, b, _, imm| {
                    let z = |x: u64| {
                        if imm & FTZ != 0 { ftz(x as u32) } else { x as u32 }
                    };
                    let r = canon((f64::from(f(z(a))) / f64::from(f(z(b)))) as f32);
                    u64::from(if imm & FTZ != 0 { ftz(r) } else { r })
                }
            } else {
                match approx(name) {
                    Some(f) => f,
                    None => return m.unknown(),
                }
            };
            return self.any(i, Class::Special, f, imm, t, [t; 3]);
        }
        if approximate || full {
            return m.unknown();
        }
        let plain = imm & (3 | SAT) == 0;
        let flush = imm & FTZ != 0;
        let args = &i.args;
        let two: Option<W2> = match (name, plain, flush) {
            ("add", true, false) => Some(w2!(|a, b| canon(f(a) + f(b)))),
            ("sub", true, false) => Some(w2!(|a, b| canon(f(a) - f(b)))),
            ("mul", true, false) => Some(w2!(|a, b| canon(f(a) * f(b)))),
            ("add", true, true) => Some(w2!(|a, b| ftz(canon(f(ftz(a)) + f(ftz(b)))))),
            ("sub", true, true) => Some(w2!(|a, b| ftz(canon(f(ftz(a)) - f(ftz(b)))))),
            ("mul", true, true) => Some(w2!(|a, b| ftz(canon(f(ftz(a)) * f(ftz(b)))))),
            ("div", true, false) if rnd.is_some() => Some(w2!(|a, b| canon(f(a) / f(b)))),
            ("min", true, false) if nan == 0 => Some(w2!(|a, b| fp::min32(f(a), f(b), false))),
            ("max", true, false) if nan == 0 => Some(w2!(|a, b| fp::max32(f(a), f(b), false))),
            ("min", true, true) if nan == 0 => Some(w2!(|a, b| fp::min32(f(ftz(a)), f(ftz(b)), false))),
            ("max", true, true) if nan == 0 => Some(w2!(|a, b| fp::max32(f(ftz(a)), f(ftz(b)), false))),
            ("min", true, false) => Some(w2!(|a, b| fp::min32(f(a), f(b), true))),
            ("max", true, false) => Some(w2!(|a, b| fp::max32(f(a), f(b), true))),
            _ => None,
        };
        if let Some(f) = two {
            let op = Op::W2 { f, d: self.wd(&args[0])?, a: self.w(&args[1], t)?, b: self.w(&args[2], t)? };
            self.emit(Class::Float32, op);
            return Ok(true);
        }
        if name == "fma" && plain {
            let f: W3 = if flush {
                w3!(|a, b, c| ftz(canon(fp::fma32(f(ftz(a)), f(ftz(b)), f(ftz(c))))))
            } else {
                w3!(|a, b, c| canon(fp::fma32(f(a), f(b), f(c))))
            };
            let op = Op::W3 {
                f,
                d: self.wd(&args[0])?,
                a: self.w(&args[1], t)?,
                b: self.w(&args[2], t)?,
                c: self.w(&args[3], t)?,
            };
            self.emit(Class::Float32, op);
            return Ok(true);
        }
        let one: Option<W1> = match (name, flush) {
            ("neg", false) => Some(w1!(|a| if f(a).is_nan() { fp::NAN32 } else { a ^ 0x8000_0000 })),
            ("neg", true) => Some(w1!(|a| if f(a).is_nan() { fp::NAN32 } else { ftz(a) ^ 0x8000_0000 })),
            ("abs", false) => Some(w1!(|a| if f(a).is_nan() { fp::NAN32 } else { a & 0x7fff_ffff })),
            ("abs", true) => Some(w1!(|a| if f(a).is_nan() { fp::NAN32 } else { ftz(a) & 0x7fff_ffff })),
            _ => None,
        };
        if let Some(f) = one {
            let op = Op::W1 { f, d: self.wd(&args[0])?, a: self.w(&args[1], t)? };
            self.emit(Class::Float32, op);
            return Ok(true);
        }
        let f: Any = match name {
            "add" => fp::add_f32,
            "sub" => fp::sub_f32,
            "mul" => fp::mul_f32,
            "fma" => fp::fma_f32,
            "div" if rnd.is_some() => fp::div_f32,
            "sqrt" if rnd.is_some() => fp::sqrt_f32,
            "rcp" if rnd.is_some() => fp::rcp_f32,
            _ => return m.unknown(),
        };
        let class = if matches!(name, "add" | "sub" | "mul" | "fma") { Class::Float32 } else { Class::Special };
        self.any(i, class, f, imm, t, [t; 3])
    }

    fn float64(&mut self, i: &AstInst, m: &Mods, name: &str, imm: u32, approximate: bool) -> Result<bool, At> {
        let t = Ty::F64;
        if imm & SAT != 0 || (imm & FTZ != 0 && !approximate) {
            return m.unknown();
        }
        let g = f64::from_bits;
        let _ = g;
        let f: Any = match (name, imm & 3) {
            ("add", 0) => |a, b, _, _| (f64::from_bits(a) + f64::from_bits(b)).to_bits(),
            ("sub", 0) => |a, b, _, _| (f64::from_bits(a) - f64::from_bits(b)).to_bits(),
            ("mul", 0) => |a, b, _, _| (f64::from_bits(a) * f64::from_bits(b)).to_bits(),
            ("fma", 0) => |a, b, c, _| f64::from_bits(a).mul_add(f64::from_bits(b), f64::from_bits(c)).to_bits(),
            ("add", _) => fp::add_f64,
            ("sub", _) => fp::sub_f64,
            ("mul", _) => fp::mul_f64,
            ("div", _) => fp::div_f64,
            ("sqrt", _) => fp::sqrt_f64,
            ("rcp", _) if approximate => |a, _, _, _| (1.0 / f64::from_bits(a)).to_bits(),
            ("rcp", _) => |a, _, _, imm| fp::div_f64(1f64.to_bits(), a, 0, imm),
            ("rsqrt", _) if approximate => |a, _, _, _| (1.0 / f64::from_bits(a).sqrt()).to_bits(),
            ("neg", _) => |a, _, _, _| a ^ (1 << 63),
            ("abs", _) => |a, _, _, _| a & !(1 << 63),
            ("min", _) => |a, b, _, _| {
                let (x, y) = (f64::from_bits(a), f64::from_bits(b));
                if y.is_nan() || x < y || (x == y && x.is_sign_negative()) { a } else { b }
            },
            ("max", _) => |a, b, _, _| {
                let (x, y) = (f64::from_bits(a), f64::from_bits(b));
                if y.is_nan() || x > y || (x == y && x.is_sign_positive()) { a } else { b }
            },
            _ => return m.unknown(),
        };
        self.any(i, Class::Float64, f, imm, t, [t; 3])
    }
}
