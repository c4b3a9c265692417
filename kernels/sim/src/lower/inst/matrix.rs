//! Matrix fragments: `ldmatrix`, `stmatrix`, `movmatrix`, `mma`.

use crate::error::At;
use crate::ir::*;
use crate::lower::context::Lower;
use crate::lower::modifiers::Mods;
use crate::parse::ast::{Arg, AstInst};
use crate::ty::Ty;

impl Lower<'_> {
    pub fn matrix(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        match i.op[0].as_str() {
            "ldmatrix" => self.matrix_rows(i, m, true),
            "stmatrix" => self.matrix_rows(i, m, false),
            "movmatrix" => self.matrix_transposed(i, m),
            "mma" => self.matrix_product(i, m),
            _ => Ok(false),
        }
    }

    fn matrix_rows(&mut self, i: &AstInst, m: &mut Mods, load: bool) -> Result<bool, At> {
        if !(m.take("sync") && m.take("aligned") && m.take("m8n8")) {
            return m.unknown();
        }
        let Some(n) = m.one_of(&[("x1", 1u8), ("x2", 2), ("x4", 4)]) else {
            return m.unknown();
        };
        let trans = m.take("trans");
        let generic = !(m.take("shared") || m.take("shared::cta"));
        if m.ty()? != Ty::B16 {
            return m.unknown();
        }
        let (list, address) = match (load, self.args(i)?) {
            (true, [r, a]) => (r, a),
            (false, [a, r]) => (r, a),
        };
        let list = self.regs(list, load)?;
        if list.len() != usize::from(n) {
            return self.err(format!("instruction '{}': {} registers, {n} expected", m.op, list.len()));
        }
        let mut regs = [0; 4];
        regs[..list.len()].copy_from_slice(&list);
        let (addr, off) = self.addr(address)?;
        let rows = Box::new(LdMatrix { n, trans, regs, addr, off, generic });
        self.emit(Class::Matrix, if load { Op::LdMatrix(rows) } else { Op::StMatrix(rows) });
        Ok(true)
    }

    fn matrix_transposed(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        if !(m.take("sync") && m.take("aligned") && m.take("m8n8") && m.take("trans")) || m.ty()? != Ty::B16 {
            return m.unknown();
        }
        let [d, a] = self.args(i)?;
        let op = Op::MovMatrix { d: self.wd(d)?, a: self.w(a, Ty::B32)? };
        self.emit(Class::Matrix, op);
        Ok(true)
    }

    fn matrix_product(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        if !(m.take("sync") && m.take("aligned") && m.take("row") && m.take("col")) {
            return m.unknown();
        }
        let k = m.one_of(&[("m16n8k4", 4u8), ("m16n8k8", 8), ("m16n8k16", 16), ("m16n8k32", 32)]);
        let saturate = m.take("satfinite");
        let types = [m.ty()?, m.ty()?, m.ty()?, m.ty()?];
        let (Some(k), Some(kind)) = (k, mma_kind(types, saturate)) else {
            return m.unknown();
        };
        let [d, a, b, c] = self.args(i)?;
        let op = Mma {
            kind,
            k,
            d: self.regs(d, true)?,
            a: self.regs(a, false)?,
            b: self.regs(b, false)?,
            c: self.regs(c, false)?,
        };
        // Registers of the fragments: 16 x k, k x 8 and 16 x 8 elements over 32 lanes of 4-byte registers.
        let (bytes, legal, acc) = match kind {
            MmaKind::F16 { d32, .. } => (2, matches!(k, 8 | 16), if d32 { 4 } else { 2 }),
            MmaKind::BF16 => (2, matches!(k, 8 | 16), 4),
            MmaKind::Tf32 => (4, matches!(k, 4 | 8), 4),
            MmaKind::F8 { .. } => (1, k == 32, 4),
            MmaKind::Int { .. } => (1, matches!(k, 16 | 32), 4),
        };
        let expected = [acc, usize::from(k) * bytes / 8, usize::from(k) * bytes / 16, acc];
        if !legal || [op.d.len(), op.a.len(), op.b.len(), op.c.len()] != expected {
            return self.err(format!("instruction '{}': its shape or its fragments are not known", m.op));
        }
        self.emit(Class::Matrix, Op::Mma(op.into()));
        Ok(true)
    }

    /// The registers of a fragment: a list, or one register.
    fn regs(&mut self, arg: &Arg, dst: bool) -> Result<Vec<R>, At> {
        let list: &[Arg] = match arg {
            Arg::List(l) => l,
            a => std::slice::from_ref(a),
        };
        list.iter().map(|a| if dst { self.wd(a) } else { self.w(a, Ty::B32) }).collect()
    }
}

/// The product with these types of D, A, B and C.
fn mma_kind(types: [Ty; 4], saturate: bool) -> Option<MmaKind> {
    let int = |t: Ty| matches!(t, Ty::S8 | Ty::U8);
    let tiny = |t: Ty| matches!(t, Ty::E4M3 | Ty::E5M2);
    Some(match types {
        [Ty::F32, Ty::F16, Ty::F16, Ty::F32] => MmaKind::F16 { d32: true, c32: true },
        [Ty::F16, Ty::F16, Ty::F16, Ty::F16] => MmaKind::F16 { d32: false, c32: false },
        [Ty::F32, Ty::BF16, Ty::BF16, Ty::F32] => MmaKind::BF16,
        [Ty::F32, Ty::Tf32, Ty::Tf32, Ty::F32] => MmaKind::Tf32,
        [Ty::F32, a, b, Ty::F32] if tiny(a) && tiny(b) => MmaKind::F8 { a_e5m2: a == Ty::E5M2, b_e5m2: b == Ty::E5M2 },
        [Ty::S32, a, b, Ty::S32] if int(a) && int(b) => {
            MmaKind::Int { a_signed: a == Ty::S8, b_signed: b == Ty::S8, saturate }
        }
        _ => return None,
    })
}
