//! What the lowering of one kernel carries: names in scope, registers, the program so far, branches to patch.

use std::collections::HashMap;

use super::registers::{File, Interned, Registers};
use crate::error::At;
use crate::ir::*;
use crate::parse::ast::{Arg, Ast, Func};
use crate::ty::Ty;

/// What a name stands for.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Reg(Reg, Ty),
    /// `%r<n>`: `%r0` .. `%r(n-1)`, from this register on.
    Range(Reg, Ty, u32),
    /// Offset in the space.
    Shared(u32),
    Local(u32),
    Param(u64),
    /// Index in [`Lower::labels`].
    Label(usize),
    Targets(Vec<String>),
}

pub(crate) struct Lower<'a> {
    pub ast: &'a Ast,
    /// Index of each variable in global or constant space.
    pub globals: &'a HashMap<String, usize>,
    /// The innermost scope is last; the first one holds the module's shared variables.
    pub scopes: Vec<HashMap<String, Item>>,
    pub prog: Program,
    /// The line and the guard of the instruction that is being lowered.
    pub line: u32,
    pub guard: (R, bool),
    pub registers: Registers,
    pub const_w: Interned<u32>,
    pub const_d: Interned<u64>,
    pub const_p: Interned<u32>,
    pub specials: Interned<Special>,
    /// Addresses of module variables: index of the variable, bytes beyond it.
    pub symbols: Interned<(usize, i64)>,
    /// Label number to code index.
    pub labels: Vec<Option<u32>>,
    /// Code index and labels of every branch, patched at the end.
    pub fixups: Vec<(usize, Vec<usize>)>,
    /// The kernel and the functions whose calls are being inlined.
    pub calls: Vec<String>,
    /// The label behind each inlined call.
    pub returns: Vec<usize>,
    /// Offsets of shared variables, by function and name.
    pub shared_vars: HashMap<(String, String), u32>,
    /// The kernel uses an array of dynamic shared memory.
    pub uses_dynamic: bool,
}

impl<'a> Lower<'a> {
    /// `params`: the scope of the kernel's parameters. `prog` is empty but for them.
    pub fn new(
        ast: &'a Ast,
        func: &Func,
        globals: &'a HashMap<String, usize>,
        params: HashMap<String, Item>,
        prog: Program,
    ) -> Lower<'a> {
        Lower {
            ast,
            globals,
            scopes: vec![HashMap::new(), params],
            prog,
            line: func.line,
            guard: (NO_GUARD, false),
            registers: Registers::default(),
            const_w: Interned::default(),
            const_d: Interned::default(),
            const_p: Interned::default(),
            specials: Interned::default(),
            symbols: Interned::default(),
            labels: vec![],
            fixups: vec![],
            calls: vec![func.name.clone()],
            returns: vec![],
            shared_vars: HashMap::new(),
            uses_dynamic: false,
        }
    }

    /// An error at the line of the current instruction.
    pub fn err<T>(&self, message: impl Into<String>) -> Result<T, At> {
        Err(At::new(self.line, message))
    }

    /// Appends a step under the current guard.
    pub fn emit(&mut self, class: Class, op: Op) {
        self.prog.code.push(Inst { op, guard: self.guard.0, negated: self.guard.1 });
        self.prog.lines.push(self.line);
        self.prog.classes.push(class);
        self.prog.helpers.push(false);
    }

    /// A new register of up to 32 bits.
    pub fn new_w(&mut self) -> Result<R, At> {
        self.registers.take(File::W, 1, self.line)
    }

    /// A new predicate.
    pub fn new_p(&mut self) -> Result<R, At> {
        self.registers.take(File::P, 1, self.line)
    }

    /// A new register for values of a type.
    pub fn new_reg(&mut self, ty: Ty) -> Result<Reg, At> {
        self.new_regs(ty, 1)
    }

    /// `n` new registers for values of a type; the first of them.
    pub fn new_regs(&mut self, ty: Ty, n: u32) -> Result<Reg, At> {
        Ok(match ty {
            Ty::Pred => Reg::P(self.registers.take(File::P, n, self.line)?),
            t if t.size() == 8 => Reg::D(self.registers.take(File::D, n, self.line)?),
            _ => Reg::W(self.registers.take(File::W, n, self.line)?),
        })
    }

    /// Adds a name to the innermost scope.
    pub fn bind(&mut self, name: &str, item: Item) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_string(), item);
        }
    }

    /// What the name stands for in the innermost scope that has it.
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

    /// The label that an operand names.
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

    /// Resolves the branches, when all labels are placed.
    pub fn patch(&mut self) -> Result<(), At> {
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
}
