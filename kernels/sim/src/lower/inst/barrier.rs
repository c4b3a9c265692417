//! Barriers of a warp and of a block: `bar`, `barrier`.

use crate::error::At;
use crate::ir::*;
use crate::lower::context::Lower;
use crate::lower::modifiers::Mods;
use crate::parse::ast::AstInst;
use crate::ty::Ty;

impl Lower<'_> {
    pub fn barrier(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        if m.take("warp") {
            if !m.take("sync") {
                return m.unknown();
            }
            let [mask] = self.args(i)?;
            let mask = self.w(mask, Ty::B32)?;
            self.emit(Class::Barrier, Op::WarpSync { mask });
            return Ok(true);
        }
        m.take("cta");
        let aligned = m.take("aligned") || i.op[0] == "bar";
        if m.take("red") {
            return self.barrier_with_reduction(i, m, aligned);
        }
        let arrive = m.take("arrive");
        if !arrive && !m.take("sync") {
            return m.unknown();
        }
        let (id, count) = match i.args.as_slice() {
            [id] => (id, None),
            [id, n] => (id, Some(n)),
            _ => return m.wrong_count(),
        };
        if arrive && count.is_none() {
            return self.err("an arrive needs the number of threads");
        }
        let id = self.w(id, Ty::B32)?;
        let count = count.map(|n| self.w(n, Ty::B32)).transpose()?;
        self.emit(Class::Barrier, Op::Bar(Bar { id, count, arrive, aligned, red: None }.into()));
        Ok(true)
    }

    fn barrier_with_reduction(&mut self, i: &AstInst, m: &mut Mods, aligned: bool) -> Result<bool, At> {
        let op = m.one_of(&[("popc", None), ("and", Some(Bool::And)), ("or", Some(Bool::Or))]);
        let Some(op) = op else { return m.unknown() };
        m.ty()?;
        let (d, id, count, p) = match i.args.as_slice() {
            [d, id, p] => (d, id, None, p),
            [d, id, n, p] => (d, id, Some(n), p),
            _ => return m.wrong_count(),
        };
        let (p, negate) = self.maybe_negated(p)?;
        let d = self.dst(d, if op.is_none() { Ty::B32 } else { Ty::Pred })?;
        let id = self.w(id, Ty::B32)?;
        let count = count.map(|n| self.w(n, Ty::B32)).transpose()?;
        let red = Some((op, d, p, negate));
        self.emit(Class::Barrier, Op::Bar(Bar { id, count, arrive: false, aligned, red }.into()));
        Ok(true)
    }
}
