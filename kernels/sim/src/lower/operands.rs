//! Modifiers and operands of instructions, for the lowering.

use crate::error::At;
use crate::ir::*;
use crate::lower::{Item, Lower};
use crate::parse::ast::{Arg, AstInst, Stmt};
use crate::ty::{Space, Ty};

/// The modifiers of an opcode; each is taken once, and what is left over is not understood.
pub(crate) struct Mods<'a> {
    pub line: u32,
    pub op: String,
    pub rest: Vec<&'a str>,
}

impl<'a> Mods<'a> {
    pub fn take(&mut self, word: &str) -> bool {
        match self.rest.iter().position(|w| *w == word) {
            Some(i) => {
                self.rest.remove(i);
                true
            }
            None => false,
        }
    }

    pub fn one_of<T: Copy>(&mut self, table: &[(&str, T)]) -> Option<T> {
        table.iter().find(|(w, _)| self.take(w)).map(|(_, v)| *v)
    }

    /// The first type left.
    pub fn ty(&mut self) -> Result<Ty, At> {
        match self.rest.iter().position(|w| Ty::parse(w).is_some()) {
            Some(i) => Ok(Ty::parse(self.rest.remove(i)).unwrap_or(Ty::B32)),
            None => Err(At::new(self.line, format!("instruction '{}' without a type", self.op))),
        }
    }

    pub fn drop_prefix(&mut self, prefix: &str) {
        self.rest.retain(|w| !w.starts_with(prefix));
    }

    pub fn done(&self) -> Result<(), At> {
        match self.rest.first() {
            None => Ok(()),
            Some(w) => Err(At::new(self.line, format!("instruction '{}': modifier '.{w}' is not known", self.op))),
        }
    }

    pub fn unknown<T>(&self) -> Result<T, At> {
        Err(At::new(self.line, format!("instruction '{}' is not known", self.op)))
    }
}

// Operands.
impl Lower<'_> {
    fn intern_w(&mut self, v: u32) -> Result<R, At> {
        if let Some(&r) = self.const_w.get(&v) {
            return Ok(r);
        }
        let Reg::W(r) = self.new_reg(Ty::B32)? else {
            return self.err("row");
        };
        self.prog.const_w.push((r, v));
        self.const_w.insert(v, r);
        Ok(r)
    }

    fn intern_d(&mut self, v: u64) -> Result<R, At> {
        if let Some(&r) = self.const_d.get(&v) {
            return Ok(r);
        }
        let Reg::D(r) = self.new_reg(Ty::B64)? else {
            return self.err("row");
        };
        self.prog.const_d.push((r, v));
        self.const_d.insert(v, r);
        Ok(r)
    }

    pub fn const_pred(&mut self, v: bool) -> Result<R, At> {
        let v = if v { u32::MAX } else { 0 };
        if let Some(&r) = self.const_p.get(&v) {
            return Ok(r);
        }
        let Reg::P(r) = self.new_reg(Ty::Pred)? else {
            return self.err("row");
        };
        self.prog.const_p.push((r, v));
        self.const_p.insert(v, r);
        Ok(r)
    }

    fn special(&mut self, s: Special) -> Result<R, At> {
        if let Some(&r) = self.special.get(&s) {
            return Ok(r);
        }
        let Reg::W(r) = self.new_reg(Ty::B32)? else {
            return self.err("row");
        };
        self.prog.specials.push((r, s));
        self.special.insert(s, r);
        Ok(r)
    }

    /// The value of a name that is an address, as a constant or a row to be filled at launch.
    fn address(&mut self, name: &str, off: i64) -> Result<Reg, At> {
        let v = match self.lookup(name) {
            Some(Item::Shared(at)) => u64::from(at),
            Some(Item::Local(at)) => u64::from(at),
            Some(Item::Param(at)) => at,
            _ => {
                if let Some(&g) = self.globals.get(name) {
                    if let Some(&r) = self.symbol.get(&(g, off)) {
                        return Ok(Reg::D(r));
                    }
                    let Reg::D(r) = self.new_reg(Ty::B64)? else {
                        return self.err("row");
                    };
                    self.prog.symbols.push((r, g, off));
                    self.symbol.insert((g, off), r);
                    return Ok(Reg::D(r));
                }
                if self.ast.vars.iter().any(|v| v.name == name && v.space == Space::Shared) {
                    self.uses_dynamic = true;
                    u64::from(self.dynamic_base())
                } else {
                    return self.err(format!("name {name} is not known"));
                }
            }
        };
        Ok(Reg::D(self.intern_d(v.wrapping_add(off as u64))?))
    }

    /// Where `.extern .shared` arrays start: behind everything static that this kernel or any function it could call declares.
    pub fn dynamic_base(&self) -> u32 {
        let mut total = 0u32;
        let in_bodies = self
            .ast
            .funcs
            .iter()
            .filter(|f| !f.entry || f.name == self.prog.name)
            .flat_map(|f| f.body.iter().flatten());
        let vars = in_bodies.filter_map(|s| if let Stmt::Var(v) = s { Some(v) } else { None });
        for v in self.ast.vars.iter().chain(vars).filter(|v| v.space == Space::Shared && v.size > 0) {
            total = total.next_multiple_of(v.align).saturating_add(v.size).min(u32::MAX / 2);
        }
        total.next_multiple_of(16)
    }

    /// Any source operand as a register of whatever file it lives in; immediates take the type's file.
    pub fn src(&mut self, arg: &Arg, ty: Ty) -> Result<Reg, At> {
        let wide = ty.size() == 8;
        let bits = match arg {
            Arg::Int(v) => *v,
            Arg::F32(v) => u64::from(*v),
            Arg::F64(v) if wide => *v,
            Arg::F64(v) => u64::from((f64::from_bits(*v) as f32).to_bits()),
            Arg::Offset(name, off) => return self.address(name, *off),
            Arg::Name(name) => {
                if let Some(Item::Reg(r, _)) = self.lookup(name) {
                    return Ok(r);
                }
                if let Some(s) = special_register(name) {
                    return Ok(Reg::W(self.special(s)?));
                }
                if name == "WARP_SZ" {
                    32
                } else {
                    return self.address(name, 0);
                }
            }
            Arg::Not(inner) => {
                let a = self.p(inner)?;
                let Reg::P(d) = self.new_reg(Ty::Pred)? else {
                    return self.err("row");
                };
                let guard = std::mem::replace(&mut self.guard, (NO_GUARD, false));
                self.emit(Class::Predicate, Op::Pred { f: |a, _| !a, d, a, b: a });
                self.guard = guard;
                return Ok(Reg::P(d));
            }
            _ => return self.err("a register or a constant expected"),
        };
        if ty == Ty::Pred {
            return Ok(Reg::P(self.const_pred(bits != 0)?));
        }
        if wide {
            return Ok(Reg::D(self.intern_d(bits)?));
        }
        let mask = if ty.size() == 4 { u32::MAX } else { (1 << (8 * ty.size())) - 1 };
        Ok(Reg::W(self.intern_w(bits as u32 & mask)?))
    }

    /// Is the register of the file that values of a type live in? `wider`: it may also be of 64 bits (`ld`, `st`, `cvt`).
    pub fn fits(&self, arg: &Arg, reg: Reg, ty: Ty, wider: bool) -> Result<Reg, At> {
        let ok = match reg {
            Reg::W(_) => ty != Ty::Pred && ty.size() <= 4,
            Reg::D(_) => ty != Ty::Pred && (wider || ty.size() == 8),
            Reg::P(_) => ty == Ty::Pred,
        };
        if ok { Ok(reg) } else { self.err(format!("operand {arg:?} does not have the size of the instruction's type")) }
    }

    pub fn w(&mut self, arg: &Arg, ty: Ty) -> Result<R, At> {
        match self.src(arg, ty)? {
            Reg::W(r) => Ok(r),
            // A 32-bit view of an address in shared memory.
            Reg::D(r) => match self.prog.const_d.iter().find(|(row, _)| *row == r) {
                Some(&(_, v)) if v <= u64::from(u32::MAX) => self.intern_w(v as u32),
                _ => self.err(format!("operand {arg:?} has 64 bits, 32 expected")),
            },
            Reg::P(_) => self.err(format!("operand {arg:?} is a predicate, 32 bits expected")),
        }
    }

    pub fn d(&mut self, arg: &Arg, ty: Ty) -> Result<R, At> {
        match self.src(arg, ty)? {
            Reg::D(r) => Ok(r),
            _ => self.err(format!("operand {arg:?}: 64 bits expected")),
        }
    }

    pub fn p(&mut self, arg: &Arg) -> Result<R, At> {
        match self.src(arg, Ty::Pred)? {
            Reg::P(r) => Ok(r),
            _ => self.err(format!("operand {arg:?}: a predicate expected")),
        }
    }

    /// A destination; `_` is a row that nobody reads.
    pub fn dst(&mut self, arg: &Arg, ty: Ty) -> Result<Reg, At> {
        match arg {
            Arg::Name(n) if n == "_" => self.new_reg(ty),
            Arg::Name(n) => match self.lookup(n) {
                Some(Item::Reg(r, _)) => Ok(r),
                _ => self.err(format!("register {n} is not declared")),
            },
            _ => self.err("a destination register expected"),
        }
    }

    pub fn wd(&mut self, arg: &Arg) -> Result<R, At> {
        match self.dst(arg, Ty::B32)? {
            Reg::W(r) => Ok(r),
            _ => self.err(format!("destination {arg:?}: up to 32 bits expected")),
        }
    }

    pub fn dd(&mut self, arg: &Arg) -> Result<R, At> {
        match self.dst(arg, Ty::B64)? {
            Reg::D(r) => Ok(r),
            _ => self.err(format!("destination {arg:?}: 64 bits expected")),
        }
    }

    pub fn pd(&mut self, arg: &Arg) -> Result<R, At> {
        match self.dst(arg, Ty::Pred)? {
            Reg::P(r) => Ok(r),
            _ => self.err(format!("destination {arg:?}: a predicate expected")),
        }
    }

    /// `[base + offset]`
    pub fn addr(&mut self, arg: &Arg) -> Result<(Reg, i64), At> {
        let Arg::Addr(base, off) = arg else {
            return self.err("an address in brackets expected");
        };
        Ok((self.src(base, Ty::B64)?, *off))
    }

    /// Exactly `N` operands.
    pub fn args<'i, const N: usize>(&self, i: &'i AstInst) -> Result<&'i [Arg; N], At> {
        match i.args.as_slice().try_into() {
            Ok(a) => Ok(a),
            Err(_) => self.err(format!("instruction '{}' has {} operands, {N} expected", i.op.join("."), i.args.len())),
        }
    }
}

fn special_register(name: &str) -> Option<Special> {
    let axis = match name.rsplit_once('.') {
        Some((_, "x")) => 0,
        Some((_, "y")) => 1,
        Some((_, "z")) => 2,
        _ => 3,
    };
    Some(match (name.split('.').next()?, axis) {
        ("%tid", a @ 0..3) => Special::Tid(a),
        ("%ntid", a @ 0..3) => Special::Ntid(a),
        ("%ctaid", a @ 0..3) => Special::Ctaid(a),
        ("%nctaid", a @ 0..3) => Special::Nctaid(a),
        ("%clusterid", a @ 0..3) => Special::Ctaid(a),
        ("%nclusterid", a @ 0..3) => Special::Nctaid(a),
        ("%cluster_ctaid", 0..3) | ("%cluster_ctarank", 3) => Special::Zero,
        ("%cluster_nctaid", 0..3) | ("%cluster_nctarank", 3) => Special::One,
        ("%laneid", 3) => Special::LaneId,
        ("%warpid", 3) => Special::WarpId,
        ("%nwarpid", 3) => Special::NWarpId,
        ("%smid", 3) => Special::SmId,
        ("%nsmid", 3) => Special::NSmId,
        ("%gridid", 3) => Special::GridId,
        ("%lanemask_eq", 3) => Special::MaskEq,
        ("%lanemask_le", 3) => Special::MaskLe,
        ("%lanemask_lt", 3) => Special::MaskLt,
        ("%lanemask_ge", 3) => Special::MaskGe,
        ("%lanemask_gt", 3) => Special::MaskGt,
        ("%envreg1", 3) => Special::WorkspaceHigh,
        ("%envreg2", 3) => Special::WorkspaceLow,
        ("%dynamic_smem_size", 3) => Special::DynamicShared,
        ("%total_smem_size", 3) => Special::TotalShared,
        _ => return None,
    })
}
