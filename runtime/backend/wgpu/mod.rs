//! The WGSL backend: the kernels of `shaders/`, run by wgpu on Vulkan, Metal, DX12 or GL.
//!
//! [`lower`] turns the plan into kernel calls, [`tensors`] brings weights into planes, [`kernels`] compiles; [`Wgpu::run`] then
//! replays the calls in one compute pass. Activations have rows padded with zeros to [`crate::quant::pack::UNIT`] elements,
//! which no kernel changes, so that kernels meet whole vectors only.

mod adapters;
mod kernels;
mod lower;
// Public for the tests that compare them with the shaders.
#[doc(hidden)]
pub mod params;
#[doc(hidden)]
pub mod permutations;
#[doc(hidden)]
pub mod shaders;
mod tensors;

use super::{Backend, Error, Footprint, Memory, Registered, Unsupported, system_memory};
use crate::plan::{Buf, Elem, Op, Phase, Plan, Rows, Step, StepRow, Weights};
use adapters::{Gpu, buffer_bytes};
use kernels::Dispatch;
use std::sync::atomic::Ordering;
use wgpu::BufferUsages;

/// How to open an adapter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Compile shaders with bounds checks, and clear workgroup memory: for tests.
    pub checked: bool,
    /// Take the kernels for GPUs on an adapter that is a CPU, too: for tests.
    pub plain: bool,
    /// Bytes of a weight that one binding may hold at most, if that is less than the adapter's limit: for tests.
    pub max_weight_binding: Option<u64>,
    /// Storage buffers that a kernel may bind at most, if that is less than the adapter's limit: for tests.
    pub max_buffers: Option<u32>,
}

/// Adapters, among the other backends.
pub static REGISTERED: Registered = Registered {
    name: "wgpu",
    has_index: true,
    devices: adapters::available,
    open: |index| Ok(Box::new(Wgpu::open(index, Options::default())?)),
};

/// A device that runs the WGSL kernels.
pub struct Wgpu {
    gpu: Gpu,
    loaded: Option<Loaded>,
}

struct Loaded {
    plan: Plan,
    /// One per buffer of the plan.
    bufs: Vec<wgpu::Buffer>,
    /// The step: a header, then one row per token.
    step: wgpu::Buffer,
    step_bytes: Vec<u8>,
    decode: Vec<Dispatch>,
    prefill: Vec<Dispatch>,
    /// Where results are mapped for reading.
    staging: wgpu::Buffer,
}

/// Bytes of results that are mapped at once, until more are asked for.
const STAGING: u64 = 4 << 10;
/// Bytes of the buffer that stands for those never read.
const NOTHING: u64 = 16;
/// Bytes before the rows of the step buffer.
const STEP_HEADER: usize = size_of::<StepRow>();

impl Wgpu {
    /// Opens the adapter with this index in the list of devices, the first without one.
    pub fn open(index: Option<usize>, options: Options) -> Result<Wgpu, Error> {
        Ok(Wgpu { gpu: Gpu::open(index, options)?, loaded: None })
    }

    /// Bytes of the buffers made for the loaded plan.
    pub fn allocated(&self) -> u64 {
        self.gpu.made.load(Ordering::Relaxed)
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

    /// wgpu does not tell; adapters that are CPUs have the system's.
    fn memory(&self) -> Option<Memory> {
        self.gpu.software.then(system_memory)?
    }

    fn supports(&self, plan: &Plan, op: &Op, _: Phase) -> Result<(), Unsupported> {
        let limits = lower::Limits {
            max_weight: self.gpu.max_weight,
            max_buffers: self.gpu.device.limits().max_storage_buffers_per_shader_stage,
        };
        lower::supports(plan, op, limits)
    }

    fn reads_mapped_weights(&self) -> bool {
        false
    }

    fn footprint(&self, plan: &Plan) -> Footprint {
        let gpu = &self.gpu;
        let (plane, scales) = lower::kv_bytes(&plan.kv);
        let layers = plan.kv.layers as u64;
        let kv = plane.saturating_mul(2).saturating_add(scales).saturating_mul(layers);
        let bufs = plan.buf_ids().map(|b| buffer_bytes(buf_bytes(plan, b))).sum::<u64>();
        let buffers = bufs + step_bytes(plan) + NOTHING + STAGING;
        // Loading says what is wrong with a plan that the kernels cannot run.
        let tensors = super::check_supported(self, plan).and_then(|()| tensors::Tensors::new(plan, gpu));
        let Ok(tensors) = tensors else {
            return Footprint { weights: plan.weight_bytes(), kv, buffers };
        };
        let params = lists(plan).map(|ops| kernels::params_bytes(gpu, &calls(plan, &tensors, ops)));
        let weights = tensors.all.iter().map(|tensor| tensor.bytes(gpu)).sum();
        Footprint { weights, kv, buffers: buffers + params.iter().sum::<u64>() }
    }

    fn load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        super::check_supported(self, plan)?;
        self.gpu.made.store(0, Ordering::Relaxed);
        self.loaded = None; // frees what it holds before more is taken
        self.loaded = Some(Loaded::new(&self.gpu, plan, weights, progress)?);
        Ok(())
    }

    fn run(&mut self, step: &Step) -> Result<(), Error> {
        self.loaded()?.write_step(step)?;
        let Wgpu { gpu, loaded: Some(loaded) } = self else { return Ok(()) };
        gpu.queue.write_buffer(&loaded.step, 0, &loaded.step_bytes);
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            let (first, ops) = step.ops(&loaded.plan);
            let wanted = first..first + ops.len();
            let calls = match step.phase() {
                Phase::Decode => &loaded.decode,
                Phase::Prefill => &loaded.prefill,
            };
            for call in calls.iter().filter(|call| wanted.contains(&call.op)) {
                let rows = match call.rows {
                    Rows::Tokens => step.n_tokens(),
                    Rows::Outputs => step.n_outputs,
                };
                call.encode(&mut pass, rows);
            }
        }
        gpu.queue.submit([encoder.finish()]);
        gpu.check()
    }

    fn write(&mut self, b: Buf, v: &[f32]) -> Result<(), Error> {
        let loaded = self.loaded()?;
        let decl = loaded.plan[b].clone();
        let stride = lower::stride(&loaded.plan, b) as u64;
        let ids: Vec<u32>;
        let words: &[u32] = match decl.elem {
            Elem::F32 => bytemuck::cast_slice(v),
            Elem::U32 => {
                ids = v.iter().map(|id| *id as u32).collect();
                &ids
            }
        };
        let buffer = loaded.bufs[b.0 as usize].clone();
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
        let (cols, stride) = (decl.cols as usize, lower::stride(&loaded.plan, b) as usize);
        let bytes = 4 * (v.len().div_ceil(cols) * stride) as u64;
        if bytes == 0 {
            return Ok(());
        }
        if loaded.staging.size() < bytes {
            loaded.staging = gpu.buffer("results", bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?;
        }
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&loaded.bufs[b.0 as usize], 0, &loaded.staging, 0, bytes);
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

/// Bytes of a buffer of the plan, rows padded.
fn buf_bytes(plan: &Plan, b: Buf) -> u64 {
    4 * plan.max_rows(plan[b].rows) as u64 * lower::stride(plan, b) as u64
}

fn step_bytes(plan: &Plan) -> u64 {
    (STEP_HEADER + plan.max_tokens as usize * size_of::<StepRow>()) as u64
}

/// The operations of decode, and of prefill if a step can be so large.
fn lists(plan: &Plan) -> [&[Op]; 2] {
    [&plan.decode, if plan.max_tokens > crate::plan::DECODE_TOKENS { &plan.prefill } else { &[] }]
}

/// The kernel calls of a list.
fn calls(plan: &Plan, tensors: &tensors::Tensors, ops: &[Op]) -> Vec<lower::Call> {
    ops.iter().enumerate().flat_map(|(i, op)| lower::lower(plan, tensors, i, op)).collect()
}

impl Loaded {
    fn new(gpu: &Gpu, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<Loaded, Error> {
        let most_rows = gpu.device.limits().max_compute_workgroups_per_dimension;
        if plan.max_tokens > most_rows {
            return Err(gpu.error(format!("steps of {} tokens, at most {most_rows}", plan.max_tokens)));
        }
        let mut bufs = vec![];
        for b in plan.buf_ids() {
            bufs.push(gpu.bound_buffer(&format!("buffer {}", plan[b].name), buf_bytes(plan, b))?);
        }
        let kv = plan.kv;
        let cache = |what: &str, bytes: u64| -> Result<Vec<wgpu::Buffer>, Error> {
            let layers = if bytes == 0 { 0 } else { kv.layers };
            (0..layers).map(|layer| gpu.bound_buffer(&format!("{what} of layer {layer}"), bytes)).collect()
        };
        let (plane, scales) = lower::kv_bytes(&kv);
        let (keys, values) = (cache("keys", plane)?, cache("values", plane)?);
        let kv_scales = cache("scales of keys and values", scales)?;

        let tensors = tensors::Tensors::new(plan, gpu)?;
        let mut done = 0;
        let mut progress = |bytes: u64| {
            done += bytes;
            progress(done);
        };
        let mut chunks = vec![];
        for tensor in &tensors.all {
            chunks.push(tensor.upload(plan, weights, gpu, &mut progress)?);
        }

        let memory = kernels::Memory {
            bufs: &bufs,
            keys,
            values,
            kv_scales,
            step: gpu.bound_buffer("step", step_bytes(plan))?,
            chunks,
            nothing: gpu.bound_buffer("nothing", NOTHING)?,
        };
        let mut compiler = kernels::Compiler::new(gpu, plan.max_tokens);
        let [decode, prefill] = lists(plan).map(|ops| compiler.dispatches(&calls(plan, &tensors, ops), &memory));
        let (decode, prefill) = (decode?, prefill?);
        let step = memory.step.clone();
        let staging = gpu.buffer("results", STAGING, BufferUsages::MAP_READ | BufferUsages::COPY_DST)?;
        gpu.wait()?;
        Ok(Loaded {
            plan: plan.clone(),
            bufs,
            step,
            step_bytes: Vec::with_capacity(step_bytes(plan) as usize),
            decode,
            prefill,
            staging,
        })
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
