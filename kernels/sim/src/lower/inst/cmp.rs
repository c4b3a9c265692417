//! Comparisons: `setp` and `set`.

// `!(a >= b)` holds also where an operand is a NaN: "less or unordered".
#![allow(clippy::neg_cmp_op_on_partial_ord)]

use crate::error::At;
use crate::fp::{b, f, ftz, h};
use crate::ir::*;
use crate::lower::context::Lower;
use crate::lower::modifiers::Mods;
use crate::lower::rows::*;
use crate::parse::ast::{Arg, AstInst};
use crate::ty::Ty;

/// A function that compares two rows; `$of` converts the value of a lane. `x != x` holds for a NaN.
macro_rules! comparisons {
    ($cmp:expr, $row:ident, $of:expr) => {
        match $cmp {
            Cmp::Eq => cmp!($row, |a, b| $of(a) == $of(b)),
            Cmp::Ne => cmp!($row, |a, b| $of(a) < $of(b) || $of(a) > $of(b)),
            Cmp::Lt => cmp!($row, |a, b| $of(a) < $of(b)),
            Cmp::Le => cmp!($row, |a, b| $of(a) <= $of(b)),
            Cmp::Gt => cmp!($row, |a, b| $of(a) > $of(b)),
            Cmp::Ge => cmp!($row, |a, b| $of(a) >= $of(b)),
            Cmp::Equ => cmp!($row, |a, b| !($of(a) < $of(b) || $of(a) > $of(b))),
            Cmp::Neu => cmp!($row, |a, b| $of(a) != $of(b)),
            Cmp::Ltu => cmp!($row, |a, b| !($of(a) >= $of(b))),
            Cmp::Leu => cmp!($row, |a, b| !($of(a) > $of(b))),
            Cmp::Gtu => cmp!($row, |a, b| !($of(a) <= $of(b))),
            Cmp::Geu => cmp!($row, |a, b| !($of(a) < $of(b))),
            Cmp::Num => cmp!($row, |a, b| !($of(a) != $of(a) || $of(b) != $of(b))),
            Cmp::Nan => cmp!($row, |a, b| $of(a) != $of(a) || $of(b) != $of(b)),
        }
    };
}

impl Lower<'_> {
    /// `setp` and `set`.
    pub fn compare(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let cmp = m.rest.iter().position(|w| Cmp::parse(w).is_some());
        let Some(cmp) = cmp.and_then(|k| Cmp::parse(m.rest.remove(k))) else {
            return m.unknown();
        };
        let combine = m.one_of(&[("and", Bool::And), ("or", Bool::Or), ("xor", Bool::Xor)]);
        let flush = m.take("ftz");
        let set = i.op[0] == "set";
        let to = if set { Some(m.ty()?) } else { None };
        let ty = m.ty()?;
        let combine = match (combine, i.args.len()) {
            (Some(op), 4) => Some((op, self.p(&i.args[3])?)),
            (None, 3) => None,
            _ => return m.wrong_count(),
        };
        if let Ty::F16x2 | Ty::BF16x2 = ty {
            return self.compare_halves(i, m, cmp, flush, to, ty, combine);
        }
        let (d, q) = match &i.args[0] {
            Arg::Pair(d, q) if !set => (self.pd(d)?, Some(self.pd(q)?)),
            d if !set => (self.pd(d)?, None),
            _ => (self.new_p()?, None),
        };
        let out = PredOut { d, q, combine };
        let op = match ty {
            Ty::Pred => return m.unknown(),
            t if t.size() == 8 => {
                Op::SetD { f: cmp.rows64(ty), a: self.d(&i.args[1], ty)?, b: self.d(&i.args[2], ty)?, out }
            }
            _ => {
                let f = cmp.rows(ty, flush).map_or_else(|| m.unknown(), Ok)?;
                Op::SetW { f, a: self.w(&i.args[1], ty)?, b: self.w(&i.args[2], ty)?, out }
            }
        };
        self.emit(Class::Predicate, op);
        if let Some(to) = to {
            let one = match to {
                Ty::F32 => Arg::F32(1f32.to_bits()),
                Ty::U32 | Ty::S32 | Ty::U16 | Ty::S16 => Arg::Int(u64::MAX),
                Ty::F16 => Arg::Int(0x3c00),
                Ty::BF16 => Arg::Int(0x3f80),
                _ => return m.unknown(),
            };
            let op = Op::SelW { d: self.wd(&i.args[0])?, a: self.w(&one, to)?, b: self.w(&Arg::Int(0), to)?, p: d };
            self.emit(Class::Move, op);
        }
        Ok(true)
    }

    /// Two halves at once: `setp` has a predicate for each, `set` yields 1 or 0 in each.
    #[allow(clippy::too_many_arguments)]
    fn compare_halves(
        &mut self,
        i: &AstInst,
        m: &Mods,
        cmp: Cmp,
        flush: bool,
        to: Option<Ty>,
        ty: Ty,
        combine: Option<(Bool, R)>,
    ) -> Result<bool, At> {
        let (one, half) = if ty == Ty::F16x2 { (0x3c00, Ty::F16) } else { (0x3f80, Ty::BF16) };
        let (Some(f), false) = (cmp.rows(half, false), flush) else { return m.unknown() };
        let outs = match (&i.args[0], to) {
            (Arg::Pair(p, q), None) => [self.pd(p)?, self.pd(q)?],
            (_, Some(t)) if t == ty => [self.new_p()?, self.new_p()?],
            _ => return m.unknown(),
        };
        let (a, b) = (self.w(&i.args[1], ty)?, self.w(&i.args[2], ty)?);
        let mut rows = [(a, b); 2];
        for (from, t) in [(a, &mut rows[1].0), (b, &mut rows[1].1)] {
            let d = self.new_w()?;
            self.emit(Class::Predicate, Op::W1 { f: w1!(|a| a >> 16), d, a: from });
            *t = d;
        }
        for ((a, b), d) in rows.into_iter().zip(outs) {
            self.emit(Class::Predicate, Op::SetW { f, a, b, out: PredOut { d, q: None, combine } });
        }
        if to.is_some() {
            let (d, zero) = (self.wd(&i.args[0])?, self.w(&Arg::Int(0), Ty::B32)?);
            let (lo, hi) = (self.new_w()?, self.new_w()?);
            let values = [self.w(&Arg::Int(one), Ty::B32)?, self.w(&Arg::Int(one << 16), Ty::B32)?];
            for ((t, a), p) in [lo, hi].into_iter().zip(values).zip(outs) {
                self.emit(Class::Move, Op::SelW { d: t, a, b: zero, p });
            }
            self.emit(Class::Move, Op::W2 { f: w2!(|a, b| a | b), d, a: lo, b: hi });
        }
        Ok(true)
    }
}

/// A comparison. Those that end in `u` hold also where an operand is a NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cmp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Equ,
    Neu,
    Ltu,
    Leu,
    Gtu,
    Geu,
    Num,
    Nan,
}

impl Cmp {
    /// `lo`, `ls`, `hi`, `hs` are the unsigned comparisons of integers.
    fn parse(s: &str) -> Option<Cmp> {
        Some(match s {
            "eq" => Cmp::Eq,
            "ne" => Cmp::Ne,
            "lt" | "lo" => Cmp::Lt,
            "le" | "ls" => Cmp::Le,
            "gt" | "hi" => Cmp::Gt,
            "ge" | "hs" => Cmp::Ge,
            "equ" => Cmp::Equ,
            "neu" => Cmp::Neu,
            "ltu" => Cmp::Ltu,
            "leu" => Cmp::Leu,
            "gtu" => Cmp::Gtu,
            "geu" => Cmp::Geu,
            "num" => Cmp::Num,
            "nan" => Cmp::Nan,
            _ => return None,
        })
    }

    /// The comparison of two rows of up to 32 bits; `None` if the type has no such comparison.
    fn rows(self, ty: Ty, flush: bool) -> Option<fn(&Row, &Row) -> u32> {
        Some(match ty {
            Ty::F32 if flush => comparisons!(self, Row, |x: u32| f(ftz(x))),
            Ty::F32 => comparisons!(self, Row, f),
            Ty::F16 => comparisons!(self, Row, h),
            Ty::BF16 => comparisons!(self, Row, b),
            Ty::S32 if self.ordered() => comparisons!(self, Row, |x: u32| x as i32),
            Ty::U32 | Ty::B32 if self.ordered() => comparisons!(self, Row, |x: u32| x),
            Ty::S16 if self.ordered() => comparisons!(self, Row, |x: u32| x as i16),
            Ty::U16 | Ty::B16 if self.ordered() => comparisons!(self, Row, |x: u32| x as u16),
            _ => return None,
        })
    }

    /// The same for rows of 64 bits.
    fn rows64(self, ty: Ty) -> fn(&Row64, &Row64) -> u32 {
        match ty {
            Ty::F64 => comparisons!(self, Row64, f64::from_bits),
            Ty::S64 => comparisons!(self, Row64, |x: u64| x as i64),
            _ => comparisons!(self, Row64, |x: u64| x),
        }
    }

    /// Integers have these comparisons only.
    fn ordered(self) -> bool {
        matches!(self, Cmp::Eq | Cmp::Ne | Cmp::Lt | Cmp::Le | Cmp::Gt | Cmp::Ge)
    }
}
