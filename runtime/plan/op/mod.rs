//! The operations of a plan: one file each, with the definition, the shapes that it takes, and the least that it costs. The core set
//! is what a port must supply; a fused operation ([`Fused`]) is defined by its parts.

mod add;
mod add_bias;
mod argmax;
mod attention;
mod embed;
mod gather;
mod kv_store;
mod mat_mul;
mod rms_norm;
mod rope;
mod swi_glu;

pub use add::Add;
pub use add_bias::AddBias;
pub use argmax::{Argmax, NOT_FINITE, argmax, can_choose, choice};
pub use attention::Attention;
pub use embed::Embed;
pub use gather::Gather;
pub use kv_store::KvStore;
pub use mat_mul::MatMul;
pub use rms_norm::RmsNorm;
pub use rope::{Pairing, Rope};
pub use swi_glu::SwiGlu;

use super::{Buf, BufDecl, Cost, Elem, Fused, FusedKind, Plan, PlanError, Rows, StepSize, Weight};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The interface of every operation.
pub trait Operation {
    /// The buffers that it reads, in any order; one may be named more than once.
    fn reads(&self) -> Vec<Buf>;

    /// The buffers that hold its results.
    fn writes(&self) -> Vec<Buf>;

    /// Every buffer that it names, for putting others in their place.
    fn bufs_mut(&mut self) -> Vec<&mut Buf>;

    /// The weights that it reads.
    fn weights(&self) -> Vec<Weight> {
        vec![]
    }

    /// Checks every shape against the plan's declarations. The error names the buffer or weight, its shape and the one expected.
    fn check(&self, plan: &Plan) -> Result<(), String>;

    /// The least that it moves and computes on a step of this size, besides the activations in [`Operation::reads`] and
    /// [`Operation::writes`].
    fn cost(&self, plan: &Plan, size: StepSize) -> Cost;

    /// Lowers the plan's limits on token ids and positions to the rows that the operation's tables have.
    fn bound(&self, _plan: &mut Plan) {}
}

/// An enum of operations, one variant per struct, and the enum of their kinds. The name of a kind is that of the file in which the
/// struct is defined, and of its kernels and shaders.
macro_rules! operations {
    (
        $(#[$ops_doc:meta])* $Ops:ident, $(#[$kinds_doc:meta])* $Kinds:ident:
        $($stem:ident $Name:ident),* $(; $Nested:ident $NestedKinds:ident)?
    ) => {
        $(#[$ops_doc])*
        #[derive(Clone, Copy, PartialEq, Debug)]
        #[allow(missing_docs)] // each variant is the struct of its name
        pub enum $Ops {
            $($Name($Name),)*
            $($Nested($Nested),)?
        }

        $(#[$kinds_doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[allow(missing_docs)] // each variant is the struct of its name
        pub enum $Kinds {
            $($Name,)*
        }

        impl $Kinds {
            /// All of them.
            pub const ALL: &[$Kinds] = &[$($Kinds::$Name),*];

            /// The name of the operation, of its kernel and of its shader.
            pub fn stem(self) -> &'static str {
                match self {
                    $($Kinds::$Name => stringify!($stem),)*
                }
            }
        }

        impl $Ops {
            /// The operation behind its interface.
            pub fn operation(&self) -> &dyn $crate::plan::Operation {
                match self {
                    $($Ops::$Name(op) => op,)*
                    $($Ops::$Nested(op) => op.operation(),)?
                }
            }

            /// The same, to change it.
            pub fn operation_mut(&mut self) -> &mut dyn $crate::plan::Operation {
                match self {
                    $($Ops::$Name(op) => op,)*
                    $($Ops::$Nested(op) => op.operation_mut(),)?
                }
            }

            /// Which operation it is.
            pub fn kind(&self) -> $crate::plan::OpKind {
                match self {
                    $($Ops::$Name(_) => $Kinds::$Name.into(),)*
                    $($Ops::$Nested(op) => op.kind(),)?
                }
            }
        }

        $(impl From<$Name> for $crate::plan::Op {
            fn from(op: $Name) -> $crate::plan::Op {
                $Ops::$Name(op).into()
            }
        })*
    };
}
pub(super) use operations;

operations! {
    /// An operation of a plan.
    Op,
    /// The core operations: those that every backend needs.
    CoreKind:
    embed Embed, gather Gather, rms_norm RmsNorm, mat_mul MatMul, rope Rope, kv_store KvStore, attention Attention,
    swi_glu SwiGlu, add Add, add_bias AddBias, argmax Argmax;
    Fused FusedKind
}

impl From<Fused> for Op {
    fn from(op: Fused) -> Op {
        Op::Fused(op)
    }
}

/// Which operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum OpKind {
    /// One that every backend needs.
    Core(CoreKind),
    /// One that a backend may have.
    Fused(FusedKind),
}

impl From<CoreKind> for OpKind {
    fn from(kind: CoreKind) -> OpKind {
        OpKind::Core(kind)
    }
}

impl From<FusedKind> for OpKind {
    fn from(kind: FusedKind) -> OpKind {
        OpKind::Fused(kind)
    }
}

impl OpKind {
    /// All operations, the core ones first.
    pub fn all() -> impl Iterator<Item = OpKind> {
        let core = CoreKind::ALL.iter().map(|kind| OpKind::Core(*kind));
        core.chain(FusedKind::ALL.iter().map(|kind| OpKind::Fused(*kind)))
    }

    /// The name of the operation, of its kernel and of its shader.
    pub fn stem(self) -> &'static str {
        match self {
            OpKind::Core(kind) => kind.stem(),
            OpKind::Fused(kind) => kind.stem(),
        }
    }
}

/// A name that no operation has: the message lists those that there are.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("expected one of {}", OpKind::all().map(OpKind::stem).collect::<Vec<_>>().join(", "))]
pub struct UnknownOp;

impl FromStr for OpKind {
    type Err = UnknownOp;
    fn from_str(stem: &str) -> Result<OpKind, UnknownOp> {
        OpKind::all().find(|kind| kind.stem() == stem).ok_or(UnknownOp)
    }
}

impl fmt::Display for OpKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.stem())
    }
}

impl Op {
    /// See [`Operation::reads`].
    pub fn reads(&self) -> Vec<Buf> {
        self.operation().reads()
    }

    /// See [`Operation::writes`].
    pub fn writes(&self) -> Vec<Buf> {
        self.operation().writes()
    }

    /// See [`Operation::weights`].
    pub fn weights(&self) -> Vec<Weight> {
        self.operation().weights()
    }

    /// The core operations that define this one, in order.
    pub fn parts(&self) -> Vec<Op> {
        match self {
            Op::Fused(op) => op.parts(),
            op => vec![*op],
        }
    }

    /// Checks every shape against the plan's declarations. The error names the operation too.
    pub fn check(&self, plan: &Plan) -> Result<(), PlanError> {
        self.operation().check(plan).map_err(|what| PlanError { op: self.kind(), what })
    }

    /// The least traffic and arithmetic of the operation on a step of this size.
    pub fn cost(&self, plan: &Plan, size: StepSize) -> Cost {
        let bufs = self.reads().into_iter().chain(self.writes());
        let activations = bufs.map(|b| 4 * size.elements(plan, b)).sum();
        Cost { activations, ..self.operation().cost(plan, size) }
    }
}

fn f32_buffer(plan: &Plan, b: Buf, rows: Rows, cols: u64) -> Result<(), String> {
    buffer(plan, b, rows, cols, Elem::F32)
}

fn u32_buffer(plan: &Plan, b: Buf, rows: Rows, cols: u64) -> Result<(), String> {
    buffer(plan, b, rows, cols, Elem::U32)
}

fn buffer(plan: &Plan, b: Buf, rows: Rows, cols: u64, elem: Elem) -> Result<(), String> {
    let BufDecl { name, rows: r, cols: c, elem: e } = &plan[b];
    match (*r, *c as u64, *e) == (rows, cols, elem) && cols > 0 {
        true => Ok(()),
        false => Err(format!("buffer {name} is ({r:?}, {c}) {e:?}, wanted ({rows:?}, {cols}) {elem:?}")),
    }
}

fn same_shape(plan: &Plan, a: Buf, b: Buf) -> Result<(), String> {
    f32_buffer(plan, a, plan[b].rows, plan[b].cols as u64)
}

fn vector(plan: &Plan, w: Weight, cols: u32) -> Result<(), String> {
    let d = &plan[w];
    match (d.rows, d.cols) == (1, cols as u64) {
        true => Ok(()),
        false => Err(format!("weight {} is ({}, {}), wanted (1, {cols})", d.name, d.rows, d.cols)),
    }
}

fn kv_layer(plan: &Plan, layer: u32) -> Result<(), String> {
    plan.kv.check()?;
    match layer < plan.kv.layers {
        true => Ok(()),
        false => Err(format!("layer {layer}, the KV cache has {}", plan.kv.layers)),
    }
}
