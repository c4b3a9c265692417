//! Registers of a program, and those that hold one value throughout.

use std::collections::HashMap;
use std::hash::Hash;

use crate::error::At;
use crate::ir::R;

/// The register files, in the order of [`crate::ir::Program::rows`]: up to 32 bits, 64 bits, predicates.
#[derive(Debug, Clone, Copy)]
pub(crate) enum File {
    W,
    D,
    P,
}

/// Registers in use, per file.
#[derive(Debug, Default)]
pub(crate) struct Registers {
    pub rows: [usize; 3],
}

/// Registers of one file. The last index means "no guard".
const MAX_REGISTERS: usize = R::MAX as usize - 1;

impl Registers {
    /// Takes `n` new registers; the index of the first.
    pub fn take(&mut self, file: File, n: u32, line: u32) -> Result<R, At> {
        let rows = &mut self.rows[file as usize];
        let first = *rows;
        *rows += n as usize;
        if *rows > MAX_REGISTERS {
            return Err(At::new(line, format!("more than {MAX_REGISTERS} registers of one kind")));
        }
        Ok(first as R)
    }
}

/// Registers that hold one value from the start of the kernel to its end, by that value.
#[derive(Debug)]
pub(crate) struct Interned<K> {
    by_value: HashMap<K, R>,
    /// In the order of the first requests.
    pub list: Vec<(R, K)>,
}

impl<K> Default for Interned<K> {
    fn default() -> Interned<K> {
        Interned { by_value: HashMap::new(), list: Vec::new() }
    }
}

impl<K: Copy + Eq + Hash> Interned<K> {
    /// The register of a value. `new` takes one at the first request.
    pub fn register(&mut self, value: K, new: impl FnOnce() -> Result<R, At>) -> Result<R, At> {
        if let Some(&r) = self.by_value.get(&value) {
            return Ok(r);
        }
        let r = new()?;
        self.by_value.insert(value, r);
        self.list.push((r, value));
        Ok(r)
    }
}
