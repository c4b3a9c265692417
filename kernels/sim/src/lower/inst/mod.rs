//! PTX instructions to operations, one file per group of instructions.
//!
//! Each group has a method of [`Lower`] that takes an instruction and its modifiers, and says whether it knows the opcode.

mod barrier;
mod bits;
mod cmp;
mod control;
mod cvt;
mod float;
mod half;
mod int;
mod logic;
mod matrix;
mod memory;
mod mov;
mod multiply;
mod simd;
mod warp;
mod wmma;

use super::context::Lower;
use crate::error::At;
use crate::ir::*;
use crate::parse::ast::AstInst;
use crate::ty::Ty;

impl Lower<'_> {
    /// `d = f(a, b)` on 32-bit registers.
    fn two(&mut self, i: &AstInst, class: Class, f: W2, ty: Ty) -> Result<bool, At> {
        let [d, a, b] = self.args(i)?;
        let op = Op::W2 { f, d: self.wd(d)?, a: self.w(a, ty)?, b: self.w(b, ty)? };
        self.emit(class, op);
        Ok(true)
    }

    /// `d = f(a, b, c)` on 32-bit registers.
    fn three(&mut self, i: &AstInst, class: Class, f: W3, s: [Ty; 3]) -> Result<bool, At> {
        let [d, a, b, c] = self.args(i)?;
        let op = Op::W3 { f, d: self.wd(d)?, a: self.w(a, s[0])?, b: self.w(b, s[1])?, c: self.w(c, s[2])? };
        self.emit(class, op);
        Ok(true)
    }

    /// An instruction that is executed lane by lane: `d = f(s[0], s[1], s[2], imm)` with up to three sources.
    pub fn any(&mut self, i: &AstInst, class: Class, f: Any, imm: u32, d: Ty, s: [Ty; 3]) -> Result<bool, At> {
        let n = i.args.len().saturating_sub(1);
        let mut regs = [None; 3];
        for (k, r) in regs.iter_mut().enumerate().take(n.min(3)) {
            let reg = self.src(&i.args[k + 1], s[k])?;
            *r = Some(self.fits(&i.args[k + 1], reg, s[k], false)?);
        }
        let Some(first) = regs[0] else {
            return self.err("operands missing");
        };
        let regs = regs.map(|r| r.unwrap_or(first));
        let reg = self.dst(&i.args[0], d)?;
        let d = self.fits(&i.args[0], reg, d, false)?;
        self.emit(class, Op::Any { f, imm, d, s: regs });
        Ok(true)
    }
}
