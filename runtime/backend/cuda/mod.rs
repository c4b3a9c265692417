//! The CUDA backend: the kernels of `kernels/`, on a GPU through the CUDA driver or on the simulator.
//!
//! [`lower`] turns operations into launches, [`weights`] brings weights into planes, [`kernels`] finds entries in the PTX. Decode
//! is recorded at load, once for one token and once for up to [`DECODE_TOKENS`]; [`Cuda::run`] uploads the step and replays.
//! Prefill is launched for as many rows as the step has. All of it runs on any [`Driver`].

mod driver;
mod kernels;
mod lower;
// Public for the tests that compare it with the kernels.
#[doc(hidden)]
pub mod params;
mod scratch;
mod supports;
mod weights;

#[cfg(feature = "sim")]
pub use driver::Sim;
pub use driver::{Driver, Gpu};
pub use kernels::{Arch, ptx};
/// Public figures of a GPU, for estimates.
#[cfg(feature = "sim")]
pub use ptx_sim::Gpu as GpuModel;

use super::{Backend, DeviceInfo, Error, Footprint, Memory, Precision, Registered, Unsupported, check_supported};
use crate::plan::{Buf, DECODE_TOKENS, Elem, Op, Phase, Plan, Step, StepRow, Weights};
use driver::{Graph, Launch, Ptr};
use kernels::Kernels;
use lower::Counts;
use params::Step as StepHead;
use scratch::Scratch;
use weights::{Loader, Uses};

/// A device that runs the CUDA kernels.
pub struct Cuda<D: Driver> {
    id: String,
    driver: D,
    kernels: Kernels,
    loaded: Option<Loaded>,
    /// Everything that the plan holds on the device.
    allocated: Vec<Ptr>,
}

struct Loaded {
    plan: Plan,
    memory: lower::Memory,
    /// Decode of one token, and of as many as count as decode.
    decode: [Graph; 2],
    step_bytes: Vec<u8>,
}

/// NVIDIA GPUs, among the other backends.
pub static REGISTERED: Registered = Registered {
    name: "cuda",
    has_index: true,
    devices: driver::gpus,
    open: |ordinal| match Cuda::open(ordinal) {
        Ok(gpu) => Ok(Box::new(gpu)),
        Err(what) => {
            let n = ordinal.map_or(String::new(), |n| format!(":{n}"));
            Err(Error::Absent { device: format!("cuda{n}"), what })
        }
    },
};

/// The simulator, among the other backends.
#[cfg(feature = "sim")]
pub static SIMULATOR: Registered =
    Registered { name: "sim", has_index: false, devices: || vec![simulator()], open: |_| Ok(Box::new(Cuda::sim())) };

/// What the simulator is, for lists.
#[cfg(feature = "sim")]
fn simulator() -> DeviceInfo {
    let sim = Sim::new(kernels::SM_90);
    DeviceInfo {
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
        Cuda { id, driver, kernels, loaded: None, allocated: vec![] }
    }

    pub fn driver(&self) -> &D {
        &self.driver
    }

    fn error(&self, what: impl Into<String>) -> Error {
        Error::Device { device: self.id.clone(), what: what.into() }
    }

    fn loaded(&self) -> Result<&Loaded, Error> {
        self.loaded.as_ref().ok_or_else(|| self.error("no plan is loaded"))
    }

    /// Frees everything that a plan took.
    fn unload(&mut self) {
        self.loaded = None;
        self.driver.forget();
        for ptr in self.allocated.drain(..) {
            self.driver.free(ptr);
        }
    }

    fn try_load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), String> {
        let n_sms = self.driver.properties().n_sms;
        let uses = Uses::of(plan);
        for (stem, prefixes) in supports::entries(plan, &uses) {
            self.kernels.load(stem, &prefixes, &mut self.driver)?;
        }
        let mut loader = Loader {
            plan,
            weights,
            driver: &mut self.driver,
            kernels: &self.kernels,
            allocated: &mut self.allocated,
            progress,
            done: 0,
        };
        let tensors = loader.load(&uses)?;

        let Cuda { driver, allocated, .. } = self;
        let mut alloc = |what: &str, bytes: u64| -> Result<Ptr, String> {
            let ptr = driver.alloc(bytes).map_err(|e| format!("{bytes} bytes of {what}: {e}"))?;
            allocated.push(ptr);
            Ok(ptr)
        };
        let mut bufs = vec![];
        for (i, decl) in plan.bufs.iter().enumerate() {
            bufs.push(alloc(&format!("buffer {}", decl.name), 4 * plan.buf_len(Buf(i as u32)) as u64)?);
        }
        let step = alloc("the step", step_bytes(plan.max_tokens))?;
        let scratch = Scratch::of(plan, n_sms).alloc(&mut alloc)?;
        let plane = plan.kv.bytes() / 2 / plan.kv.layers.max(1) as u64;
        let mut cache = |what: &str| -> Result<Vec<Ptr>, String> {
            (0..plan.kv.layers).map(|layer| alloc(&format!("{what} of layer {layer}"), plane)).collect()
        };
        let (keys, values) = (cache("keys")?, cache("values")?);
        // Attention on tensor cores multiplies slots between two windows by zero: they must hold numbers.
        keys.iter().chain(&values).try_for_each(|ptr| self.driver.zero(*ptr, plane))?;

        let memory = lower::Memory { bufs, tensors, keys, values, step, scratch };
        let mut decode = [Graph(0); 2];
        for (graph, most) in decode.iter_mut().zip([1, DECODE_TOKENS]) {
            let n_tokens = most.min(plan.max_tokens);
            let counts = Counts { n_tokens, n_outputs: most.min(plan.max_outputs) };
            let launches = self.launches(plan, &memory, (0, &plan.decode), counts)?;
            *graph = self.driver.record(&launches)?;
        }
        self.driver.wait()?;
        self.loaded = Some(Loaded { plan: plan.clone(), memory, decode, step_bytes: vec![] });
        Ok(())
    }

    /// The launches of `ops`, of which the first has the index `first` in its list, for these counts and in order. Each may begin before the one before it has ended, but for the first:
    /// an upload lies before it.
    fn launches(
        &self,
        plan: &Plan,
        memory: &lower::Memory,
        (first, ops): (usize, &[Op]),
        counts: Counts,
    ) -> Result<Vec<Launch>, String> {
        let n_sms = self.driver.properties().n_sms;
        let overlaps = self.driver.properties().capability >= kernels::SM_90;
        let mut launches: Vec<Launch> = vec![];
        for (i, op) in ops.iter().enumerate() {
            let serves = format!("{} (op {})", op.kind(), first + i);
            for call in lower::lower(plan, memory, n_sms, counts, op) {
                let dependent = overlaps && !launches.is_empty();
                launches.push(call.launch(&self.kernels, &serves, dependent)?);
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

    fn start_on(&mut self, loaded: &mut Loaded, step: &Step) -> Result<(), String> {
        let Loaded { plan, memory, decode, step_bytes } = loaded;
        let head = StepHead { n_tokens: step.n_tokens(), n_outputs: step.n_outputs, ..StepHead::default() };
        step_bytes.clear();
        step_bytes.extend_from_slice(bytemuck::bytes_of(&head));
        step_bytes.extend_from_slice(bytemuck::cast_slice(&step.rows));
        self.driver.upload(memory.step, step_bytes)?;

        match (step.phase(), &step.ops) {
            (Phase::Decode, None) => self.driver.replay(decode[(step.n_tokens() > 1) as usize]),
            _ => {
                let counts = Counts { n_tokens: step.n_tokens(), n_outputs: step.n_outputs };
                let launches = self.launches(plan, memory, step.ops(plan), counts)?;
                launches.iter().try_for_each(|launch| self.driver.launch(launch))
            }
        }
    }
}

/// Bytes of a step of this many tokens.
fn step_bytes(n_tokens: u32) -> u64 {
    (size_of::<StepHead>() + n_tokens as usize * size_of::<StepRow>()) as u64
}

impl<D: Driver> Backend for Cuda<D> {
    fn name(&self) -> String {
        self.id.clone()
    }

    fn supports(&self, plan: &Plan, op: &Op, phase: Phase) -> Result<(), Unsupported> {
        supports::supports(plan, &self.kernels, op, phase)
    }

    /// Products of more than [`DECODE_TOKENS`] rows run on tensor cores unless the cache is f32, and attention where the cache and
    /// the heads allow.
    fn precision(&self, plan: &Plan, op: &Op, phase: Phase) -> Precision {
        match op {
            Op::MatMul(_) if phase == Phase::Prefill && supports::has_tiled(plan) => Precision::F16,
            Op::Attention(op) if phase == Phase::Prefill && supports::has_flash(plan, op.q) => Precision::F16,
            Op::Fused(op) => {
                let parts = op.parts().into_iter().map(|part| self.precision(plan, &part, phase));
                parts.max().unwrap_or(Precision::F32)
            }
            _ => Precision::F32,
        }
    }

    fn memory(&self) -> Option<Memory> {
        self.driver.memory()
    }

    fn reads_mapped_weights(&self) -> bool {
        false
    }

    /// The most that is held at a time: the piece of the file that is repacked goes before the rest comes.
    fn footprint(&self, plan: &Plan) -> Footprint {
        let uses = Uses::of(plan);
        let scratch = Scratch::of(plan, self.driver.properties().n_sms);
        let kv = plan.kv.bytes();
        let buffers = plan.buf_bytes() + scratch.bytes() + step_bytes(plan.max_tokens);
        let later = uses.float_bytes(plan).saturating_add(kv).saturating_add(buffers);
        let buffers = buffers + uses.piece_bytes(plan).saturating_sub(later);
        Footprint { weights: uses.bytes(plan), kv, buffers }
    }

    fn load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        check_supported(self, plan)?;
        if plan.max_tokens > supports::MOST_BLOCKS {
            let (n, most) = (plan.max_tokens, supports::MOST_BLOCKS);
            return Err(self.error(format!("steps of {n} tokens, at most {most}")));
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
        let (ptr, elem) = (loaded.memory.bufs[b.0 as usize], loaded.plan[b].elem);
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
        let (ptr, elem) = (loaded.memory.bufs[b.0 as usize], loaded.plan[b].elem);
        let name = loaded.plan[b].name.clone();
        let read = self.driver.download(ptr, bytemuck::cast_slice_mut(v));
        read.map_err(|what| self.error(format!("reading {name}: {what}")))?;
        if elem == Elem::U32 {
            v.iter_mut().for_each(|v| *v = v.to_bits() as f32);
        }
        Ok(())
    }
}

impl<D: Driver> Drop for Cuda<D> {
    fn drop(&mut self) {
        self.unload();
    }
}
