//! What the parser hands to the lowering: names are still text, opcodes are still split words.

use crate::error::At;
use crate::ty::{Space, Ty};

#[derive(Debug, Default)]
pub(crate) struct Ast {
    pub target: String,
    pub vars: Vec<Var>,
    pub funcs: Vec<Func>,
}

#[derive(Debug, Clone)]
pub(crate) struct Var {
    pub space: Space,
    pub name: String,
    pub align: u32,
    /// Bytes; 0 for `.extern .shared name[]`.
    pub size: u32,
    pub init: Vec<Init>,
    /// Bytes of one element, for the initializer.
    pub elem: u32,
    pub line: u32,
}

#[derive(Debug, Clone)]
pub(crate) enum Init {
    Bits(u64),
    /// A decimal float, by its bits as f64.
    Float(u64),
    /// Address of a module variable plus an offset.
    Symbol(String, i64),
}

#[derive(Debug)]
pub(crate) struct Func {
    pub name: String,
    pub entry: bool,
    pub rets: Vec<Var>,
    pub params: Vec<Var>,
    /// `None` for a declaration. A body that is not PTX, or not known, is an error of those kernels that need it.
    pub body: Option<Result<Vec<Stmt>, At>>,
    pub maxntid: Option<[u32; 3]>,
    pub reqntid: Option<[u32; 3]>,
    pub minnctapersm: Option<u32>,
    pub line: u32,
}

#[derive(Debug)]
pub(crate) enum Stmt {
    Label(String),
    /// `.reg .b32 %r<8>` has a count, `.reg .b32 t` has none.
    Reg {
        ty: Ty,
        name: String,
        count: Option<u32>,
        line: u32,
    },
    Var(Var),
    Targets {
        name: String,
        labels: Vec<String>,
    },
    Inst(AstInst),
    Open,
    Close,
}

#[derive(Debug)]
pub(crate) struct AstInst {
    /// Predicate's name, and whether it is negated.
    pub guard: Option<(String, bool)>,
    /// `ld.global.u32` as `["ld", "global", "u32"]`.
    pub op: Vec<String>,
    pub args: Vec<Arg>,
    pub line: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Arg {
    /// Register, special register, variable or label.
    Name(String),
    /// Integer, as the low 64 bits of its two's complement.
    Int(u64),
    /// `0f3F800000`, by its bits.
    F32(u32),
    /// `0d...` or a decimal, by its bits.
    F64(u64),
    /// `{a, b}` or the parenthesised lists of `call`.
    List(Vec<Arg>),
    /// `[base + offset]`
    Addr(Box<Arg>, i64),
    /// `d|p`
    Pair(Box<Arg>, Box<Arg>),
    /// `!p`
    Not(Box<Arg>),
    /// `name + offset` outside brackets
    Offset(String, i64),
}
