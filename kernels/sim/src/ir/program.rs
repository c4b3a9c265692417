//! A kernel, lowered: its instructions, registers, constants and parameters.

use super::{Op, R};

/// Classes of instructions, by which the counters sort them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Integer arithmetic and logic
    Integer,
    /// `dp4a`, `dp2a`
    DotProduct,
    /// Arithmetic on f32
    Float32,
    /// Arithmetic on f64
    Float64,
    /// Arithmetic on f16 and bf16
    Half,
    /// Reciprocal, square root, exponential, sine and the like
    Special,
    /// `cvt`
    Convert,
    /// `mov`, selections, address conversions
    Move,
    /// Comparisons and logic on predicates
    Predicate,
    /// Loads from global memory, generic loads, prefetches
    LoadGlobal,
    /// Stores to global memory, generic stores
    StoreGlobal,
    /// Loads from shared memory
    LoadShared,
    /// Stores to shared memory
    StoreShared,
    /// Loads and stores of local, parameter and constant space
    LocalParam,
    /// `atom`, `red`
    Atomic,
    /// `cp.async` and its waits
    AsyncCopy,
    /// `mma`, `ldmatrix`, `stmatrix`
    Matrix,
    /// Shuffles, votes, matches, warp reductions
    Warp,
    /// Barriers, fences, `griddepcontrol`
    Barrier,
    /// Branches, calls, exits
    Control,
}

/// The guard of an instruction without one.
pub(crate) const NO_GUARD: R = R::MAX;

/// An operation, executed by the lanes in which the guard holds (or, `negated`, does not hold).
#[derive(Debug)]
pub(crate) struct Inst {
    pub op: Op,
    pub guard: R,
    pub negated: bool,
}

/// A special register. The number is the axis: x, y, z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    LaneId,
    WarpId,
    NWarpId,
    SmId,
    NSmId,
    GridId,
    MaskEq,
    MaskLe,
    MaskLt,
    MaskGe,
    MaskGt,
    DynamicShared,
    TotalShared,
    /// `%envreg1` and `%envreg2`: high and low half of the address of a cooperative grid's workspace
    WorkspaceHigh,
    WorkspaceLow,
    /// Index in the cluster and size of it: a launch without clusters has clusters of one block.
    Zero,
    One,
}

/// One parameter of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Name in the PTX text.
    pub name: String,
    /// Bytes from the start of the parameter block.
    pub offset: u32,
    /// Its size.
    pub bytes: u32,
    /// Alignment in bytes; a power of two.
    pub align: u32,
}

/// One kernel, ready to run.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub name: String,
    pub code: Vec<Inst>,
    /// Line and class of each instruction.
    pub lines: Vec<u32>,
    pub classes: Vec<Class>,
    /// An instruction of the text may take several steps; those but the last are helpers, which are not counted.
    pub helpers: Vec<bool>,
    /// Among the divergent parts of a warp the one with the lowest order runs first (see `lower::order`).
    pub order: Vec<u32>,
    /// The instruction begins a basic block.
    pub block_start: Vec<bool>,
    /// Rows of the three register files.
    pub rows: [usize; 3],
    /// Registers that hold a constant in all lanes.
    pub const_w: Vec<(R, u32)>,
    pub const_d: Vec<(R, u64)>,
    pub const_p: Vec<(R, u32)>,
    /// 64-bit registers that hold the address of a module variable plus an offset: index of the variable, bytes.
    pub symbols: Vec<(R, (usize, i64))>,
    pub specials: Vec<(R, Special)>,
    /// Bytes of shared memory per block, and of local memory per thread.
    pub static_shared: u32,
    pub local_bytes: u32,
    pub params: Vec<Param>,
    pub param_bytes: u32,
    /// `.maxntid` and `.reqntid`: the most threads per block, and the required number, per axis.
    pub maxntid: Option<[u32; 3]>,
    pub reqntid: Option<[u32; 3]>,
}
