//! What the warps of a block share: shared memory, clocks, barriers.

use crate::check::shared::Shared;

/// A warp at a barrier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub warp: u32,
    pub pc: usize,
    /// Time of the arrival: what the warp did before is ordered before what the others do after the barrier.
    pub stamp: u32,
    /// False for `bar.arrive`.
    pub waits: bool,
    pub lanes: u32,
    /// Predicate of `bar.red`.
    pub votes: u32,
}

/// A barrier of a block, while warps wait at it.
#[derive(Debug, Default)]
pub(crate) struct Barrier {
    pub arrivals: Vec<Arrival>,
    /// Distinct warps among them.
    pub warps: u32,
    /// Warps that take part; `None` is all of the block.
    pub expected: Option<u32>,
}

/// What the warps of a block share.
#[derive(Debug)]
pub(crate) struct CtaState {
    pub id: u32,
    pub block: [u32; 3],
    pub shared: Shared,
    /// Synchronizations so far: time, for the shadow of shared memory.
    pub stamp: u32,
    /// Releases to other blocks so far: time, for the shadow of global memory.
    pub epoch: u64,
    /// Per block, releases that this one has seen.
    pub seen: Vec<u32>,
    pub acquired: (u64, u64),
    pub clock: u64,
    pub instructions: u64,
}

impl CtaState {
    /// Is what another block did in that epoch ordered before what this one does now?
    pub fn ordered(&self, other: u32, epoch: u64) -> bool {
        self.seen.get(other as usize).is_some_and(|&s| u64::from(s) > epoch)
    }

    /// Whether what several blocks did, up to that epoch, can be ordered before what this one does now. Which blocks they were is not
    /// known, but epochs rise along every order (Lamport, 1978): a later one is not ordered, nor is one before any synchronization.
    pub fn may_follow(&self, epoch: u64) -> bool {
        !self.seen.is_empty() && epoch <= self.epoch
    }
}
