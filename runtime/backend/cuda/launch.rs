//! Launches before they reach a device, and what they are made of: the addresses of everything, and the rows of a step.

use super::best::Best;
use super::driver::{Launch, Ptr, Purpose};
use super::entry::Entry;
use super::kernels::Kernels;
use super::params::{COPY_THREADS, Planes};
use crate::plan::{Buf, Plan, Rows, Weight};
use bytemuck::Pod;

/// Blocks of a grid in y and in z, at most: a limit of CUDA.
pub const MAX_BLOCKS: u32 = 65535;

/// Memory between two launches of one operation. Operations run one after another and share it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scratch {
    /// Rows of x as tensor cores take them.
    Staged,
    /// A scale of each of these rows.
    RowScale,
    /// Sums of parts of attention.
    Partial,
    /// Weights of these sums.
    Weights,
    /// Number of parts of a row that are written, of attention or of the logits; zero between two launches.
    Arrived,
    /// The largest logit of each row and its index, as a key; zero between two launches.
    Best,
    /// The largest elements of parts of a row.
    Parts,
}

impl Scratch {
    /// All of it.
    pub const ALL: [Scratch; 7] = [
        Scratch::Staged,
        Scratch::RowScale,
        Scratch::Partial,
        Scratch::Weights,
        Scratch::Arrived,
        Scratch::Best,
        Scratch::Parts,
    ];

    /// Whether kernels find zeros in it, and leave zeros.
    pub fn is_zero_between_launches(self) -> bool {
        matches!(self, Scratch::Arrived | Scratch::Best)
    }

    /// What errors call it.
    pub fn name(self) -> &'static str {
        match self {
            Scratch::Staged => "staged rows",
            Scratch::RowScale => "scales of staged rows",
            Scratch::Partial => "partial sums of attention",
            Scratch::Weights => "weights of attention",
            Scratch::Arrived => "counts of parts",
            Scratch::Best => "the largest logits",
            Scratch::Parts => "parts of argmax",
        }
    }
}

/// Addresses of a plan's weights, in the plan's order; null for those that are not read so.
pub struct WeightAddresses {
    /// Matrices, in planes.
    pub matrices: Vec<Planes>,
    /// Vectors and rotation tables: rows of f32, whatever the type in the file.
    pub floats: Vec<Ptr>,
}

/// Addresses of everything that kernels read and write.
pub struct Addresses {
    /// In the plan's order.
    pub bufs: Vec<Ptr>,
    /// Of the plan.
    pub weights: WeightAddresses,
    /// Of the KV cache, by layer.
    pub keys: Vec<Ptr>,
    /// Of the KV cache, by layer.
    pub values: Vec<Ptr>,
    /// The step that kernels read their rows from.
    pub step: Ptr,
    /// In the order of [`Scratch::ALL`].
    pub scratch: [Ptr; Scratch::ALL.len()],
    /// For [`Backend::best`](crate::backend::Backend::best); none if the plan has no logits.
    pub best: Option<Best>,
}

/// Rows of the step that launches are made for. Kernels leave out those beyond the step's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Rows of [`Rows::Tokens`].
    pub n_tokens: u32,
    /// Rows of [`Rows::Outputs`].
    pub n_outputs: u32,
}

/// One launch, before its kernel is looked up.
pub struct Call {
    entry: Entry,
    grid: [u32; 3],
    threads: u32,
    params: Vec<u8>,
}

impl Call {
    /// `grid`: blocks in x, y and z. `threads`: of a block.
    pub fn new(entry: Entry, grid: [u32; 3], threads: u32, params: &impl Pod) -> Call {
        Call { entry, grid, threads, params: bytemuck::bytes_of(params).to_vec() }
    }

    /// The launch. The error names an entry that is not loaded. `dependent`: see [`Launch::dependent`].
    pub fn launch(self, kernels: &Kernels, purpose: Purpose, dependent: bool) -> Result<Launch, String> {
        Ok(Launch {
            kernel: kernels.get(self.entry)?,
            purpose,
            grid: self.grid,
            block: [self.threads, 1, 1],
            params: self.params,
            dependent,
        })
    }
}

/// The launches of operations, in the making.
pub struct Lowering<'a> {
    /// Has the operations.
    pub plan: &'a Plan,
    /// Of all that the plan declares.
    pub addresses: &'a Addresses,
    /// Streaming multiprocessors of the device.
    pub n_sms: u32,
    /// Of the step.
    pub counts: Counts,
    /// What has been added so far.
    pub calls: Vec<Call>,
}

impl Lowering<'_> {
    /// The address of a buffer.
    pub fn buf(&self, b: Buf) -> Ptr {
        self.addresses.bufs[b.0 as usize]
    }

    /// The address of a vector or rotation table.
    pub fn floats(&self, w: Weight) -> Ptr {
        self.addresses.weights.floats[w.0 as usize]
    }

    /// The addresses of a matrix.
    pub fn planes(&self, w: Weight) -> Planes {
        self.addresses.weights.matrices[w.0 as usize]
    }

    /// The address of scratch memory.
    pub fn scratch(&self, scratch: Scratch) -> Ptr {
        self.addresses.scratch[scratch as usize]
    }

    /// Rows of a buffer in the step.
    pub fn rows(&self, b: Buf) -> u32 {
        match self.plan[b].rows {
            Rows::Tokens => self.counts.n_tokens,
            Rows::Outputs => self.counts.n_outputs,
        }
    }

    /// 1 if a buffer's rows are the step's outputs, 0 if they are its tokens: how kernels count the rows in use.
    pub fn rows_are_outputs(&self, b: Buf) -> u32 {
        (self.plan[b].rows == Rows::Outputs) as u32
    }

    /// Adds a launch, unless the step has no rows for it.
    pub fn push(&mut self, entry: Entry, grid: [u32; 3], threads: u32, params: &impl Pod) {
        if !grid.contains(&0) {
            self.calls.push(Call::new(entry, grid, threads, params));
        }
    }

    /// Adds a launch of one thread for each of `cols` columns of every row of `b`.
    pub fn push_by_columns(&mut self, entry: Entry, cols: u32, b: Buf, params: &impl Pod) {
        self.push(entry, [cols.div_ceil(COPY_THREADS), self.rows(b), 1], COPY_THREADS, params);
    }
}
