//! Runs PTX kernels on the CPU, checks them, and counts what they do.
//!
//! [`Module::load`] decodes PTX text and refuses what it does not know, with the line. [`Device::launch`] runs a grid of
//! blocks, warp by warp in lockstep with reconvergence, and returns a [`Report`]: counters and findings.
//!
//! A kernel passes through these modules:
//!
//! - `parse`: PTX text to a syntax tree,
//! - `lower`: the tree to operations on rows of 32 lanes (`ir`), with arithmetic from `fp`,
//! - `module`, `device`: loaded kernels, and the memory and launches of a simulated GPU,
//! - `exec`: the operations, for all blocks of a grid,
//! - `check`: memory that records its accesses, and the findings,
//! - `count`: counters, and a lower bound on the time that a GPU takes.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
// Loops over lanes index several rows at once.
#![allow(clippy::needless_range_loop)]

mod check;
mod config;
mod count;
mod device;
mod error;
mod exec;
mod fp;
mod ir;
mod lower;
mod module;
mod parse;
mod ty;

pub use check::finding::{Check, Checks, Finding};
pub use config::{LaunchConfig, Limits};
pub use count::counters::Counters;
pub use count::roofline::{GPUS, Gpu, Roofline};
pub use device::{Device, Report};
pub use error::{Fault, HostError, LoadError};
pub use ir::{Class, Param};
pub use module::{Kernel, Module};

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
