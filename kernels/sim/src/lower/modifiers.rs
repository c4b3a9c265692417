//! The modifiers of an opcode: `ld.global.v4.f32` has `global`, `v4` and `f32`.

use crate::error::At;
use crate::ty::Ty;

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

    pub fn wrong_count<T>(&self) -> Result<T, At> {
        Err(At::new(self.line, format!("instruction '{}': wrong number of operands", self.op)))
    }

    pub fn unknown<T>(&self) -> Result<T, At> {
        Err(At::new(self.line, format!("instruction '{}' is not known", self.op)))
    }
}
