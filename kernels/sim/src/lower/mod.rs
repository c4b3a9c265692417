//! AST to [`Program`]: scopes, operands and constants. The instructions themselves are in the `lower_*` modules.
//!
//! Calls are inlined: every call site gets its own copy of the callee's registers and frame, so the program is one
//! control-flow graph and needs no stack. Recursion is therefore refused.

mod inst;
pub(crate) mod operands;
mod order;
pub(crate) mod rows;

use std::collections::HashMap;

use crate::error::At;
use crate::ir::*;
use crate::lower::operands::Mods;
use crate::parse::ast::{Arg, Ast, AstInst, Func, Stmt, Var};
use crate::ty::{Space, Ty};

/// What a name stands for.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Reg(Reg, Ty),
    /// `%r<n>`: `%r0` .. `%r(n-1)`, from this row on.
    Range(Reg, Ty, u32),
    Shared(u32),
    Local(u32),
    /// Offset in the parameter space.
    Param(u64),
    Label(usize),
    Targets(Vec<String>),
}

pub(crate) struct Lower<'a> {
    pub ast: &'a Ast,
    pub globals: &'a HashMap<String, usize>,
    pub scopes: Vec<HashMap<String, Item>>,
    pub prog: Program,
    pub line: u32,
    pub guard: (R, bool),
    pub const_w: HashMap<u32, R>,
    pub const_d: HashMap<u64, R>,
    pub const_p: HashMap<u32, R>,
    pub special: HashMap<Special, R>,
    pub symbol: HashMap<(usize, i64), R>,
    /// Label number to code index.
    labels: Vec<Option<u32>>,
    /// Code index and label of every branch, patched at the end.
    fixups: Vec<(usize, Vec<usize>)>,
    calls: Vec<String>,
    /// Offsets by function and name.
    shared_vars: HashMap<(String, String), u32>,
    pub uses_dynamic: bool,
    pub returns: Vec<usize>,
}

/// Bytes of parameters of one kernel (CUDA 12.1 and later).
const MOST_PARAMS: u32 = 32_764;

/// Bytes of shared or local variables of one kernel.
const MOST_BYTES: u32 = 1 << 24;

pub(crate) fn lower(ast: &Ast, func: &Func, globals: &HashMap<String, usize>) -> Result<Program, At> {
    let mut params = Vec::new();
    let mut bytes = 0u32;
    let mut scope = HashMap::new();
    for p in &func.params {
        bytes = bytes.next_multiple_of(p.align);
        params.push(Param { name: p.name.clone(), offset: bytes, bytes: p.size, align: p.align });
        scope.insert(p.name.clone(), Item::Param(u64::from(bytes)));
        bytes += p.size;
        if bytes > MOST_PARAMS {
            return Err(At::new(p.line, format!("kernel {}: more than {MOST_PARAMS} bytes of parameters", func.name)));
        }
    }
    let prog = Program {
        name: func.name.clone(),
        code: vec![],
        lines: vec![],
        classes: vec![],
        helpers: vec![],
        order: vec![],
        block_start: vec![],
        rows: [0; 3],
        const_w: vec![],
        const_d: vec![],
        const_p: vec![],
        symbols: vec![],
        specials: vec![],
        static_shared: 0,
        local_bytes: 0,
        params,
        param_bytes: bytes,
        maxntid: func.maxntid,
        reqntid: func.reqntid,
    };
    let mut l = Lower {
        ast,
        globals,
        scopes: vec![HashMap::new(), scope],
        prog,
        line: func.line,
        guard: (NO_GUARD, false),
        const_w: HashMap::new(),
        const_d: HashMap::new(),
        const_p: HashMap::new(),
        special: HashMap::new(),
        symbol: HashMap::new(),
        labels: vec![],
        fixups: vec![],
        calls: vec![func.name.clone()],
        shared_vars: HashMap::new(),
        uses_dynamic: false,
        returns: vec![],
    };
    for v in ast.vars.iter().filter(|v| v.space == Space::Shared && v.size > 0) {
        l.declare(v)?;
        let item = l.scopes.last_mut().and_then(|s| s.remove(&v.name));
        l.scopes[0].extend(item.map(|i| (v.name.clone(), i)));
    }
    let body = func.body.as_deref().unwrap_or_default();
    l.body(body)?;
    l.emit(Class::Control, Op::Exit);
    l.patch()?;
    if l.uses_dynamic {
        l.prog.static_shared = l.dynamic_base().max(l.prog.static_shared);
    }
    crate::lower::order::order(&mut l.prog);
    Ok(l.prog)
}

impl<'a> Lower<'a> {
    pub fn err<T>(&self, message: impl Into<String>) -> Result<T, At> {
        Err(At::new(self.line, message))
    }

    pub fn emit(&mut self, class: Class, op: Op) {
        self.prog.code.push(Inst { op, guard: self.guard.0, negated: self.guard.1 });
        self.prog.lines.push(self.line);
        self.prog.classes.push(class);
        self.prog.helpers.push(false);
    }

    pub fn new_reg(&mut self, ty: Ty) -> Result<Reg, At> {
        self.new_regs(ty, 1)
    }

    fn new_regs(&mut self, ty: Ty, n: u32) -> Result<Reg, At> {
        let file = match ty {
            Ty::Pred => 2,
            t if t.size() == 8 => 1,
            _ => 0,
        };
        let first = self.prog.rows[file];
        self.prog.rows[file] += n as usize;
        if self.prog.rows[file] > usize::from(R::MAX) - 1 {
            return self.err("more than 65534 registers of one kind");
        }
        let first = first as R;
        Ok(match file {
            0 => Reg::W(first),
            1 => Reg::D(first),
            _ => Reg::P(first),
        })
    }

    /// Two passes over a function: labels and declarations of each `{}` scope are known before its instructions.
    fn body(&mut self, body: &'a [Stmt]) -> Result<(), At> {
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
                    if let Some(s) = self.scopes.last_mut() {
                        s.insert(name.clone(), item);
                    }
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

    /// Places a variable of shared, local or parameter space.
    fn declare(&mut self, v: &Var) -> Result<(), At> {
        let item = match v.space {
            Space::Shared => {
                // A function inlined twice still has one copy of its shared variables.
                let key = (self.calls.last().cloned().unwrap_or_default(), v.name.clone());
                let at = match self.shared_vars.get(&key) {
                    Some(&at) => at,
                    None => {
                        let at = self.place(self.prog.static_shared, v)?;
                        self.prog.static_shared = at + v.size;
                        self.shared_vars.insert(key, at);
                        at
                    }
                };
                Item::Shared(at)
            }
            Space::Local | Space::Param => {
                let at = self.place(self.prog.local_bytes.next_multiple_of(4), v)?;
                self.prog.local_bytes = at + v.size;
                if v.space == Space::Local { Item::Local(at) } else { Item::Param(PARAM_FRAME + u64::from(at)) }
            }
            _ => return self.err(format!("variable {}: module scope expected", v.name)),
        };
        if let Some(s) = self.scopes.last_mut() {
            s.insert(v.name.clone(), item);
        }
        Ok(())
    }

    /// The offset at which a variable goes behind `used` bytes.
    fn place(&self, used: u32, v: &Var) -> Result<u32, At> {
        let at = used.next_multiple_of(v.align);
        match at.checked_add(v.size) {
            Some(end) if end <= MOST_BYTES => Ok(at),
            _ => self.err(format!("variable {}: more than {MOST_BYTES} bytes in its space", v.name)),
        }
    }

    pub fn lookup(&self, name: &str) -> Option<Item> {
        for scope in self.scopes.iter().rev() {
            if let Some(item) = scope.get(name) {
                return Some(item.clone());
            }
            let digits = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
            if let Some(Item::Range(first, ty, n)) = scope.get(&name[..digits])
                && let Ok(i) = name[digits..].parse::<u32>()
                && i < *n
            {
                let reg = match *first {
                    Reg::W(r) => Reg::W(r + i as R),
                    Reg::D(r) => Reg::D(r + i as R),
                    Reg::P(r) => Reg::P(r + i as R),
                };
                return Some(Item::Reg(reg, *ty));
            }
        }
        None
    }

    pub fn label(&self, arg: &Arg) -> Result<usize, At> {
        match arg {
            Arg::Name(n) => match self.lookup(n) {
                Some(Item::Label(l)) => Ok(l),
                _ => self.err(format!("label {n} is not known")),
            },
            _ => self.err("a label expected"),
        }
    }

    /// A branch to labels that may come later.
    pub fn emit_branch(&mut self, op: Op, labels: Vec<usize>) {
        self.fixups.push((self.prog.code.len(), labels));
        self.emit(Class::Control, op);
    }

    fn patch(&mut self) -> Result<(), At> {
        for (at, labels) in std::mem::take(&mut self.fixups) {
            let targets: Option<Vec<u32>> = labels.iter().map(|&l| self.labels[l]).collect();
            let Some(resolved) = targets else {
                return Err(At::new(self.prog.lines[at], "branch to a label that is not placed"));
            };
            match &mut self.prog.code[at].op {
                Op::Bra { target } => *target = resolved[0],
                Op::Brx { targets, .. } => *targets = resolved.into(),
                _ => return Err(At::new(self.prog.lines[at], "not a branch")),
            }
        }
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
            || self.matrix(i, &mut m)?;
        self.guard = (NO_GUARD, false);
        // An instruction made of several steps counts as one; a call's body was counted by itself.
        if i.op[0] != "call" {
            let steps = self.prog.helpers.len() - first;
            self.prog.helpers[first..].iter_mut().take(steps.saturating_sub(1)).for_each(|h| *h = true);
        }
        if known { m.done() } else { self.err(format!("instruction '{}' is not known", m.op)) }
    }

    /// `call (ret), name, (args)`: the callee's body, its parameters bound to the caller's variables.
    pub fn call(&mut self, i: &'a AstInst) -> Result<(), At> {
        if self.guard.0 != NO_GUARD {
            return self.err("a predicated call is not supported");
        }
        let lists: Vec<&Vec<Arg>> =
            i.args.iter().filter_map(|a| if let Arg::List(l) = a { Some(l) } else { None }).collect();
        let Some(Arg::Name(name)) = i.args.iter().find(|a| matches!(a, Arg::Name(_))) else {
            return self.err("call without a function's name");
        };
        let before = matches!(i.args.first(), Some(Arg::List(_)));
        let (rets, args): (&[Arg], &[Arg]) = match (before, lists.as_slice()) {
            (true, [r, a]) => (r, a),
            (true, [r]) => (r, &[]),
            (false, [a]) => (&[], a),
            (false, []) => (&[], &[]),
            _ => return self.err("call with too many lists"),
        };
        if name == "__assertfail" {
            self.emit(Class::Control, Op::Trap);
            return Ok(());
        }
        if name == "vprintf" {
            return self.printf(rets, args);
        }
        let Some(f) = self.ast.funcs.iter().find(|f| &f.name == name && f.body.is_some()) else {
            return self.err(format!("function {name} has no body in this module (or the call is indirect)"));
        };
        if self.calls.contains(name) {
            return self.err(format!("function {name} is recursive, which is not supported"));
        }
        if rets.len() != f.rets.len() || args.len() != f.params.len() {
            return self.err(format!("function {name} takes {} and returns {} values", f.params.len(), f.rets.len()));
        }
        let mut scope = HashMap::new();
        for (formal, actual) in f.rets.iter().zip(rets).chain(f.params.iter().zip(args)) {
            let bound = match actual {
                Arg::Name(n) => self.lookup(n),
                _ => None,
            };
            let Some(item @ Item::Param(_)) = bound else {
                return self.err(format!("call of {name}: an argument is not a .param variable"));
            };
            scope.insert(formal.name.clone(), item);
        }
        let (line, end) = (self.line, self.labels.len());
        self.labels.push(None);
        let saved = std::mem::take(&mut self.scopes);
        self.scopes = vec![saved[0].clone(), scope];
        self.calls.push(name.clone());
        self.returns.push(end);
        let body: &'a [Stmt] = f.body.as_deref().unwrap_or_default();
        self.body(body)?;
        self.returns.pop();
        self.calls.pop();
        self.scopes = saved;
        self.line = line;
        self.labels[end] = Some(self.prog.code.len() as u32);
        self.emit(Class::Control, Op::Nop);
        Ok(())
    }
}
