//! The CUDA backend: the kernels of `kernels/`, on a GPU through the CUDA driver or on the simulator.
//!
//! `entry` names the kernels and `kernels` loads them; `ops` turns operations into launches; `weights` brings weights into
//! planes, `memory` has the rest of a plan. Decode is recorded at load, once for one token and once for up to [`DECODE_TOKENS`];
//! [`Cuda::run`] uploads the step and replays. Prefill is launched for as many rows as the step has. All of it runs on any
//! [`Driver`].

mod balance;
mod best;
mod cubin;
mod driver;
mod entry;
mod kernels;
mod launch;
mod memory;
mod ops;
// Public for the tests that compare it with the kernels, as are the entries.
#[doc(hidden)]
pub mod params;
mod trial;
mod weights;

#[doc(hidden)]
pub use balance::{Balance, Division, Pairs};
#[doc(hidden)]
pub use cubin::{Cubins, MACHINES, unpacked as cubins};
#[cfg(feature = "sim")]
pub use driver::Sim;
pub use driver::{Driver, Gpu};
#[doc(hidden)]
pub use entry::{Entry, FLASH_HEAD_DIMS, FUSED_TYPES, MIXED_TYPES, MMA_COLUMNS, MMA_HEAD_DIMS};
pub use kernels::{Arch, ptx};
#[doc(hidden)]
pub use ops::layouts;
/// Public figures of a GPU, for estimates.
#[cfg(feature = "sim")]
pub use ptx_sim::Gpu as GpuModel;
pub use trial::PTX_FOLDER;

use super::{
    Backend, Error, Footprint, Memory, Precision, Readback, Registered, Replaced, Unsupported, check_supported,
};
use crate::plan::{Buf, DECODE_TOKENS, Elem, Op, OpKind, Phase, Plan, Step, Weights};
use driver::{Allocations, COPIES_OUT, COPY_OUT, Graph, Launch, Purpose};
use kernels::Kernels;
use launch::{Addresses, Call, Counts, Lowering, MAX_BLOCKS};
use params::{COPY_THREADS, SetStepParams, Step as StepHead};
use std::collections::VecDeque;
use trial::Trial;
use weights::{Loader, Uses};

/// A device that runs the CUDA kernels.
pub struct Cuda<D: Driver> {
    id: String,
    driver: D,
    kernels: Kernels,
    loaded: Option<LoadedPlan>,
    /// Everything that the plan holds on the device.
    allocations: Allocations,
    /// What [`Readback::take`] gives, the oldest first.
    reads: VecDeque<Elem>,
}

struct LoadedPlan {
    plan: Plan,
    addresses: Addresses,
    /// Decode of one token, and of as many as count as decode.
    decode: [Graph; 2],
    /// The step as it is uploaded.
    step_bytes: Vec<u8>,
}

/// NVIDIA GPUs, among the other backends.
pub static REGISTERED: Registered = Registered {
    name: "cuda",
    has_index: true,
    devices: driver::gpus,
    open: |ordinal| match Cuda::open(ordinal) {
        Ok(gpu) => gpu.with_trial(),
        Err(what) => {
            let n = ordinal.map_or(String::new(), |n| format!(":{n}"));
            Err(Error::Absent { device: format!("cuda{n}"), what })
        }
    },
};

/// The simulator, among the other backends.
#[cfg(feature = "sim")]
pub static SIMULATOR: Registered =
    Registered { name: "sim", has_index: false, devices: || vec![simulator()], open: |_| Cuda::sim().with_trial() };

/// What the simulator is, for lists.
#[cfg(feature = "sim")]
fn simulator() -> super::DeviceInfo {
    let sim = Sim::new(kernels::SM_90);
    super::DeviceInfo {
        id: "sim".to_string(),
        name: "the CUDA kernels on the CPU, every access checked".to_string(),
        kind: "simulator".to_string(),
        is_gpu: false,
        memory: sim.memory(),
        limits: vec![],
        features: vec!["sm_90".to_string()],
    }
}

impl Cuda<Gpu> {
    /// Opens the GPU of this ordinal, the first without one. The error says what was looked for.
    pub fn open(ordinal: Option<usize>) -> Result<Cuda<Gpu>, String> {
        let ordinal = ordinal.unwrap_or(0);
        Ok(Cuda::new(format!("cuda:{ordinal}"), Gpu::open(ordinal)?))
    }
}

#[cfg(feature = "sim")]
impl Cuda<Sim> {
    /// The simulator with the PTX for sm_90.
    pub fn sim() -> Cuda<Sim> {
        Cuda::sim_of(kernels::SM_90)
    }

    /// The simulator with the PTX that a GPU of this compute capability gets.
    pub fn sim_of(capability: (u32, u32)) -> Cuda<Sim> {
        Cuda::new("sim".to_string(), Sim::new(capability))
    }

    /// The simulator with the PTX and the grids that a GPU of this compute capability with so many streaming multiprocessors
    /// gets.
    pub fn sim_like(capability: (u32, u32), n_sms: u32) -> Cuda<Sim> {
        Cuda::new("sim".to_string(), Sim::new(capability).with_sms(n_sms))
    }
}

impl<D: Driver> Cuda<D> {
    fn new(id: String, driver: D) -> Cuda<D> {
        let kernels = Kernels::new(driver.properties().capability);
        Cuda { id, driver, kernels, loaded: None, allocations: Allocations::default(), reads: VecDeque::new() }
    }

    /// This device, if every file on trial can take its place.
    fn with_trial(self) -> Result<Box<dyn Backend>, Error>
    where
        D: 'static,
    {
        match self.kernels.trial() {
            Ok(_) => Ok(Box::new(self)),
            Err(what) => Err(self.error(what)),
        }
    }

    /// The device under the backend.
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// How the decode products of the loaded plan are divided among blocks and warps, in the plan's order.
    pub fn divisions(&self) -> Vec<(OpKind, Division)> {
        let n_sms = self.driver.properties().n_sms;
        let of = |plan: &Plan, op: &Op| Some((op.kind(), ops::of(op).division(plan, n_sms)?));
        let loaded = self.loaded.iter();
        loaded.flat_map(|loaded| loaded.plan.decode.iter().filter_map(|op| of(&loaded.plan, op))).collect()
    }

    fn error(&self, what: impl Into<String>) -> Error {
        Error::Device { device: self.id.clone(), what: what.into() }
    }

    fn loaded(&self) -> Result<&LoadedPlan, Error> {
        self.loaded.as_ref().ok_or_else(|| self.error("no plan is loaded"))
    }

    /// Frees everything that a plan took.
    fn unload(&mut self) {
        self.loaded = None;
        self.driver.forget();
        self.allocations.free(&mut self.driver);
    }

    fn try_load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), String> {
        let uses = Uses::of(plan);
        self.kernels.load(entries(plan), &mut self.driver)?;
        let mut loader = Loader {
            plan,
            weights,
            driver: &mut self.driver,
            kernels: &self.kernels,
            allocations: &mut self.allocations,
            progress,
            done: 0,
        };
        let weights = loader.load(&uses)?;
        let addresses = memory::allocate(plan, weights, &mut self.driver, &mut self.allocations)?;

        let mut decode = [Graph(0); 2];
        for (graph, most) in decode.iter_mut().zip([1, DECODE_TOKENS]) {
            let counts = Counts { n_tokens: most.min(plan.max_tokens), n_outputs: most.min(plan.max_outputs) };
            let launches = self.launches(plan, &addresses, (0, &plan.decode), counts)?;
            *graph = self.driver.record(&launches)?;
        }
        self.driver.wait()?;
        self.loaded = Some(LoadedPlan { plan: plan.clone(), addresses, decode, step_bytes: vec![] });
        Ok(())
    }

    /// The launches of `ops`, of which the first has the index `first` in its list, for these counts and in order. Each may begin
    /// before the one before it has ended, but for the first: an upload lies before it.
    fn launches(
        &self,
        plan: &Plan,
        addresses: &Addresses,
        (first, ops): (usize, &[Op]),
        counts: Counts,
    ) -> Result<Vec<Launch>, String> {
        let &driver::Properties { n_sms, capability, .. } = self.driver.properties();
        let overlaps = capability >= kernels::SM_90;
        let mut lowering = Lowering { plan, addresses, n_sms, counts, calls: vec![] };
        let mut launches: Vec<Launch> = vec![];
        for (i, op) in ops.iter().enumerate() {
            ops::of(op).lower(&mut lowering);
            for call in lowering.calls.drain(..) {
                let dependent = overlaps && !launches.is_empty();
                launches.push(call.launch(&self.kernels, Purpose::Op(op.kind(), first + i), dependent)?);
            }
        }
        Ok(launches)
    }

    /// Brings the step to the device and starts its work.
    fn start(&mut self, step: &Step) -> Result<(), String> {
        let Some(mut loaded) = self.loaded.take() else { return Ok(()) };
        let done = self.start_on(&mut loaded, step);
        self.loaded = Some(loaded);
        done
    }

    fn start_on(&mut self, loaded: &mut LoadedPlan, step: &Step) -> Result<(), String> {
        let LoadedPlan { plan, addresses, decode, step_bytes } = loaded;
        let head = StepHead { n_tokens: step.n_tokens(), n_outputs: step.n_outputs, ..StepHead::default() };
        if step.phase() == Phase::Decode {
            let mut params = SetStepParams { step: addresses.step, n_rows: 1 + step.n_tokens(), ..Default::default() };
            params.rows[0] = bytemuck::cast(head);
            params.rows[1..=step.rows.len()].copy_from_slice(&step.rows);
            let call = Call::new(Entry::SetStep, [1, 1, 1], COPY_THREADS, &params);
            self.driver.launch(&call.launch(&self.kernels, Purpose::Step, false)?)?;
        } else {
            step_bytes.clear();
            step_bytes.extend_from_slice(bytemuck::bytes_of(&head));
            step_bytes.extend_from_slice(bytemuck::cast_slice(&step.rows));
            self.driver.upload(addresses.step, step_bytes)?;
        }

        match (step.phase(), &step.ops) {
            (Phase::Decode, None) => self.driver.replay(decode[(step.n_tokens() > 1) as usize]),
            _ => {
                let counts = Counts { n_tokens: step.n_tokens(), n_outputs: step.n_outputs };
                let launches = self.launches(plan, addresses, step.ops(plan), counts)?;
                launches.iter().try_for_each(|launch| self.driver.launch(launch))
            }
        }
    }
}

/// The entries that a plan needs, some more than once.
#[doc(hidden)]
pub fn entries(plan: &Plan) -> Vec<Entry> {
    let repack = Uses::of(plan).matrices.into_iter().map(|w| Entry::Repack(plan[w].ty));
    let of = |phase| plan.ops(phase).iter().flat_map(move |op| ops::of(op).entries(plan, phase));
    Phase::ALL.into_iter().flat_map(of).chain(repack).chain([Entry::SetStep]).chain(best::entries(plan)).collect()
}

impl<D: Driver> Backend for Cuda<D> {
    fn name(&self) -> String {
        self.id.clone()
    }

    fn supports(&self, plan: &Plan, op: &Op, phase: Phase) -> Result<(), Unsupported> {
        ops::supports(plan, op, phase)
    }

    /// Unless the cache is f32, products of up to [`DECODE_TOKENS`] rows take quantized weights as integers and x as 16-bit ones, and
    /// products of more rows run on tensor cores in f16; attention of more rows too, where the cache and the heads allow.
    fn precision(&self, plan: &Plan, op: &Op, phase: Phase) -> Precision {
        let parts = op.parts();
        parts.iter().map(|part| ops::of(part).precision(plan, phase)).max().unwrap_or(Precision::F32)
    }

    fn memory(&self) -> Option<Memory> {
        self.driver.memory()
    }

    fn reads_mapped_weights(&self) -> bool {
        false
    }

    /// The most that is held at a time: the piece of the file that is repacked goes before the rest comes.
    fn replaced(&self) -> Vec<Replaced> {
        let files = self.kernels.trial().into_iter().flat_map(Trial::files);
        files.map(|(stem, path)| Replaced { stem, path: path.to_path_buf() }).collect()
    }

    fn footprint(&self, plan: &Plan) -> Footprint {
        let uses = Uses::of(plan);
        let kv = memory::kv_bytes(&plan.kv);
        let buffers = memory::buffer_bytes(plan, self.driver.properties().n_sms);
        let later = uses.float_bytes(plan).saturating_add(kv).saturating_add(buffers);
        let buffers = buffers + uses.piece_bytes(plan).saturating_sub(later);
        Footprint { weights: uses.bytes(plan), kv, buffers }
    }

    fn load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        check_supported(self, plan)?;
        if plan.max_tokens > MAX_BLOCKS {
            return Err(self.error(format!("steps of {} tokens, at most {MAX_BLOCKS}", plan.max_tokens)));
        }
        self.unload();
        let needs = self.footprint(plan).total();
        if let Some(Memory { free: has, .. }) = self.memory()
            && needs > has
        {
            return Err(Error::Memory { device: self.id.clone(), what: "the plan".to_string(), needs, has });
        }
        self.try_load(plan, weights, progress).map_err(|what| self.error(what))
    }

    fn run(&mut self, step: &Step) -> Result<(), Error> {
        step.check(&self.loaded()?.plan).map_err(Error::Step)?;
        self.start(step).map_err(|what| self.error(what))
    }

    fn write(&mut self, b: Buf, v: &[f32]) -> Result<(), Error> {
        let loaded = self.loaded()?;
        let (ptr, elem) = (loaded.addresses.bufs[b.0 as usize], loaded.plan[b].elem);
        let written = match elem {
            Elem::F32 => self.driver.upload(ptr, bytemuck::cast_slice(v)),
            Elem::U32 => {
                let ids: Vec<u32> = v.iter().map(|id| *id as u32).collect();
                self.driver.upload(ptr, bytemuck::cast_slice(&ids))
            }
        };
        written.map_err(|what| self.error(what))
    }

    fn read(&mut self, b: Buf, v: &mut [f32]) -> Result<(), Error> {
        let loaded = self.loaded()?;
        let (ptr, elem) = (loaded.addresses.bufs[b.0 as usize], loaded.plan[b].elem);
        let name = loaded.plan[b].name.clone();
        let read = self.driver.download(ptr, bytemuck::cast_slice_mut(v));
        read.map_err(|what| self.error(format!("reading {name}: {what}")))?;
        from_device(elem, v);
        Ok(())
    }

    fn best(&mut self, x: Buf, k: usize) -> Result<Option<Vec<(u32, f32)>>, Error> {
        let Cuda { loaded: Some(loaded), kernels, driver, .. } = self else { return Ok(None) };
        let Addresses { best: Some(best), bufs, step, .. } = &loaded.addresses else { return Ok(None) };
        let selected = best.of((&loaded.plan, x, bufs[x.0 as usize]), k, *step, kernels, driver);
        selected.map_err(|what| self.error(what))
    }

    fn readback(&mut self) -> Option<&mut dyn Readback> {
        Some(self)
    }
}

/// Makes token ids the floats that [`Backend::read`] gives.
fn from_device(elem: Elem, v: &mut [f32]) {
    if elem == Elem::U32 {
        v.iter_mut().for_each(|v| *v = v.to_bits() as f32);
    }
}

impl<D: Driver> Readback for Cuda<D> {
    fn most(&self) -> usize {
        COPIES_OUT
    }

    fn read_later(&mut self, b: Buf, len: usize) -> Result<(), Error> {
        let loaded = self.loaded()?;
        let (ptr, elem, bytes) = (loaded.addresses.bufs[b.0 as usize], loaded.plan[b].elem, 4 * len);
        if bytes > COPY_OUT || self.reads.len() == COPIES_OUT {
            return Err(self.error(format!("{} later reads, of {bytes} bytes the next", self.reads.len())));
        }
        self.driver.copy_out(ptr, bytes).map_err(|what| self.error(what))?;
        self.reads.push_back(elem);
        Ok(())
    }

    fn take(&mut self, v: &mut [f32]) -> Result<(), Error> {
        let elem = self.reads.pop_front().ok_or_else(|| self.error("no read was asked for"))?;
        self.driver.take_out(bytemuck::cast_slice_mut(v)).map_err(|what| self.error(what))?;
        from_device(elem, v);
        Ok(())
    }
}

impl<D: Driver> Drop for Cuda<D> {
    fn drop(&mut self) {
        self.unload();
    }
}
