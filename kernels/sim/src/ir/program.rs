//! A kernel, lowered: its instructions, registers, constants and parameters.

use super::{Op, R};

/// Instruction classes of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Integer arithmetic and logic
    Integer,
    /// `dp4a`, `dp2a`
    DotProduct,
    Float32,
    Float64,
    Half,
    /// Reciprocal, square root, exponential, sine and the like
    Special,
    Convert,
    Move,
    Predicate,
    LoadGlobal,
    StoreGlobal,
    LoadShared,
    StoreShared,
    LocalParam,
    Atomic,
    AsyncCopy,
    Matrix,
    /// Shuffles, votes, matches, warp reductions
    Warp,
    Barrier,
    Control,
}

pub(crate) const NO_GUARD: R = R::MAX;

#[derive(Debug)]
pub(crate) struct Inst {
    pub op: Op,
    pub guard: R,
    pub negated: bool,
}

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
    /// 1-block clusters, which is what a launch without clusters has: zero and one.
    Zero,
    One,
}

/// One parameter of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    pub name: String,
    /// Bytes from the start of the parameter block.
    pub offset: u32,
    pub bytes: u32,
    pub align: u32,
}

/// One kernel, ready to run.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub name: String,
    pub code: Vec<Inst>,
    pub lines: Vec<u32>,
    pub classes: Vec<Class>,
    /// Steps towards the next instruction of the text, which alone is counted.
    pub helpers: Vec<bool>,
    /// Among the divergent parts of a warp the one with the lowest order runs first (see `lower::order`).
    pub order: Vec<u32>,
    pub block_start: Vec<bool>,
    /// Rows of the three register files.
    pub rows: [usize; 3],
    pub const_w: Vec<(R, u32)>,
    pub const_d: Vec<(R, u64)>,
    pub const_p: Vec<(R, u32)>,
    /// 64-bit registers that hold the address of a module variable plus an offset: index of the variable, bytes.
    pub symbols: Vec<(R, (usize, i64))>,
    pub specials: Vec<(R, Special)>,
    pub static_shared: u32,
    pub local_bytes: u32,
    pub params: Vec<Param>,
    pub param_bytes: u32,
    pub maxntid: Option<[u32; 3]>,
    pub reqntid: Option<[u32; 3]>,
}
