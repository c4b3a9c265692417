//! What has handles.

use crate::capture::Mark;
use crate::queue::Point;
use crate::work::Action;
use ptx_sim::{Kernel, Module};
use std::time::Instant;

/// A context, primary or not.
pub struct Context {
    pub device: usize,
    /// A primary context that nothing holds keeps its handle, and is not active.
    pub active: bool,
}

pub struct Stream {
    pub context: u64,
    pub device: usize,
    /// `CU_STREAM_NON_BLOCKING` is not set: it and the legacy stream wait for each other.
    pub blocking: bool,
    pub priority: i32,
    pub capture: Option<u64>,
}

pub struct Event {
    pub context: u64,
    /// What it was recorded behind; none: never recorded, and counts as come.
    pub point: Option<Point>,
    /// What it was recorded behind in a capture.
    pub captured: Option<Mark>,
    /// When the work before it had run.
    pub came: Option<Instant>,
    pub timed: bool,
}

/// A module, or a library of one module.
pub struct Loaded {
    pub context: u64,
    pub module: Module,
}

pub struct Function {
    pub context: u64,
    pub module: u64,
    pub kernel: Kernel,
    /// Bytes of dynamic shared memory that it may have.
    pub dynamic_shared: u32,
}

/// What a graph runs, in an order that its edges allow.
pub struct Graph {
    pub context: u64,
    pub nodes: Vec<Action>,
}

/// A program in the making of `cuLink`.
pub struct Link {
    pub context: u64,
    pub ptx: Vec<String>,
    /// What `cuLinkComplete` gave away: it lives as long as the link.
    pub image: Vec<u8>,
}
