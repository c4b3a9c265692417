use super::{Operation, f32_buffer, kv_layer};
use crate::plan::{Buf, Cost, Plan, Rows, StepSize};

/// `K[layer, slot[t], :] = k[t, :]`, and the same for V.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct KvStore {
    /// (n_tokens, kv_heads * head_dim).
    pub k: Buf,
    /// (n_tokens, kv_heads * head_dim).
    pub v: Buf,
    /// Layer of the KV cache.
    pub layer: u32,
}

impl Operation for KvStore {
    fn reads(&self) -> Vec<Buf> {
        vec![self.k, self.v]
    }

    fn writes(&self) -> Vec<Buf> {
        vec![]
    }

    fn bufs_mut(&mut self) -> Vec<&mut Buf> {
        vec![&mut self.k, &mut self.v]
    }

    fn check(&self, plan: &Plan) -> Result<(), String> {
        kv_layer(plan, self.layer)?;
        f32_buffer(plan, self.k, Rows::Tokens, plan.kv.row() as u64)?;
        f32_buffer(plan, self.v, Rows::Tokens, plan.kv.row() as u64)
    }

    fn cost(&self, plan: &Plan, size: StepSize) -> Cost {
        Cost { kv: 2 * size.n_tokens * plan.kv.ty.bytes(plan.kv.row() as u64), ..Cost::default() }
    }
}
