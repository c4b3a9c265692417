//! Half precision: PTX ISA, "Half Precision Floating Point Instructions"; f16 and bf16, alone and in pairs.

use super::float::Rounding;
use crate::error::At;
use crate::fp::{self, BF16, F16, FTZ, Rnd, SAT, b, f, h, to_b, to_h};
use crate::ir::*;
use crate::lower::context::Lower;
use crate::lower::modifiers::Mods;
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

/// Operations on one half and on two, by name. Sums are exact or odd-rounded in f64 before the one rounding.
fn half_op(name: &str) -> Option<(Any, Any)> {
    macro_rules! both {
        ($e:expr) => {{
            const OP: Half = $e;
            fn one(a: u64, b: u64, c: u64, imm: u32) -> u64 {
                OP(a as u32, b as u32, c as u32, imm).into()
            }
            fn two(a: u64, b: u64, c: u64, imm: u32) -> u64 {
                pair3(a as u32, b as u32, c as u32, |a, b, c| OP(a, b, c, imm)).into()
            }
            (one as Any, two as Any)
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

impl Lower<'_> {
    /// An instruction on a half, or on the two halves of a register.
    pub(super) fn half(&mut self, i: &AstInst, m: &Mods, name: &str, o: &Rounding, ty: Ty) -> Result<bool, At> {
        let bf = matches!(ty, Ty::BF16 | Ty::BF16x2);
        let packed = matches!(ty, Ty::F16x2 | Ty::BF16x2);
        if o.mode != Rnd::Rn || o.full || (o.approx != matches!(name, "ex2" | "tanh")) {
            return m.unknown();
        }
        let Some((one, two)) = half_op(name) else {
            return m.unknown();
        };
        let options = [(o.ftz, FTZ), (o.sat, SAT), (o.relu, RELU), (o.nan, NAN)];
        let options = options.into_iter().filter(|(on, _)| *on).fold(0, |all, (_, bit)| all | bit);
        // The plain forms that inner loops use: rounding an f32 sum or product to 11 or 8 bits is as good as rounding
        // the exact one, because f32 has more than twice the bits.
        let fast: Option<W2> = match (name, bf, packed, options) {
            ("add", false, true, 0) => Some(w2!(|x, y| pair2(x, y, |x, y| to_h(h(x) + h(y))))),
            ("sub", false, true, 0) => Some(w2!(|x, y| pair2(x, y, |x, y| to_h(h(x) - h(y))))),
            ("mul", false, true, 0) => Some(w2!(|x, y| pair2(x, y, |x, y| to_h(h(x) * h(y))))),
            ("add", true, true, 0) => Some(w2!(|x, y| pair2(x, y, |x, y| to_b(b(x) + b(y))))),
            ("mul", true, true, 0) => Some(w2!(|x, y| pair2(x, y, |x, y| to_b(b(x) * b(y))))),
            _ => None,
        };
        if let Some(f) = fast {
            return self.two(i, Class::Half, f, ty);
        }
        let class = if o.approx { Class::Special } else { Class::Half };
        let imm = options | if bf { BF } else { 0 };
        self.any(i, class, if packed { two } else { one }, imm, ty, [ty; 3])
    }
}
