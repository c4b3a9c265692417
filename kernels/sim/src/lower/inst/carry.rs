//! Extended-precision arithmetic: `add.cc`, `addc`, `sub.cc`, `subc`, `mad.cc`, `madc`.

use crate::error::At;
use crate::ir::*;
use crate::lower::context::Lower;
use crate::lower::modifiers::Mods;
use crate::parse::ast::AstInst;
use crate::ty::Ty;

impl Lower<'_> {
    /// `write`: the instruction sets the carry (`.cc`).
    pub fn carry(&mut self, i: &AstInst, m: &mut Mods, write: bool) -> Result<bool, At> {
        let read = i.op[0].ends_with('c') && i.op[0] != "mad";
        let mul = i.op[0].starts_with("mad");
        let high = m.take("hi");
        let low = m.take("lo");
        let ty = m.ty()?;
        if mul != (high || low) || ty.size() < 4 {
            return m.unknown();
        }
        let (dst, mut a, b) = match (mul, i.args.as_slice()) {
            (false, [d, a, b]) => (d, self.src(a, ty)?, self.src(b, ty)?),
            (true, [d, a, b, c]) => {
                let t = self.new_reg(ty)?;
                let s = [self.src(a, ty)?, self.src(b, ty)?, self.src(b, ty)?];
                let f: Any = match (ty, high) {
                    (Ty::U32 | Ty::S32, false) => |a, b, _, _| u64::from((a as u32).wrapping_mul(b as u32)),
                    (Ty::U32, true) => |a, b, _, _| (a * b) >> 32,
                    (Ty::S32, true) => {
                        |a, b, _, _| u64::from(((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32)
                    }
                    (Ty::U64 | Ty::S64, false) => |a, b, _, _| a.wrapping_mul(b),
                    (Ty::U64, true) => |a, b, _, _| ((u128::from(a) * u128::from(b)) >> 64) as u64,
                    (Ty::S64, true) => |a, b, _, _| ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64,
                    _ => return m.unknown(),
                };
                self.emit(Class::Integer, Op::Any { f, imm: 0, d: t, s });
                (d, t, self.src(c, ty)?)
            }
            _ => return m.wrong_count(),
        };
        if let (Reg::D(_), false) = (a, ty.size() == 8) {
            a = Reg::W(self.w(&i.args[1], ty)?);
        }
        let sub = i.op[0].starts_with("sub");
        let f: fn(u64, u64, bool) -> (u64, bool) = match (sub, ty.size()) {
            (false, 4) => |a, b, c| {
                let s = a + b + u64::from(c);
                (s & 0xffff_ffff, s >> 32 != 0)
            },
            (true, 4) => |a, b, c| {
                let s = a.wrapping_sub(b).wrapping_sub(u64::from(c));
                (s & 0xffff_ffff, s >> 63 != 0)
            },
            (false, _) => |a, b, c| {
                let s = u128::from(a) + u128::from(b) + u128::from(c);
                (s as u64, s >> 64 != 0)
            },
            (true, _) => |a, b, c| {
                let s = u128::from(a).wrapping_sub(u128::from(b)).wrapping_sub(u128::from(c));
                (s as u64, s >> 127 != 0)
            },
        };
        let d = self.dst(dst, ty)?;
        self.emit(Class::Integer, Op::Carry { f, d, a, b, read, write });
        Ok(true)
    }
}
