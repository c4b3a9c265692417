//! Compiling kernels, once, at load.

use super::super::Error;
use super::adapters::Gpu;
use super::permutations::{Kernel, permutations_of};
use super::shaders::{self, Access, Binding, Constant};
use crate::quant::GgmlType;
use std::collections::HashMap;
use std::sync::Arc;

/// A compiled permutation.
pub struct Variant {
    /// The largest number of grid rows that it is for.
    pub up_to: u32,
    /// What the device runs.
    pub pipeline: wgpu::ComputePipeline,
    /// Columns per workgroup.
    pub cols: u32,
    /// Rows per workgroup.
    pub rows: u32,
}

/// The permutations of one kernel, by the rows that they are for, and what all of them bind.
pub struct CompiledKernel {
    /// In the order of `up_to`.
    pub variants: Vec<Variant>,
    /// The variables of its shaders.
    pub bindings: Vec<Binding>,
    /// One per group of `bindings`.
    pub layouts: Vec<wgpu::BindGroupLayout>,
}

/// What decides how a kernel is compiled.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KernelKey {
    /// Which kernel.
    pub kernel: Kernel,
    /// The type of the weights that it decodes.
    pub ty: Option<GgmlType>,
    /// Constants of its shader.
    pub constants: Vec<(Constant, u32)>,
    /// Grid rows for each row of a step.
    pub per_row: u32,
}

/// Compiles each kernel once.
pub struct Compiler<'a> {
    gpu: &'a Gpu,
    /// The largest number of rows of a step: permutations that only larger steps need are left out.
    max_rows: u32,
    done: HashMap<KernelKey, Arc<CompiledKernel>>,
}

impl<'a> Compiler<'a> {
    /// `max_rows`: the largest number of rows of a step.
    pub fn new(gpu: &'a Gpu, max_rows: u32) -> Compiler<'a> {
        Compiler { gpu, max_rows, done: HashMap::new() }
    }

    /// The compiled kernel.
    ///
    /// Errors: the device does not compile a shader; the message names the kernel and the type.
    pub fn kernel(&mut self, key: KernelKey) -> Result<Arc<CompiledKernel>, Error> {
        if let Some(kernel) = self.done.get(&key) {
            return Ok(kernel.clone());
        }
        let kernel = Arc::new(self.compile(&key)?);
        self.done.insert(key, kernel.clone());
        Ok(kernel)
    }

    fn compile(&self, key: &KernelKey) -> Result<CompiledKernel, Error> {
        let gpu = self.gpu;
        let label = match key.ty {
            Some(ty) => format!("{} {}", key.kernel, ty.name()),
            None => key.kernel.to_string(),
        };
        let failed = |what: String| gpu.error(format!("kernel {label}: {what}"));
        let mut compiled: Option<CompiledKernel> = None;
        let mut below = 0;
        for row in permutations_of(key.kernel, gpu.subgroup) {
            if below >= self.max_rows * key.per_row {
                break;
            }
            below = row.up_to.unwrap_or(u32::MAX);
            let composed = row.compose(key.ty, &key.constants).map_err(failed)?;
            if compiled.is_none() {
                let bindings = shaders::bindings(&composed.source).map_err(failed)?;
                let layouts = layouts(gpu, &label, &bindings)?;
                compiled = Some(CompiledKernel { variants: vec![], bindings, layouts });
            }
            let Some(kernel) = &mut compiled else { continue };
            let pipeline =
                gpu.scoped(|| format!("kernel {label}"), || pipeline(gpu, &label, &composed.source, &kernel.layouts))?;
            kernel.variants.push(Variant { up_to: below, pipeline, cols: composed.cols, rows: composed.rows });
        }
        compiled.ok_or_else(|| failed("has no permutation".to_string()))
    }
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
