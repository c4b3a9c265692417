//! What the checks report.

use std::collections::HashMap;
use std::fmt;

/// The checks. [`Checks`] can turn off each of them but the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// An access outside of the allocation, the shared memory of the block, the frame of the thread or the parameters.
    OutOfBounds,
    /// An access at an address that is not a multiple of its size.
    Misaligned,
    /// A read of global memory that was never written.
    UninitializedGlobal,
    /// A read of shared memory that the block has not written.
    UninitializedShared,
    /// A read of local memory that the thread has not written.
    UninitializedLocal,
    /// A read of a register that the lane has not written.
    UninitializedRegister,
    /// Two threads of a block access one word of shared memory, one of them writes, and nothing orders them.
    SharedRace,
    /// Two blocks access one word of global memory, one of them writes, and nothing orders them.
    GlobalRace,
    /// A barrier that some threads of a warp, or some warps of the block, do not reach.
    DivergentBarrier,
    /// A `.sync` instruction whose mask does not match the lanes that execute it.
    DivergentMask,
    /// An access to memory of an earlier kernel of the stream before `griddepcontrol.wait`.
    DependentAccess,
    /// An access to shared memory while a `cp.async` into it may still run.
    AsyncCopy,
    /// `ld.global.nc` from memory that the same kernel writes.
    ReadOnlyWritten,
}

/// Which checks run. All do by default; out-of-bounds accesses are always reported and never carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checks {
    /// [`Check::Misaligned`]
    pub misaligned: bool,
    /// Uninitialized global, shared and local memory
    pub uninitialized_memory: bool,
    /// [`Check::UninitializedRegister`]
    pub uninitialized_registers: bool,
    /// [`Check::SharedRace`]
    pub shared_races: bool,
    /// [`Check::GlobalRace`] and [`Check::ReadOnlyWritten`]
    pub global_races: bool,
    /// [`Check::DivergentBarrier`] and [`Check::DivergentMask`]
    pub divergence: bool,
    /// [`Check::DependentAccess`]
    pub dependent_launches: bool,
    /// [`Check::AsyncCopy`]
    pub async_copies: bool,
}

impl Checks {
    /// All checks.
    pub const ALL: Checks = Checks {
        misaligned: true,
        uninitialized_memory: true,
        uninitialized_registers: true,
        shared_races: true,
        global_races: true,
        divergence: true,
        dependent_launches: true,
        async_copies: true,
    };

    /// Out-of-bounds accesses only.
    pub const NONE: Checks = Checks {
        misaligned: false,
        uninitialized_memory: false,
        uninitialized_registers: false,
        shared_races: false,
        global_races: false,
        divergence: false,
        dependent_launches: false,
        async_copies: false,
    };

    fn on(&self, check: Check) -> bool {
        match check {
            Check::OutOfBounds => true,
            Check::Misaligned => self.misaligned,
            Check::UninitializedGlobal | Check::UninitializedShared | Check::UninitializedLocal => {
                self.uninitialized_memory
            }
            Check::UninitializedRegister => self.uninitialized_registers,
            Check::SharedRace => self.shared_races,
            Check::GlobalRace | Check::ReadOnlyWritten => self.global_races,
            Check::DivergentBarrier | Check::DivergentMask => self.divergence,
            Check::DependentAccess => self.dependent_launches,
            Check::AsyncCopy => self.async_copies,
        }
    }
}

impl Default for Checks {
    fn default() -> Checks {
        Checks::ALL
    }
}

/// One defect, at its first occurrence. Later occurrences of the same check at the same line are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub check: Check,
    /// Name of the kernel.
    pub kernel: String,
    /// Line of the PTX text, from 1.
    pub line: u32,
    /// Index of the block in its grid: x, y, z.
    pub block: [u32; 3],
    /// Index of the thread in its block: x, y, z.
    pub thread: [u32; 3],
    /// The addresses and the other threads that take part.
    pub message: String,
    /// Lanes or words in which the defect occurred.
    pub count: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([bx, by, bz], [tx, ty, tz]) = (self.block, self.thread);
        write!(f, "{}:{}: {:?}: {}, ", self.kernel, self.line, self.check, self.message)?;
        write!(f, "block ({bx}, {by}, {bz}) thread ({tx}, {ty}, {tz}), {} times", self.count)
    }
}

/// Distinct findings that one host thread keeps, at most.
const MAX_FINDINGS: usize = 256;

/// Findings of one host thread.
pub(crate) struct Sink {
    pub checks: Checks,
    pub found: HashMap<(Check, u32), Finding>,
}

impl Sink {
    pub fn new(checks: Checks) -> Sink {
        Sink { checks, found: HashMap::new() }
    }

    /// `make` is called for the first occurrence only.
    pub fn add(&mut self, check: Check, line: u32, make: impl FnOnce() -> Finding) {
        if !self.checks.on(check) {
            return;
        }
        if let Some(f) = self.found.get_mut(&(check, line)) {
            f.count += 1;
        } else if self.found.len() < MAX_FINDINGS {
            self.found.insert((check, line), make());
        }
    }

    /// Of two first occurrences, the one in the lower block is kept: reports do not depend on the host's threads.
    pub fn merge(&mut self, other: Sink) {
        for (key, f) in other.found {
            match self.found.get_mut(&key) {
                Some(mine) => {
                    let count = mine.count + f.count;
                    let place = |f: &Finding| ([f.block[2], f.block[1], f.block[0]], f.thread);
                    if place(&f) < place(mine) {
                        *mine = f;
                    }
                    mine.count = count;
                }
                None => {
                    self.found.insert(key, f);
                }
            }
        }
    }

    pub fn sorted(self) -> Vec<Finding> {
        let mut all: Vec<Finding> = self.found.into_values().collect();
        all.sort_by_key(|f| (f.line, f.check));
        all
    }
}
