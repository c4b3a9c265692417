//! AST to [`Program`]: scopes, operands and constants. The instructions themselves are in the `lower_*` modules.
//!
//! Calls are inlined: every call site gets its own copy of the callee's registers and frame, so the program is one
//! control-flow graph and needs no stack. Recursion is therefore refused.

use std::collections::HashMap;

use crate::ast::{Arg, Ast, AstInst, Func, Space, Stmt, Var};
use crate::error::At;
use crate::ir::*;
use crate::module::Param;
use crate::ty::Ty;

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
    guard: (R, bool),
    const_w: HashMap<u32, R>,
    const_d: HashMap<u64, R>,
    const_p: HashMap<u32, R>,
    special: HashMap<Special, R>,
    symbol: HashMap<(usize, i64), R>,
    /// Label number to code index.
    labels: Vec<Option<u32>>,
    /// Code index and label of every branch, patched at the end.
    fixups: Vec<(usize, Vec<usize>)>,
    calls: Vec<String>,
    /// Offsets by function and name.
    shared_vars: HashMap<(String, String), u32>,
    uses_dynamic: bool,
    pub returns: Vec<usize>,
}

pub(crate) fn lower(ast: &Ast, func: &Func, globals: &HashMap<String, usize>) -> Result<Program, At> {
    let mut params = Vec::new();
    let mut bytes = 0u32;
    let mut scope = HashMap::new();
    for p in &func.params {
        bytes = bytes.next_multiple_of(p.align.max(1));
        params.push(Param { name: p.name.clone(), offset: bytes, bytes: p.size, align: p.align });
        scope.insert(p.name.clone(), Item::Param(u64::from(bytes)));
        bytes += p.size;
    }
    let prog = Program {
        name: func.name.clone(),
        code: vec![],
        lines: vec![],
        classes: vec![],
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
    crate::cfg::order(&mut l.prog);
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
                        let at = self.prog.static_shared.next_multiple_of(v.align.max(1));
                        self.prog.static_shared = at + v.size;
                        self.shared_vars.insert(key, at);
                        at
                    }
                };
                Item::Shared(at)
            }
            Space::Local | Space::Param => {
                let at = self.prog.local_bytes.next_multiple_of(v.align.max(4));
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
        let known = self.control(i, &mut m)?
            || self.integer(i, &mut m)?
            || self.logic(i, &mut m)?
            || self.float(i, &mut m)?
            || self.convert(i, &mut m)?
            || self.memory(i, &mut m)?
            || self.warp(i, &mut m)?
            || self.matrix(i, &mut m)?;
        self.guard = (NO_GUARD, false);
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
    fn dynamic_base(&self) -> u32 {
        let mut total = 0u32;
        let in_bodies = self
            .ast
            .funcs
            .iter()
            .filter(|f| !f.entry || f.name == self.prog.name)
            .flat_map(|f| f.body.iter().flatten());
        let vars = in_bodies.filter_map(|s| if let Stmt::Var(v) = s { Some(v) } else { None });
        for v in self.ast.vars.iter().chain(vars).filter(|v| v.space == Space::Shared && v.size > 0) {
            total = total.next_multiple_of(v.align.max(1)) + v.size;
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
