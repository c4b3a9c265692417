//! Conversions: PTX ISA, "Data Movement and Conversion Instructions: cvt".

use crate::error::At;
use crate::fp::convert::{self, CVT_FTZ, CVT_RELU, CVT_SAT, INTEGRAL, code};
use crate::fp::{self, canon, f, h, to_h};
use crate::ir::*;
use crate::lower::context::{Item, Lower};
use crate::lower::modifiers::Mods;
use crate::lower::rows::*;
use crate::parse::ast::{Arg, AstInst};
use crate::ty::Ty;

/// Rounding modes: bits of [`fp::Rnd`], and whether the result is an integral value.
const ROUNDINGS: [(&str, (u32, bool)); 8] = [
    ("rn", (0, false)),
    ("rz", (1, false)),
    ("rm", (2, false)),
    ("rp", (3, false)),
    ("rni", (0, true)),
    ("rzi", (1, true)),
    ("rmi", (2, true)),
    ("rpi", (3, true)),
];

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
        let rnd = m.one_of(&ROUNDINGS);
        let away = m.take("rna");
        let flush = m.take("ftz");
        let sat = m.take("sat") | m.take("satfinite");
        let relu = m.take("relu");
        let (to, from) = (m.ty()?, m.ty()?);
        if to == Ty::Tf32 {
            if from != Ty::F32 || away == rnd.is_some() {
                return m.unknown();
            }
            return self.any(i, Class::Convert, convert::to_tf32, u32::from(away), Ty::B32, [Ty::F32; 3]);
        }
        let (mode, integral) = rnd.unwrap_or((0, false));
        let flags = [(integral, INTEGRAL), (flush, CVT_FTZ), (sat, CVT_SAT), (relu, CVT_RELU)];
        let flags = flags.into_iter().filter(|(on, _)| *on).fold(mode << 8, |all, (_, bit)| all | bit);
        if matches!(to, Ty::F16x2 | Ty::BF16x2 | Ty::E4M3x2 | Ty::E5M2x2) {
            return self.convert_pair(i, m, to, from, flags);
        }
        // A rounding mode is required exactly where the result may need one.
        let needs = !to.float() && from.float()
            || to.float() && from.integer()
            || to.float() && from.float() && to.size() < from.size();
        if needs && rnd.is_none() || away {
            return m.unknown();
        }
        let [d, a] = self.args(i)?;
        let (dst, src) = (self.dst(d, to)?, self.src(a, from)?);
        self.fits(d, dst, to, true)?;
        self.fits(a, src, from, true)?;
        let plain = flags & (CVT_FTZ | CVT_SAT | CVT_RELU) == 0;
        let op = match (dst, src) {
            (Reg::W(d), Reg::W(a)) if plain => plain32(to, from, mode, integral).map(|f| Op::W1 { f, d, a }),
            (Reg::D(d), Reg::W(a)) if plain => widening(to, from).map(|f| Op::Widen { f, d, a }),
            (Reg::W(d), Reg::D(a)) if plain => narrowing(to, from).map(|f| Op::Narrow { f, d, a }),
            _ => None,
        };
        let op = match (op, code(to), code(from)) {
            (Some(op), ..) => op,
            (None, Some(t), Some(s)) => {
                let imm = t | s << 4 | flags | self.dst_bytes(d) << 16;
                Op::Any { f: convert::convert, imm, d: dst, s: [src; 3] }
            }
            _ => return m.unknown(),
        };
        self.emit(Class::Convert, op);
        Ok(true)
    }

    /// Conversions to two halves or two 8-bit values in one register.
    fn convert_pair(&mut self, i: &AstInst, m: &Mods, to: Ty, from: Ty, flags: u32) -> Result<bool, At> {
        if from == Ty::F32 && i.args.len() == 3 {
            let element = match to {
                Ty::F16x2 => Ty::F16,
                Ty::BF16x2 => Ty::BF16,
                t => t,
            };
            let (Some(t), Some(s)) = (code(element), code(from)) else {
                return m.unknown();
            };
            return self.any(i, Class::Convert, convert::pack_small, t | s << 4 | flags, to, [Ty::F32; 3]);
        }
        if from == Ty::F16x2 && to.size() == 2 && flags & CVT_SAT != 0 {
            let Some(t) = code(to) else { return m.unknown() };
            return self.any(i, Class::Convert, convert::halves_to_small, t | flags, to, [from; 3]);
        }
        let (Some(s), Ty::F16x2) = (code(from), to) else {
            return m.unknown();
        };
        self.any(i, Class::Convert, convert::small_to_halves, s, to, [from; 3])
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
        let Some(t) = code(to).filter(|_| to.integer() && to.size() <= 2) else {
            return m.unknown();
        };
        let imm = t | u32::from(with_c) << 4;
        self.any(i, Class::Convert, convert::pack_ints, imm, Ty::B32, [Ty::S32, Ty::S32, Ty::B32])
    }
}

/// The conversions between registers of up to 32 bits that inner loops use, as functions of rows.
fn plain32(to: Ty, from: Ty, mode: u32, integral: bool) -> Option<W1> {
    Some(match (to, from, mode, integral) {
        (Ty::F32, Ty::S32, 0, _) => w1!(|a| (a as i32 as f32).to_bits()),
        (Ty::F32, Ty::U32, 0, _) => w1!(|a| (a as f32).to_bits()),
        (Ty::F32, Ty::F16, _, false) => w1!(|a| canon(h(a))),
        (Ty::F32, Ty::BF16, _, false) => w1!(|a| canon(fp::b(a))),
        (Ty::F16, Ty::F32, 0, false) => w1!(|a| to_h(f(a))),
        (Ty::BF16, Ty::F32, 0, false) => w1!(|a| fp::to_b(f(a))),
        (Ty::S32, Ty::F32, 1, true) => w1!(|a| f(a) as i32 as u32),
        (Ty::S32, Ty::F32, 0, true) => w1!(|a| f(a).round_ties_even() as i32 as u32),
        (Ty::U32 | Ty::S32, Ty::U8, ..) => w1!(|a| a & 0xff),
        (Ty::U32 | Ty::S32, Ty::U16, ..) => w1!(|a| a & 0xffff),
        (Ty::U32 | Ty::S32, Ty::S8, ..) => w1!(|a| a as i8 as i32 as u32),
        (Ty::U32 | Ty::S32, Ty::S16, ..) => w1!(|a| a as i16 as i32 as u32),
        (Ty::U32 | Ty::S32, Ty::U32 | Ty::S32, ..) => w1!(|a| a),
        (Ty::U16, Ty::U32 | Ty::S32 | Ty::U16, ..) => w1!(|a| a & 0xffff),
        (Ty::U8, Ty::U32 | Ty::S32 | Ty::U16 | Ty::S16, ..) => w1!(|a| a & 0xff),
        _ => return None,
    })
}

fn widening(to: Ty, from: Ty) -> Option<fn(&Row, &mut Row64)> {
    match (to, from) {
        (Ty::U64 | Ty::S64, Ty::U32) => Some(mixed!((a: Row) -> Row64, u64::from(a))),
        (Ty::U64 | Ty::S64, Ty::S32) => Some(mixed!((a: Row) -> Row64, a as i32 as i64 as u64)),
        _ => None,
    }
}

fn narrowing(to: Ty, from: Ty) -> Option<fn(&Row64, &mut Row)> {
    match (to, from) {
        (Ty::U32 | Ty::S32, Ty::U64 | Ty::S64) => Some(mixed!((a: Row64) -> Row, a as u32)),
        _ => None,
    }
}
