//! Runs PTX kernels on the CPU, checks them, and counts what they do.
//!
//! [`Module::load`] decodes PTX text and refuses what it does not know, with the line. [`Device::launch`] runs a grid of
//! blocks, warp by warp in lockstep with reconvergence, and returns a [`Report`]: counters and findings.
#![forbid(unsafe_code)]
// Loops over lanes index several rows at once.
#![allow(clippy::needless_range_loop)]

mod ast;
mod atomics;
mod cfg;
mod counters;
mod cta;
mod device;
mod error;
mod exec;
mod exec_global;
mod exec_mem;
mod exec_shared;
mod exec_warp;
mod finding;
mod fp;
mod ir;
mod launch;
mod lex;
mod lower;
mod lower_cmp;
mod lower_cvt;
mod lower_float;
mod lower_int;
mod lower_logic;
mod lower_mem;
mod lower_warp;
mod mem;
mod mma;
mod module;
mod operands;
mod parse;
mod parse_body;
mod printf;
mod roofline;
mod rows;
mod shared;
mod step;
mod ty;
mod warp;

pub use counters::Counters;
pub use device::{Device, LaunchConfig, Limits, Report};
pub use error::{Fault, HostError, LoadError};
pub use finding::{Check, Checks, Finding};
pub use ir::Class;
pub use module::{Kernel, Module, Param};
pub use roofline::{GPUS, Gpu, Roofline};

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
