//! What a plan takes in memory.

use super::operands::{Block, Needs, Weights};
use super::products::Rounding;
use super::run::{self, Local};
use super::stages::Matrix;
use super::{attention, rounding};
use crate::backend::BackendOptions;
use crate::plan::{Op, Plan, Weight};
use std::collections::BTreeSet;
use std::sync::RwLock;

/// Every operation of both lists, fused ones as their parts.
pub fn parts(plan: &Plan) -> impl Iterator<Item = Op> {
    plan.decode.iter().chain(&plan.prefill).flat_map(Op::parts)
}

/// Every matrix that products multiply, in the order of the weights.
pub fn matrices(plan: &Plan) -> Vec<Matrix> {
    let of = |op: Op| match op {
        Op::MatMul(op) => Some(Matrix::of(plan, &op)),
        _ => None,
    };
    let key = |m: &Matrix| (m.weight.0, m.first_row, m.rows);
    let mut found: Vec<Matrix> = parts(plan).filter_map(of).collect();
    found.sort_by_key(key);
    found.dedup();
    found
}

/// Weights that are vectors of f32 in memory.
pub fn vectors(plan: &Plan) -> BTreeSet<u32> {
    let of = |op: Op| match op {
        Op::RmsNorm(op) => Some(op.w.0),
        Op::AddBias(op) => Some(op.b.0),
        _ => None,
    };
    parts(plan).filter_map(of).collect()
}

/// Bytes of a repacked matrix; None if it is read in the file.
pub fn packed(plan: &Plan, matrix: Matrix, options: BackendOptions) -> Option<usize> {
    let decl = &plan[matrix.weight];
    Weights::size(decl.ty, matrix.rows as usize, decl.cols as usize).filter(|_| options.repack)
}

/// Bytes of all copies of weights.
pub fn copies(plan: &Plan, options: BackendOptions) -> u64 {
    let matrices = matrices(plan).into_iter().filter_map(|m| packed(plan, m, options)).sum::<usize>() as u64;
    matrices + vectors(plan).into_iter().map(|w| 4 * plan[Weight(w)].elements()).sum::<u64>()
}

/// Bytes of weights that steps read in the file.
pub fn mapped(plan: &Plan, options: BackendOptions) -> u64 {
    let products = matrices(plan).into_iter().filter(|m| packed(plan, *m, options).is_none()).map(|m| m.weight.0);
    let embeddings = parts(plan).filter_map(|op| match op {
        Op::Embed(op) => Some(op.table.0),
        _ => None,
    });
    let weights: BTreeSet<u32> = products.chain(embeddings).collect();
    weights.into_iter().map(|w| plan[Weight(w)].bytes()).sum()
}

/// What a plan's work takes.
pub struct Sizes {
    /// Rows of a step, at most.
    pub tokens: usize,
    /// Elements of the longest row of a buffer, and of the longest that products multiply.
    pub row: usize,
    pub x_row: usize,
    /// What the products of the plan multiply.
    pub needs: Needs,
    pub heads: usize,
    /// Query heads that share a KV head.
    pub group: usize,
    pub head_dim: usize,
    pub slots: usize,
}

impl Sizes {
    pub fn of(plan: &Plan, options: BackendOptions) -> Sizes {
        let products = matrices(plan);
        let attention = |op: Op| match op {
            Op::Attention(op) => Some(plan[op.q].cols as usize / plan.kv.head_dim as usize),
            _ => None,
        };
        let row = |op: Op| match op {
            Op::MatMul(_) | Op::Argmax(_) => None, // they take chunks
            op => op.reads().into_iter().chain(op.writes()).map(|b| plan[b].cols).max(),
        };
        let heads = parts(plan).filter_map(attention).max().unwrap_or(0);
        let packed = |m: &Matrix| packed(plan, *m, options).is_some();
        let mut roundings = plan.buf_ids().map(|b| rounding(plan, b, options));
        let finest = if roundings.any(|rounding| rounding == Rounding::I16) { Rounding::I16 } else { Rounding::I8 };
        let rounded = products.iter().any(packed).then_some(finest);
        let plain = !products.iter().all(packed);
        Sizes {
            tokens: plan.max_tokens as usize,
            row: parts(plan).filter_map(row).max().unwrap_or(0) as usize,
            x_row: products.iter().map(|m| plan[m.weight].cols as usize).max().unwrap_or(0),
            needs: Needs { plain, rounded },
            heads,
            group: heads.div_ceil(plan.kv.heads.max(1) as usize).max(1),
            head_dim: plan.kv.head_dim as usize,
            slots: plan.kv.slots as usize,
        }
    }

    /// Rows of each block of the largest step: those of the fewest and those of the most blocks that the number of threads may ask for.
    fn block_rows(&self) -> impl Iterator<Item = usize> {
        let most = if self.tokens > run::OWN { self.tokens.div_ceil(run::OWN) } else { 0 };
        let whole = self.tokens.div_ceil(run::BLOCK);
        let tokens = self.tokens;
        (0..most).map(move |i| if i < whole { run::BLOCK.min(tokens) } else { run::OWN })
    }

    /// Blocks of rows of the largest step.
    pub fn blocks(&self) -> Vec<RwLock<Block>> {
        self.block_rows().map(|rows| RwLock::new(Block::new(rows, self.x_row, self.needs))).collect()
    }

    /// Bytes of all buffers of a plan of these sizes, for this many threads.
    pub fn buffers(&self, plan: &Plan, threads: usize) -> u64 {
        let blocks = self.block_rows().map(|rows| Block::size(rows, self.x_row, self.needs)).sum::<usize>();
        plan.buf_bytes() + (4 * attention::parts_len(self) + blocks + threads * Local::bytes(self)) as u64
    }
}
