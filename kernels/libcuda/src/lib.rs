//! The CUDA driver API over ptx-sim: a `libcuda.so.1` for machines without a GPU.
//!
//! - `api`: the entry points, by subject; `entry` is what all of them pass through,
//! - `state`: devices, contexts, and every object (`objects`) that has a handle (`handles`),
//! - `queue`: work in its order, by stream; `work` carries it out; `capture` collects it for a graph,
//! - `memory`: what an address is, `host`: pages that the host sees,
//! - `image`: PTX, alone or in a fatbin, `gpu`: what the simulated GPUs say of themselves,
//! - `options`, `faults`, `log`: the environment, errors on demand, findings,
//! - `raw`: the pointers that a caller hands over.
#![cfg(target_os = "linux")]
#![allow(non_snake_case)] // names of the CUDA driver API

mod api;
mod capture;
mod entry;
mod faults;
mod gpu;
mod handles;
mod host;
mod image;
mod log;
mod memory;
mod objects;
mod options;
mod queue;
mod raw;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod work;
