//! Loads, stores, atomics, address conversions, asynchronous copies.

use crate::error::At;
use crate::ir::*;
use crate::lower::context::Lower;
use crate::lower::modifiers::Mods;
use crate::lower::rows::*;
use crate::parse::ast::{Arg, AstInst};
use crate::ty::{Space, Ty};

pub(super) const SPACES: [(&str, Space); 7] = [
    ("global", Space::Global),
    ("const", Space::Const),
    ("shared", Space::Shared),
    ("shared::cta", Space::Shared),
    ("local", Space::Local),
    ("param", Space::Param),
    ("param::entry", Space::Param),
];

/// Operations of `atom` and `red`; the first six are those of `redux` too.
pub(super) const ATOM_OPS: [(&str, AtomOp); 10] = [
    ("add", AtomOp::Add),
    ("min", AtomOp::Min),
    ("max", AtomOp::Max),
    ("and", AtomOp::And),
    ("or", AtomOp::Or),
    ("xor", AtomOp::Xor),
    ("exch", AtomOp::Exch),
    ("cas", AtomOp::Cas),
    ("inc", AtomOp::Inc),
    ("dec", AtomOp::Dec),
];

impl Mods<'_> {
    /// Cache hints change no value.
    fn cache_hints(&mut self) {
        for w in ["ca", "cg", "cs", "lu", "cv", "wb", "wt"] {
            self.take(w);
        }
        self.drop_prefix("L1::");
        self.drop_prefix("L2::");
    }

    fn scope(&mut self) {
        for w in ["cta", "cluster", "gpu", "sys"] {
            self.take(w);
        }
    }
}

impl Lower<'_> {
    pub fn memory(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        match i.op[0].as_str() {
            "ld" | "ldu" | "st" => self.load_store(i, m),
            "atom" | "red" => self.atomic(i, m),
            "cvta" => {
                let to = m.take("to");
                let Some(space) = m.one_of(&SPACES) else {
                    return m.unknown();
                };
                if m.ty()?.size() != 8 {
                    return m.unknown();
                }
                let [d, a] = self.args(i)?;
                let (d, a) = (self.dd(d)?, self.d(a, Ty::B64)?);
                let base = self.d(&Arg::Int(window(space)), Ty::B64)?;
                let f: D2 = if to { d2!(|a, b| a.wrapping_sub(b)) } else { d2!(|a, b| a.wrapping_add(b)) };
                self.emit(Class::Move, Op::D2 { f, d, a, b: base });
                Ok(true)
            }
            "isspacep" => {
                let Some(space) = m.one_of(&SPACES) else {
                    return m.unknown();
                };
                let [d, a] = self.args(i)?;
                let op = Op::IsSpace { space, d: self.pd(d)?, a: self.d(a, Ty::B64)? };
                self.emit(Class::Predicate, op);
                Ok(true)
            }
            "prefetch" | "prefetchu" | "applypriority" | "discard" => {
                m.one_of(&SPACES);
                m.take("L1");
                m.take("L2");
                m.drop_prefix("L2::");
                self.emit(Class::LoadGlobal, Op::Prefetch);
                Ok(true)
            }
            "createpolicy" => {
                m.rest.clear();
                let d = self.dd(&i.args[0])?;
                let a = self.d(&Arg::Int(0), Ty::B64)?;
                self.emit(Class::Move, Op::D1 { f: d1!(|a| a), d, a });
                Ok(true)
            }
            "membar" | "fence" => {
                for w in ["sc", "acq_rel", "gl"] {
                    m.take(w);
                }
                m.scope();
                self.emit(Class::Barrier, Op::Fence);
                Ok(true)
            }
            "cp" if i.op.get(1).is_some_and(|w| w == "async") => {
                m.take("async");
                self.cp_async(i, m)
            }
            _ => Ok(false),
        }
    }

    fn load_store(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let load = i.op[0] != "st";
        let acquire = m.take("acquire");
        let release = m.take("release");
        let strong = m.take("volatile") | m.take("relaxed") | acquire | release;
        m.take("weak");
        m.scope();
        let read_only = m.take("nc");
        m.cache_hints();
        let space = m.one_of(&SPACES).unwrap_or(Space::Generic);
        let n = m.one_of(&[("v2", 2u8), ("v4", 4), ("v8", 8)]).unwrap_or(1);
        let ty = m.ty()?;
        if ty == Ty::Pred {
            return m.unknown();
        }
        // An L2 cache policy operand, if any, is last and changes no value.
        let (value, address) = match (load, i.args.as_slice()) {
            (true, [v, a] | [v, a, _]) => (v, a),
            (false, [a, v] | [a, v, _]) => (v, a),
            _ => return m.wrong_count(),
        };
        let values: &[Arg] = match value {
            Arg::List(l) => l,
            v => std::slice::from_ref(v),
        };
        if values.len() != usize::from(n) {
            return self.err(format!("instruction '{}': {} values, {n} expected", m.op, values.len()));
        }
        let mut regs = [Reg::W(0); 8];
        for (r, v) in regs.iter_mut().zip(values) {
            let reg = if load { self.dst(v, ty)? } else { self.src(v, ty)? };
            *r = self.fits(v, reg, ty, true)?;
        }
        let (addr, off) = self.addr(address)?;
        let narrow = load && values.iter().all(|v| self.dst_bytes(v) <= 2);
        let mem = Mem {
            space,
            size: ty.size() as u8,
            n,
            regs,
            addr,
            off,
            signed: ty.signed(),
            narrow,
            release,
            strong,
            guess: false, // `Lower::mark_guesses` knows
            read_only,
        };
        let class = match (space, load) {
            (Space::Global | Space::Generic, true) => Class::LoadGlobal,
            (Space::Global | Space::Generic, false) => Class::StoreGlobal,
            (Space::Shared, true) => Class::LoadShared,
            (Space::Shared, false) => Class::StoreShared,
            _ => Class::LocalParam,
        };
        self.emit(class, if load { Op::Ld(mem.into()) } else { Op::St(mem.into()) });
        Ok(true)
    }

    fn atomic(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let acq_rel = m.take("acq_rel");
        m.take("acquire");
        let release = m.take("release") || acq_rel;
        m.take("relaxed");
        m.scope();
        m.cache_hints();
        m.take("noftz");
        let space = m.one_of(&SPACES).unwrap_or(Space::Generic);
        let op = m.one_of(&ATOM_OPS);
        let Some(op) = op else { return m.unknown() };
        let ty = m.ty()?;
        let red = i.op[0] == "red";
        let (d, rest) = match (red, i.args.as_slice()) {
            (true, rest) => (None, rest),
            (false, [Arg::Name(n), rest @ ..]) if n == "_" => (None, rest),
            (false, [d, rest @ ..]) => {
                let reg = self.dst(d, ty)?;
                (Some(self.fits(d, reg, ty, false)?), rest)
            }
            _ => return m.unknown(),
        };
        let (address, b, c) = match (op, rest) {
            (AtomOp::Cas, [a, b, c]) => (a, b, Some(c)),
            (AtomOp::Cas, _) => return m.unknown(),
            (_, [a, b]) => (a, b, None),
            _ => return m.wrong_count(),
        };
        let known = match op {
            AtomOp::Add => !matches!(ty, Ty::S8 | Ty::U8 | Ty::B8 | Ty::U16 | Ty::S16 | Ty::Pred),
            AtomOp::Min | AtomOp::Max => {
                ty.integer() && ty.size() >= 4 || matches!(ty, Ty::F16 | Ty::BF16 | Ty::F16x2 | Ty::BF16x2)
            }
            AtomOp::Inc | AtomOp::Dec => ty == Ty::U32,
            AtomOp::Cas => matches!(ty, Ty::B16 | Ty::B32 | Ty::B64 | Ty::U32 | Ty::S32 | Ty::U64),
            _ => ty.size() >= 4 && !ty.float(),
        };
        if !known {
            return m.unknown();
        }
        let (addr, off) = self.addr(address)?;
        let b = self.src(b, ty)?;
        let c = c.map(|c| self.src(c, ty)).transpose()?;
        self.emit(Class::Atomic, Op::Atom(Atom { space, op, ty, d, addr, off, b, c, release }.into()));
        Ok(true)
    }

    fn cp_async(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        if m.take("commit_group") {
            self.emit(Class::AsyncCopy, Op::CpCommit);
            return Ok(true);
        }
        if m.take("wait_all") {
            self.emit(Class::AsyncCopy, Op::CpWait(None));
            return Ok(true);
        }
        if m.take("wait_group") {
            let [Arg::Int(n)] = self.args(i)? else {
                return self.err("cp.async.wait_group without a constant");
            };
            self.emit(Class::AsyncCopy, Op::CpWait(Some(*n as u32)));
            return Ok(true);
        }
        let cg = m.take("cg");
        if !cg && !m.take("ca") {
            return m.unknown();
        }
        if !(m.take("shared") || m.take("shared::cta")) || !m.take("global") {
            return m.unknown();
        }
        m.drop_prefix("L2::");
        let [dst, src, Arg::Int(bytes), rest @ ..] = i.args.as_slice() else {
            return self.err("cp.async without a constant size");
        };
        let bytes = *bytes as u32;
        if !(matches!(bytes, 4 | 8) && !cg || bytes == 16) {
            return self.err(format!("instruction '{}' of {bytes} bytes is not known", m.op));
        }
        let ((dst, dst_off), (src, src_off)) = (self.addr(dst)?, self.addr(src)?);
        let (mut src_size, mut ignore) = (None, None);
        match rest.first() {
            None => {}
            Some(a) => match self.src(a, Ty::U32)? {
                Reg::W(r) => src_size = Some(r),
                Reg::P(r) => ignore = Some(r),
                // A cache policy
                Reg::D(_) => {}
            },
        }
        self.emit(
            Class::AsyncCopy,
            Op::CpAsync(CpAsync { dst, dst_off, src, src_off, bytes, src_size, ignore }.into()),
        );
        Ok(true)
    }
}
