//! PTX instructions to operations, one file per group of instructions.

mod cmp;
mod cvt;
mod float;
mod int;
mod logic;
mod memory;
mod warp;
