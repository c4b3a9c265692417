//! `mov`: copies, and packing and unpacking of registers.

use crate::error::At;
use crate::ir::*;
use crate::lower::context::Lower;
use crate::lower::modifiers::Mods;
use crate::lower::rows::*;
use crate::parse::ast::{Arg, AstInst};
use crate::ty::Ty;

/// Two bytes, or two halves, side by side.
const BYTES: W2 = w2!(|a, b| (a & 0xff) | (b & 0xff) << 8);
const HALVES: W2 = w2!(|a, b| (a & 0xffff) | b << 16);

impl Lower<'_> {
    pub fn mov(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let ty = m.ty()?;
        let [d, a] = self.args(i)?;
        if let Arg::Name(n) = a
            && (matches!(
                n.as_str(),
                "%clock" | "%clock_hi" | "%clock64" | "%globaltimer" | "%globaltimer_lo" | "%globaltimer_hi"
            ))
        {
            let d = self.dst(d, ty)?;
            self.emit(Class::Move, Op::Clock { d });
            return Ok(true);
        }
        let op = match (d, a) {
            (Arg::List(to), a) => return self.unpack(to, a, ty),
            (d, Arg::List(from)) => return self.pack(d, from, ty),
            (d, a) if ty == Ty::Pred => {
                let a = self.p(a)?;
                Op::Pred { f: |a, _| a, d: self.pd(d)?, a, b: a }
            }
            (d, a) if ty.size() == 8 => match self.src(a, ty)? {
                Reg::D(a) => Op::D1 { f: d1!(|a| a), d: self.dd(d)?, a },
                Reg::W(a) => Op::Widen { f: mixed!((a: Row) -> Row64, u64::from(a)), d: self.dd(d)?, a },
                Reg::P(_) => return self.err("mov of a predicate to 64 bits"),
            },
            (d, a) => Op::W1 { f: w1!(|a| a), d: self.wd(d)?, a: self.w(a, ty)? },
        };
        self.emit(Class::Move, op);
        Ok(true)
    }

    /// `mov.b64 d, {lo, hi}` and the like: the first element is the lowest.
    fn pack(&mut self, d: &Arg, from: &[Arg], ty: Ty) -> Result<bool, At> {
        let op = match (ty.size(), from) {
            (8, [lo, hi]) => Op::Pack { d: self.dd(d)?, lo: self.w(lo, Ty::B32)?, hi: self.w(hi, Ty::B32)? },
            (4, [lo, hi]) => Op::W2 { f: HALVES, d: self.wd(d)?, a: self.w(lo, Ty::B16)?, b: self.w(hi, Ty::B16)? },
            (2, [lo, hi]) => Op::W2 { f: BYTES, d: self.wd(d)?, a: self.w(lo, Ty::B8)?, b: self.w(hi, Ty::B8)? },
            (4, [a, b, c, e]) => {
                let (a, b) = (self.pack_two(a, b, BYTES, Ty::B8)?, self.pack_two(c, e, BYTES, Ty::B8)?);
                Op::W2 { f: HALVES, d: self.wd(d)?, a, b }
            }
            (8, [a, b, c, e]) => {
                let (lo, hi) = (self.pack_two(a, b, HALVES, Ty::B16)?, self.pack_two(c, e, HALVES, Ty::B16)?);
                Op::Pack { d: self.dd(d)?, lo, hi }
            }
            _ => return self.err("mov: this way of packing is not supported"),
        };
        self.emit(Class::Move, op);
        Ok(true)
    }

    /// Two elements in a new register.
    fn pack_two(&mut self, lo: &Arg, hi: &Arg, f: W2, ty: Ty) -> Result<R, At> {
        let d = self.new_w()?;
        let (a, b) = (self.w(lo, ty)?, self.w(hi, ty)?);
        self.emit(Class::Move, Op::W2 { f, d, a, b });
        Ok(d)
    }

    fn unpack(&mut self, to: &[Arg], a: &Arg, ty: Ty) -> Result<bool, At> {
        let sink = |arg: &Arg| matches!(arg, Arg::Name(n) if n == "_");
        if let (8, [lo, hi]) = (ty.size(), to) {
            let op = Op::Unpack {
                lo: if sink(lo) { None } else { Some(self.wd(lo)?) },
                hi: if sink(hi) { None } else { Some(self.wd(hi)?) },
                a: self.d(a, ty)?,
            };
            self.emit(Class::Move, op);
            return Ok(true);
        }
        let bits = 8 * ty.size() / to.len() as u32;
        if bits * to.len() as u32 != 8 * ty.size() || bits < 8 {
            return self.err("mov: this way of unpacking is not supported");
        }
        let s = self.src(a, ty)?;
        // The source may be among the destinations: read it all first.
        let temps = to.iter().map(|_| self.new_w()).collect::<Result<Vec<_>, At>>()?;
        for (k, &t) in temps.iter().enumerate() {
            let f: Any = |a, _, _, imm| (a >> (imm & 0xff)) & ((1 << (imm >> 8)) - 1);
            self.emit(Class::Move, Op::Any { f, imm: (k as u32 * bits) | (bits << 8), d: Reg::W(t), s: [s; 3] });
        }
        for (a, to) in temps.into_iter().zip(to).filter(|(_, to)| !sink(to)) {
            let d = self.wd(to)?;
            self.emit(Class::Move, Op::W1 { f: w1!(|a| a), d, a });
        }
        Ok(true)
    }
}
