//! Exchanges between the lanes of a warp: `shfl`, `vote`, `match`, `redux`, `elect`.

use super::memory::ATOM_OPS;
use crate::error::At;
use crate::ir::*;
use crate::lower::context::Lower;
use crate::lower::modifiers::Mods;
use crate::parse::ast::{Arg, AstInst};
use crate::ty::Ty;

impl Lower<'_> {
    pub fn warp(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        match i.op[0].as_str() {
            "shfl" => self.shuffle(i, m),
            "vote" => self.vote(i, m),
            "match" => self.match_values(i, m),
            "redux" => self.reduce(i, m),
            "elect" => self.elect(i, m),
            "activemask" => self.active_mask(i, m),
            "bar" | "barrier" => self.barrier(i, m),
            _ => Ok(false),
        }
    }

    fn shuffle(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let mode = m.one_of(&[
            ("up", ShflMode::Up),
            ("down", ShflMode::Down),
            ("bfly", ShflMode::Bfly),
            ("idx", ShflMode::Idx),
        ]);
        let (true, Some(mode), Ty::B32) = (m.take("sync"), mode, m.ty()?) else {
            return m.unknown();
        };
        let [d, a, b, c, mask] = self.args(i)?;
        let (d, p) = self.maybe_with_predicate(d)?;
        let (a, b, c, mask) = (self.w(a, Ty::B32)?, self.w(b, Ty::B32)?, self.w(c, Ty::B32)?, self.w(mask, Ty::B32)?);
        self.emit(Class::Warp, Op::Shfl(Shfl { mode, d, p, a, b, c, mask }.into()));
        Ok(true)
    }

    fn vote(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let mode = m.one_of(&[("all", Vote::All), ("any", Vote::Any), ("uni", Vote::Uni), ("ballot", Vote::Ballot)]);
        let (true, Some(mode)) = (m.take("sync"), mode) else {
            return m.unknown();
        };
        let ty = m.ty()?;
        let [d, a, mask] = self.args(i)?;
        let (a, negate) = self.maybe_negated(a)?;
        let d = self.dst(d, ty)?;
        let mask = self.w(mask, Ty::B32)?;
        self.emit(Class::Warp, Op::Vote { mode, d, a, negate, mask });
        Ok(true)
    }

    fn match_values(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let all = m.take("all");
        if !all && !m.take("any") || !m.take("sync") {
            return m.unknown();
        }
        let ty = m.ty()?;
        let [d, a, mask] = self.args(i)?;
        let (d, p) = self.maybe_with_predicate(d)?;
        let (a, mask) = (self.src(a, ty)?, self.w(mask, Ty::B32)?);
        self.emit(Class::Warp, Op::Match { all, d, p, a, mask });
        Ok(true)
    }

    fn reduce(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        if !m.take("sync") {
            return m.unknown();
        }
        let op = m.one_of(&ATOM_OPS);
        let f: fn(u32, u32) -> u32 = match (op, m.ty()?) {
            (Some(AtomOp::Add), Ty::U32 | Ty::S32) => u32::wrapping_add,
            (Some(AtomOp::Min), Ty::U32) => |a, b| a.min(b),
            (Some(AtomOp::Min), Ty::S32) => |a, b| (a as i32).min(b as i32) as u32,
            (Some(AtomOp::Max), Ty::U32) => |a, b| a.max(b),
            (Some(AtomOp::Max), Ty::S32) => |a, b| (a as i32).max(b as i32) as u32,
            (Some(AtomOp::And), Ty::B32) => |a, b| a & b,
            (Some(AtomOp::Or), Ty::B32) => |a, b| a | b,
            (Some(AtomOp::Xor), Ty::B32) => |a, b| a ^ b,
            _ => return m.unknown(),
        };
        let [d, a, mask] = self.args(i)?;
        let op = Op::Redux { f, d: self.wd(d)?, a: self.w(a, Ty::B32)?, mask: self.w(mask, Ty::B32)? };
        self.emit(Class::Warp, op);
        Ok(true)
    }

    fn elect(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        if !m.take("sync") {
            return m.unknown();
        }
        let [Arg::Pair(d, p), mask] = self.args(i)? else {
            return self.err("elect.sync d|p, mask expected");
        };
        let d = if **d == Arg::Name("_".into()) { None } else { Some(self.wd(d)?) };
        let op = Op::Elect { d, p: self.pd(p)?, mask: self.w(mask, Ty::B32)? };
        self.emit(Class::Warp, op);
        Ok(true)
    }

    fn active_mask(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        m.ty()?;
        let [d] = self.args(i)?;
        let op = Op::ActiveMask { d: self.wd(d)? };
        self.emit(Class::Warp, op);
        Ok(true)
    }

    /// `d` or `d|p`: a register, and perhaps a predicate.
    fn maybe_with_predicate(&mut self, arg: &Arg) -> Result<(R, Option<R>), At> {
        match arg {
            Arg::Pair(d, p) => Ok((self.wd(d)?, Some(self.pd(p)?))),
            d => Ok((self.wd(d)?, None)),
        }
    }

    /// `p` or `!p`: a predicate, and whether it is negated.
    pub(super) fn maybe_negated(&mut self, arg: &Arg) -> Result<(R, bool), At> {
        match arg {
            Arg::Not(p) => Ok((self.p(p)?, true)),
            p => Ok((self.p(p)?, false)),
        }
    }
}
