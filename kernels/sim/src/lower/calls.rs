//! Calls: every call site gets its own copy of the callee's registers and frame, so a program is one control-flow graph
//! and needs no stack. Recursion is therefore refused.

use std::collections::HashMap;

use super::context::{Item, Lower};
use crate::error::At;
use crate::ir::*;
use crate::parse::ast::{Arg, AstInst, Stmt};

impl<'a> Lower<'a> {
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
        let callee = self.ast.funcs.iter().filter(|f| &f.name == name).find_map(|f| Some((f, f.body.as_ref()?)));
        let Some((f, body)) = callee else {
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
        let body: &'a [Stmt] = body.as_ref().map_err(At::clone)?;
        self.body(body)?;
        self.returns.pop();
        self.calls.pop();
        self.scopes = saved;
        self.line = line;
        self.labels[end] = Some(self.prog.code.len() as u32);
        self.emit(Class::Control, Op::Nop);
        Ok(())
    }

    /// `vprintf(format, arguments)`: the device's formatted output.
    fn printf(&mut self, rets: &[Arg], args: &[Arg]) -> Result<(), At> {
        let [format, values] = args else {
            return self.err("vprintf takes two arguments");
        };
        let [Arg::Name(ret)] = rets else {
            return self.err("vprintf returns one value");
        };
        let mut at = [0u32; 3];
        for (slot, arg) in at.iter_mut().zip([format, values, &Arg::Name(ret.clone())]) {
            let Arg::Name(n) = arg else {
                return self.err("vprintf: a parameter variable expected");
            };
            let Some(Item::Param(p)) = self.lookup(n) else {
                return self.err("vprintf: a parameter variable expected");
            };
            *slot = p.wrapping_sub(PARAM_FRAME) as u32;
        }
        self.emit(Class::Control, Op::Printf { format: at[0], args: at[1], ret: at[2] });
        Ok(())
    }
}
