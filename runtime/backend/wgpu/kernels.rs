//! Compiling kernels and binding their memory, once, at load.

use super::super::Error;
use super::adapters::Gpu;
use super::lower::{Call, Resource};
use super::permutations::permutations_of;
use super::shaders::{self, Access, Binding};
use super::tensors::Chunk;
use crate::plan::Rows;
use crate::quant::GgmlType;
use std::collections::HashMap;
use std::sync::Arc;

/// Everything that kernels can be bound to.
pub struct Memory<'a> {
    pub bufs: &'a [wgpu::Buffer],
    pub keys: Vec<wgpu::Buffer>,
    pub values: Vec<wgpu::Buffer>,
    /// Empty where the cache has no scales.
    pub kv_scales: Vec<wgpu::Buffer>,
    pub step: wgpu::Buffer,
    /// By tensor.
    pub chunks: Vec<Vec<Chunk>>,
    pub nothing: wgpu::Buffer,
}

/// A compiled permutation.
struct Kernel {
    up_to: u32,
    pipeline: wgpu::ComputePipeline,
    /// Columns and rows per workgroup.
    cols: u32,
    tokens: u32,
}

/// The permutations of one kernel, by the rows that they are for, and what all of them bind.
pub struct Kernels {
    permutations: Vec<Kernel>,
    bindings: Vec<Binding>,
    layouts: Vec<wgpu::BindGroupLayout>,
}

/// A kernel call, ready to be encoded.
pub struct Dispatch {
    /// Index of the operation in its list.
    pub op: usize,
    /// What `rows` of [`Dispatch::encode`] counts.
    pub rows: Rows,
    per_row: u32,
    cols: u32,
    kernels: Arc<Kernels>,
    groups: Vec<wgpu::BindGroup>,
}

impl Dispatch {
    /// Encodes the call for `rows` rows.
    pub fn encode(&self, pass: &mut wgpu::ComputePass, rows: u32) {
        let rows = rows * self.per_row;
        let fits = |k: &&Kernel| rows <= k.up_to;
        let Some(kernel) = self.kernels.permutations.iter().find(fits) else { return };
        if rows == 0 {
            return;
        }
        pass.set_pipeline(&kernel.pipeline);
        for (i, group) in self.groups.iter().enumerate() {
            pass.set_bind_group(i as u32, group, &[]);
        }
        pass.dispatch_workgroups(self.cols.div_ceil(kernel.cols), rows.div_ceil(kernel.tokens), 1);
    }
}

fn params_align(gpu: &Gpu) -> usize {
    gpu.device.limits().min_uniform_buffer_offset_alignment as usize
}

/// Bytes of the calls' parameters in device memory.
pub fn params_bytes(gpu: &Gpu, calls: &[Call]) -> u64 {
    calls.iter().map(|call| call.params.len().next_multiple_of(params_align(gpu)) as u64).sum()
}

type Key = (&'static str, Option<GgmlType>, Vec<(&'static str, u32)>, u32);

/// Compiles each permutation once.
pub struct Compiler<'a> {
    gpu: &'a Gpu,
    /// The most rows of a step: permutations that only larger steps need are left out.
    max_rows: u32,
    done: HashMap<Key, Arc<Kernels>>,
}

impl<'a> Compiler<'a> {
    pub fn new(gpu: &'a Gpu, max_rows: u32) -> Compiler<'a> {
        Compiler { gpu, max_rows, done: HashMap::new() }
    }

    /// Compiles what the calls need and binds their memory.
    pub fn dispatches(&mut self, calls: &[Call], memory: &Memory) -> Result<Vec<Dispatch>, Error> {
        if calls.is_empty() {
            return Ok(vec![]);
        }
        // All parameters share a buffer.
        let align = params_align(self.gpu);
        let mut bytes = vec![];
        let mut params = vec![];
        for call in calls {
            params.push((bytes.len() as u64, (call.params.len() as u64).next_multiple_of(16))); // GL counts in vectors of 4
            bytes.extend_from_slice(&call.params);
            bytes.resize(bytes.len().next_multiple_of(align), 0);
        }
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let buffer = self.gpu.buffer("parameters", bytes.len() as u64, usage)?;
        self.gpu.queue.write_buffer(&buffer, 0, &bytes);

        let mut dispatches = vec![];
        for (call, (offset, size)) in calls.iter().zip(params) {
            let kernels = self.kernels(call)?;
            let params = binding(&buffer, offset, size);
            let groups = self.bind(call, &kernels, params, memory)?;
            dispatches.push(Dispatch {
                op: call.op,
                rows: call.rows,
                per_row: call.per_row,
                cols: call.cols,
                kernels,
                groups,
            });
        }
        Ok(dispatches)
    }

    fn kernels(&mut self, call: &Call) -> Result<Arc<Kernels>, Error> {
        let key = (call.kernel, call.ty, call.constants.clone(), call.per_row);
        if let Some(kernels) = self.done.get(&key) {
            return Ok(kernels.clone());
        }
        let kernels = Arc::new(self.compile(call)?);
        self.done.insert(key, kernels.clone());
        Ok(kernels)
    }

    fn compile(&self, call: &Call) -> Result<Kernels, Error> {
        let gpu = self.gpu;
        let label = match call.ty {
            Some(ty) => format!("{} {}", call.kernel, ty.name()),
            None => call.kernel.to_string(),
        };
        let failed = |what: String| gpu.error(format!("kernel {label}: {what}"));
        let mut made: Option<Kernels> = None;
        let mut below = 0;
        for row in permutations_of(call.kernel, gpu.subgroup) {
            if below >= self.max_rows * call.per_row {
                break;
            }
            below = row.up_to.unwrap_or(u32::MAX);
            let ty = call.ty.filter(|_| row.is_typed());
            let composed = row.compose(ty, &call.constants).map_err(failed)?;
            if made.is_none() {
                let bindings = shaders::bindings(&composed.source).map_err(failed)?;
                let layouts = layouts(gpu, &label, &bindings)?;
                made = Some(Kernels { permutations: vec![], bindings, layouts });
            }
            let Some(kernels) = &mut made else { continue };
            let pipeline =
                gpu.scoped(|| format!("kernel {label}"), || pipeline(gpu, &label, &composed.source, &kernels.layouts))?;
            let (cols, tokens) = (composed.cols, composed.tokens);
            kernels.permutations.push(Kernel { up_to: below, pipeline, cols, tokens });
        }
        made.ok_or_else(|| failed("has no permutation".to_string()))
    }

    fn bind(
        &self,
        call: &Call,
        kernels: &Kernels,
        params: wgpu::BindingResource,
        memory: &Memory,
    ) -> Result<Vec<wgpu::BindGroup>, Error> {
        let mut groups = vec![];
        for (group, layout) in kernels.layouts.iter().enumerate() {
            let mut entries = vec![];
            for b in kernels.bindings.iter().filter(|b| b.group as usize == group) {
                let resource = match b.name.as_str() {
                    "now" => memory.step.as_entire_binding(),
                    "p" => params.clone(),
                    name => {
                        let bound = call.bound.iter().find(|(n, _)| *n == name);
                        let missing = || self.gpu.error(format!("kernel {}: nothing to bind to {name}", call.kernel));
                        memory.resource(bound.ok_or_else(missing)?.1)
                    }
                };
                entries.push(wgpu::BindGroupEntry { binding: b.binding, resource });
            }
            let descriptor = wgpu::BindGroupDescriptor { label: Some(call.kernel), layout, entries: &entries };
            let what = || format!("binding the memory of operation {} ({})", call.op, call.kernel);
            groups.push(self.gpu.scoped(what, || self.gpu.device.create_bind_group(&descriptor))?);
        }
        Ok(groups)
    }
}

impl Memory<'_> {
    fn resource(&self, resource: Resource) -> wgpu::BindingResource<'_> {
        match resource {
            Resource::Buf(b) => self.bufs[b.0 as usize].as_entire_binding(),
            Resource::Keys(layer) => self.keys[layer as usize].as_entire_binding(),
            Resource::Values(layer) => self.values[layer as usize].as_entire_binding(),
            Resource::KvScales(layer) => {
                self.kv_scales.get(layer as usize).unwrap_or(&self.nothing).as_entire_binding()
            }
            Resource::Nothing => self.nothing.as_entire_binding(),
            Resource::Plane { tensor, chunk, plane } => {
                let chunk = &self.chunks[tensor][chunk];
                let bytes = &chunk.planes[plane];
                binding(&chunk.buffer, bytes.start, bytes.end - bytes.start)
            }
        }
    }
}

fn binding(buffer: &wgpu::Buffer, offset: u64, size: u64) -> wgpu::BindingResource<'_> {
    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: std::num::NonZero::new(size) })
}

/// One layout per group of the shader's bindings.
fn layouts(gpu: &Gpu, label: &str, bindings: &[Binding]) -> Result<Vec<wgpu::BindGroupLayout>, Error> {
    let n_groups = bindings.iter().map(|b| b.group + 1).max().unwrap_or(0);
    let of = |group: u32| {
        let mine = bindings.iter().filter(|b| b.group == group);
        let entries: Vec<_> = mine.map(layout_entry).collect();
        let descriptor = wgpu::BindGroupLayoutDescriptor { label: Some(label), entries: &entries };
        gpu.scoped(|| format!("bindings of kernel {label}"), || gpu.device.create_bind_group_layout(&descriptor))
    };
    (0..n_groups).map(of).collect()
}

fn layout_entry(b: &Binding) -> wgpu::BindGroupLayoutEntry {
    use wgpu::BufferBindingType::{Storage, Uniform};
    let ty = match b.access {
        Access::Uniform => Uniform,
        Access::Read => Storage { read_only: true },
        Access::ReadWrite => Storage { read_only: false },
    };
    wgpu::BindGroupLayoutEntry {
        binding: b.binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    }
}

fn pipeline(gpu: &Gpu, label: &str, source: &str, layouts: &[wgpu::BindGroupLayout]) -> wgpu::ComputePipeline {
    let descriptor =
        wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(source.into()) };
    let module = if gpu.checked {
        gpu.device.create_shader_module(descriptor)
    } else {
        // SAFETY: the shaders are this crate's own. `Step::check` bounds every index that a step brings, the plan's checks
        // every size; the conformance cases run with bounds checks too.
        unsafe { gpu.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
    };
    let layouts: Vec<_> = layouts.iter().map(Some).collect();
    let layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(label),
        bind_group_layouts: &layouts,
        immediate_size: 0,
    });
    gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(label),
        layout: Some(&layout),
        module: &module,
        entry_point: None,
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: gpu.checked,
            ..Default::default()
        },
        cache: None,
    })
}
