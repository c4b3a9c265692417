//! The operations of a program, and what each of them carries.

use super::{Any, D1, D2, D3, R, Reg, Row, Row64, W1, W2, W3, WmmaMove, WmmaProduct};
use crate::ty::{Space, Ty};

/// How `setp` combines a comparison with a predicate, and what `bar.red` computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bool {
    And,
    Or,
    Xor,
}

/// `d = (a cmp b) op c`, `q = !(a cmp b) op c` of `setp`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PredOut {
    pub d: R,
    pub q: Option<R>,
    pub combine: Option<(Bool, R)>,
}

/// One step of a program. Fields: `d` is the destination, `a`, `b` and `c` are sources, `f` computes rows from rows.
#[derive(Debug)]
pub(crate) enum Op {
    W1 {
        f: W1,
        d: R,
        a: R,
    },
    W2 {
        f: W2,
        d: R,
        a: R,
        b: R,
    },
    W3 {
        f: W3,
        d: R,
        a: R,
        b: R,
        c: R,
    },
    /// `lop3` with any table.
    Lop3 {
        lut: u8,
        d: R,
        a: R,
        b: R,
        c: R,
    },
    D1 {
        f: D1,
        d: R,
        a: R,
    },
    D2 {
        f: D2,
        d: R,
        a: R,
        b: R,
    },
    D3 {
        f: D3,
        d: R,
        a: R,
        b: R,
        c: R,
    },
    /// 32 to 64 bits
    Widen {
        f: fn(&Row, &mut Row64),
        d: R,
        a: R,
    },
    /// 64 to 32 bits
    Narrow {
        f: fn(&Row64, &mut Row),
        d: R,
        a: R,
    },
    /// `mul.wide`
    Wide2 {
        f: fn(&Row, &Row, &mut Row64),
        d: R,
        a: R,
        b: R,
    },
    /// `mad.wide`
    Wide3 {
        f: fn(&Row, &Row, &Row64, &mut Row64),
        d: R,
        a: R,
        b: R,
        c: R,
    },
    /// 64-bit shifts by a 32-bit amount
    Shift64 {
        f: fn(&Row64, &Row, &mut Row64),
        d: R,
        a: R,
        b: R,
    },
    Pack {
        d: R,
        lo: R,
        hi: R,
    },
    Unpack {
        lo: Option<R>,
        hi: Option<R>,
        a: R,
    },
    SetW {
        f: fn(&Row, &Row) -> u32,
        a: R,
        b: R,
        out: PredOut,
    },
    SetD {
        f: fn(&Row64, &Row64) -> u32,
        a: R,
        b: R,
        out: PredOut,
    },
    SelW {
        d: R,
        a: R,
        b: R,
        p: R,
    },
    SelD {
        d: R,
        a: R,
        b: R,
        p: R,
    },
    /// On the 32 bits of two predicates
    Pred {
        f: fn(u32, u32) -> u32,
        d: R,
        a: R,
        b: R,
    },
    /// Addition with carry: `f(a, b, carry in) -> (sum, carry out)`
    Carry {
        f: fn(u64, u64, bool) -> (u64, bool),
        d: Reg,
        a: Reg,
        b: Reg,
        read: bool,
        write: bool,
    },
    Any {
        f: Any,
        imm: u32,
        d: Reg,
        s: [Reg; 3],
    },
    /// Clocks and timers
    Clock {
        d: Reg,
    },
    Ld(Box<Mem>),
    St(Box<Mem>),
    Atom(Box<Atom>),
    CpAsync(Box<CpAsync>),
    CpCommit,
    /// Waits until at most this number of the latest groups is pending; `None`: until no copy is.
    CpWait(Option<u32>),
    LdMatrix(Box<LdMatrix>),
    StMatrix(Box<LdMatrix>),
    MovMatrix {
        d: R,
        a: R,
    },
    Mma(Box<Mma>),
    WmmaLoad(Box<WmmaMove>),
    WmmaStore(Box<WmmaMove>),
    Wmma(Box<WmmaProduct>),
    Shfl(Box<Shfl>),
    Vote {
        mode: Vote,
        d: Reg,
        a: R,
        negate: bool,
        mask: R,
    },
    Match {
        all: bool,
        d: R,
        p: Option<R>,
        a: Reg,
        mask: R,
    },
    Redux {
        f: fn(u32, u32) -> u32,
        d: R,
        a: R,
        mask: R,
    },
    Elect {
        d: Option<R>,
        p: R,
        mask: R,
    },
    ActiveMask {
        d: R,
    },
    WarpSync {
        mask: R,
    },
    Bar(Box<Bar>),
    Fence,
    DepWait,
    DepLaunch,
    Prefetch,
    Nanosleep,
    IsSpace {
        space: Space,
        d: R,
        a: R,
    },
    Bra {
        target: u32,
    },
    Brx {
        index: R,
        targets: Box<[u32]>,
    },
    Exit,
    Trap,
    /// Offsets in the frame of the format's address, the arguments' address and the result.
    Printf {
        format: u32,
        args: u32,
        ret: u32,
    },
    Nop,
}

#[derive(Debug)]
pub(crate) struct Mem {
    pub space: Space,
    /// Bytes of an element: 1, 2, 4 or 8.
    pub size: u8,
    pub n: u8,
    pub regs: [Reg; 8],
    pub addr: Reg,
    pub off: i64,
    /// Loads of narrow signed types extend the sign.
    pub signed: bool,
    /// The registers have 16 bits.
    pub narrow: bool,
    pub release: bool,
    /// `.volatile`, `.relaxed` and stronger: no race with its like.
    pub strong: bool,
    /// A load whose value a compare-and-swap of the same address expects: if it is out of date, that fails, so it does not race with
    /// atomics.
    pub guess: bool,
    /// `.nc`: the memory must not be written during the kernel.
    pub read_only: bool,
}

impl Mem {
    /// One element of this size, in an access without modifiers. Its registers are not used.
    pub fn plain(space: Space, addr: Reg, size: u8) -> Mem {
        Mem {
            space,
            size,
            n: 1,
            regs: [Reg::W(0); 8],
            addr,
            off: 0,
            signed: false,
            narrow: false,
            release: false,
            strong: false,
            guess: false,
            read_only: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtomOp {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exch,
    Cas,
    Inc,
    Dec,
}

#[derive(Debug)]
pub(crate) struct Atom {
    pub space: Space,
    pub op: AtomOp,
    pub ty: Ty,
    /// `None` for `red` and `_`.
    pub d: Option<Reg>,
    pub addr: Reg,
    pub off: i64,
    pub b: Reg,
    pub c: Option<Reg>,
    pub release: bool,
}

#[derive(Debug)]
pub(crate) struct CpAsync {
    pub dst: Reg,
    pub dst_off: i64,
    pub src: Reg,
    pub src_off: i64,
    pub bytes: u32,
    /// Bytes read; the rest is zero.
    pub src_size: Option<R>,
    pub ignore: Option<R>,
}

#[derive(Debug)]
pub(crate) struct LdMatrix {
    pub n: u8,
    pub trans: bool,
    pub regs: [R; 4],
    pub addr: Reg,
    pub off: i64,
    pub generic: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MmaKind {
    /// f16 inputs; accumulators f32 or f16
    F16 {
        d32: bool,
        c32: bool,
    },
    BF16,
    Tf32,
    /// 8-bit floats: `e5m2`, or `e4m3`
    F8 {
        a_e5m2: bool,
        b_e5m2: bool,
    },
    /// 8-bit integers, signed or not
    Int {
        a_signed: bool,
        b_signed: bool,
        saturate: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Mma {
    pub kind: MmaKind,
    pub k: u8,
    pub d: Vec<R>,
    pub a: Vec<R>,
    pub b: Vec<R>,
    pub c: Vec<R>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShflMode {
    Up,
    Down,
    Bfly,
    Idx,
}

#[derive(Debug)]
pub(crate) struct Shfl {
    pub mode: ShflMode,
    pub d: R,
    pub p: Option<R>,
    pub a: R,
    pub b: R,
    pub c: R,
    pub mask: R,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vote {
    All,
    Any,
    Uni,
    Ballot,
}

#[derive(Debug)]
pub(crate) struct Bar {
    pub id: R,
    /// Threads that take part; `None` is all of the block.
    pub count: Option<R>,
    pub arrive: bool,
    pub aligned: bool,
    /// `bar.red`: operation (`None` is popc), destination, source predicate, negation.
    pub red: Option<(Option<Bool>, Reg, R, bool)>,
}
