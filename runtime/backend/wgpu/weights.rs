//! Weights in device memory: which lie together, how rows are split over bindings, and bringing them there.

use super::super::{Error, Unsupported};
use super::adapters::{BindingLimits, Gpu, buffer_bytes};
use crate::plan::{Plan, Weight, WeightDecl, Weights};
use crate::quant::{self, GgmlType, pack};
use std::collections::HashMap;
use std::ops::Range;

/// Bytes of a weight that are repacked at a time.
const SLICE: u64 = 8 << 20;
/// Bytes that may wait in staging memory.
const IN_FLIGHT: u64 = 64 << 20;
/// Slices begin at multiples of this number of rows, so that planes of one byte per block begin at whole words.
pub const ROW_STEP: u64 = 4;

/// How a kernel reads a weight.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WeightForm {
    /// In blocks of its type.
    Blocks,
    /// As floats, whatever its type: vectors and rotation tables.
    Floats,
}

/// Weights that an operation reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WeightRead {
    /// Several weights lie one after another.
    pub weights: Vec<Weight>,
    /// How it reads them.
    pub form: WeightForm,
}

impl WeightRead {
    /// One or more weights in blocks, their rows one after another.
    pub fn blocks(weights: &[Weight]) -> WeightRead {
        WeightRead { weights: weights.to_vec(), form: WeightForm::Blocks }
    }

    /// A weight as floats.
    pub fn floats(w: Weight) -> WeightRead {
        WeightRead { weights: vec![w], form: WeightForm::Floats }
    }

    /// Whether a kernel that binds `buffers` storage buffers besides these weights can read each of them. The refusal names the weight.
    pub fn check(&self, plan: &Plan, buffers: u32, limits: BindingLimits) -> Result<(), Unsupported> {
        for w in &self.weights {
            let decl = &plan[*w];
            let needs = match self.form {
                WeightForm::Floats => quant::format(decl.ty).map(|_| buffers),
                WeightForm::Blocks => pack::layout(decl.ty).map(|layout| buffers + n_bindings(layout)),
            };
            match needs {
                None => return Err(Unsupported(no_type(decl))),
                Some(needs) if needs > limits.max_buffers => {
                    let (what, has) = (no_type(decl), limits.max_buffers);
                    return Err(Unsupported(format!("{what}: that takes {needs} buffers, at most {has}")));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// What a refusal says of a tensor whose type has no kernel.
pub fn no_type(decl: &WeightDecl) -> String {
    format!("cannot read tensor {} of type {}", decl.name, decl.ty.name())
}

/// Storage buffers that the decoder of a type binds: its planes, and its codebook if it has one.
pub fn n_bindings(layout: &pack::Layout) -> u32 {
    layout.planes.len() as u32 + u32::from(layout.grid.is_some())
}

/// Rows of `cols` elements that one binding of `max` bytes holds: a multiple of [`ROW_STEP`].
pub fn rows_per_binding(layout: &pack::Layout, cols: u64, max: u64) -> u64 {
    let widest = (0..layout.planes.len()).map(|p| layout.plane_bytes(p, 1, cols)).max().unwrap_or(1);
    max / widest / ROW_STEP * ROW_STEP
}

/// One or more weights of the same type and width, their rows one after another.
#[derive(Clone, PartialEq, Debug)]
pub struct Stack {
    /// How they lie.
    pub layout: &'static pack::Layout,
    /// Elements of a row.
    pub cols: u64,
    weights: Vec<Weight>,
    /// Rows that share a buffer.
    chunks: Vec<Range<u64>>,
}

/// Where a weight lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Location {
    /// Index in [`WeightStacks::all`].
    pub stack: usize,
    /// Row of the stack that is the weight's first.
    pub first_row: u64,
}

/// Rows of weights that share a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkId {
    /// Index of the stack.
    pub stack: usize,
    /// Index among the chunks of the stack.
    pub chunk: usize,
}

/// All weights of a plan, in stacks.
#[derive(Default)]
pub struct WeightStacks {
    /// Every stack.
    pub all: Vec<Stack>,
    locations: HashMap<(Weight, WeightForm), Location>,
}

impl WeightStacks {
    /// Decides where the weights lie that the operations of a plan read.
    ///
    /// Errors: a type without a layout, rows that are wider than a binding, or weights that two operations want beside different ones.
    pub fn new(plan: &Plan, reads: &[WeightRead], gpu: &Gpu) -> Result<WeightStacks, Error> {
        let mut stacks = WeightStacks::default();
        // First those of several weights: operations that read one of these alone find it there.
        let (several, single): (Vec<_>, Vec<_>) = reads.iter().partition(|read| read.weights.len() > 1);
        for read in several.into_iter().chain(single) {
            stacks.add(plan, read, gpu)?;
        }
        Ok(stacks)
    }

    /// Where `w` lies, a weight of a read that [`WeightStacks::new`] got.
    pub fn location(&self, w: Weight, form: WeightForm) -> Location {
        self.locations[&(w, form)]
    }

    /// The chunks of a stack and their rows.
    pub fn chunks(&self, stack: usize) -> impl Iterator<Item = (ChunkId, &Range<u64>)> {
        self.all[stack].chunks.iter().enumerate().map(move |(chunk, rows)| (ChunkId { stack, chunk }, rows))
    }

    fn add(&mut self, plan: &Plan, read: &WeightRead, gpu: &Gpu) -> Result<(), Error> {
        let WeightRead { weights, form } = read;
        let placed = weights.iter().filter(|w| self.locations.contains_key(&(**w, *form))).count();
        let names = || weights.iter().map(|w| plan[*w].name.as_str()).collect::<Vec<_>>().join(", ");
        let together = self.all.iter().any(|stack| stack.weights == *weights);
        if placed == weights.len() && (weights.len() == 1 || together) {
            return Ok(());
        }
        if placed > 0 {
            return Err(gpu.error(format!("tensors {}: fused with each other and with different ones", names())));
        }
        let decl = &plan[weights[0]];
        let ty = if *form == WeightForm::Floats { GgmlType::F32 } else { decl.ty };
        let layout = pack::layout(ty).ok_or_else(|| gpu.error(no_type(decl)))?;
        let per_binding = rows_per_binding(layout, decl.cols, gpu.limits.max_weight);
        if per_binding == 0 {
            let needs = ROW_STEP * decl.row_bytes();
            let what = format!("{ROW_STEP} rows of tensor {}", names());
            return Err(Error::Memory { device: gpu.name.clone(), what, needs, has: gpu.limits.max_weight });
        }
        let mut rows = 0;
        for &w in weights {
            self.locations.insert((w, *form), Location { stack: self.all.len(), first_row: rows });
            rows += plan[w].rows;
        }
        let starts = (0..rows).step_by(per_binding as usize);
        let chunks = starts.map(|first| first..(first + per_binding).min(rows)).collect();
        self.all.push(Stack { layout, cols: decl.cols, weights: weights.clone(), chunks });
        Ok(())
    }

    /// Bytes of device memory that they take.
    pub fn bytes(&self, gpu: &Gpu) -> u64 {
        self.all.iter().map(|stack| stack.bytes(gpu)).sum()
    }

    /// Repacks and uploads the rows of every chunk, by stack. `progress` gets the bytes of the file that are done.
    pub fn upload(
        &self,
        plan: &Plan,
        weights: &Weights,
        gpu: &Gpu,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<Vec<Chunk>>, Error> {
        let mut done = 0;
        let mut add = |bytes: u64| {
            done += bytes;
            progress(done);
        };
        self.all.iter().map(|stack| stack.upload(plan, weights, gpu, &mut add)).collect()
    }
}

/// One chunk in device memory.
pub struct Chunk {
    /// All planes, and the codebook.
    pub buffer: wgpu::Buffer,
    /// Where in the buffer each plane lies, and the codebook behind them.
    pub planes: Vec<Range<u64>>,
}

impl Stack {
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
    fn bytes(&self, gpu: &Gpu) -> u64 {
        let align = gpu.device.limits().min_storage_buffer_offset_alignment as u64;
        self.chunks.iter().map(|rows| buffer_bytes(self.planes(rows, align).1)).sum()
    }

    /// Repacks and uploads the rows of every chunk. `progress` gets the bytes of each slice of the file.
    fn upload(
        &self,
        plan: &Plan,
        weights: &Weights,
        gpu: &Gpu,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<Chunk>, Error> {
        let name = &plan[self.weights[0]].name;
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
        for &w in &self.weights {
            let decl = &plan[w];
            for (rows, chunk) in self.chunks.iter().zip(&chunks) {
                let here = rows.start.max(first_row)..rows.end.min(first_row + decl.rows);
                let step = (SLICE / decl.row_bytes()).next_multiple_of(ROW_STEP).max(ROW_STEP);
                for first in here.clone().step_by(step as usize) {
                    let slice = first..(first + step).min(here.end);
                    let in_file =
                        (slice.start - first_row) * decl.row_bytes()..(slice.end - first_row) * decl.row_bytes();
                    let bytes = &weights[w][in_file.start as usize..in_file.end as usize];
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
