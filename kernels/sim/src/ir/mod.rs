//! The form that is executed: registers are rows of 32 lanes, branch targets are indices, and arithmetic is a function
//! from rows to rows. The function is chosen when the module is loaded, so that the loop over lanes is monomorphic.

mod op;
mod program;
mod window;
mod wmma;

pub(crate) use op::*;
pub use program::{Class, Param};
pub(crate) use program::{Inst, NO_GUARD, Program, Special};
pub(crate) use window::*;
pub(crate) use wmma::*;

/// Lanes of a warp.
pub(crate) const LANES: usize = 32;
/// One register of up to 32 bits, in every lane. A value of 16 bits has zeros above it.
pub(crate) type Row = [u32; LANES];
/// One register of 64 bits, in every lane.
pub(crate) type Row64 = [u64; LANES];

/// Index of a register in one of the three register files of a warp.
pub(crate) type R = u16;

/// A register and its file: up to 32 bits, 64 bits, or a predicate (one bit per lane).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reg {
    W(R),
    D(R),
    P(R),
}

/// Functions of one to three rows of 32-bit registers; the last argument is the result.
pub(crate) type W1 = fn(&Row, &mut Row);
pub(crate) type W2 = fn(&Row, &Row, &mut Row);
pub(crate) type W3 = fn(&Row, &Row, &Row, &mut Row);
/// The same for 64-bit registers.
pub(crate) type D1 = fn(&Row64, &mut Row64);
pub(crate) type D2 = fn(&Row64, &Row64, &mut Row64);
pub(crate) type D3 = fn(&Row64, &Row64, &Row64, &mut Row64);
/// A function of up to three operands of any width, for one lane. The last argument selects the variant.
pub(crate) type Any = fn(u64, u64, u64, u32) -> u64;
