//! Branches, calls, returns, and the start and end of dependent kernels.

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
}
