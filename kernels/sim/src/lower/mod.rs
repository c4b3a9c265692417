//! A kernel's statements to a [`Program`]: names to registers, instructions to operations, calls inlined.

mod calls;
mod context;
mod inst;
mod modifiers;
mod operands;
mod order;
mod registers;
mod rows;
mod variables;

use std::collections::HashMap;

use self::context::{Item, Lower};
use self::modifiers::Mods;
use crate::error::At;
use crate::ir::*;
use crate::parse::ast::{Ast, AstInst, Func, Stmt};
use crate::ty::Space;

/// Bytes of parameters of one kernel (CUDA 12.1 and later).
const MAX_PARAM_BYTES: u32 = 32_764;

/// `globals`: index of each variable in global or constant space.
pub(crate) fn lower(ast: &Ast, func: &Func, globals: &HashMap<String, usize>) -> Result<Program, At> {
    let mut params = Vec::new();
    let mut bytes = 0u32;
    let mut scope = HashMap::new();
    for p in &func.params {
        bytes = bytes.next_multiple_of(p.align);
        params.push(Param { name: p.name.clone(), offset: bytes, bytes: p.size, align: p.align });
        scope.insert(p.name.clone(), Item::Param(u64::from(bytes)));
        bytes += p.size;
        if bytes > MAX_PARAM_BYTES {
            return Err(At::new(
                p.line,
                format!("kernel {}: more than {MAX_PARAM_BYTES} bytes of parameters", func.name),
            ));
        }
    }
    let prog = Program {
        name: func.name.clone(),
        params,
        param_bytes: bytes,
        maxntid: func.maxntid,
        reqntid: func.reqntid,
        ..Program::default()
    };
    let mut l = Lower::new(ast, func, globals, scope, prog);
    for v in ast.vars.iter().filter(|v| v.space == Space::Shared && v.size > 0) {
        l.declare(v)?;
        let item = l.scopes.last_mut().and_then(|s| s.remove(&v.name));
        l.scopes[0].extend(item.map(|i| (v.name.clone(), i)));
    }
    if let Some(body) = &func.body {
        l.body(body.as_ref().map_err(At::clone)?)?;
    }
    l.emit(Class::Control, Op::Exit);
    l.patch()?;
    mark_guesses(&mut l.prog.code);
    if l.uses_dynamic {
        l.prog.static_shared = l.dynamic_base().max(l.prog.static_shared);
    }
    l.prog.rows = l.registers.rows;
    l.prog.const_w = l.const_w.list;
    l.prog.const_d = l.const_d.list;
    l.prog.const_p = l.const_p.list;
    l.prog.specials = l.specials.list;
    l.prog.symbols = l.symbols.list;
    order::order(&mut l.prog);
    Ok(l.prog)
}

/// Finds the loads that begin a loop of compare-and-swap: `old = *p; while (!cas(p, &old, f(old)));`
fn mark_guesses(code: &mut [Inst]) {
    let expected: Vec<(Reg, i64, Reg)> = code
        .iter()
        .filter_map(|inst| match &inst.op {
            Op::Atom(a) if a.op == AtomOp::Cas => Some((a.addr, a.off, a.b)),
            _ => None,
        })
        .collect();
    for inst in code {
        if let Op::Ld(mem) = &mut inst.op {
            mem.guess = mem.n == 1 && expected.contains(&(mem.addr, mem.off, mem.regs[0]));
        }
    }
}

impl<'a> Lower<'a> {
    /// Two passes over a function: labels and declarations of each `{}` scope are known before its instructions.
    pub(super) fn body(&mut self, body: &'a [Stmt]) -> Result<(), At> {
        let mut at = 0;
        self.block(body, &mut at)
    }

    fn block(&mut self, body: &'a [Stmt], at: &mut usize) -> Result<(), At> {
        let mut scope = HashMap::new();
        let mut depth = 0;
        for s in &body[*at..] {
            match s {
                Stmt::Open => depth += 1,
                Stmt::Close if depth == 0 => break,
                Stmt::Close => depth -= 1,
                Stmt::Label(name) if depth == 0 => {
                    scope.insert(name.clone(), Item::Label(self.labels.len()));
                    self.labels.push(None);
                }
                Stmt::Targets { name, labels } if depth == 0 => {
                    scope.insert(name.clone(), Item::Targets(labels.clone()));
                }
                _ => {}
            }
        }
        self.scopes.push(scope);
        while let Some(s) = body.get(*at) {
            *at += 1;
            match s {
                Stmt::Open => self.block(body, at)?,
                Stmt::Close => break,
                Stmt::Targets { .. } => {}
                Stmt::Label(name) => {
                    if let Some(Item::Label(l)) = self.lookup(name) {
                        self.labels[l] = Some(self.prog.code.len() as u32);
                    }
                }
                Stmt::Reg { ty, name, count, line } => {
                    self.line = *line;
                    let reg = self.new_regs(*ty, count.unwrap_or(1))?;
                    let item = match count {
                        Some(n) => Item::Range(reg, *ty, *n),
                        None => Item::Reg(reg, *ty),
                    };
                    self.bind(name, item);
                }
                Stmt::Var(v) => {
                    self.line = v.line;
                    self.declare(v)?;
                }
                Stmt::Inst(i) => self.inst(i)?,
            }
        }
        self.scopes.pop();
        Ok(())
    }

    fn inst(&mut self, i: &'a AstInst) -> Result<(), At> {
        self.line = i.line;
        self.guard = (NO_GUARD, false);
        if let Some((name, negated)) = &i.guard {
            match self.lookup(name) {
                Some(Item::Reg(Reg::P(p), _)) => self.guard = (p, *negated),
                _ => return self.err(format!("guard {name} is not a predicate")),
            }
        }
        let mut m = Mods { line: i.line, op: i.op.join("."), rest: i.op[1..].iter().map(String::as_str).collect() };
        let first = self.prog.code.len();
        let known = self.control(i, &mut m)?
            || self.integer(i, &mut m)?
            || self.logic(i, &mut m)?
            || self.float(i, &mut m)?
            || self.convert(i, &mut m)?
            || self.memory(i, &mut m)?
            || self.warp(i, &mut m)?
            || self.matrix(i, &mut m)?
            || self.simd(i, &mut m)?
            || self.wmma(i, &mut m)?;
        self.guard = (NO_GUARD, false);
        // An instruction of several steps counts as one. The body of a call is counted by itself.
        if i.op[0] != "call" {
            let steps = self.prog.helpers.len() - first;
            self.prog.helpers[first..].iter_mut().take(steps.saturating_sub(1)).for_each(|h| *h = true);
        }
        if known { m.done() } else { self.err(format!("instruction '{}' is not known", m.op)) }
    }
}
