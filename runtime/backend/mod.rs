//! What executes a plan. The CPU backend is the definition of every operation; the others are checked against it.

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod device;
#[cfg(feature = "wgpu")]
pub mod wgpu;

pub use device::{DeviceChoice, DeviceInfo, Memory, UnknownDevice, available, open};

use crate::plan::{Buf, Op, Phase, Plan, Step, Weights};
use thiserror::Error;

/// Why a backend cannot run an operation: it goes into the error that names the operation and the device.
#[derive(Debug, Error, Clone, PartialEq)]
#[error("{0}")]
pub struct Unsupported(pub String);

#[derive(Debug, Error)]
pub enum Error {
    #[error("{device}: {op} {what}")]
    Unsupported { device: String, op: &'static str, what: Unsupported },
    #[error("{device}: needs {} for {what}, has {}", gib(*.needs), gib(*.has))]
    Memory { device: String, what: String, needs: u64, has: u64 },
    /// A step outside the plan's limits.
    #[error("{0}")]
    Step(String),
    #[error("{device}: {what}")]
    Device { device: String, what: String },
}

/// Executes the steps of one plan.
pub trait Backend: Send {
    /// `cpu`, `wgpu:0`, ...
    fn name(&self) -> String;

    /// Whether the backend has a kernel for `op`, with the types and shapes that `plan` gives it.
    fn supports(&self, plan: &Plan, op: &Op, phase: Phase) -> Result<(), Unsupported>;

    /// How the backend computes `op`: the conformance limits follow from it.
    fn precision(&self, _plan: &Plan, _op: &Op, _phase: Phase) -> Precision {
        Precision::F32
    }

    /// The device's memory, where the system tells.
    fn memory(&self) -> Option<Memory>;

    /// What loading `plan` allocates on the device.
    fn footprint(&self, plan: &Plan) -> Footprint {
        Footprint { weights: plan.weight_bytes(), kv: plan.kv.bytes(), buffers: plan.buf_bytes() }
    }

    /// Takes the weights, repacks and uploads them, and prepares everything that [`Backend::run`] needs. `progress` is told
    /// the bytes of weights done so far.
    fn load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), Error>;

    /// Runs one step. Allocates and compiles nothing. Results are ready when [`Backend::read`] returns them.
    fn run(&mut self, step: &Step) -> Result<(), Error>;

    /// Overwrites the first `v.len()` elements of a buffer (row-major f32; token ids as floats).
    fn write(&mut self, b: Buf, v: &[f32]) -> Result<(), Error>;

    /// Reads the first `v.len()` elements of a buffer (row-major f32; token ids as floats).
    fn read(&mut self, b: Buf, v: &mut [f32]) -> Result<(), Error>;
}

/// The number format in which an operation's inputs are multiplied. Sums are f32 in any case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Precision {
    F32,
    /// Weights and activations rounded to f16, as tensor cores take them.
    F16,
}

/// Bytes that a loaded plan takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Footprint {
    pub weights: u64,
    pub kv: u64,
    pub buffers: u64,
}

impl Footprint {
    /// `20.7 GiB (4.6 GiB weights + 16.0 GiB KV cache + 56.1 MiB buffers)`.
    pub fn text(&self) -> String {
        let [total, weights, kv, buffers] = [self.total(), self.weights, self.kv, self.buffers].map(gib);
        format!("{total} ({weights} weights + {kv} KV cache + {buffers} buffers)")
    }

    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv).saturating_add(self.buffers)
    }
}

/// Asks `backend` about every operation of `plan`: the first refusal, as an error that names the device.
pub fn check_supported(backend: &(impl Backend + ?Sized), plan: &Plan) -> Result<(), Error> {
    for phase in [Phase::Decode, Phase::Prefill] {
        for op in plan.ops(phase) {
            backend.supports(plan, op, phase).map_err(|what| Error::Unsupported {
                device: backend.name(),
                op: op.stem(),
                what,
            })?;
        }
    }
    Ok(())
}

/// `bytes` in GiB, MiB or KiB.
pub fn gib(bytes: u64) -> String {
    let kib = bytes as f64 / 1024.0;
    match bytes {
        0..0x10_0000 => format!("{kib:.1} KiB"),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", kib / 1024.0),
        _ => format!("{:.1} GiB", kib / 1024.0 / 1024.0),
    }
}
