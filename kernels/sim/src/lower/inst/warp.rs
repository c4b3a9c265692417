//! Control flow, barriers, warp-wide exchanges, matrices.

use crate::error::At;
use crate::ir::*;
use crate::lower::context::{Item, Lower};
use crate::lower::modifiers::Mods;
use crate::parse::ast::{Arg, AstInst};
use crate::ty::Ty;

impl<'a> Lower<'a> {
    pub fn control(&mut self, i: &'a AstInst, m: &mut Mods) -> Result<bool, At> {
        match i.op[0].as_str() {
            "bra" => {
                m.take("uni");
                let [target] = self.args(i)?;
                let label = self.label(target)?;
                self.emit_branch(Op::Bra { target: 0 }, vec![label]);
            }
            "brx" => {
                m.take("idx");
                m.take("uni");
                let [index, table] = self.args(i)?;
                let Arg::Name(table) = table else {
                    return m.unknown();
                };
                let Some(Item::Targets(names)) = self.lookup(table) else {
                    return self.err(format!("{table} is not a list of targets"));
                };
                let labels = names.iter().map(|n| self.label(&Arg::Name(n.clone()))).collect::<Result<Vec<_>, At>>()?;
                let index = self.w(index, Ty::U32)?;
                self.emit_branch(Op::Brx { index, targets: Box::new([]) }, labels);
            }
            "call" => {
                m.take("uni");
                self.call(i)?;
            }
            "ret" => {
                m.take("uni");
                match self.returns.last().copied() {
                    Some(end) => self.emit_branch(Op::Bra { target: 0 }, vec![end]),
                    None => self.emit(Class::Control, Op::Exit),
                }
            }
            "exit" => self.emit(Class::Control, Op::Exit),
            "trap" => self.emit(Class::Control, Op::Trap),
            "brkpt" | "pmevent" => self.emit(Class::Control, Op::Nop),
            "nanosleep" => {
                m.ty()?;
                self.emit(Class::Control, Op::Nanosleep);
            }
            "setmaxnreg" => {
                m.rest.clear();
                self.emit(Class::Control, Op::Nop);
            }
            "griddepcontrol" => {
                if m.take("wait") {
                    self.emit(Class::Barrier, Op::DepWait);
                } else if m.take("launch_dependents") {
                    self.emit(Class::Barrier, Op::DepLaunch);
                } else {
                    return m.unknown();
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub fn warp(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let b32 = Ty::B32;
        match i.op[0].as_str() {
            "shfl" => {
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
                let (d, p) = match d {
                    Arg::Pair(d, p) => (self.wd(d)?, Some(self.pd(p)?)),
                    d => (self.wd(d)?, None),
                };
                let (a, b, c, mask) = (self.w(a, b32)?, self.w(b, b32)?, self.w(c, b32)?, self.w(mask, b32)?);
                self.emit(Class::Warp, Op::Shfl(Shfl { mode, d, p, a, b, c, mask }.into()));
            }
            "vote" => {
                let mode =
                    m.one_of(&[("all", Vote::All), ("any", Vote::Any), ("uni", Vote::Uni), ("ballot", Vote::Ballot)]);
                let (true, Some(mode)) = (m.take("sync"), mode) else {
                    return m.unknown();
                };
                let ty = m.ty()?;
                let [d, a, mask] = self.args(i)?;
                let (a, negate) = match a {
                    Arg::Not(a) => (self.p(a)?, true),
                    a => (self.p(a)?, false),
                };
                let d = self.dst(d, ty)?;
                let mask = self.w(mask, b32)?;
                self.emit(Class::Warp, Op::Vote { mode, d, a, negate, mask });
            }
            "match" => {
                let all = m.take("all");
                if !all && !m.take("any") || !m.take("sync") {
                    return m.unknown();
                }
                let ty = m.ty()?;
                let [d, a, mask] = self.args(i)?;
                let (d, p) = match d {
                    Arg::Pair(d, p) => (self.wd(d)?, Some(self.pd(p)?)),
                    d => (self.wd(d)?, None),
                };
                let (a, mask) = (self.src(a, ty)?, self.w(mask, b32)?);
                self.emit(Class::Warp, Op::Match { all, d, p, a, mask });
            }
            "redux" => {
                if !m.take("sync") {
                    return m.unknown();
                }
                let op = m.one_of(&[("add", 0), ("min", 1), ("max", 2), ("and", 3), ("or", 4), ("xor", 5)]);
                let f: fn(u32, u32) -> u32 = match (op, m.ty()?) {
                    (Some(0), Ty::U32 | Ty::S32) => u32::wrapping_add,
                    (Some(1), Ty::U32) => |a, b| a.min(b),
                    (Some(1), Ty::S32) => |a, b| (a as i32).min(b as i32) as u32,
                    (Some(2), Ty::U32) => |a, b| a.max(b),
                    (Some(2), Ty::S32) => |a, b| (a as i32).max(b as i32) as u32,
                    (Some(3), Ty::B32) => |a, b| a & b,
                    (Some(4), Ty::B32) => |a, b| a | b,
                    (Some(5), Ty::B32) => |a, b| a ^ b,
                    _ => return m.unknown(),
                };
                let [d, a, mask] = self.args(i)?;
                let op = Op::Redux { f, d: self.wd(d)?, a: self.w(a, b32)?, mask: self.w(mask, b32)? };
                self.emit(Class::Warp, op);
            }
            "elect" => {
                if !m.take("sync") {
                    return m.unknown();
                }
                let [Arg::Pair(d, p), mask] = self.args(i)? else {
                    return self.err("elect.sync d|p, mask expected");
                };
                let d = if **d == Arg::Name("_".into()) { None } else { Some(self.wd(d)?) };
                let op = Op::Elect { d, p: self.pd(p)?, mask: self.w(mask, b32)? };
                self.emit(Class::Warp, op);
            }
            "activemask" => {
                m.ty()?;
                let [d] = self.args(i)?;
                let op = Op::ActiveMask { d: self.wd(d)? };
                self.emit(Class::Warp, op);
            }
            "bar" | "barrier" => return self.barrier(i, m),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn barrier(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let b32 = Ty::B32;
        if m.take("warp") {
            if !m.take("sync") {
                return m.unknown();
            }
            let [mask] = self.args(i)?;
            let mask = self.w(mask, b32)?;
            self.emit(Class::Barrier, Op::WarpSync { mask });
            return Ok(true);
        }
        m.take("cta");
        let aligned = m.take("aligned") || i.op[0] == "bar";
        let red = m.take("red");
        let arrive = m.take("arrive");
        if !red && !arrive && !m.take("sync") {
            return m.unknown();
        }
        if red {
            let op = m.one_of(&[("popc", None), ("and", Some(Bool::And)), ("or", Some(Bool::Or))]);
            let Some(op) = op else { return m.unknown() };
            m.ty()?;
            let (d, id, count, p) = match i.args.as_slice() {
                [d, id, p] => (d, id, None, p),
                [d, id, n, p] => (d, id, Some(n), p),
                _ => return m.wrong_count(),
            };
            let (p, negate) = match p {
                Arg::Not(p) => (self.p(p)?, true),
                p => (self.p(p)?, false),
            };
            let d = self.dst(d, if op.is_none() { Ty::B32 } else { Ty::Pred })?;
            let id = self.w(id, b32)?;
            let count = count.map(|n| self.w(n, b32)).transpose()?;
            self.emit(
                Class::Barrier,
                Op::Bar(Bar { id, count, arrive: false, aligned, red: Some((op, d, p, negate)) }.into()),
            );
            return Ok(true);
        }
        let (id, count) = match i.args.as_slice() {
            [id] => (id, None),
            [id, n] => (id, Some(n)),
            _ => return m.wrong_count(),
        };
        if arrive && count.is_none() {
            return self.err("an arrive needs the number of threads");
        }
        let id = self.w(id, b32)?;
        let count = count.map(|n| self.w(n, b32)).transpose()?;
        self.emit(Class::Barrier, Op::Bar(Bar { id, count, arrive, aligned, red: None }.into()));
        Ok(true)
    }

    fn regs(&mut self, arg: &Arg, dst: bool) -> Result<Vec<R>, At> {
        let list: &[Arg] = match arg {
            Arg::List(l) => l,
            a => std::slice::from_ref(a),
        };
        list.iter().map(|a| if dst { self.wd(a) } else { self.w(a, Ty::B32) }).collect()
    }

    pub fn matrix(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        match i.op[0].as_str() {
            "ldmatrix" | "stmatrix" => {
                let load = i.op[0] == "ldmatrix";
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
                let lm = Box::new(LdMatrix { n, trans, regs, addr, off, generic });
                self.emit(Class::Matrix, if load { Op::LdMatrix(lm) } else { Op::StMatrix(lm) });
            }
            "mma" => {
                if !(m.take("sync") && m.take("aligned") && m.take("row") && m.take("col")) {
                    return m.unknown();
                }
                let k = m.one_of(&[("m16n8k4", 4u8), ("m16n8k8", 8), ("m16n8k16", 16), ("m16n8k32", 32)]);
                let saturate = m.take("satfinite");
                let types = [m.ty()?, m.ty()?, m.ty()?, m.ty()?];
                let int = |t: Ty| matches!(t, Ty::S8 | Ty::U8);
                let (Some(k), kind) = (
                    k,
                    match types {
                        [Ty::F32, Ty::F16, Ty::F16, Ty::F32] => MmaKind::F16 { d32: true, c32: true },
                        [Ty::F16, Ty::F16, Ty::F16, Ty::F16] => MmaKind::F16 { d32: false, c32: false },
                        [Ty::F32, Ty::BF16, Ty::BF16, Ty::F32] => MmaKind::BF16,
                        [Ty::F32, Ty::Tf32, Ty::Tf32, Ty::F32] => MmaKind::Tf32,
                        [Ty::S32, a, b, Ty::S32] if int(a) && int(b) => {
                            MmaKind::Int { a_signed: a == Ty::S8, b_signed: b == Ty::S8, saturate }
                        }
                        _ => return m.unknown(),
                    },
                ) else {
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
                    MmaKind::Int { .. } => (1, matches!(k, 16 | 32), 4),
                };
                let expected = [acc, usize::from(k) * bytes / 8, usize::from(k) * bytes / 16, acc];
                if !legal || [op.d.len(), op.a.len(), op.b.len(), op.c.len()] != expected {
                    return self.err(format!("instruction '{}': its shape or its fragments are not known", m.op));
                }
                self.emit(Class::Matrix, Op::Mma(op.into()));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
