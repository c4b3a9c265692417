use super::{Operation, f32_buffer, u32_buffer};
use crate::plan::{Buf, Cost, Plan, Rows, StepSize, Weight};

/// Embedding lookup: `out[t, :] = table[token[t], :]`. Where row `t` of the step says [`NEXT_TOKEN`](crate::plan::NEXT_TOKEN), the
/// token is `next[t]`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Embed {
    /// (n_tokens, n_embd).
    pub out: Buf,
    /// (n_vocab, n_embd), any type.
    pub table: Weight,
    /// (n_outputs) token ids: what an `Argmax` of an earlier step wrote.
    pub next: Option<Buf>,
}

impl Operation for Embed {
    fn reads(&self) -> Vec<Buf> {
        self.next.into_iter().collect()
    }

    fn writes(&self) -> Vec<Buf> {
        vec![self.out]
    }

    fn bufs_mut(&mut self) -> Vec<&mut Buf> {
        [&mut self.out].into_iter().chain(&mut self.next).collect()
    }

    fn weights(&self) -> Vec<Weight> {
        vec![self.table]
    }

    fn check(&self, plan: &Plan) -> Result<(), String> {
        if let Some(next) = self.next {
            u32_buffer(plan, next, Rows::Outputs, 1)?;
        }
        f32_buffer(plan, self.out, Rows::Tokens, plan[self.table].cols)
    }

    fn cost(&self, plan: &Plan, size: StepSize) -> Cost {
        Cost { weights: size.n_tokens * plan[self.table].row_bytes(), ..Cost::default() }
    }

    fn bound(&self, plan: &mut Plan) {
        let is_first = plan.n_vocab == u64::MAX;
        plan.feeds_back = self.next.is_some() && (is_first || plan.feeds_back);
        plan.n_vocab = plan.n_vocab.min(plan[self.table].rows);
    }
}
