//! What a backend is, and what it says when it cannot do something.

use super::info::{Memory, gib};
use crate::plan::{Buf, Op, OpKind, Phase, Plan, Step, Weights};
use std::path::PathBuf;
use thiserror::Error;

/// Why a backend cannot run an operation: it goes into the error that names the operation and the device.
#[derive(Debug, Error, Clone, PartialEq)]
#[error("{0}")]
pub struct Unsupported(pub String);

/// What can go wrong on a device. Each is one line that begins with the device's name.
#[derive(Debug, Error)]
#[allow(missing_docs)] // the message of each variant says what its fields are
pub enum Error {
    /// The backend has no kernel for an operation of the plan.
    #[error("{device}: {op} {what}")]
    Unsupported { device: String, op: OpKind, what: Unsupported },
    /// The device's memory does not hold `what`. Sizes in bytes.
    #[error("{device}: needs {} for {what}, has {}", gib(*.needs), gib(*.has))]
    Memory { device: String, what: String, needs: u64, has: u64 },
    /// A step outside the plan's limits.
    #[error("{0}")]
    Step(String),
    /// A device that was asked for by name is not here.
    #[error("{device}: {what}")]
    Absent { device: String, what: String },
    /// The driver reports an error.
    #[error("{device}: {what}")]
    Device { device: String, what: String },
}

/// `Send`, except in browsers, whose handles belong to one thread.
#[cfg(not(target_family = "wasm"))]
pub trait MaybeSend: Send {}
#[cfg(not(target_family = "wasm"))]
impl<T: Send> MaybeSend for T {}

/// `Send`, except in browsers, whose handles belong to one thread.
#[cfg(target_family = "wasm")]
pub trait MaybeSend {}
#[cfg(target_family = "wasm")]
impl<T> MaybeSend for T {}

/// Executes the steps of one plan.
pub trait Backend: MaybeSend {
    /// `cpu`, `wgpu:0`, ...
    fn name(&self) -> String;

    /// Whether the backend has a kernel for `op`, with the types and shapes that `plan` gives it.
    fn supports(&self, plan: &Plan, op: &Op, phase: Phase) -> Result<(), Unsupported>;

    /// How the backend computes `op`: the conformance limits follow from it.
    fn precision(&self, _plan: &Plan, _op: &Op, _phase: Phase) -> Precision {
        Precision::F32
    }

    /// Takes what the user wishes, before a plan is loaded. A backend ignores what does not concern it.
    fn configure(&mut self, _options: BackendOptions) {}

    /// The device's memory; None if the system does not report it.
    fn memory(&self) -> Option<Memory>;

    /// Whether steps read the weights that [`Backend::load`] was given, which lie in the mapped file: false where the backend has a
    /// copy of its own.
    fn reads_mapped_weights(&self) -> bool {
        true
    }

    /// Bytes of the weights of `plan` that steps read from the mapped file.
    fn mapped_bytes(&self, plan: &Plan) -> u64 {
        let table = plan.rope_table().map_or(0, |table| plan[table].bytes()); // it is computed, not in the file
        if self.reads_mapped_weights() { plan.weight_bytes() - table } else { 0 }
    }

    /// The operations of the loaded plan that the reference runs in the backend's place.
    fn on_reference(&self) -> Vec<OpKind> {
        vec![]
    }

    /// Files whose kernels take the place of the backend's own, to try them.
    fn replaced(&self) -> Vec<Replaced> {
        vec![]
    }

    /// What loading `plan` allocates on the device.
    fn footprint(&self, plan: &Plan) -> Footprint {
        Footprint { weights: plan.weight_bytes(), kv: plan.kv.bytes(), buffers: plan.buf_bytes() }
    }

    /// A part of the KV cache of `plan` that is larger than the device allows for one buffer, whatever memory is free.
    fn too_large(&self, _plan: &Plan) -> Option<TooLarge> {
        None
    }

    /// Takes the weights, repacks and uploads them, and prepares everything that [`Backend::run`] needs. `progress`
    /// receives the bytes of weights loaded so far.
    fn load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), Error>;

    /// Runs one step, or the part of it that [`Step::ops`] names. Allocates no device memory and compiles nothing. Results are ready when
    /// [`Backend::read`] returns them.
    fn run(&mut self, step: &Step) -> Result<(), Error>;

    /// The `k` largest elements of the first row of a buffer that the last step wrote, and their indices: falling, the lower index
    /// first among equals, NaN last. None if the backend does not select so many of it; [`Backend::read`] gives the row.
    fn best(&mut self, _x: Buf, _k: usize) -> Result<Option<Vec<(u32, f32)>>, Error> {
        Ok(None)
    }

    /// For backends whose steps run while the host goes on: reads that wait for no later step.
    fn readback(&mut self) -> Option<&mut dyn Readback> {
        None
    }

    /// Overwrites the first `v.len()` elements of a buffer (row-major f32; token ids as floats).
    fn write(&mut self, b: Buf, v: &[f32]) -> Result<(), Error>;

    /// Reads the first `v.len()` elements of a buffer (row-major f32; token ids as floats).
    fn read(&mut self, b: Buf, v: &mut [f32]) -> Result<(), Error>;
}

/// Reads of a buffer as it is between two steps, while later steps already run. They are taken in the order in which they were asked for.
pub trait Readback {
    /// How many may wait to be taken.
    fn most(&self) -> usize;

    /// Asks for the first `len` elements of a buffer, at most 1024, as they are after the steps so far.
    fn read_later(&mut self, b: Buf, len: usize) -> Result<(), Error>;

    /// Waits for the oldest read that was asked for, and gives its first `v.len()` elements (row-major f32; token ids as floats).
    fn take(&mut self, v: &mut [f32]) -> Result<(), Error>;
}

/// What a user wishes of a backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackendOptions {
    /// On the CPU: weights are copied to a layout that is faster to read. Without it they are read where they are in the file, and
    /// decoded row by row.
    pub repack: bool,
    /// On the CPU: activations are rounded to 16 bits for products of integers, not to 8.
    pub precise: bool,
}

impl Default for BackendOptions {
    /// Fast.
    fn default() -> BackendOptions {
        BackendOptions { repack: true, precise: false }
    }
}

/// A file whose kernels take the place of a backend's own.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{} takes the place of the kernels of {stem}", path.display())]
pub struct Replaced {
    /// The name of the kernels' sources, without the extension.
    pub stem: &'static str,
    /// The file.
    pub path: PathBuf,
}

/// The number format in which an operation's inputs are multiplied. Sums are f32 in any case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Precision {
    /// Inputs as they are.
    F32,
    /// Activations rounded to 16-bit integers with a scale for each 32 of them.
    I16,
    /// Weights and activations rounded to f16, as tensor cores take them.
    F16,
    /// Activations rounded to 8-bit integers with a scale for each 32 of them.
    I8,
}

/// A buffer that is larger than a device allows. Sizes in bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TooLarge {
    /// What it is for.
    pub what: String,
    /// Its size.
    pub needs: u64,
    /// The limit of the device.
    pub has: u64,
}

/// Bytes that a loaded plan takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Footprint {
    /// Weights, in the backend's layout.
    pub weights: u64,
    /// Keys and values of all layers and slots.
    pub kv: u64,
    /// Activations, the step, and scratch memory.
    pub buffers: u64,
}

impl Footprint {
    /// `20.7 GiB (4.6 GiB weights + 16.0 GiB KV cache + 56.1 MiB buffers)`.
    pub fn text(&self) -> String {
        let [total, weights, kv, buffers] = [self.total(), self.weights, self.kv, self.buffers].map(gib);
        format!("{total} ({weights} weights + {kv} KV cache + {buffers} buffers)")
    }

    /// The sum.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv).saturating_add(self.buffers)
    }
}

/// Checks that `backend` supports every operation of `plan`.
///
/// Errors: the first refusal, with the name of the device.
pub fn check_supported(backend: &(impl Backend + ?Sized), plan: &Plan) -> Result<(), Error> {
    for phase in [Phase::Decode, Phase::Prefill] {
        for op in plan.ops(phase) {
            backend.supports(plan, op, phase).map_err(|what| Error::Unsupported {
                device: backend.name(),
                op: op.kind(),
                what,
            })?;
        }
    }
    Ok(())
}
