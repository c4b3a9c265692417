//! The step: what varies from one run of a plan to the next.

use super::{Op, Phase, Plan};
use bytemuck::{Pod, Zeroable};
use std::ops::Range;

/// In place of the token id of row `t`: the token that `Argmax` chose on the device for output `t` of an earlier step. The choice feeds
/// the next step without a trip to the host.
pub const NEXT_TOKEN: u32 = u32::MAX;

/// One row of a step, as kernels read it from device memory (32 bytes).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct StepRow {
    /// Token id, below the vocabulary's length, or [`NEXT_TOKEN`].
    pub token: u32,
    /// Position in its sequence: chooses the rotation.
    pub position: u32,
    /// Slot of the KV cache that receives its key and value.
    pub slot: u32,
    /// First slot that its query attends to.
    pub kv_start: u32,
    /// Number of slots that its query attends to, its own included.
    pub kv_len: u32,
    /// Row `i` of an output buffer comes from token row `rows[i].output`.
    pub output: u32,
    /// Zero.
    pub reserved: [u32; 2],
}

/// What one run of a plan works on. Every token has its own position and KV slots, so several sequences may share a step.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Step {
    /// One per token.
    pub rows: Vec<StepRow>,
    /// Rows of the output buffers: `rows[..n_outputs]` name them.
    pub n_outputs: u32,
    /// Run only these operations of the list: for comparing any buffer with another backend's, for running the others elsewhere, and for
    /// work that may be ended between two operations. The bits of the results are those of the whole list. None: all.
    pub ops: Option<Range<usize>>,
}

impl Step {
    /// `tokens` of one sequence at positions (and slots) `start..`, each seeing all before it. `outputs`: the rows whose
    /// logits are wanted.
    pub fn sequence(tokens: &[u32], start: u32, outputs: &[u32]) -> Step {
        let mut rows: Vec<StepRow> = (start..)
            .zip(tokens)
            .map(|(position, &token)| StepRow {
                token,
                position,
                slot: position,
                kv_start: 0,
                kv_len: position + 1,
                ..StepRow::default()
            })
            .collect();
        for (row, &output) in rows.iter_mut().zip(outputs) {
            row.output = output;
        }
        Step { rows, n_outputs: outputs.len() as u32, ops: None }
    }

    /// The same with each token seeing at most the last `window` of its slots, its own included: sliding window attention
    /// (Beltagy et al., 2020), as Mistral 7B v0.1 has it.
    pub fn within(mut self, window: u32) -> Step {
        for row in &mut self.rows {
            let hidden = row.kv_len.saturating_sub(window);
            row.kv_start += hidden;
            row.kv_len -= hidden;
        }
        self
    }

    /// Number of tokens.
    pub fn n_tokens(&self) -> u32 {
        self.rows.len() as u32
    }

    /// Which list of operations it runs.
    pub fn phase(&self) -> Phase {
        Phase::of(self.n_tokens())
    }

    /// The operations of `plan` that it runs, and the index of the first.
    pub fn ops<'a>(&self, plan: &'a Plan) -> (usize, &'a [Op]) {
        let all = plan.ops(self.phase());
        match &self.ops {
            Some(range) => {
                let start = range.start.min(all.len());
                let range = start..range.end.clamp(start, all.len());
                (range.start, &all[range])
            }
            None => (0, all),
        }
    }

    /// Checks the step against the plan's limits, so that no kernel needs to: an error names the row and the limit.
    pub fn check(&self, plan: &Plan) -> Result<(), String> {
        let n = self.n_tokens();
        if n == 0 || n > plan.max_tokens {
            return Err(format!("a step of {n} tokens, the plan takes 1 to {}", plan.max_tokens));
        }
        let most = plan.max_outputs.min(n);
        if self.n_outputs > most {
            return Err(format!("{} output rows, at most {most} here", self.n_outputs));
        }
        for (i, row) in self.rows.iter().enumerate() {
            let slots = plan.kv.slots;
            if row.token == NEXT_TOKEN && (!plan.feeds_back || i >= plan.max_outputs as usize) {
                return Err(format!("row {i}: the device chooses no token for it"));
            }
            if row.token != NEXT_TOKEN && row.token as u64 >= plan.n_vocab {
                return Err(format!("row {i}: token {}, the vocabulary has {}", row.token, plan.n_vocab));
            }
            if row.position as u64 >= plan.n_positions {
                return Err(format!("row {i}: position {}, the plan has {}", row.position, plan.n_positions));
            }
            if row.slot >= slots {
                return Err(format!("row {i}: KV slot {}, the cache has {slots}", row.slot));
            }
            if row.kv_len == 0 || row.kv_start as u64 + row.kv_len as u64 > slots as u64 {
                return Err(format!("row {i}: KV slots {} + {}, the cache has {slots}", row.kv_start, row.kv_len));
            }
            if i < self.n_outputs as usize && row.output >= n {
                return Err(format!("output {i}: row {}, the step has {n}", row.output));
            }
        }
        Ok(())
    }
}
