//! Weights in device memory: which lie together, how rows are split over bindings, and bringing them there.

use super::super::Error;
use super::adapters::{Gpu, buffer_bytes};
use super::shaders;
use crate::plan::{Fused, Op, Plan, Weight, Weights};
use crate::quant::GgmlType;
use crate::quant::{self, pack};
use std::collections::HashMap;
use std::ops::Range;

/// Bytes of a weight that are repacked at a time.
const SLICE: u64 = 8 << 20;
/// Bytes that may wait in staging memory.
const IN_FLIGHT: u64 = 64 << 20;
/// Slices begin at multiples of this many rows, so that planes of one byte per block begin at whole words.
pub const ROW_STEP: u64 = 4;

/// One or more weights of the same type and width, their rows one after another.
#[derive(Clone, PartialEq, Debug)]
pub struct Tensor {
    pub layout: &'static pack::Layout,
    pub cols: u64,
    pub parts: Vec<Weight>,
    /// Rows that share a buffer.
    pub chunks: Vec<Range<u64>>,
}

/// Where a weight lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub tensor: usize,
    pub first_row: u64,
}

/// How a kernel reads a weight.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Use {
    /// In blocks of its type.
    Blocks,
    /// As floats, whatever its type: vectors and rotation tables.
    Floats,
}

/// All tensors of a plan.
#[derive(Default)]
pub struct Tensors {
    pub all: Vec<Tensor>,
    places: HashMap<(Weight, Use), Place>,
}

/// Rows of `cols` elements that one binding of `max` bytes holds: a multiple of [`ROW_STEP`].
pub fn rows_per_binding(layout: &pack::Layout, cols: u64, max: u64) -> u64 {
    let widest = (0..layout.planes.len()).map(|p| layout.plane_bytes(p, 1, cols)).max().unwrap_or(1);
    max / widest / ROW_STEP * ROW_STEP
}

impl Tensors {
    /// Decides where the weights of a plan that `supports` accepted lie.
    pub fn new(plan: &Plan, gpu: &Gpu) -> Result<Tensors, Error> {
        let mut tensors = Tensors::default();
        let ops = || plan.decode.iter().chain(&plan.prefill);
        for op in ops() {
            if let Some(stack) = stack(op) {
                tensors.add(plan, stack, Use::Blocks, gpu)?;
            }
        }
        for op in ops().flat_map(Op::parts) {
            let how = match op {
                Op::RmsNorm(_) | Op::Rope(_) | Op::AddBias(_) => Use::Floats,
                _ => Use::Blocks,
            };
            for w in op.weights() {
                tensors.add(plan, vec![w], how, gpu)?;
            }
        }
        Ok(tensors)
    }

    pub fn place(&self, w: Weight, how: Use) -> Place {
        self.places[&(w, how)]
    }

    fn add(&mut self, plan: &Plan, parts: Vec<Weight>, how: Use, gpu: &Gpu) -> Result<(), Error> {
        let placed = parts.iter().filter(|w| self.places.contains_key(&(**w, how))).count();
        let names = || parts.iter().map(|w| plan[*w].name.as_str()).collect::<Vec<_>>().join(", ");
        let together = self.all.iter().any(|t| t.parts == parts);
        if placed == parts.len() && (parts.len() == 1 || together) {
            return Ok(());
        }
        if placed > 0 {
            return Err(gpu.error(format!("tensors {}: fused with each other and with different ones", names())));
        }
        let decl = &plan[parts[0]];
        let ty = if how == Use::Floats { GgmlType::F32 } else { decl.ty };
        let layout = pack::layout(ty).ok_or_else(|| gpu.error(no_type(decl)))?;
        let per_binding = rows_per_binding(layout, decl.cols, gpu.max_weight);
        if per_binding == 0 {
            let needs = ROW_STEP * decl.row_bytes();
            let what = format!("{ROW_STEP} rows of tensor {}", names());
            return Err(Error::Memory { device: gpu.name.clone(), what, needs, has: gpu.max_weight });
        }
        let mut rows = 0;
        for &w in &parts {
            self.places.insert((w, how), Place { tensor: self.all.len(), first_row: rows });
            rows += plan[w].rows;
        }
        let starts = (0..rows).step_by(per_binding as usize);
        let chunks = starts.map(|first| first..(first + per_binding).min(rows)).collect();
        self.all.push(Tensor { layout, cols: decl.cols, parts, chunks });
        Ok(())
    }
}

/// Weights that a fused operation wants one after another.
pub fn stack(op: &Op) -> Option<Vec<Weight>> {
    match op {
        Op::Fused(Fused::NormQkvRopeStore(op)) => Some(vec![op.q.w, op.k.w, op.v.w]),
        Op::Fused(Fused::NormGateUpSwiGlu(op)) => Some(vec![op.gate.w, op.up.w]),
        _ => None,
    }
}

pub fn no_type(decl: &crate::plan::WeightDecl) -> String {
    format!("cannot read tensor {} of type {}", decl.name, decl.ty.name())
}

/// Whether kernels can read `decl` as `how` says.
pub fn readable(decl: &crate::plan::WeightDecl, how: Use) -> bool {
    match how {
        Use::Blocks => shaders::has_type(decl.ty) && pack::layout(decl.ty).is_some(),
        Use::Floats => quant::format(decl.ty).is_some(),
    }
}

/// What the decoder of a type binds: its planes, then its codebook, if it has one.
pub fn bindings(layout: &pack::Layout) -> impl Iterator<Item = &'static str> {
    layout.planes.iter().map(|p| p.kind.binding()).chain(layout.grid.map(|_| "grid"))
}

/// One chunk in device memory.
pub struct Chunk {
    pub buffer: wgpu::Buffer,
    /// Where in the buffer each of [`bindings`] lies.
    pub planes: Vec<Range<u64>>,
}

impl Tensor {
    /// The codebook of its type, if it has one.
    fn grid(&self) -> Option<&'static [u8]> {
        self.layout.grid.map(|grid| bytemuck::cast_slice::<u32, u8>(grid.words))
    }

    /// Where the planes of some rows, and the codebook, lie in their buffer, and its bytes.
    fn planes(&self, rows: &Range<u64>, align: u64) -> (Vec<Range<u64>>, u64) {
        let mut planes = vec![];
        let mut size = 0u64;
        let of_plane = |p| self.layout.plane_bytes(p, rows.end - rows.start, self.cols).next_multiple_of(16);
        let grid = self.grid().map(|bytes| bytes.len() as u64);
        for bytes in (0..self.layout.planes.len()).map(of_plane).chain(grid) {
            planes.push(size..size + bytes);
            size = (size + bytes).next_multiple_of(align);
        }
        (planes, size)
    }

    /// Bytes of device memory that it takes.
    pub fn bytes(&self, gpu: &Gpu) -> u64 {
        let align = gpu.device.limits().min_storage_buffer_offset_alignment as u64;
        self.chunks.iter().map(|rows| buffer_bytes(self.planes(rows, align).1)).sum()
    }

    /// Repacks and uploads the rows of every chunk. `progress` is told bytes of the file.
    pub fn upload(
        &self,
        plan: &Plan,
        weights: &Weights,
        gpu: &Gpu,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<Chunk>, Error> {
        let name = &plan[self.parts[0]].name;
        let align = gpu.device.limits().min_storage_buffer_offset_alignment as u64;
        let mut chunks = vec![];
        for rows in &self.chunks {
            let (planes, size) = self.planes(rows, align);
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
            let buffer = gpu.buffer(&format!("tensor {name}"), size, usage)?;
            if let (Some(bytes), Some(at)) = (self.grid(), planes.last()) {
                gpu.queue.write_buffer(&buffer, at.start, bytes);
            }
            chunks.push(Chunk { buffer, planes });
        }
        let mut first_row = 0;
        let mut waiting = 0;
        for &part in &self.parts {
            let decl = &plan[part];
            for (rows, chunk) in self.chunks.iter().zip(&chunks) {
                let here = rows.start.max(first_row)..rows.end.min(first_row + decl.rows);
                let step = (SLICE / decl.row_bytes()).next_multiple_of(ROW_STEP).max(ROW_STEP);
                for first in here.clone().step_by(step as usize) {
                    let slice = first..(first + step).min(here.end);
                    let in_file =
                        (slice.start - first_row) * decl.row_bytes()..(slice.end - first_row) * decl.row_bytes();
                    let bytes = &weights[part][in_file.start as usize..in_file.end as usize];
                    self.write(decl.ty, bytes, slice.start - rows.start, chunk, gpu);
                    progress(bytes.len() as u64);
                    waiting += bytes.len() as u64;
                    if waiting > IN_FLIGHT {
                        waiting = 0;
                        gpu.queue.submit([]);
                        gpu.wait()?;
                    }
                }
            }
            first_row += decl.rows;
        }
        gpu.queue.submit([]);
        gpu.check()?;
        Ok(chunks)
    }

    /// Writes some rows of the file's `bytes` to the chunk's planes, from `first_row` of the chunk on.
    fn write(&self, ty: GgmlType, bytes: &[u8], first_row: u64, chunk: &Chunk, gpu: &Gpu) {
        let mut floats = vec![];
        let bytes = if ty == self.layout.ty {
            bytes
        } else {
            floats.resize(bytes.len() / ty.block_bytes() as usize * ty.block_size() as usize, 0.0f32);
            quant::decode(ty, bytes, &mut floats);
            bytemuck::cast_slice(&floats)
        };
        let mut packed = vec![];
        for (p, plane) in chunk.planes.iter().take(self.layout.planes.len()).enumerate() {
            packed.clear();
            self.layout.pack(p, bytes, self.cols, &mut packed);
            packed.resize(packed.len().next_multiple_of(4), 0);
            let at = plane.start + self.layout.plane_bytes(p, first_row, self.cols);
            gpu.queue.write_buffer(&chunk.buffer, at, &packed);
        }
    }
}
