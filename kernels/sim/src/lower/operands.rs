//! Operands of instructions: to registers of the program.
//!
//! `src`, `w`, `d` and `p` take sources: of any file, of 32 bits, of 64 bits, a predicate. `dst`, `wd`, `dd` and `pd` take
//! destinations.

use super::context::{Item, Lower};
use super::registers::File;
use crate::error::At;
use crate::ir::*;
use crate::parse::ast::{Arg, AstInst};
use crate::ty::{Space, Ty};

impl Lower<'_> {
    fn intern_w(&mut self, v: u32) -> Result<R, At> {
        self.const_w.register(v, || self.registers.take(File::W, 1, self.line))
    }

    fn intern_d(&mut self, v: u64) -> Result<R, At> {
        self.const_d.register(v, || self.registers.take(File::D, 1, self.line))
    }

    fn intern_p(&mut self, v: bool) -> Result<R, At> {
        self.const_p.register(if v { u32::MAX } else { 0 }, || self.registers.take(File::P, 1, self.line))
    }

    fn special(&mut self, s: Special) -> Result<R, At> {
        self.specials.register(s, || self.registers.take(File::W, 1, self.line))
    }

    fn symbol(&mut self, variable: usize, off: i64) -> Result<R, At> {
        self.symbols.register((variable, off), || self.registers.take(File::D, 1, self.line))
    }

    /// The address of a variable plus an offset: a constant, or a register that the launch fills.
    fn address(&mut self, name: &str, off: i64) -> Result<Reg, At> {
        let v = match self.lookup(name) {
            Some(Item::Shared(at)) => u64::from(at),
            Some(Item::Local(at)) => u64::from(at),
            Some(Item::Param(at)) => at,
            _ => {
                if let Some(&g) = self.globals.get(name) {
                    return Ok(Reg::D(self.symbol(g, off)?));
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

    /// Any source operand as a register of the file that it lies in; immediates take the file of the type.
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
                let d = self.new_p()?;
                let guard = std::mem::replace(&mut self.guard, (NO_GUARD, false));
                self.emit(Class::Predicate, Op::Pred { f: |a, _| !a, d, a, b: a });
                self.guard = guard;
                return Ok(Reg::P(d));
            }
            _ => return self.err("a register or a constant expected"),
        };
        if ty == Ty::Pred {
            return Ok(Reg::P(self.intern_p(bits != 0)?));
        }
        if wide {
            return Ok(Reg::D(self.intern_d(bits)?));
        }
        let mask = if ty.size() == 4 { u32::MAX } else { (1 << (8 * ty.size())) - 1 };
        Ok(Reg::W(self.intern_w(bits as u32 & mask)?))
    }

    /// Refuses a register of another file than values of the type lie in. `wider`: 64 bits are also fine (`ld`, `st`, `cvt`).
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
            // An address in shared memory fits 32 bits.
            Reg::D(r) => match self.const_d.list.iter().find(|(row, _)| *row == r) {
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

    /// A destination; `_` is a new register, which is never read.
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
