//! Conversions: PTX ISA, "Data Movement and Conversion Instructions: cvt".

use crate::error::At;
use crate::fp::{self, BF16, E4M3, E5M2, F16, Format, NAN32, Rnd, canon, f, ftz, h, to_h};
use crate::ir::*;
use crate::lower::operands::Mods;
use crate::lower::rows::*;
use crate::lower::{Item, Lower};
use crate::parse::ast::{Arg, AstInst};
use crate::ty::Ty;

const TYPES: [Ty; 14] = [
    Ty::U8,
    Ty::U16,
    Ty::U32,
    Ty::U64,
    Ty::S8,
    Ty::S16,
    Ty::S32,
    Ty::S64,
    Ty::F16,
    Ty::BF16,
    Ty::F32,
    Ty::F64,
    Ty::E4M3x2,
    Ty::E5M2x2,
];

/// `imm` of [`convert`]: destination type, source type (4 bits each), rounding (2), to an integral value, ftz, sat, relu,
/// and the bytes of the destination register (4 bits).
const INTEGRAL: u32 = 1 << 10;
const CVT_FTZ: u32 = 1 << 11;
const CVT_SAT: u32 = 1 << 12;
const CVT_RELU: u32 = 1 << 13;

fn code(ty: Ty) -> Option<u32> {
    TYPES.iter().position(|t| *t == ty).map(|i| i as u32)
}

fn small(ty: Ty) -> Format {
    match ty {
        Ty::BF16 => BF16,
        Ty::E4M3x2 => E4M3,
        Ty::E5M2x2 => E5M2,
        _ => F16,
    }
}

fn integral(x: f64, rnd: Rnd) -> f64 {
    match rnd {
        Rnd::Rn => x.round_ties_even(),
        Rnd::Rz => x.trunc(),
        Rnd::Rm => x.floor(),
        Rnd::Rp => x.ceil(),
    }
}

/// An integer as f64, rounded to odd.
fn int_to_odd(v: i128) -> f64 {
    let r = v as f64;
    let err = v - r as i128;
    let bits = r.to_bits();
    match (err != 0 && bits & 1 == 0, (err > 0) == (r > 0.0)) {
        (true, true) => f64::from_bits(bits + 1),
        (true, false) => f64::from_bits(bits - 1),
        _ => r,
    }
}

fn directed_int(v: i128, rnd: Rnd) -> f64 {
    let r = v as f64;
    let back = r as i128;
    match rnd {
        Rnd::Rm if back > v => r.next_down(),
        Rnd::Rp if back < v => r.next_up(),
        Rnd::Rz if back.abs() > v.abs() => f64::from_bits(r.to_bits() - 1),
        _ => r,
    }
}

fn int_range(ty: Ty) -> (i128, i128) {
    let bits = 8 * ty.size();
    if ty.signed() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// The general conversion, one lane.
fn convert(a: u64, _: u64, _: u64, imm: u32) -> u64 {
    let (to, from) = (TYPES[(imm & 15) as usize], TYPES[(imm >> 4 & 15) as usize]);
    let rnd = Rnd::from_bits(imm >> 8);
    let reg_bits = 8 * (imm >> 16 & 15);
    if from.integer() {
        let bits = 8 * from.size();
        let raw = i128::from(a & if bits == 64 { u64::MAX } else { (1 << bits) - 1 });
        let v = if from.signed() && raw >> (bits - 1) != 0 { raw - (1 << bits) } else { raw };
        if to.integer() {
            return store_int(v, to, reg_bits, imm & CVT_SAT != 0);
        }
        return match to {
            Ty::F64 => directed_int(v, rnd).to_bits(),
            Ty::F32 => u64::from(saturate32(canon(fp::to_f32(int_to_odd(v), rnd)), imm)),
            _ => u64::from(small(to).encode(int_to_odd(v), rnd, false)),
        };
    }
    let x = match from {
        Ty::F32 => f64::from(f(if imm & CVT_FTZ != 0 { ftz(a as u32) } else { a as u32 })),
        Ty::F64 => f64::from_bits(a),
        t => small(t).decode(a as u32 & 0xffff),
    };
    if to.integer() {
        let (lo, hi) = int_range(to);
        let v = if x.is_nan() { 0 } else { (integral(x, rnd) as i128).clamp(lo, hi) };
        return store_int(v, to, reg_bits, false);
    }
    let x = if imm & INTEGRAL != 0 { integral(x, rnd) } else { x };
    match to {
        Ty::F64 if imm & CVT_SAT != 0 => (if x > 0.0 { x.min(1.0) } else { 0.0 }).to_bits(),
        Ty::F64 => x.to_bits(),
        Ty::F32 => {
            let r = if imm & INTEGRAL != 0 { x as f32 } else { fp::to_f32(x, rnd) };
            let r = if r.is_nan() { NAN32 } else { r.to_bits() };
            u64::from(saturate32(if imm & CVT_FTZ != 0 { ftz(r) } else { r }, imm))
        }
        t => {
            let mut x = x;
            if imm & CVT_RELU != 0 && x < 0.0 {
                x = 0.0;
            }
            if imm & CVT_SAT != 0 && (t == Ty::F16 || t == Ty::BF16) {
                x = if x > 0.0 { x.min(1.0) } else { 0.0 };
            }
            u64::from(small(t).encode(x, rnd, imm & CVT_SAT != 0))
        }
    }
}

fn saturate32(v: u32, imm: u32) -> u32 {
    if imm & CVT_SAT == 0 {
        return v;
    }
    let x = f(v);
    if x > 0.0 { x.min(1.0).to_bits() } else { 0 }
}

/// An integer into a register that may be wider than its type.
fn store_int(v: i128, to: Ty, reg_bits: u32, sat: bool) -> u64 {
    let bits = 8 * to.size();
    let v = if sat {
        let (lo, hi) = int_range(to);
        v.clamp(lo, hi)
    } else if to.signed() {
        v << (128 - bits) >> (128 - bits)
    } else {
        v & ((1 << bits) - 1)
    };
    let v = v as u64;
    if reg_bits >= 64 { v } else { v & ((1 << reg_bits) - 1) }
}

/// Two f32 into one register of two small values: the first operand is the high half.
fn pack_small(a: u64, b: u64, _: u64, imm: u32) -> u64 {
    let (hi, lo) = (convert(a, 0, 0, imm), convert(b, 0, 0, imm));
    let bits = if matches!(TYPES[(imm & 15) as usize], Ty::E4M3x2 | Ty::E5M2x2) { 8 } else { 16 };
    hi << bits | lo
}

impl Lower<'_> {
    /// Bytes of a declared register.
    pub fn dst_bytes(&self, arg: &Arg) -> u32 {
        match arg {
            Arg::Name(n) => match self.lookup(n) {
                Some(Item::Reg(_, ty)) => ty.size(),
                _ => 4,
            },
            _ => 4,
        }
    }

    pub fn convert(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        if i.op[0] != "cvt" {
            return Ok(false);
        }
        if m.take("pack") {
            return self.cvt_pack(i, m);
        }
        let rnd = m.one_of(&[
            ("rn", (0, 0)),
            ("rz", (1, 0)),
            ("rm", (2, 0)),
            ("rp", (3, 0)),
            ("rni", (0, INTEGRAL)),
            ("rzi", (1, INTEGRAL)),
            ("rmi", (2, INTEGRAL)),
            ("rpi", (3, INTEGRAL)),
        ]);
        let away = m.take("rna");
        let flush = m.take("ftz");
        let sat = m.take("sat") | m.take("satfinite");
        let relu = m.take("relu");
        let (to, from) = (m.ty()?, m.ty()?);
        let (mode, whole) = rnd.unwrap_or((0, 0));
        let flags = mode << 8
            | whole
            | if flush { CVT_FTZ } else { 0 }
            | if sat { CVT_SAT } else { 0 }
            | if relu { CVT_RELU } else { 0 };
        if to == Ty::Tf32 {
            if from != Ty::F32 || away == rnd.is_some() {
                return m.unknown();
            }
            let f: Any = |a, _, _, away| {
                let a = a as u32;
                let step = if away != 0 { 0x1000 } else { 0xfff + (a >> 13 & 1) };
                u64::from(if f(a).is_nan() { NAN32 } else { a.wrapping_add(step) & !0x1fff })
            };
            return self.any(i, Class::Convert, f, u32::from(away), Ty::B32, [Ty::F32; 3]);
        }
        let element = match to {
            Ty::F16x2 => Ty::F16,
            Ty::BF16x2 => Ty::BF16,
            t => t,
        };
        if matches!(to, Ty::F16x2 | Ty::BF16x2 | Ty::E4M3x2 | Ty::E5M2x2) {
            if from == Ty::F32 && i.args.len() == 3 {
                let (Some(t), Some(s)) = (code(element), code(from)) else {
                    return m.unknown();
                };
                return self.any(i, Class::Convert, pack_small, t | s << 4 | flags, to, [Ty::F32; 3]);
            }
            if from == Ty::F16x2 && to.size() == 2 && sat {
                let f: Any = |a, _, _, imm| {
                    let one = |v: u64| {
                        let x = F16.decode(v as u32 & 0xffff);
                        let x = if imm & CVT_RELU != 0 && x < 0.0 { 0.0 } else { x };
                        u64::from(small(TYPES[(imm & 15) as usize]).encode(x, Rnd::Rn, true))
                    };
                    one(a >> 16) << 8 | one(a)
                };
                let Some(t) = code(to) else { return m.unknown() };
                return self.any(i, Class::Convert, f, t | flags, to, [from; 3]);
            }
            let (Some(s), Ty::F16x2) = (code(from), to) else {
                return m.unknown();
            };
            let f: Any = |a, _, _, s| {
                let format = small(TYPES[s as usize]);
                let half = |v: u64| u64::from(F16.encode(format.decode(v as u32 & 0xff), Rnd::Rn, false));
                half(a >> 8) << 16 | half(a)
            };
            return self.any(i, Class::Convert, f, s, to, [from; 3]);
        }
        let [d, a] = self.args(i)?;
        // A rounding mode is required exactly where the result may need one.
        let needs = !to.float() && from.float()
            || to.float() && from.integer()
            || to.float() && from.float() && to.size() < from.size();
        if needs && rnd.is_none() || away {
            return m.unknown();
        }
        let (dst, src) = (self.dst(d, to)?, self.src(a, from)?);
        self.fits(d, dst, to, true)?;
        self.fits(a, src, from, true)?;
        let plain = flags & (CVT_FTZ | CVT_SAT | CVT_RELU) == 0;
        if let (Reg::W(d), Reg::W(a), true) = (dst, src, plain) {
            let fast: Option<W1> = match (to, from, mode, whole != 0) {
                (Ty::F32, Ty::S32, 0, _) => Some(w1!(|a| (a as i32 as f32).to_bits())),
                (Ty::F32, Ty::U32, 0, _) => Some(w1!(|a| (a as f32).to_bits())),
                (Ty::F32, Ty::F16, _, false) => Some(w1!(|a| canon(h(a)))),
                (Ty::F32, Ty::BF16, _, false) => Some(w1!(|a| canon(fp::b(a)))),
                (Ty::F16, Ty::F32, 0, false) => Some(w1!(|a| to_h(f(a)))),
                (Ty::BF16, Ty::F32, 0, false) => Some(w1!(|a| fp::to_b(f(a)))),
                (Ty::S32, Ty::F32, 1, true) => Some(w1!(|a| f(a) as i32 as u32)),
                (Ty::S32, Ty::F32, 0, true) => Some(w1!(|a| f(a).round_ties_even() as i32 as u32)),
                (Ty::U32 | Ty::S32, Ty::U8, ..) => Some(w1!(|a| a & 0xff)),
                (Ty::U32 | Ty::S32, Ty::U16, ..) => Some(w1!(|a| a & 0xffff)),
                (Ty::U32 | Ty::S32, Ty::S8, ..) => Some(w1!(|a| a as i8 as i32 as u32)),
                (Ty::U32 | Ty::S32, Ty::S16, ..) => Some(w1!(|a| a as i16 as i32 as u32)),
                (Ty::U32 | Ty::S32, Ty::U32 | Ty::S32, ..) => Some(w1!(|a| a)),
                (Ty::U16, Ty::U32 | Ty::S32 | Ty::U16, ..) => Some(w1!(|a| a & 0xffff)),
                (Ty::U8, Ty::U32 | Ty::S32 | Ty::U16 | Ty::S16, ..) => Some(w1!(|a| a & 0xff)),
                _ => None,
            };
            if let Some(f) = fast {
                self.emit(Class::Convert, Op::W1 { f, d, a });
                return Ok(true);
            }
        }
        if let (Reg::D(d), Reg::W(a), true) = (dst, src, plain) {
            let fast: Option<fn(&Row, &mut Row64)> = match (to, from) {
                (Ty::U64 | Ty::S64, Ty::U32) => Some(mixed!((a: Row) -> Row64, u64::from(a))),
                (Ty::U64 | Ty::S64, Ty::S32) => Some(mixed!((a: Row) -> Row64, a as i32 as i64 as u64)),
                _ => None,
            };
            if let Some(f) = fast {
                self.emit(Class::Convert, Op::Widen { f, d, a });
                return Ok(true);
            }
        }
        if let (Reg::W(d), Reg::D(a), Ty::U32 | Ty::S32, Ty::U64 | Ty::S64, true) = (dst, src, to, from, plain) {
            self.emit(Class::Convert, Op::Narrow { f: mixed!((a: Row64) -> Row, a as u32), d, a });
            return Ok(true);
        }
        let (Some(t), Some(s)) = (code(element), code(from)) else {
            return m.unknown();
        };
        let imm = t | s << 4 | flags | self.dst_bytes(d) << 16;
        self.emit(Class::Convert, Op::Any { f: convert, imm, d: dst, s: [src; 3] });
        Ok(true)
    }

    /// `cvt.pack.sat`: two saturated integers, then the low part of `c` above them.
    fn cvt_pack(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        if !m.take("sat") {
            return m.unknown();
        }
        let (to, from) = (m.ty()?, m.ty()?);
        let with_c = i.args.len() == 4;
        if from != Ty::S32 || with_c && m.ty()? != Ty::B32 {
            return m.unknown();
        }
        let f: Any = |a, b, c, imm| {
            let (to, bits) = (TYPES[(imm & 15) as usize], 8 * TYPES[(imm & 15) as usize].size());
            let sat = |v: u64| store_int(i128::from(v as i32), to, bits, true);
            let above = if imm & 16 != 0 { c << (2 * bits) } else { 0 };
            (above | sat(a) << bits | sat(b)) & 0xffff_ffff
        };
        let Some(t) = code(to).filter(|_| to.integer() && to.size() <= 2) else {
            return m.unknown();
        };
        self.any(i, Class::Convert, f, t | u32::from(with_c) << 4, Ty::B32, [Ty::S32, Ty::S32, Ty::B32])
    }
}
