//! Memory between the launches of one operation: sized once, for the largest step.

use super::lower::{ScratchPtrs, VEC_MOST, attention_splits, staged_cols};
use super::params::ARGMAX_PART;
use super::supports::{has_flash, has_tiled};
use crate::plan::{Op, Plan};

/// Bytes of each piece. Operations run one after another, so the largest serves all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scratch {
    staged: u64,
    row_scale: u64,
    partial: u64,
    weights: u64,
    parts: u64,
}

impl Scratch {
    pub fn of(plan: &Plan, n_sms: u32) -> Scratch {
        let mut most = Scratch::default();
        // Fused operations stage and attend as their parts do.
        for op in plan.decode.iter().chain(&plan.prefill).flat_map(Op::parts) {
            match op {
                Op::MatMul(op) => {
                    let (w, rows) = (&plan[op.w], plan.max_rows(plan[op.x].rows));
                    if rows > VEC_MOST && has_tiled(plan) {
                        most.staged = most.staged.max(2 * rows as u64 * staged_cols(w.ty, w.cols));
                        most.row_scale = most.row_scale.max(4 * rows as u64);
                    }
                }
                Op::Attention(op) => {
                    let rows = plan.max_rows(plan[op.q].rows);
                    let split = |rows: u32| (rows * attention_splits(plan, op.q, n_sms, rows)) as u64;
                    let many = if has_flash(plan, op.q) { 0 } else { split(rows) };
                    let parts = (1..=rows.min(VEC_MOST)).map(split).fold(many, u64::max);
                    let q_cols = plan[op.q].cols as u64;
                    most.partial = most.partial.max(4 * parts * q_cols);
                    most.weights = most.weights.max(8 * parts * q_cols / plan.kv.head_dim as u64);
                }
                Op::Argmax(op) => {
                    let parts = plan[op.x].cols.div_ceil(ARGMAX_PART) as u64;
                    most.parts = most.parts.max(8 * parts * plan.max_rows(plan[op.x].rows) as u64);
                }
                _ => {}
            }
        }
        most
    }

    pub fn bytes(&self) -> u64 {
        self.staged + self.row_scale + self.partial + self.weights + self.parts
    }

    pub fn alloc(&self, mut alloc: impl FnMut(&str, u64) -> Result<u64, String>) -> Result<ScratchPtrs, String> {
        Ok(ScratchPtrs {
            staged: alloc("staged rows", self.staged)?,
            row_scale: alloc("scales of staged rows", self.row_scale)?,
            partial: alloc("partial sums of attention", self.partial)?,
            weights: alloc("weights of attention", self.weights)?,
            parts: alloc("parts of argmax", self.parts)?,
        })
    }
}
