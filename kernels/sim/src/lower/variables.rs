//! Variables of shared, local and parameter space: where each of them lies.

use super::context::{Item, Lower};
use crate::error::At;
use crate::ir::PARAM_FRAME;
use crate::parse::ast::{Stmt, Var};
use crate::ty::Space;

/// Bytes of shared or local variables of one kernel.
const MAX_SPACE_BYTES: u32 = 1 << 24;

impl Lower<'_> {
    /// Places a variable and binds its name.
    pub fn declare(&mut self, v: &Var) -> Result<(), At> {
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
        self.bind(&v.name, item);
        Ok(())
    }

    /// Offset of a variable that follows `used` bytes, with its alignment.
    fn place(&self, used: u32, v: &Var) -> Result<u32, At> {
        let at = used.next_multiple_of(v.align);
        match at.checked_add(v.size) {
            Some(end) if end <= MAX_SPACE_BYTES => Ok(at),
            _ => self.err(format!("variable {}: more than {MAX_SPACE_BYTES} bytes in its space", v.name)),
        }
    }

    /// Where `.extern .shared` arrays start: after everything static that this kernel, or any function that it could call, declares.
    pub fn dynamic_base(&self) -> u32 {
        let mut total = 0u32;
        let in_bodies = self
            .ast
            .funcs
            .iter()
            .filter(|f| !f.entry || f.name == self.prog.name)
            .flat_map(|f| f.body.iter().flatten().flatten());
        let vars = in_bodies.filter_map(|s| if let Stmt::Var(v) = s { Some(v) } else { None });
        for v in self.ast.vars.iter().chain(vars).filter(|v| v.space == Space::Shared && v.size > 0) {
            total = total.next_multiple_of(v.align).saturating_add(v.size).min(u32::MAX / 2);
        }
        total.next_multiple_of(16)
    }
}
