//! The WGSL backend: the kernels of `shaders/`, run by wgpu on Vulkan, Metal, DX12 or GL.
//!
//! `ops` and `products` turn the plan into launches, `weights` brings weights into planes, `kernels` compiles, `launch` binds memory;
//! [`Wgpu::run`](Backend::run) then replays the launches in one compute pass. Activations have rows padded with zeros to
//! [`crate::quant::pack::UNIT`] elements, which no kernel changes, so that kernels meet whole vectors only.

#![warn(missing_docs)]

mod adapters;
mod kernels;
mod launch;
mod lowering;
// The tests compare these with the shaders.
#[doc(hidden)]
pub mod memory;
#[doc(hidden)]
pub mod ops;
#[doc(hidden)]
pub mod params;
#[doc(hidden)]
pub mod permutations;
mod products;
#[doc(hidden)]
pub mod shaders;
mod weights;

#[doc(hidden)]
pub use adapters::Options;

use super::{Backend, Error, Footprint, Memory, Registered, TooLarge, Unsupported, system_memory};
use crate::plan::{Buf, DECODE_TOKENS, Elem, Op, Phase, Plan, Rows, Step, Weights};
use adapters::Gpu;
use launch::Dispatch;
use memory::{Buffers, STEP_HEADER};
use std::sync::atomic::Ordering;
use weights::WeightStacks;
use wgpu::BufferUsages;

/// Adapters, among the other backends.
pub static REGISTERED: Registered = Registered {
    name: "wgpu",
    has_index: true,
    devices: adapters::available,
    open: |index| Ok(Box::new(Wgpu::open(index)?)),
};

/// A device that runs the WGSL kernels.
pub struct Wgpu {
    gpu: Gpu,
    loaded: Option<Loaded>,
}

struct Loaded {
    plan: Plan,
    buffers: Buffers,
    /// The step as kernels read it, on its way to the device.
    step_bytes: Vec<u8>,
    decode: Vec<Dispatch>,
    prefill: Vec<Dispatch>,
    /// Where results are mapped for reading.
    staging: wgpu::Buffer,
}

/// Bytes of results that are mapped at once, until more are asked for.
const STAGING: u64 = 4 << 10;

impl Wgpu {
    /// Opens the adapter with this index in the list of devices, the first without one.
    ///
    /// Errors: no such adapter, or its driver refuses.
    pub fn open(index: Option<usize>) -> Result<Wgpu, Error> {
        Wgpu::open_with(index, Options::default())
    }

    /// [`Wgpu::open`] for tests.
    #[doc(hidden)]
    pub fn open_with(index: Option<usize>, options: Options) -> Result<Wgpu, Error> {
        Ok(Wgpu { gpu: Gpu::open(index, options)?, loaded: None })
    }

    /// Bytes of the buffers made for the loaded plan: tests compare them with the footprint.
    #[doc(hidden)]
    pub fn allocated(&self) -> u64 {
        self.gpu.allocated.load(Ordering::Relaxed)
    }

    fn loaded(&mut self) -> Result<&mut Loaded, Error> {
        let no_plan = self.gpu.error("no plan is loaded");
        self.loaded.as_mut().ok_or(no_plan)
    }
}

impl Backend for Wgpu {
    fn name(&self) -> String {
        self.gpu.name.clone()
    }

    /// wgpu does not report it; adapters that are CPUs have the system's.
    fn memory(&self) -> Option<Memory> {
        self.gpu.software.then(system_memory)?
    }

    fn supports(&self, plan: &Plan, op: &Op, _: Phase) -> Result<(), Unsupported> {
        ops::supports(plan, op, self.gpu.limits)
    }

    fn reads_mapped_weights(&self) -> bool {
        false
    }

    fn footprint(&self, plan: &Plan) -> Footprint {
        let gpu = &self.gpu;
        let kv = memory::kv_bytes(&plan.kv);
        let buffers = memory::activation_bytes(plan) + STAGING;
        // Loading says what is wrong with a plan that the kernels cannot run.
        let stacks = super::check_supported(self, plan).and_then(|()| stacks(plan, gpu));
        let Ok(stacks) = stacks else {
            return Footprint { weights: plan.weight_bytes(), kv, buffers };
        };
        let params = lists(plan).map(|ops| launch::params_bytes(gpu, &ops::lower(plan, &stacks, ops)));
        Footprint { weights: stacks.bytes(gpu), kv, buffers: buffers + params.iter().sum::<u64>() }
    }

    fn too_large(&self, plan: &Plan) -> Option<TooLarge> {
        let has = self.gpu.max_binding();
        let (what, needs) = memory::largest_of_cache(&plan.kv);
        (needs > has).then(|| TooLarge { what: what.to_string(), needs, has })
    }

    fn load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        super::check_supported(self, plan)?;
        self.gpu.allocated.store(0, Ordering::Relaxed);
        self.loaded = None; // frees what it holds before more is taken
        self.loaded = Some(Loaded::new(&self.gpu, plan, weights, progress)?);
        Ok(())
    }

    fn run(&mut self, step: &Step) -> Result<(), Error> {
        self.loaded()?.write_step(step)?;
        let Wgpu { gpu, loaded: Some(loaded) } = self else { return Ok(()) };
        gpu.queue.write_buffer(&loaded.buffers.step, 0, &loaded.step_bytes);
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            let (first, ops) = step.ops(&loaded.plan);
            let wanted = first..first + ops.len();
            let dispatches = match step.phase() {
                Phase::Decode => &loaded.decode,
                Phase::Prefill => &loaded.prefill,
            };
            for dispatch in dispatches.iter().filter(|dispatch| wanted.contains(&dispatch.op)) {
                let rows = match dispatch.rows {
                    Rows::Tokens => step.n_tokens(),
                    Rows::Outputs => step.n_outputs,
                };
                dispatch.encode(gpu, &mut pass, rows)?;
            }
        }
        gpu.queue.submit([encoder.finish()]);
        gpu.check()
    }

    fn write(&mut self, b: Buf, v: &[f32]) -> Result<(), Error> {
        let loaded = self.loaded()?;
        let decl = loaded.plan[b].clone();
        let stride = memory::stride(&loaded.plan, b) as u64;
        let ids: Vec<u32>;
        let words: &[u32] = match decl.elem {
            Elem::F32 => bytemuck::cast_slice(v),
            Elem::U32 => {
                ids = v.iter().map(|id| *id as u32).collect();
                &ids
            }
        };
        let buffer = loaded.buffers.bufs[b.0 as usize].clone();
        for (row, words) in words.chunks(decl.cols as usize).enumerate() {
            self.gpu.queue.write_buffer(&buffer, 4 * stride * row as u64, bytemuck::cast_slice(words));
        }
        self.gpu.queue.submit([]);
        self.gpu.check()
    }

    fn read(&mut self, b: Buf, v: &mut [f32]) -> Result<(), Error> {
        self.loaded()?;
        let Wgpu { gpu, loaded: Some(loaded) } = self else { return Ok(()) };
        let decl = &loaded.plan[b];
        let (cols, stride) = (decl.cols as usize, memory::stride(&loaded.plan, b) as usize);
        let bytes = 4 * (v.len().div_ceil(cols) * stride) as u64;
        if bytes == 0 {
            return Ok(());
        }
        if loaded.staging.size() < bytes {
            loaded.staging = gpu.buffer("results", bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?;
        }
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&loaded.buffers.bufs[b.0 as usize], 0, &loaded.staging, 0, bytes);
        gpu.queue.submit([encoder.finish()]);
        let mapped = loaded.staging.slice(..bytes);
        mapped.map_async(wgpu::MapMode::Read, |_| {}); // get_mapped_range reports its failure
        gpu.wait()?;
        {
            let view = mapped.get_mapped_range().map_err(|e| gpu.error(format!("reading {}: {e}", decl.name)))?;
            let rows = view.chunks_exact(4 * stride);
            for (v, row) in v.chunks_mut(cols).zip(rows) {
                for (v, word) in v.iter_mut().zip(row.chunks_exact(4)) {
                    let bits = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                    *v = if decl.elem == Elem::U32 { bits as f32 } else { f32::from_bits(bits) };
                }
            }
        }
        loaded.staging.unmap();
        Ok(())
    }
}

/// The operations of decode, and of prefill if a step can be so large.
fn lists(plan: &Plan) -> [&[Op]; 2] {
    [&plan.decode, if plan.max_tokens > DECODE_TOKENS { &plan.prefill } else { &[] }]
}

/// Where the weights lie that the plan's operations read.
fn stacks(plan: &Plan, gpu: &Gpu) -> Result<WeightStacks, Error> {
    WeightStacks::new(plan, &ops::weight_reads(plan.decode.iter().chain(&plan.prefill)), gpu)
}

impl Loaded {
    fn new(gpu: &Gpu, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<Loaded, Error> {
        let stacks = stacks(plan, gpu)?;
        let buffers = Buffers::new(gpu, plan, &stacks, weights, progress)?;
        let mut compiler = kernels::Compiler::new(gpu, plan.max_tokens);
        let [decode, prefill] = lists(plan).map(|ops| {
            let launches = ops::lower(plan, &stacks, ops);
            launch::dispatches(gpu, &mut compiler, &launches, &buffers)
        });
        let (decode, prefill) = (decode?, prefill?);
        for (dispatches, tokens) in [(&decode, DECODE_TOKENS), (&prefill, plan.max_tokens)] {
            dispatches.iter().try_for_each(|dispatch| dispatch.check(gpu, plan, tokens))?;
        }
        let staging = gpu.buffer("results", STAGING, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?;
        gpu.wait()?;
        Ok(Loaded { plan: plan.clone(), buffers, step_bytes: vec![], decode, prefill, staging })
    }

    /// Checks the step and lays it out as kernels read it.
    fn write_step(&mut self, step: &Step) -> Result<(), Error> {
        step.check(&self.plan).map_err(Error::Step)?;
        let mut header = [0u32; STEP_HEADER / 4];
        (header[0], header[1]) = (step.n_tokens(), step.n_outputs);
        self.step_bytes.clear();
        self.step_bytes.extend_from_slice(bytemuck::cast_slice(&header));
        self.step_bytes.extend_from_slice(bytemuck::cast_slice(&step.rows));
        Ok(())
    }
}
