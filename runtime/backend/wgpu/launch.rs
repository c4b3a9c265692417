//! One kernel call: as the lowering describes it, and with its memory bound, ready to be encoded.

use super::super::Error;
use super::adapters::Gpu;
use super::kernels::{CompiledKernel, Compiler, KernelKey, Variant};
use super::memory::{Buffers, Resource, part};
use super::permutations::Kernel;
use super::shaders::{Bound, Constant, Var};
use super::weights::ChunkId;
use crate::plan::{Plan, Rows};
use crate::quant::GgmlType;
use std::sync::Arc;

/// One kernel call of a step.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Index of the operation in its list.
    pub op: usize,
    /// Which kernel.
    pub kernel: Kernel,
    /// The weights that the kernel decodes, and their type.
    pub planes: Option<(GgmlType, ChunkId)>,
    /// Constants of the shader.
    pub constants: Vec<(Constant, u32)>,
    /// The bytes of the shader's `Params`.
    pub params: Vec<u8>,
    /// What the shader's variables are bound to, besides the step and the parameters.
    pub vars: Vec<(Var, Resource)>,
    /// What the grid's rows are.
    pub rows: Rows,
    /// Grid rows for each of `rows`.
    pub per_row: u32,
    /// Columns that the grid covers.
    pub cols: u32,
}

impl Launch {
    fn key(&self) -> KernelKey {
        let ty = self.planes.map(|(ty, _)| ty);
        KernelKey { kernel: self.kernel, ty, constants: self.constants.clone(), per_row: self.per_row }
    }
}

/// A launch, ready to be encoded.
pub struct Dispatch {
    /// Index of the operation in its list.
    pub op: usize,
    /// What `rows` of [`Dispatch::encode`] counts.
    pub rows: Rows,
    name: Kernel,
    per_row: u32,
    cols: u32,
    kernel: Arc<CompiledKernel>,
    groups: Vec<wgpu::BindGroup>,
}

impl Dispatch {
    /// Encodes the call for `rows` rows.
    ///
    /// Errors: they are more than any permutation of the kernel is for, or than the device launches.
    pub fn encode(&self, gpu: &Gpu, pass: &mut wgpu::ComputePass, rows: u32) -> Result<(), Error> {
        if rows == 0 {
            return Ok(());
        }
        let (variant, [x, y]) = self.grid(gpu, rows)?;
        pass.set_pipeline(&variant.pipeline);
        for (i, group) in self.groups.iter().enumerate() {
            pass.set_bind_group(i as u32, group, &[]);
        }
        pass.dispatch_workgroups(x, y, 1);
        Ok(())
    }

    /// The permutation for `rows` rows, and its workgroups.
    ///
    /// Errors: those of [`Dispatch::encode`].
    fn grid(&self, gpu: &Gpu, rows: u32) -> Result<(&Variant, [u32; 2]), Error> {
        let rows = rows.saturating_mul(self.per_row);
        let most = gpu.device.limits().max_compute_workgroups_per_dimension;
        let too_many = || gpu.error(format!("kernel {}: {rows} rows of {} columns are too many", self.name, self.cols));
        let variant = self.kernel.variants.iter().find(|variant| rows <= variant.up_to).ok_or_else(too_many)?;
        let groups = [self.cols.div_ceil(variant.cols), rows.div_ceil(variant.rows)];
        if groups.iter().any(|n| *n > most) { Err(too_many()) } else { Ok((variant, groups)) }
    }

    /// Errors: a step of the plan, of at most `tokens` tokens, could have more rows than [`Dispatch::encode`] takes.
    pub fn check(&self, gpu: &Gpu, plan: &Plan, tokens: u32) -> Result<(), Error> {
        let most = plan.max_rows(self.rows).min(tokens);
        let largest = self.kernel.variants.iter().map(|variant| variant.up_to / self.per_row).chain([most]);
        // Each permutation at its largest grid.
        largest.filter(|rows| (1..=most).contains(rows)).try_for_each(|rows| self.grid(gpu, rows).map(drop))
    }
}

fn params_align(gpu: &Gpu) -> usize {
    gpu.device.limits().min_uniform_buffer_offset_alignment as usize
}

/// Bytes of the launches' parameters in device memory.
pub fn params_bytes(gpu: &Gpu, launches: &[Launch]) -> u64 {
    launches.iter().map(|launch| launch.params.len().next_multiple_of(params_align(gpu)) as u64).sum()
}

/// Compiles what the launches need and binds their memory.
///
/// Errors: a shader that the device does not compile, or a variable without memory; the message names the kernel.
pub fn dispatches(
    gpu: &Gpu,
    compiler: &mut Compiler,
    launches: &[Launch],
    buffers: &Buffers,
) -> Result<Vec<Dispatch>, Error> {
    if launches.is_empty() {
        return Ok(vec![]);
    }
    // All parameters share a buffer.
    let align = params_align(gpu);
    let mut bytes = vec![];
    let mut params = vec![];
    for launch in launches {
        params.push((bytes.len() as u64, (launch.params.len() as u64).next_multiple_of(16))); // GL counts in vectors of 4
        bytes.extend_from_slice(&launch.params);
        bytes.resize(bytes.len().next_multiple_of(align), 0);
    }
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let buffer = gpu.buffer("parameters", bytes.len() as u64, usage)?;
    gpu.queue.write_buffer(&buffer, 0, &bytes);

    let mut dispatches = vec![];
    for (launch, (offset, size)) in launches.iter().zip(params) {
        let kernel = compiler.kernel(launch.key())?;
        let groups = bind(gpu, launch, &kernel, part(&buffer, offset, size), buffers)?;
        let Launch { op, rows, per_row, cols, .. } = *launch;
        dispatches.push(Dispatch { op, rows, name: launch.kernel, per_row, cols, kernel, groups });
    }
    Ok(dispatches)
}

/// One bind group per group of the kernel's variables.
fn bind(
    gpu: &Gpu,
    launch: &Launch,
    kernel: &CompiledKernel,
    params: wgpu::BindingResource,
    buffers: &Buffers,
) -> Result<Vec<wgpu::BindGroup>, Error> {
    let failed = |what: String| gpu.error(format!("kernel {}: {what}", launch.kernel));
    let has = |var: Var| kernel.bindings.iter().any(|binding| binding.bound == Bound::Var(var));
    if let Some((var, _)) = launch.vars.iter().find(|(var, _)| !has(*var)) {
        return Err(failed(format!("its shader has no variable {}", var.name())));
    }
    let resource = |bound: Bound| match bound {
        Bound::Var(Var::Step) => Ok(buffers.step.as_entire_binding()),
        Bound::Var(Var::Params) => Ok(params.clone()),
        Bound::Var(var) => {
            let given = launch.vars.iter().find(|(other, _)| *other == var);
            let (_, resource) = given.ok_or_else(|| failed(format!("nothing to bind to {}", var.name())))?;
            Ok(buffers.resource(*resource))
        }
        Bound::Plane(plane) => {
            let (_, chunk) = launch.planes.ok_or_else(|| failed("no weights to bind".to_string()))?;
            Ok(buffers.plane(chunk, plane))
        }
    };
    let mut groups = vec![];
    for (group, layout) in kernel.layouts.iter().enumerate() {
        let mut entries = vec![];
        for binding in kernel.bindings.iter().filter(|binding| binding.group as usize == group) {
            entries.push(wgpu::BindGroupEntry { binding: binding.binding, resource: resource(binding.bound)? });
        }
        let descriptor = wgpu::BindGroupDescriptor { label: Some(launch.kernel.stem()), layout, entries: &entries };
        let what = || format!("binding the memory of operation {} ({})", launch.op, launch.kernel);
        groups.push(gpu.scoped(what, || gpu.device.create_bind_group(&descriptor))?);
    }
    Ok(groups)
}
